//! The command `rowhouse`: apps as rows.

mod args;
mod commands;
mod context;
mod demo;
mod failure;
mod hidden;
mod output;
mod project;
mod row_json;
mod telemetry;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // The small parents of processes come first: they have no runtime, and must start in no time.
    hidden::run(&arguments).unwrap_or_else(|| commands::run(arguments))
}
