//! The commands on rows, one file each, the same on either platform.

mod args;
pub mod change;
mod difference;
pub mod environment;
mod events;
mod following;
mod history;
mod logs;
mod ls;
pub mod names;
mod open;
mod opening;
pub mod orphans;
mod put;
mod reactor;
mod redeploy;
pub mod repository;
mod rm;
mod rollback;
pub mod row_json;
pub mod row_text;
mod scale;
mod show;
pub mod wait;

pub use args::{Processes, Read, RowCommand, Waiting};
pub use opening::Opening;
pub use put::no_repository;

use crate::client::Client;
use crate::failure::Exit;
use crate::rows::Opening::Existing;

/// Runs a command on the platform that `open` opens.
pub async fn run<C: Client>(
    open: impl AsyncFnOnce(Opening) -> anyhow::Result<C>,
    command: RowCommand,
) -> anyhow::Result<Exit> {
    match command {
        RowCommand::Put(put) => put::put(open, *put).await,
        RowCommand::Scale(scale) => scale::scale(&open(Existing).await?, scale).await,
        RowCommand::Redeploy(changed) => redeploy::redeploy(&open(Existing).await?, changed).await,
        RowCommand::Rollback(rollback) => {
            rollback::rollback(&open(Existing).await?, rollback).await
        }
        RowCommand::Rm(remove) => rm::rm(&open(Existing).await?, remove).await,
        RowCommand::Ls(read) => ls::ls(&open(Existing).await?, read.json).await,
        RowCommand::Show(show) => show::show(&open(Existing).await?, &show).await,
        RowCommand::History(one) => history::history(&open(Existing).await?, &one).await,
        RowCommand::Events(events) => events::events(&open(Existing).await?, &events).await,
        RowCommand::Logs(logs) => logs::logs(&open(Existing).await?, &logs).await,
        RowCommand::Open(app) => open::open(&open(Existing).await?, &app).await,
    }
}
