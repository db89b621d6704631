//! `rowhouse scale`: another number of instances.

use rowhouse_core::{Attribute, Row};

use crate::args::Scale;
use crate::change::{Changes, Unchanged, carry_out, existing, number};
use crate::context::Context;
use crate::failure::Exit;

pub(crate) async fn scale(context: &Context, scale: Scale) -> anyhow::Result<Exit> {
    let count = number(&scale.instances);
    let key = existing(context, &scale.name)?;
    let edit = move |_: Option<&Row>| Ok(Changes::from([(Attribute::Scale, Some(count))]));
    carry_out(context, &key, edit, Unchanged::Already, &scale.waiting).await
}
