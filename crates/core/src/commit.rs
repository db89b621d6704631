//! A commit: the only form in which a version reaches a build.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A git commit: 40 lower-case hex digits, nothing shorter and nothing symbolic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(String);

impl Commit {
    /// Reads 40 hex digits, in either case; anything else is not a commit.
    pub fn parse(text: &str) -> Option<Commit> {
        let hex = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| Commit(text.to_ascii_lowercase()))
    }

    /// All 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as people and git abbreviate it.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

/// Why a version gives no commit, for certain: nothing can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoCommit {
    /// The repository answered, and has no such branch or tag.
    NoSuchVersion,
    /// The repository is not there, refuses us, or cannot be read.
    Denied,
}

impl NoCommit {
    /// Each of them.
    pub const ALL: [NoCommit; 2] = [NoCommit::NoSuchVersion, NoCommit::Denied];
}

impl fmt::Display for Commit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for Commit {
    type Error = String;

    fn try_from(text: String) -> Result<Commit, String> {
        Commit::parse(&text).ok_or_else(|| format!("`{text}` is not a commit of 40 hex digits"))
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> String {
        commit.0
    }
}
