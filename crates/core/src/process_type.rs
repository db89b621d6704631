//! The types of an app's processes, and the lines that a row has for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The type of a process, as a Procfile names it: 1 to 63 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessType(String);

impl ProcessType {
    /// What a name of one may be.
    pub const ALLOWED: &str = "1 to 63 letters, digits, `-` and `_`";

    /// Reads a name; `None`: it is not what is allowed.
    pub fn parse(text: &str) -> Option<ProcessType> {
        is_plain_name(text).then(|| ProcessType(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether processes of this type run beside `web` as many times as is asked for: not those
    /// that the platform runs itself, at times of its own.
    pub fn is_worker(&self) -> bool {
        !["web", "build", "release", "backup"].contains(&self.as_str())
    }
}

/// Whether a text is what `ProcessType::ALLOWED` says.
pub(crate) fn is_plain_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&text.len()) && text.bytes().all(plain)
}

/// Lines that go over those of a repository's Procfile, by process type; an empty one takes that
/// type away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcfileLines(BTreeMap<ProcessType, String>);

impl ProcfileLines {
    /// Whether the repository's Procfile stands as it is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line for a process type; `None`: that of the repository stands.
    pub fn line(&self, process_type: &str) -> Option<&str> {
        let mut lines = self.0.iter();
        let (_, line) = lines.find(|(name, _)| name.as_str() == process_type)?;
        Some(line)
    }

    /// Every line, by process type.
    pub fn lines(&self) -> &BTreeMap<ProcessType, String> {
        &self.0
    }
}

impl From<BTreeMap<ProcessType, String>> for ProcfileLines {
    fn from(lines: BTreeMap<ProcessType, String>) -> ProcfileLines {
        ProcfileLines(lines)
    }
}
