//! Why there is no build, or no way to make one.

use std::io;
use std::path::{Path, PathBuf};

use crate::build::procfile::ProcfileError;
use crate::git::error::GitError;
use crate::process::end::End;

/// Why there is no build, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The app's own fault: its build's log says more.
    #[error("build step `{title}` {}", how_it_ended(end))]
    Failed {
        title: String,
        command: Vec<String>,
        /// Where it ran.
        folder: PathBuf,
        end: End,
    },
    /// The row names a folder that is not one.
    #[error(
        "path `{path}` {objection}; allowed is a folder inside the repository, such as `apps/shop`"
    )]
    BadPath { path: String, objection: String },
    /// The app cannot be built or run as it is, or not on this machine.
    #[error(transparent)]
    NoWay(#[from] RecipeError),
    /// The commit could not be had.
    #[error(transparent)]
    Git(#[from] GitError),
    /// There is no room.
    #[error(
        "no space left on the device of `{}`; free some, or move the platform's folder",
        folder.display()
    )]
    DiskFull { folder: PathBuf },
    /// This machine does not do what it must.
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
}

impl BuildError {
    /// Would the same request fail again, until its user or the operator changes something?
    pub fn is_refused(&self) -> bool {
        match self {
            BuildError::Failed { .. }
            | BuildError::BadPath { .. }
            | BuildError::NoWay(_)
            | BuildError::Git(GitError::Refused { .. } | GitError::Denied { .. }) => true,
            BuildError::Git(
                GitError::Unreachable { .. } | GitError::DiskFull { .. } | GitError::Io { .. },
            )
            | BuildError::DiskFull { .. }
            | BuildError::Io { .. } => false,
        }
    }

    /// A path that is none, and what is wrong with it.
    pub(crate) fn bad_path(path: &str, objection: &str) -> BuildError {
        BuildError::BadPath { path: path.to_owned(), objection: objection.to_owned() }
    }

    /// What went wrong with a file or a program of ours, a full disk named as such.
    pub(crate) fn io(what: impl Into<String>, folder: &Path, source: io::Error) -> BuildError {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            BuildError::DiskFull { folder: folder.to_owned() }
        } else {
            BuildError::Io { what: what.into(), source }
        }
    }
}

/// Why there is no way to build or run an app. None of these passes by itself: the app's user or
/// the machine's operator has to do something.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// Nobody knows how it is started, or there is more than one way; what to type is said.
    #[error("{0}")]
    NoStart(String),
    /// The build is from a version that did not look at what is now needed of it.
    #[error(
        "its row takes away the `web` line, and this build is from before that could be done; \
         deploy another commit"
    )]
    Forgotten,
    /// The machine lacks what the app is built with.
    #[error("`{tool}` is not installed, which {wanted_by} needs; install it: {cure}")]
    Missing { tool: String, wanted_by: String, cure: String },
    /// The machine has another version of a language than the app asks for.
    #[error("`{file}` asks for {language} {wanted}, and this machine has {there}; {cure}")]
    Version {
        language: &'static str,
        wanted: String,
        file: &'static str,
        there: String,
        cure: String,
    },
    /// A file of the app does not say what it should.
    #[error("cannot read `{file}` of the app: {reason}")]
    BadFile { file: String, reason: String },
    /// The app's `Procfile` is not one.
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
}

/// As a build's reason says it.
fn how_it_ended(end: &End) -> String {
    match end {
        End::Exited(status) => format!("ended with exit status {status}"),
        End::Signalled(signal) => format!("was ended by signal {signal}"),
        End::TimedOut | End::Exceeded(_) | End::NotStarted(_) | End::Lost => end.to_string(),
    }
}
