//! The command `rowhouse`: apps as rows.

mod args;
mod commands;
mod context;
mod default_branch;
mod demo;
mod demo_repository;
mod hidden;
mod machine;
mod project;

use std::process::ExitCode;

use rowhouse_command::{failure, output};

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // The small parents of processes come first: they have no runtime, and must start in no time.
    hidden::run(&arguments).unwrap_or_else(|| commands::run(arguments))
}
