//! What the platform does when the table's file is another one: people are told, every row is
//! looked at, and what no row wants any more runs on.

use std::sync::Arc;

use rowhouse_core::{AppName, AppTable, Found, RowKey, Unreachable};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tracing::warn;

use crate::machine::Machine;
use crate::stack::stacks::Stacks;
use crate::table::SqliteTable;
use crate::table::replacement::FileNews;

/// Tells what becomes of the file, until it is dropped. `sweep` is asked for a full sweep of a
/// table that was opened anew.
pub(crate) async fn tell(
    machine: &Arc<Machine>,
    stacks: &Stacks,
    table: &SqliteTable,
    news: &mut UnboundedReceiver<FileNews>,
    sweep: &Notify,
) {
    while let Some(told) = news.recv().await {
        match told {
            FileNews::Gone(text) => {
                warn!("{text}");
                machine.journal.tell_of_platform("table_lost", text).await;
            }
            FileNews::Opened(text) => {
                warn!("{text}");
                machine.journal.tell_of_platform("table_opened", text).await;
                match without_row(stacks, table, &machine.doorbell).await {
                    Ok(orphans) => orphans.iter().for_each(|name| {
                        warn!("`{name}` has no row, and nobody removed one: it runs on");
                    }),
                    Err(error) => warn!(reason = %error, "cannot tell which apps have no row"),
                }
                sweep.notify_one();
            }
        }
    }
    // Nobody minds the file any more; the sweeps still look at every row.
    std::future::pending::<()>().await;
}

/// The stacks without a row that nobody removed. Those that somebody did are rung, whatever has
/// become of the doorbell of that time.
pub(crate) async fn without_row(
    stacks: &Stacks,
    table: &impl AppTable,
    doorbell: &UnboundedSender<RowKey>,
) -> Result<Vec<AppName>, Unreachable> {
    let mut orphans = Vec::new();
    for stack in stacks.all() {
        // A name that was only ever asked for has no stack.
        if stack.record().await.is_none() {
            continue;
        }
        match table.get(&stack.name.key()).await? {
            Found::Row(_) => {}
            Found::Removed => {
                // The platform has the other end until it ends.
                let _ = doorbell.send(stack.name.key());
            }
            Found::Absent => orphans.push(stack.name.clone()),
        }
    }
    Ok(orphans)
}
