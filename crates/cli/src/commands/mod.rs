//! The commands: one file each, dispatched here.

mod aws;
mod deploy;
mod doctor;
pub(crate) mod down;
mod hand_over;
mod notify;
pub(crate) mod signals;
pub(crate) mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use rowhouse_command::program;
use rowhouse_command::rows::{Opening, no_repository};
use rowhouse_machine::folder::FolderError;
use rowhouse_machine::up::UpError;

use crate::args::{Arguments, Command};
use crate::context::{Context, Missing, folder_hint, of_variable};
use crate::failure::{Exit, bad_input};
use crate::{demo, output};

/// Runs the command that the arguments are.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let words = arguments.iter().skip(1).cloned().collect();
    program::run(arguments, "warn", async |arguments| dispatch(arguments, words).await, tell)
}

async fn dispatch(arguments: Arguments, words: Vec<OsString>) -> anyhow::Result<Exit> {
    let place = &arguments.place;
    let is_aws = match &arguments.command {
        // They have a place of their own.
        Command::Aws(_) | Command::Instance(_) => false,
        Command::Row(_)
        | Command::Doctor(_)
        | Command::Deploy(_)
        | Command::Up(_)
        | Command::Down
        | Command::Demo(_) => place.is_aws(arguments.data.as_deref())?,
    };
    match &arguments.command {
        // The same words again, to the program that knows AWS.
        Command::Row(_) | Command::Doctor(_) if is_aws => return Err(aws::hand_over(words)),
        Command::Deploy(_) if is_aws => {
            return Err(bad_input(
                "what `deploy` deploys is on this machine, and AWS cannot come for it",
                "push it; then `rowhouse --aws put NAME --repo URL --version REF` has it run on \
                 AWS",
            ));
        }
        // With the variable alone they are what they always are: about this machine.
        Command::Up(_) | Command::Down | Command::Demo(_) if place.aws => {
            return Err(bad_input(
                "`--aws` is for the commands on rows, and this one is about this machine",
                "`rowhouse aws --help` tells of the platform on AWS",
            ));
        }
        Command::Up(_)
        | Command::Down
        | Command::Demo(_)
        | Command::Deploy(_)
        | Command::Row(_)
        | Command::Doctor(_)
        | Command::Instance(_)
        | Command::Aws(_) => {}
    }
    let data = arguments.data.or_else(of_variable);
    let data = data.as_deref();
    let made = || Context::open(data, Missing::Make);
    // A mistyped folder is not made by those who only ask about what is in it.
    let found = || Context::open(data, Missing::Refuse);
    match arguments.command {
        Command::Up(up) => up::up(&made()?, *up).await,
        Command::Down => down::down(&found()?).await,
        Command::Demo(demo) => demo::run(data, demo.listen).await,
        Command::Deploy(deploy) => deploy::deploy(made, deploy).await,
        Command::Row(command) => {
            let open = async |opening| match opening {
                Opening::Existing => found(),
                // Where there is no platform, there is none that has a repository.
                Opening::First { names_source: false } if found().is_err() => {
                    Err(no_repository(true))
                }
                Opening::First { .. } => made(),
            };
            rowhouse_command::rows::run(open, command).await
        }
        Command::Doctor(read) => doctor::doctor(data, read.json),
        Command::Instance(instance) => rowhouse_instance::run(data, *instance).await,
        Command::Aws(aws) => Err(aws::hand_over(place.options().chain(aws.arguments).collect())),
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
        UpError::Listen { .. }
        | UpError::Start { .. }
        | UpError::Succeed { .. }
        | UpError::Uids(_)
        | UpError::Unreachable(_) => None,
    })
}
