//! How a platform answers: what a version names, and how an operation was taken.

use thiserror::Error;

use crate::commit::Commit;

/// What a version names at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    Known(Commit),
    /// The repository answered, and has no such branch, tag or commit. Counts as refused.
    NoSuchVersion {
        reason: String,
    },
    /// The repository is not there, refuses us, or cannot be read: time alone mends nothing. Counts
    /// as refused, and is asked again by the full sweep.
    Denied {
        reason: String,
    },
    /// Nobody knows now; asked again later.
    Unreachable {
        reason: String,
    },
}

/// How an operation was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is under way (or was already, by this very token); its end rings.
    Started,
    /// The stack is no longer as the decision saw it, or something else is under way: look again.
    Busy,
    /// It will never work for this target: reported, and counts as tried.
    Refused { reason: String },
    /// Not tried; or tried, and the answer was lost. Look again later.
    Unreachable { reason: String },
}

/// The platform or the table cannot be asked now. The caller tries again later and loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unreachable {
    pub reason: String,
}
