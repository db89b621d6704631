//! The commands: one file a noun, dispatched here.

mod doctor;
pub(crate) mod down;
mod put;
mod read;
mod remove;
pub(crate) mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use rowhouse_machine::folder::FolderError;
use rowhouse_machine::up::UpError;

use crate::args::{Arguments, Command};
use crate::context::Context;
use crate::failure::{BadInput, Exit};
use crate::{demo, output, telemetry};

/// Understands the arguments and runs the command; the exit status tells whose failure it was.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; anything else is bad input.
            let is_answer = !error.use_stderr();
            let _ = error.print();
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
    match runtime.block_on(dispatch(arguments)) {
        Ok(exit) => exit.into(),
        Err(error) => tell(&error).into(),
    }
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<Exit> {
    let data = arguments.data.as_deref();
    if let Command::Demo(demo) = &arguments.command {
        return demo::run(data, demo.listen).await;
    }
    let context = Context::open(data)?;
    match arguments.command {
        Command::Up(up) => up::up(&context, up).await,
        Command::Down => down::down(&context).await,
        Command::Demo(_) => Ok(Exit::Done),
        Command::Deploy(deploy) => put::deploy(&context, deploy).await,
        Command::Put(put) => put::put(&context, put).await,
        Command::Scale(scale) => put::scale(&context, scale).await,
        Command::Redeploy(changed) => put::redeploy(&context, changed).await,
        Command::Rollback(rollback) => put::rollback(&context, rollback).await,
        Command::Rm(remove) => remove::remove(&context, remove).await,
        Command::Ls(read) => read::list(&context, read.json),
        Command::Show(show) => read::show(&context, &show),
        Command::History(one) => read::history(&context, &one),
        Command::Events(events) => read::events(&context, &events).await,
        Command::Logs(logs) => read::logs(&context, &logs).await,
        Command::Open(open) => read::open(&context, &open.name),
        Command::Doctor(read) => Ok(doctor::doctor(&context, read.json)),
    }
}

/// Tells an error once, with its causes and what to type next.
fn tell(error: &anyhow::Error) -> Exit {
    output::problem(&rowhouse_machine::log::harmless(&format!("{error:#}")));
    if let Some(input) = error.downcast_ref::<BadInput>() {
        if let Some(hint) = &input.hint {
            output::hint(hint);
        }
        return Exit::Yours;
    }
    let folder = error.downcast_ref::<FolderError>().or_else(|| {
        error.downcast_ref::<UpError>().and_then(|error| match error {
            UpError::Folder(folder) => Some(folder),
            UpError::Listen { .. } | UpError::Start { .. } | UpError::Unreachable(_) => None,
        })
    });
    match folder {
        Some(FolderError::Held { path, .. }) => {
            output::hint(&format!("`rowhouse down --data {}` stops it", path.display()));
        }
        Some(FolderError::Make { .. } | FolderError::Write { .. }) => {
            output::hint("make it writable for this user, or choose another with `--data DIR`");
        }
        None => {}
    }
    Exit::Ours
}
