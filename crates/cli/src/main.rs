//! The command `rowhouse`: apps as rows.

mod args;
mod change;
mod commands;
mod context;
mod demo;
mod demo_repository;
mod environment;
mod hidden;
mod instance;
mod names;
mod project;
mod row_json;
mod row_text;
mod wait;

use std::process::ExitCode;

use rowhouse_cli::{failure, output, telemetry};

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // The small parents of processes come first: they have no runtime, and must start in no time.
    hidden::run(&arguments).unwrap_or_else(|| commands::run(arguments))
}
