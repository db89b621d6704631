//! Failures, told apart by whose they are: exit status 1 is the user's input or app, 2 is ours.

use thiserror::Error;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The user's input, or the user's app.
    Yours,
    Ours,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> std::process::ExitCode {
        std::process::ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Yours => 1,
            Exit::Ours => 2,
        })
    }
}

/// Input that cannot be acted on: what was wrong, and what to type next.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct BadInput {
    pub message: String,
    pub hint: Option<String>,
}

/// Bad input with the next command to type.
pub fn bad_input(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    BadInput { message: message.into(), hint: Some(hint.into()) }.into()
}
