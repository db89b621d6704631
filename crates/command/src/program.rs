//! How a program of commands begins and ends: arguments understood, one thread, and an exit status
//! that tells whose failure it was.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, Parser};

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
        Err(mut error) => {
            forget_hidden(&mut error, &Arguments::command());
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

/// Takes back what an error suggests to type where it is nothing for people.
fn forget_hidden(error: &mut clap::Error, command: &Command) {
    let (mut hidden, mut shown) = (Vec::new(), Vec::new());
    collect_names(command, false, &mut hidden, &mut shown);
    let is_shown = |name: &str| {
        let is = |names: &[String]| names.iter().any(|known| known == name);
        is(&shown) || !is(&hidden)
    };
    let suggestions =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::Suggested];
    for kind in suggestions {
        let left = match error.remove(kind) {
            Some(ContextValue::String(name)) if !is_shown(&name) => None,
            Some(ContextValue::Strings(mut names)) => {
                names.retain(|name| is_shown(name));
                (!names.is_empty()).then_some(ContextValue::Strings(names))
            }
            // Of another command: `'up --listen' exists`.
            Some(ContextValue::StyledStrs(mut texts)) => {
                texts.retain(|text| {
                    let text = text.to_string();
                    !text.ends_with(" exists") || text.split([' ', '\'']).all(is_shown)
                });
                (!texts.is_empty()).then_some(ContextValue::StyledStrs(texts))
            }
            other => other,
        };
        if let Some(left) = left {
            error.insert(kind, left);
        }
    }
}

/// The names of commands and options that are hidden from people, and those that are not.
fn collect_names(
    command: &Command,
    is_hidden: bool,
    hidden: &mut Vec<String>,
    shown: &mut Vec<String>,
) {
    for argument in command.get_arguments() {
        let names = if is_hidden || argument.is_hide_set() { &mut *hidden } else { &mut *shown };
        let longs = argument.get_long_and_visible_aliases().unwrap_or_default();
        names.extend(longs.iter().map(|long| format!("--{long}")));
    }
    for inner in command.get_subcommands() {
        let is_hidden = is_hidden || inner.is_hide_set();
        let names = if is_hidden { &mut *hidden } else { &mut *shown };
        names.push(inner.get_name().to_owned());
        collect_names(inner, is_hidden, hidden, shown);
    }
}
