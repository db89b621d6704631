//! `rowhouse aws package`: the functions as zips, and what lies beside them, for an installation by
//! hand.

use std::path::Path;

use rowhouse_aws::package::{self, PackageError};

use crate::args::Package;
use crate::failure::{Exit, bad_input};
use crate::{output, programs};

pub(crate) fn package(package: &Package) -> anyhow::Result<Exit> {
    let architecture = package.arch.unwrap_or_else(programs::of_this_machine);
    let config = package.config.as_deref().map(read).transpose()?;
    let programs = programs::programs(architecture)?;
    let packaged = package::lay(&package.out, &programs, architecture, config.as_deref(), None);
    let packaged = packaged.map_err(told)?;
    let row = |(path, bytes): &(std::path::PathBuf, u64)| {
        vec![path.display().to_string(), size(*bytes), about(path).to_owned()]
    };
    let rows: Vec<Vec<String>> = packaged.files.iter().map(row).collect();
    output::table(&["file", "size", "what"], &rows);
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
