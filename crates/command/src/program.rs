//! How a program of commands begins and ends: arguments understood, one thread, and an exit status
//! that tells whose failure it was.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::failure::Exit;
use crate::{output, telemetry};

/// Understands the arguments and runs the command. `level`: from which on the libraries' own words
/// are shown. `tell` tells an error, once.
pub fn run<Arguments: Parser>(
    arguments: Vec<OsString>,
    level: &str,
    dispatch: impl AsyncFnOnce(Arguments) -> anyhow::Result<Exit>,
    tell: impl FnOnce(&anyhow::Error) -> Exit,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; anything else is bad input.
            let is_answer = !error.use_stderr();
            output::usage(&error);
            return if is_answer { Exit::Done } else { Exit::Yours }.into();
        }
    };
    telemetry::install(level);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::problem(&format!("cannot start: {error}"));
            return Exit::Ours.into();
        }
    };
    let exit = runtime.block_on(dispatch(arguments)).unwrap_or_else(|error| tell(&error));
    output::finish();
    exit.into()
}
