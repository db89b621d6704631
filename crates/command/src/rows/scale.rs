//! `rowhouse scale`: another number of instances.

use rowhouse_core::{Attribute, Row};

use crate::client::{Changes, Client};
use crate::failure::Exit;
use crate::rows::args::Scale;
use crate::rows::change::{Unchanged, carry_out, existing, number};

pub(crate) async fn scale(client: &impl Client, scale: Scale) -> anyhow::Result<Exit> {
    let count = number(&scale.instances);
    let key = existing(client, &scale.name).await?;
    let edit = |_: Option<&Row>| Ok(Changes::from([(Attribute::Scale, Some(count.clone()))]));
    carry_out(client, &key, edit, Unchanged::Already, &scale.waiting).await
}
