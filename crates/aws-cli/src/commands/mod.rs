//! The commands: one file each, dispatched here.

mod doctor;
mod install;
mod package;
mod uninstall;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::account::Account;
use crate::args::{Arguments, Command};
use crate::client::AwsClient;
use crate::failure::Exit;
use crate::{output, telemetry};

/// Understands the arguments and runs the command; the exit status tells whose failure it was.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; anything else is bad input.
            let is_answer = !error.use_stderr();
            output::usage(&error);
            return if is_answer { Exit::Done } else { Exit::Yours }.into();
        }
    };
    // The libraries warn of each place where they have found no credentials; the answer tells it once.
    telemetry::install("error");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::problem(&format!("cannot start: {error}"));
            return Exit::Ours.into();
        }
    };
    let exit = runtime.block_on(dispatch(arguments));
    exit.unwrap_or_else(|error| output::failed(&error)).into()
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
            let open = async |opening| AwsClient::open(&arguments.place, opening).await;
            Box::pin(rowhouse_cli::rows::run(open, command)).await
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
