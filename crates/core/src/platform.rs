//! The port to what runs apps.

use std::future::Future;

use thiserror::Error;

use crate::app::{App, AppName, Version};
use crate::commit::Commit;
use crate::digest::{Base, SettingsDigest};
use crate::stack::{Deployment, Observed};

/// What a platform brings to every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of what instances are made from; not listen addresses, domain or limits.
    pub digest: SettingsDigest,
    /// The repository of a row without `Repo`.
    pub repository: Option<String>,
    /// The folder of a row without `Repo` and `Path`.
    pub path: Option<String>,
    /// The most instances that a row may ask for.
    pub max_scale: u32,
    /// Whether `Repo` may be reached by ssh or be a path on this machine.
    pub local_repositories: bool,
}

impl Settings {
    /// Settings for tests and demonstrations: a local default repository, at most three instances.
    pub fn for_tests() -> Settings {
        Settings {
            digest: SettingsDigest::of("test"),
            repository: Some("/srv/default".to_owned()),
            path: Some("apps".to_owned()),
            max_scale: 3,
            local_repositories: true,
        }
    }
}

/// What a version names at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    Known(Commit),
    /// The repository answered, and has no such branch, tag or commit. Counts as refused.
    NoSuchVersion {
        reason: String,
    },
    /// Nobody knows now; asked again later.
    Unreachable {
        reason: String,
    },
}

/// What is to be made of an app, complete: whoever performs it has nothing left to choose.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    pub app: App,
    pub deployment: Deployment,
}

/// One step on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Create(Box<Plan>),
    Update(Box<Plan>),
    /// Ends what is in progress and goes back to what ran before.
    Cancel,
    /// `retain`: leave behind what could not be deleted before.
    Delete {
        retain: bool,
    },
    /// Continues a rollback that failed.
    ContinueRollback,
}

impl Operation {
    /// The operation's word in tokens and events.
    pub fn word(&self) -> &'static str {
        match self {
            Operation::Create(_) => "create",
            Operation::Update(_) => "update",
            Operation::Cancel => "cancel",
            Operation::Delete { .. } => "delete",
            Operation::ContinueRollback => "continue",
        }
    }
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

/// What runs apps: observes, and performs what was decided; it decides nothing.
pub trait Platform {
    /// What the platform brings to every row now.
    fn settings(&self) -> Settings;

    /// Looks at the stack of this name. Never older than the answer to an operation that this process saw.
    fn observe(&self, name: &AppName)
    -> impl Future<Output = Result<Observed, Unreachable>> + Send;

    /// Says which commit a version names; 40 hex digits name themselves, else a branch goes before a tag.
    fn resolve(
        &self,
        repository: &str,
        version: &Version,
    ) -> impl Future<Output = Resolution> + Send;

    /// Starts an operation on the stack as it was seen at `base` (`None`: it was missing). Returns as soon as
    /// the operation is certain to be carried on, also over a crash. The same operation on the same base is
    /// performed at most once, whoever asks and however often; on another base the answer is `Busy`.
    fn perform(
        &self,
        name: &AppName,
        operation: Operation,
        base: Option<Base>,
    ) -> impl Future<Output = Outcome> + Send;

    /// Every stack of ours, as `observe` would show it.
    fn list(&self) -> impl Future<Output = Result<Vec<(AppName, Observed)>, Unreachable>> + Send;
}
