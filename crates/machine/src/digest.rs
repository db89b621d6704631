//! Short names for long things: folders are named by them, never anything secret or untrusted.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// 32 hex digits that no two things share.
pub(crate) fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes)[..16])
}
