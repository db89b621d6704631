//! Environment variables as a row has them: names in the open, values guarded.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Environment variables, by name. Values are secrets: `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables with their values: for the process, a digest, or a person who asked.
    pub fn revealed(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Environment {
        Environment(variables)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.keys().map(|name| (name, "***"))).finish()
    }
}

/// Variables that every process of an app gets from the platform, and `Env` cannot set: an app that
/// listens elsewhere than on its `PORT` would never be found. `PATH` and `LANG` are the row's to
/// change.
pub const PLATFORM_VARIABLES: [&str; 8] =
    ["APP_NAME", "APP_REVISION", "APP_VERSION", "DATA_DIR", "HOME", "HOST", "PORT", "TMPDIR"];

/// Whether a variable may have this name: `[A-Za-z_][A-Za-z0-9_]*`, which every shell can read.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
