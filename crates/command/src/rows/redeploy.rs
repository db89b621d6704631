//! `rowhouse redeploy`: the same row again.

use rowhouse_core::Row;

use crate::client::Client;
use crate::failure::Exit;
use crate::rows::args::Changed;
use crate::rows::change::{Unchanged, carry_out, existing, raised};

pub(crate) async fn redeploy(client: &impl Client, changed: Changed) -> anyhow::Result<Exit> {
    let key = existing(client, &changed.name).await?;
    let edit = |row: Option<&Row>| Ok(raised(row.map(|row| &row.user)));
    carry_out(client, &key, edit, Unchanged::Already, &changed.waiting).await
}
