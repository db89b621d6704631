//! The objects of manifests: immutable, named by their digests. Only the digest stands in a template, so that no text
//! of a user reaches a shell, and only its change replaces instances.

use rowhouse_core::{AppName, Commit};
use sha2::{Digest as _, Sha256};

/// SHA-256 of an object, in 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a String takes all text");
    }
    text
}

/// Where the manifest of that digest lies in the bucket of artifacts.
pub(crate) fn key(digest: &str) -> String {
    format!("manifests/{digest}.json")
}

/// Where an instance says why a version did not come up on it.
pub(crate) fn failure(name: &AppName, commit: &Commit) -> String {
    format!("failures/{name}/{commit}.txt")
}
