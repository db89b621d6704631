//! `cargo xtask test`: every test, with what they need.

use crate::tools::{cloud_init, emulators, need, run_with};

/// The real things that tests run against: Debian's own `sqlite3`, Python and Node for apps, curl
/// as the user.
const NEEDED: [(&str, &str); 15] = [
    ("git", "git"),
    ("cc", "gcc"),
    ("sqlite3", "sqlite3"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("perl", "perl"),
    ("curl", "curl"),
    ("strip", "binutils"),
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
    ("useradd", "passwd"),
    ("prlimit", "util-linux"),
    ("systemd-analyze", "systemd"),
];

/// Builds everything once, then runs every test.
pub fn run_all() -> anyhow::Result<()> {
    need(&NEEDED)?;
    let emulators = emulators()?.display().to_string();
    let cloud_init = cloud_init()?.display().to_string();
    run_with(
        "cargo",
        &["test", "--workspace", "--locked", "--no-fail-fast"],
        &[("ROWHOUSE_EMULATORS", &emulators), ("ROWHOUSE_CLOUD_INIT", &cloud_init)],
    )
}
