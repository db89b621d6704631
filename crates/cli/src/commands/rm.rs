//! `rowhouse rm`: apps go with their rows.

use rowhouse_core::RowKey;

use crate::args::Remove;
use crate::context::Context;
use crate::failure::Exit;
use crate::wait::{self, Leaving, Progress};

/// Deletes rows; a name without one is rung where something of it is left.
pub(crate) async fn rm(context: &Context, remove: Remove) -> anyhow::Result<Exit> {
    let mut table = context.table()?;
    let stacks = context.journal()?.stacks()?;
    // All names first: a wrong one costs nothing of the others.
    for name in &remove.names {
        let has_stack = stacks.iter().any(|stack| stack.name.as_str() == name);
        if table.get(&RowKey(name.clone()))?.is_none() && !has_stack {
            return Err(context.no_such_app(&table, name)?);
        }
    }
    let mut leaving = Vec::new();
    for name in &remove.names {
        let key = RowKey(name.clone());
        let progress = Progress::new(context, name)?;
        let removed = table.remove(&key)?;
        if removed.is_none() {
            table.ring(&key)?;
        }
        leaving.push(Leaving { progress, removed });
    }
    let gone = wait::gone(context, leaving, &remove.waiting);
    wait::unless_interrupted(context, &remove.names, gone).await
}
