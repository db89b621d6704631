//! Short names for long things: folders are named by them, never anything secret or untrusted.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// 32 hex digits that no two things share.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
