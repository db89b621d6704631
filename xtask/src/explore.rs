//! `cargo xtask explore`: the worlds of the core's explorer, deeper than the tests have time for.

use crate::tools::run_with;

/// Explores them to the last state, which takes some minutes.
pub fn run() -> anyhow::Result<()> {
    run_with(
        "cargo",
        &[
            "test",
            "--release",
            "--locked",
            "--package",
            "rowhouse-core",
            "--test",
            "explore",
            "--",
            "--nocapture",
        ],
        &[("ROWHOUSE_EXPLORE_DEEP", "1")],
    )
}
