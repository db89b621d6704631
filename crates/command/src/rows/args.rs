//! The commands on rows as people type them, on either platform.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};

use rowhouse_core::Attribute;

use crate::argument::duration;

/// A command that reads or writes rows.
#[derive(Debug, Subcommand)]
pub enum RowCommand {
    /// Create an app, or change what is given of it
    Put(Box<Put>),
    /// Run another number of instances
    Scale(Scale),
    /// Deploy the same row again: a failed one, or a branch that has moved
    Redeploy(Changed),
    /// Go back to an earlier release of the history
    Rollback(Rollback),
    /// Delete apps
    Rm(Remove),
    /// List all apps
    Ls(Read),
    /// Show one app
    Show(Show),
    /// Show how the rollouts of an app ended
    History(One),
    /// Show what happened
    Events(Events),
    /// Show what an app and its builds have printed
    Logs(Logs),
    /// Open an app in the browser
    Open(Open),
}

impl RowCommand {
    /// Whether the command writes rows, and so changes what runs.
    pub fn changes(&self) -> bool {
        match self {
            RowCommand::Put(_)
            | RowCommand::Scale(_)
            | RowCommand::Redeploy(_)
            | RowCommand::Rollback(_)
            | RowCommand::Rm(_) => true,
            RowCommand::Ls(_)
            | RowCommand::Show(_)
            | RowCommand::History(_)
            | RowCommand::Events(_)
            | RowCommand::Logs(_)
            | RowCommand::Open(_) => false,
        }
    }
}

#[derive(Debug, Args)]
pub struct Waiting {
    /// Do not wait for the outcome
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait; for a repository that does not answer, 30 s at the most
    #[arg(long, default_value = "20m", value_parser = duration, value_name = "TIME")]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Processes {
    /// Line over that of the repository's Procfile, such as `web='./serve'`; an empty command takes
    /// a line away, `NAME=-` reads the command from stdin
    #[arg(long, value_name = "NAME=COMMAND")]
    pub process: Vec<String>,
    /// Remove such a line from the row: the repository's Procfile counts again
    #[arg(long, value_name = "NAME")]
    pub unset_process: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Put {
    pub name: String,
    /// Branch, tag or commit [default of a new app: the repository's default branch]
    #[arg(long, value_name = "REF", allow_hyphen_values = true)]
    pub version: Option<String>,
    /// Number of instances [default of a new app: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub scale: Option<String>,
    /// Git repository; empty for the platform's
    #[arg(long, value_name = "URL|PATH", allow_hyphen_values = true)]
    pub repo: Option<String>,
    /// Folder of the app in the repository; empty for its root
    #[arg(long, value_name = "DIR")]
    pub path: Option<String>,
    /// Environment variable of the app; `KEY=-` reads the value from stdin
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// File of KEY=VALUE lines; `--env` goes over it
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Remove an environment variable of the app
    #[arg(long, value_name = "KEY")]
    pub unset_env: Vec<String>,
    /// Environment variable of the build
    #[arg(long, value_name = "KEY=VALUE")]
    pub build_env: Vec<String>,
    #[command(flatten)]
    pub processes: Processes,
    /// HTTP path that must answer 2xx or 3xx; empty: a port that accepts connections is enough
    #[arg(long, value_name = "PATH")]
    pub health: Option<String>,
    /// How long an instance may take to be healthy
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub health_timeout: Option<Duration>,
    /// What an instance may take, in MiB; empty: as much as the platform allows
    #[arg(long, value_name = "MIB", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Redeploy when the branch moves
    #[arg(long, value_name = "true|false", value_parser = BoolishValueParser::new())]
    pub follow: Option<bool>,
    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct Scale {
    pub name: String,
    #[arg(value_name = "N", allow_hyphen_values = true)]
    pub instances: String,
    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct Changed {
    pub name: String,
    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct Rollback {
    pub name: String,
    /// A release's number, or the first digits of its commit [default: after a failed change what
    /// was deployed last, else what was before that; so a second rollback takes the first one back]
    pub revision: Option<String>,
    /// Leave this attribute of the row as it is
    #[arg(long, value_name = "ATTRIBUTE", value_parser = attribute)]
    pub keep: Vec<Attribute>,
    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct Remove {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct Read {
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct One {
    pub name: String,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    pub name: String,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
    /// Show the values of environment variables
    #[arg(long)]
    pub reveal: bool,
}

#[derive(Debug, Args)]
pub struct Events {
    pub name: Option<String>,
    /// Go on with new ones until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON document; with `--follow` one object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Logs {
    pub name: String,
    /// Go on with new lines until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', default_value_t = 100, value_name = "LINES")]
    pub lines: usize,
}

#[derive(Debug, Args)]
pub struct Open {
    pub name: String,
}

/// An attribute by its name.
fn attribute(text: &str) -> Result<Attribute, String> {
    let names = || Attribute::ALL.map(|attribute| format!("`{}`", attribute.name()));
    Attribute::named(text)
        .ok_or_else(|| format!("it must be an attribute of users: {}", names().join(", ")))
}
