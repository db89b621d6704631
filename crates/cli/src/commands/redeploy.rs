//! `rowhouse redeploy`: the same row again.

use rowhouse_core::Row;

use crate::args::Changed;
use crate::change::{Unchanged, carry_out, existing, raised};
use crate::context::Context;
use crate::failure::Exit;

pub(crate) async fn redeploy(context: &Context, changed: Changed) -> anyhow::Result<Exit> {
    let key = existing(context, &changed.name)?;
    let edit = |row: Option<&Row>| Ok(raised(row.map(|row| &row.user)));
    carry_out(context, &key, edit, Unchanged::Already, &changed.waiting).await
}
