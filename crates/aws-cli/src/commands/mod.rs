//! The commands: one file each, dispatched here.

mod doctor;
mod install;
mod package;
mod uninstall;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::account::Account;
use crate::args::{Arguments, Command};
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
    telemetry::install();
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
        Command::Install(install) => install::install(&account().await?, &install).await,
        Command::Uninstall(uninstall) => uninstall::uninstall(&account().await?, &uninstall).await,
        Command::Doctor(doctor) => doctor::doctor(&arguments.place, &doctor).await,
        Command::Package(package) => package::package(&package),
    }
}
