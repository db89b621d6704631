//! The row as it stands in the table: whatever somebody wrote, and what the reactor answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attribute::{Told, UserAttributes};
use crate::commit::{Commit, NoCommit};
use crate::digest::{Generation, SettingsDigest, Target};
use crate::name::RowKey;

/// What the reactor says of an app. The first three words are the seed's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Deploying,
    Deployed,
    DeployFailed,
    Invalid,
}

impl Status {
    /// The word that stands in the row.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Deploying => "deploying",
            Status::Deployed => "deployed",
            Status::DeployFailed => "deploy_failed",
            Status::Invalid => "invalid",
        }
    }

    /// Reads the word back; any other text is no status of ours.
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Deploying, Status::Deployed, Status::DeployFailed, Status::Invalid]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The reactor's part of a row. `Seq` and `ChangedAt` are kept by the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// `None`: never answered, or erased by a whole-row replacement.
    pub status: Option<Status>,
    /// `LoadBalancer`: the app's URL.
    pub url: Option<String>,
    pub reason: Option<String>,
    /// The commit that serves traffic now.
    pub revision: Option<Commit>,
    /// How many instances answer now.
    pub healthy: u32,
    pub generation: Option<Generation>,
    pub target: Option<Target>,
}

impl Report {
    /// Why there was no commit, where the row says that its version was refused for that on these
    /// settings. Of what was refused before any operation began, the row is the only witness.
    pub fn no_commit(&self, settings: &SettingsDigest) -> Option<NoCommit> {
        let generation = self.generation.as_ref()?;
        let target = self.target.as_ref().filter(|_| self.status == Some(Status::DeployFailed))?;
        NoCommit::ALL
            .into_iter()
            .find(|why| *target == Target::without_commit(generation, *why, settings))
    }
}

/// One row, read as a whole.
#[derive(Clone, PartialEq)]
pub struct Row {
    pub key: RowKey,
    pub user: UserAttributes,
    pub report: Report,
    /// Count of the reactor's writes; 0 where it stands nowhere.
    pub seq: u64,
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { key, user, report, seq } = self;
        formatter
            .debug_struct("Row")
            .field("key", key)
            .field("user", &Told(user))
            .field("report", report)
            .field("seq", seq)
            .finish()
    }
}

impl Row {
    /// Which desired state stands in the row now.
    pub fn generation(&self) -> Generation {
        Generation::of(&self.user)
    }

    /// Whether the status speaks of what stands in the row now.
    pub fn is_answered(&self) -> bool {
        self.report.status.is_some() && self.report.generation.as_ref() == Some(&self.generation())
    }

    /// The row as it stands after the reactor wrote `report` into it.
    #[must_use]
    pub fn reported(&self, report: Report) -> Row {
        Row { report, seq: self.seq + 1, ..self.clone() }
    }
}
