//! `cargo xtask test`: every test, with what they need.

use crate::tools::{need, run};

/// The real things that tests run against: Debian's own `sqlite3`, Python and Node for apps, curl as the user.
const NEEDED: [(&str, &str); 9] = [
    ("git", "git"),
    ("cc", "gcc"),
    ("sqlite3", "sqlite3"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("perl", "perl"),
    ("curl", "curl"),
];

/// Builds everything once, then runs every test.
pub fn run_all() -> anyhow::Result<()> {
    need(&NEEDED)?;
    run("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"])
}
