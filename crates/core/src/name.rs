//! Names: the key of a row, whatever it is, and the host name label that an app must have.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quoted::shortened;

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

/// A DNS label: the host name under the platform's domain, and the name of the stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppName(String);

impl AppName {
    /// `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`, or the sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<AppName, String> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(legal)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-');
        fits.then(|| AppName(text.to_owned())).ok_or_else(|| {
            format!(
                "`Name` is {}: it must be a host name of 1 to 63 lower-case letters, digits and \
                 dashes \
                 that begins with a letter and does not end with a dash",
                shortened(text)
            )
        })
    }

    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the row that this app is.
    pub fn key(&self) -> RowKey {
        RowKey(self.0.clone())
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "shop", "a-1", "x2", &"a".repeat(63)] {
            assert!(AppName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "1a", "a.b", "ä", " a", "a\n", &"a".repeat(64)] {
            let reason = AppName::parse(name).unwrap_err();
            assert!(reason.starts_with("`Name` is "), "{reason}");
        }
    }
}
