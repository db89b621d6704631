//! The commands: one file each, dispatched here.

mod doctor;
mod install;
mod package;
mod uninstall;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use rowhouse_command::program;
use tokio::signal::unix::{SignalKind, signal};

use crate::account::Account;
use crate::args::{Arguments, Command};
use crate::client::AwsClient;
use crate::failure::Exit;
use crate::output;

/// Runs the command that the arguments are.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    // The libraries warn of each place where they have found no credentials; the answer tells it
    // once.
    program::run(arguments, "error", dispatch, output::failed)
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<Exit> {
    let account = || Account::open(&arguments.place);
    match arguments.command {
        Command::Install(install) => {
            leavable(Box::pin(async { install::install(&account().await?, &install).await })).await
        }
        Command::Uninstall(uninstall) => {
            leavable(Box::pin(async { uninstall::uninstall(&account().await?, &uninstall).await }))
                .await
        }
        Command::Doctor(doctor) => doctor::doctor(&arguments.place, &doctor).await,
        Command::Package(package) => package::package(&package),
        Command::Row(command) => {
            let changes = command.changes();
            let open = async |_| AwsClient::open(&arguments.place, changes).await;
            Box::pin(rowhouse_command::rows::run(open, command)).await
        }
    }
}

/// Does something that Ctrl-C may leave at any moment, since it can be taken up again.
async fn leavable(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    tokio::select! {
        exit = work => exit,
        _ = interrupt.recv() => {
            output::note("what was begun in AWS goes on without this command");
            output::hint("the same command again takes it up");
            output::leave();
        }
    }
}
