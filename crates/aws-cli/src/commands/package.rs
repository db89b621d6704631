//! `rowhouse aws package`: the functions as zips, and what lies beside them, for an installation by
//! hand.

use std::path::Path;

use rowhouse_aws::config::{self, Config};
use rowhouse_aws::package::{self, PackageError};
use rowhouse_core::without_password;

use crate::args::Package;
use crate::failure::{Exit, bad_input};
use crate::{checkout, output, programs};

pub(crate) fn package(package: &Package) -> anyhow::Result<Exit> {
    let architecture = package.arch.unwrap_or_else(programs::of_this_machine);
    let mut config = match &package.config {
        Some(path) => read(path)?,
        None => config::template(),
    };
    let remote = checkout::remote(Path::new("."));
    if let Some(remote) = &remote {
        config = checkout::with_repository(&config, remote);
    }
    let programs = programs::programs(architecture)?;
    let packaged = package::lay(&package.out, &programs, architecture, Some(&config), None);
    let packaged = packaged.map_err(told)?;
    let row = |(path, bytes): &(std::path::PathBuf, u64)| {
        vec![path.display().to_string(), size(*bytes), about(path).to_owned()]
    };
    let rows: Vec<Vec<String>> = packaged.files.iter().map(row).collect();
    output::table(&["file", "size", "what"], &rows);
    tell_repository(&config, remote.is_some());
    if package.config.is_none() {
        output::hint(
            "fill in config.json, and pack it with `--config FILE`; docs/aws-by-hand.md goes on \
             from there",
        );
    } else {
        output::hint("docs/aws-by-hand.md says step by step where each file goes");
    }
    Ok(Exit::Done)
}

/// Says what rows that name no repository will run.
fn tell_repository(config: &str, has_remote: bool) {
    let config = Config::parse(config, "config.json").ok();
    match config.and_then(|config| config.default_repository()) {
        Some(repository) => output::note(&format!(
            "rows without `Repo` run {}, the `Repository` of config.json",
            without_password(repository.as_str())
        )),
        None if has_remote => output::note("rows need a `Repo`: config.json says so"),
        None => output::hint(
            "rows need a `Repo`, since no remote `origin` was found here that is read by HTTPS \
             without a password: name theirs as `Repository` in config.json",
        ),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        bad_input(
            format!("cannot read `{}`: {error}", path.display()),
            "`rowhouse aws package --out DIR` without `--config` lays down one to be filled in",
        )
    })
}

/// An error of the package, which is mostly the user's: a configuration, a folder, a program.
fn told(error: PackageError) -> anyhow::Error {
    let hint = match &error {
        PackageError::Config(_) => {
            "mend that key; docs/aws-by-hand.md says what each is".to_owned()
        }
        PackageError::Unwritable { path, .. } => {
            format!(
                "name a folder that you may write with `--out DIR`; `{}` is not",
                path.display()
            )
        }
        PackageError::Unfit { .. } => {
            "programs for Lambda are built on Debian 11 or 12, Ubuntu 22.04, or Amazon Linux 2023"
                .to_owned()
        }
        PackageError::Unreadable { .. } => return error.into(),
    };
    let text = format!("{:#}", anyhow::Error::new(error));
    bad_input(text, hint)
}

fn about(path: &Path) -> &'static str {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(package::REACTOR | package::CERTIFICATES) => "a function's code",
        Some("lambda_policy.json") => {
            "what the reactor may do: replace REGION, ACCOUNT and the names"
        }
        Some("config.json") => "as it is packed with the reactor",
        Some(_) | None => "what instances run: goes into the bucket as programs/<name>",
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rounded figure is wanted")]
    let bytes = bytes as f64;
    if bytes < 1e6 { format!("{:.1} kB", bytes / 1e3) } else { format!("{:.2} MB", bytes / 1e6) }
}
