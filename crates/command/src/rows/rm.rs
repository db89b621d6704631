//! `rowhouse rm`: apps go with their rows.

use rowhouse_core::RowKey;

use crate::client::{Client, Left};
use crate::failure::Exit;
use crate::output;
use crate::rows::args::Remove;
use crate::rows::names;
use crate::rows::wait::{self, Leaving, Progress};

/// Deletes rows; of a name without one, what is left.
pub(crate) async fn rm<C: Client>(client: &C, remove: Remove) -> anyhow::Result<Exit> {
    // All names first: a wrong one costs nothing of the others.
    for name in &remove.names {
        let key = RowKey(name.clone());
        if client.get(&key).await?.is_none() && client.left(&key).await? == Left::Nothing {
            return Err(names::no_such_app(client, name).await?);
        }
    }
    let mut leaving = Vec::new();
    for name in &remove.names {
        let key = RowKey(name.clone());
        let progress = Progress::new(client, name, &remove.waiting).await?;
        let removed = client.remove(&key).await?;
        if removed.is_none() {
            client.remove_orphan(&key).await?;
        }
        leaving.push(Leaving { progress, removed });
    }
    let gone = wait::gone(client, leaving, &remove.waiting);
    let exit = wait::unless_interrupted(client, &remove.names, gone).await?;
    if C::IS_HERE {
        output::note("what apps have written into their `DATA_DIR` is kept for a week");
    }
    Ok(exit)
}
