//! The command `rowhouse aws`, as a program of its own: the first build of `rowhouse` does not wait
//! for the AWS SDK.

mod account;
mod app_events;
mod app_log;
mod app_template;
mod args;
mod bucket;
mod certificate;
mod checkout;
mod client;
mod code;
mod commands;
mod default_branch;
mod delegation;
mod domain;
mod drift;
mod instances;
mod outline;
mod price;
mod programs;
mod question;
mod quota;
mod stack;
mod without_row;
mod zone;

use std::process::ExitCode;

use rowhouse_command::{failure, finding, output};

fn main() -> ExitCode {
    commands::run(std::env::args_os().collect())
}
