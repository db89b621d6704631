//! The commands: one file each, dispatched here.

mod aws;
mod deploy;
mod doctor;
pub(crate) mod down;
mod events;
mod history;
mod logs;
mod ls;
mod open;
mod put;
mod redeploy;
mod rm;
mod rollback;
mod scale;
mod show;
pub(crate) mod up;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use rowhouse_machine::folder::FolderError;
use rowhouse_machine::up::UpError;

use crate::args::{Arguments, Command};
use crate::context::{Context, Missing, of_variable, quoted};
use crate::failure::Exit;
use crate::{demo, output, telemetry};

/// How often a follower looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(150);

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
    telemetry::install("warn");
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

async fn dispatch(arguments: Arguments) -> anyhow::Result<Exit> {
    let data = arguments.data.or_else(of_variable);
    let data = data.as_deref();
    let made = || Context::open(data, Missing::Make);
    // A mistyped folder is not made by those who only ask about what is in it.
    let found = || Context::open(data, Missing::Refuse);
    match arguments.command {
        Command::Up(up) => up::up(&made()?, up).await,
        Command::Down => down::down(&found()?).await,
        Command::Demo(demo) => demo::run(data, demo.listen).await,
        Command::Deploy(deploy) => deploy::deploy(made, deploy).await,
        Command::Put(put) => put::put(found, made, put).await,
        Command::Scale(scale) => scale::scale(&found()?, scale).await,
        Command::Redeploy(changed) => redeploy::redeploy(&found()?, changed).await,
        Command::Rollback(rollback) => rollback::rollback(&found()?, rollback).await,
        Command::Rm(remove) => rm::rm(&found()?, remove).await,
        Command::Ls(read) => ls::ls(&found()?, read.json),
        Command::Show(show) => show::show(&found()?, &show),
        Command::History(one) => history::history(&found()?, &one),
        Command::Events(events) => events::events(&found()?, &events).await,
        Command::Logs(logs) => logs::logs(&found()?, &logs).await,
        Command::Open(open) => open::open(&found()?, &open),
        Command::Doctor(read) => doctor::doctor(data, read.json),
        Command::Instance(instance) => crate::instance::run(data, *instance).await,
        Command::Aws(aws) => Err(aws::aws(aws)),
    }
}

/// A short pause; true if somebody wants to end it all.
async fn is_interrupted(interrupt: &mut tokio::signal::unix::Signal) -> bool {
    tokio::select! {
        _ = interrupt.recv() => true,
        () = tokio::time::sleep(LOOK_EVERY) => false,
    }
}

/// Tells an error once, with its causes and what to type next.
fn tell(error: &anyhow::Error) -> Exit {
    let exit = output::failed(error);
    if let Some(hint) = folder_error(error).map(folder_hint) {
        output::hint(&hint);
    }
    exit
}

/// The data folder's part in an error, if it has one.
fn folder_error(error: &anyhow::Error) -> Option<&FolderError> {
    error.downcast_ref::<FolderError>().or_else(|| match error.downcast_ref::<UpError>()? {
        UpError::Folder(folder) => Some(folder),
        UpError::Listen { .. } | UpError::Start { .. } | UpError::Unreachable(_) => None,
    })
}

/// What to do about a data folder that cannot be used.
pub(crate) fn folder_hint(error: &FolderError) -> String {
    match error {
        FolderError::Held { path, .. } => {
            let path = quoted(&path.display().to_string());
            format!("`rowhouse down --data {path}` stops it")
        }
        FolderError::Make { source, .. }
            if matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) =>
        {
            "that is a file: name a folder with `--data DIR`".to_owned()
        }
        FolderError::Make { .. } | FolderError::Write { .. } => {
            "make it writable for this user, or choose another with `--data DIR`".to_owned()
        }
    }
}
