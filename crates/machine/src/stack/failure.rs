//! Why an operation failed, sorted by whose fault it is: that decides whether its target counts as
//! tried.

use std::path::Path;

use rowhouse_core::Unreachable;

use crate::room::is_full;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The app's fault: this target was tried.
    App(String),
    /// Ours, the machine's or the network's: it was not tried, and will be.
    Ours(String),
}

impl Failure {
    /// Of a process of the app that did not do what it should: on a full disk that is not its
    /// fault.
    pub(crate) fn of_app(reason: String, data: &Path) -> Failure {
        if is_full(data) {
            Failure::Ours(format!("the disk of `{}` is full", data.display()))
        } else {
            Failure::App(reason)
        }
    }

    /// What went wrong, for people.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Failure::App(reason) | Failure::Ours(reason) => reason,
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Failure {
        Failure::Ours(error.reason)
    }
}
