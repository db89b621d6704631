//! The command line as people type it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, value_parser};
use rowhouse_core::AppName;

/// The variable that names the data folder.
pub(crate) const DATA_VARIABLE: &str = "ROWHOUSE_DATA";

/// An app is a row: put {Name, Version, Scale} in a table and the app runs, load-balanced, at a URL.
#[derive(Debug, Parser)]
#[command(name = "rowhouse", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Folder of the platform: the table is the file `rowhouse.db` in it [default: `ROWHOUSE_DATA`, else the XDG
    /// data folder]
    // The variable is read by ourselves: where the parser knows it, a usage shows the option as if it were required.
    #[arg(long, global = true, value_name = "DIR", value_parser = folder())]
    pub(crate) data: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform until Ctrl-C, which stops the instances; SIGTERM leaves them running, and
    /// SIGHUP hands over to this program's file as it is then
    Up(Up),
    /// Stop a running platform, if any, and all instances; rows stay
    Down,
    /// Show it all: an app of two instances, from nothing to a URL
    Demo(Demo),
    /// Deploy the project in this folder at its last commit
    Deploy(Deploy),
    /// Create an app, or change what is given of it
    Put(Put),
    /// Run another number of instances
    Scale(Scale),
    /// Deploy the same row again: a failed one, or a branch that has moved
    Redeploy(Changed),
    /// Go back to an earlier revision of the history
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
    /// Check what the platform needs, and say what to do about it
    Doctor(Read),
    /// What a machine of one app does beside the platform on it
    #[command(hide = true)]
    Instance(Box<crate::instance::Instance>),
    /// The platform on AWS: `install`, `uninstall`, `doctor`, `package`
    #[command(disable_help_flag = true)]
    Aws(Aws),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Address and port of the proxy
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Apps answer at NAME.DOMAIN
    #[arg(long, default_value = "localhost")]
    pub(crate) domain: String,
    /// The one app of a machine behind a load balancer: it gets every request, whatever host it names
    #[arg(long, hide = true, value_parser = AppName::parse, value_name = "NAME")]
    pub(crate) only: Option<AppName>,
    /// What another program lays out for that app: its commit, its build, its repository
    #[arg(long, hide = true, requires = "only", value_name = "DIR")]
    pub(crate) supply: Option<PathBuf>,
    /// Repository of rows without one
    #[arg(long, value_name = "URL|PATH")]
    pub(crate) repo: Option<String>,
    /// Folder of the app in that repository
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<String>,
    /// The most instances of an app
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) max_scale: u32,
    /// How long a step of a build may take
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "TIME")]
    pub(crate) build_timeout: Duration,
    /// How long requests in flight may take when their instance must go
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub(crate) drain: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Address and port of the proxy [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_parser = address, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Waiting {
    /// Do not wait for the outcome
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait; for a repository that does not answer, 30 s at the most
    #[arg(long, default_value = "20m", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// [default: the folder's name]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    pub(crate) name: String,
    /// Branch, tag or commit [default of a new app: the repository's default branch]
    #[arg(long, value_name = "REF", allow_hyphen_values = true)]
    pub(crate) version: Option<String>,
    /// Number of instances [default of a new app: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) scale: Option<String>,
    /// Git repository; empty for the platform's
    #[arg(long, value_name = "URL|PATH", allow_hyphen_values = true)]
    pub(crate) repo: Option<String>,
    /// Folder of the app in the repository; empty for its root
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<String>,
    /// Environment variable of the app; `KEY=-` reads the value from stdin
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// File of KEY=VALUE lines; `--env` goes over it
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Remove an environment variable of the app
    #[arg(long, value_name = "KEY")]
    pub(crate) unset_env: Vec<String>,
    /// Environment variable of the build
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) build_env: Vec<String>,
    /// HTTP path that must answer 2xx or 3xx; empty: a port that accepts connections is enough
    #[arg(long, value_name = "PATH")]
    pub(crate) health: Option<String>,
    /// How long an instance may take to be healthy
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) health_timeout: Option<Duration>,
    /// Redeploy when the branch moves
    #[arg(long, value_name = "true|false")]
    pub(crate) follow: Option<bool>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    pub(crate) name: String,
    #[arg(value_name = "N", allow_hyphen_values = true)]
    pub(crate) instances: String,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Changed {
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    pub(crate) name: String,
    /// A commit of the history, in full or its first digits [default: after a failed change what serves, else what
    /// served before that; so a second rollback takes the first one back]
    pub(crate) revision: Option<String>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    pub(crate) name: String,
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    pub(crate) name: String,
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the values of environment variables
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    pub(crate) name: Option<String>,
    /// Go on with new ones until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// One JSON document; with `--follow` one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    pub(crate) name: String,
    /// Go on with new lines until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many lines to begin with
    #[arg(short = 'n', default_value_t = 100, value_name = "LINES")]
    pub(crate) lines: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Open {
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Aws {
    /// What `rowhouse aws --help` tells of
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<std::ffi::OsString>,
}

/// Any path, also the empty one, which is refused in our own words.
fn folder() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// An address with a port; of names, `localhost` alone is sure to mean this machine.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_| {
        "write an address and a port, such as `127.0.0.1:8080`, `[::1]:8080`, or `0.0.0.0:80` for every address"
            .to_owned()
    })
}

/// A time such as `90s`, `15m` or `2h`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let allowed = || format!("`{text}` is no time: write `90s`, `15m` or `2h`");
    let number: u64 = digits.parse().map_err(|_| allowed())?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(allowed()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(allowed)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_address_has_a_port() {
        assert_eq!(address("localhost:8080"), address("127.0.0.1:8080"));
        assert!(address("[::1]:80").is_ok());
        for bad in
            ["", "127.0.0.1", "8080", ":8080", "localhost", "localhost:http", "example.com:80"]
        {
            assert!(address(bad).unwrap_err().contains("`127.0.0.1:8080`"), "{bad}");
        }
    }

    #[test]
    fn times_have_units_that_people_write() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        for bad in ["", "m", "-1s", "1d", "1.5h", "99999999999999999999s", "9999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
