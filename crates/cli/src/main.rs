//! The command `rowhouse`: apps as rows.

mod args;
mod change;
mod commands;
mod context;
mod demo;
mod demo_repository;
mod environment;
mod failure;
mod hidden;
mod instance;
mod names;
mod outlet;
mod output;
mod project;
mod row_json;
mod row_text;
mod telemetry;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // The small parents of processes come first: they have no runtime, and must start in no time.
    hidden::run(&arguments).unwrap_or_else(|| commands::run(arguments))
}
