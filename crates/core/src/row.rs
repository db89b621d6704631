//! The row as it stands in the table: whatever somebody wrote, and what the reactor answered.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::commit::Commit;
use crate::digest::{Generation, Target};

/// The primary key exactly as stored. It need not be a legal app name: bad rows are answered too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowKey(pub String);

impl RowKey {
    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An attribute that the user owns; the reactor never writes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    Version,
    Scale,
    Repo,
    Path,
    Env,
    BuildEnv,
    Health,
    HealthTimeout,
    Follow,
    Redeploy,
}

impl Attribute {
    /// Every user attribute, in the order of the contract.
    pub const ALL: [Attribute; 10] = [
        Attribute::Version,
        Attribute::Scale,
        Attribute::Repo,
        Attribute::Path,
        Attribute::Env,
        Attribute::BuildEnv,
        Attribute::Health,
        Attribute::HealthTimeout,
        Attribute::Follow,
        Attribute::Redeploy,
    ];

    /// The name in the contract, the same on both platforms.
    pub fn name(self) -> &'static str {
        match self {
            Attribute::Version => "Version",
            Attribute::Scale => "Scale",
            Attribute::Repo => "Repo",
            Attribute::Path => "Path",
            Attribute::Env => "Env",
            Attribute::BuildEnv => "BuildEnv",
            Attribute::Health => "Health",
            Attribute::HealthTimeout => "HealthTimeout",
            Attribute::Follow => "Follow",
            Attribute::Redeploy => "Redeploy",
        }
    }
}

/// A value as somebody wrote it, of whatever type.
#[derive(Clone, PartialEq)]
pub enum Value {
    Text(String),
    Whole(i64),
    Real(f64),
    Boolean(bool),
    Map(BTreeMap<String, Value>),
    /// A type that no attribute has; the word names it for the user ("a blob", "a list").
    Other(&'static str),
}

impl Value {
    /// The value for a sentence: its type where that says enough, shortened, control characters escaped.
    pub fn shown(&self) -> String {
        match self {
            Value::Text(text) => shortened(text),
            Value::Whole(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::Map(_) => "an object".to_owned(),
            Value::Other(kind) => (*kind).to_owned(),
        }
    }
}

// Values may hold secrets (`Env`), so their debug form never shows one.
impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Map(entries) => formatter.debug_set().entries(entries.keys()).finish(),
            Value::Text(_)
            | Value::Whole(_)
            | Value::Real(_)
            | Value::Boolean(_)
            | Value::Other(_) => formatter.write_str(&self.shown()),
        }
    }
}

/// A user's text in quotes, at most 60 characters of it, nothing in it that could drive a terminal.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The user's part of a row; an absent (or null) attribute has no entry.
pub type UserAttributes = BTreeMap<Attribute, Value>;

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

/// One row, read as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub key: RowKey,
    pub user: UserAttributes,
    pub report: Report,
    /// Count of the reactor's writes; 0 where it stands nowhere.
    pub seq: u64,
}

impl Row {
    /// The row as it stands after the reactor wrote `report` into it.
    #[must_use]
    pub fn reported(&self, report: Report) -> Row {
        Row { report, seq: self.seq + 1, ..self.clone() }
    }
}
