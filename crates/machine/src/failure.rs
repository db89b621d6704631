//! Why an operation failed, sorted by whose fault it is: that decides whether its target counts as tried.

use rowhouse_core::Unreachable;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The app's fault: this target was tried.
    App(String),
    /// Ours, the machine's or the network's: it was not tried, and will be.
    Ours(String),
}

impl Failure {
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
