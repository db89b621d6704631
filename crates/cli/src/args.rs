//! The command line as people type it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, value_parser};
use rowhouse_command::argument::{address, duration};
use rowhouse_command::rows::{Processes, Read, RowCommand, Waiting};
use rowhouse_core::AppName;
use rowhouse_machine::limits::Cpus;
use rowhouse_machine::users::Uids;

use crate::failure::bad_input;
use crate::output::{clean, quoted};

/// The variable that says on which platform the rows are, where no option does.
pub(crate) const PLATFORM_VARIABLE: &str = "ROWHOUSE_PLATFORM";
/// The variable that names the data folder.
pub(crate) const DATA_VARIABLE: &str = "ROWHOUSE_DATA";

/// An app is a row: put {Name, Version, Scale} in a table and the app runs, load-balanced, at a
/// URL.
#[derive(Debug, Parser)]
#[command(name = "rowhouse", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Folder of the platform: the table is the file `rowhouse.db` in it [default: `ROWHOUSE_DATA`,
    /// else the XDG data folder]
    // The variable is read by ourselves: where the parser knows it, a usage shows the option as if
    // it were required.
    #[arg(long, global = true, value_name = "DIR", value_parser = folder())]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Rows on AWS instead of rows on this machine.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Work on the platform on AWS [default: if `ROWHOUSE_PLATFORM` is `aws`]
    #[arg(long, global = true)]
    pub(crate) aws: bool,
    /// Profile of the AWS CLI's files, with `--aws` [default: `AWS_PROFILE`, else `default`]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) profile: Option<String>,
    /// Region, with `--aws` [default: `AWS_REGION`, else the profile's]
    #[arg(long, global = true, value_name = "REGION", hide_short_help = true)]
    pub(crate) region: Option<String>,
}

impl Place {
    /// Whether rows on AWS are meant. A folder that somebody names, `data`, goes over the variable.
    pub(crate) fn is_aws(&self, data: Option<&Path>) -> anyhow::Result<bool> {
        match (self.aws, data) {
            (true, Some(data)) => {
                return Err(bad_input(
                    format!(
                        "`--aws` and `--data {}` are two platforms",
                        quoted(&clean(&data.display().to_string()))
                    ),
                    "leave one of the two out",
                ));
            }
            (true, None) => return Ok(true),
            (false, Some(_)) => return Ok(false),
            (false, None) => {}
        }
        let variable = std::env::var_os(PLATFORM_VARIABLE).unwrap_or_default();
        let is_aws = match variable.to_str() {
            Some("aws") => true,
            Some("" | "machine") => false,
            Some(_) | None => {
                return Err(bad_input(
                    format!("`{PLATFORM_VARIABLE}` is `{}`", clean(&variable.to_string_lossy())),
                    "it may be `machine` or `aws`",
                ));
            }
        };
        if !is_aws && let Some(option) = self.option() {
            return Err(bad_input(
                format!("`{option}` is for AWS, and rows on this machine are meant"),
                "put `--aws` before it",
            ));
        }
        Ok(is_aws)
    }

    fn option(&self) -> Option<&'static str> {
        self.given().next().map(|(option, _)| option)
    }

    /// Profile and region, as options of `rowhouse-aws`.
    pub(crate) fn options(&self) -> impl Iterator<Item = OsString> {
        self.given().flat_map(|(option, value)| [option.into(), value.into()])
    }

    fn given(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let options = [("--profile", &self.profile), ("--region", &self.region)];
        options.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the platform until Ctrl-C, which stops the instances; SIGTERM leaves them running, and
    /// SIGHUP hands over to this program's file as it is then
    Up(Box<Up>),
    /// Stop a running platform, if any, and all instances; rows stay
    Down,
    /// Show it all: an app of two instances, from nothing to a URL
    Demo(Demo),
    /// Deploy the project in this folder at its last commit
    Deploy(Deploy),
    #[command(flatten)]
    Row(RowCommand),
    /// Check what the platform needs, and say what to do about it
    Doctor(Read),
    /// What a machine of one app does beside the platform on it
    #[command(hide = true)]
    Instance(Box<rowhouse_instance::Instance>),
    /// The platform on AWS: `install`, `uninstall`, `doctor`, `package`
    #[command(disable_help_flag = true)]
    Aws(Aws),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Address and port of the proxy
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address)]
    #[arg(value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Apps answer at NAME.DOMAIN
    #[arg(long, default_value = "localhost")]
    pub(crate) domain: String,
    /// The one app of a machine behind a load balancer: it gets every request, whatever host it
    /// names
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
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    #[arg(value_name = "N")]
    pub(crate) max_scale: u32,
    /// How long a step of a build may take
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "TIME")]
    pub(crate) build_timeout: Duration,
    /// How long requests in flight may take when their instance must go
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub(crate) drain: Duration,
    /// How long the processes of an instance may take to end after SIGTERM
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) stop_grace: Duration,
    /// How long new instances must stay healthy: before traffic moves to them, and before a change
    /// counts as deployed
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "TIME")]
    pub(crate) steady: Duration,
    /// Connections that one address may have open [default: half of all]
    #[arg(long, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) connections_per_client: Option<u32>,
    /// MiB that an instance may use whose row has no `Memory` [default: half of the machine's]
    #[arg(long, value_parser = value_parser!(u64).range(16..=1 << 24), value_name = "MIB")]
    pub(crate) memory: Option<u64>,
    /// Processes and threads that an instance or a build may have [default: 2000]
    #[arg(long, value_parser = value_parser!(u32).range(10..), value_name = "N")]
    pub(crate) processes: Option<u32>,
    /// MiB of disk that an app's own folders may take [default: half of the disk]
    #[arg(long, value_parser = value_parser!(u64).range(1..=1 << 32), value_name = "MIB")]
    pub(crate) disk: Option<u64>,
    /// MiB that a build may use [default: three quarters of the machine's]
    #[arg(long, value_parser = value_parser!(u64).range(16..=1 << 24), value_name = "MIB")]
    pub(crate) build_memory: Option<u64>,
    /// CPUs that a build may use, such as 1.5 [default: all that others leave]
    #[arg(long, value_parser = Cpus::from_str, value_name = "N")]
    pub(crate) build_cpu: Option<Cpus>,
    /// Limit apps and builds as on a machine without control groups
    #[arg(long, hide = true)]
    pub(crate) without_control_groups: bool,
    /// A file or folder that every app may read, with the sockets in it; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) share: Vec<PathBuf>,
    /// As root: the users of the machine that apps may be, each its own [default: some that nobody
    /// has]
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) uids: Option<Uids>,
    /// Do not keep apps apart: each may do what this user may
    #[arg(long)]
    pub(crate) trust_apps: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Address and port of the proxy [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_parser = address, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Name of the app [default: the folder's name]
    pub(crate) name: Option<String>,
    /// The same, as an option
    #[arg(long = "name", value_name = "NAME", conflicts_with = "name")]
    pub(crate) named: Option<String>,
    #[command(flatten)]
    pub(crate) processes: Processes,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct Aws {
    /// What `rowhouse aws --help` tells of
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,
}

/// Any path, also the empty one, which is refused in our own words.
fn folder() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
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
    fn the_table_of_both_platforms_has_each_command() {
        let document = include_str!("../../../docs/platforms.md");
        let (_, table) = document.split_once("\n## Commands\n").unwrap();
        let lines = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let mut told: Vec<&str> = lines.map(|(name, _)| name).collect();
        // Those of the other program have a test of their own there.
        told.retain(|name| !name.starts_with("aws "));
        let command = Arguments::command();
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let mut known: Vec<&str> =
            shown.map(clap::Command::get_name).filter(|name| *name != "aws").collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }

    /// The commands that the units of a template start, with values in place of parameters.
    fn commands(template: &str) -> Vec<Vec<String>> {
        let value = |name: &str| match name {
            "Manifest" => "a".repeat(64),
            "Commit" => "c".repeat(40),
            "AppsDomain" => "apps.example.com".to_owned(),
            other => other.to_lowercase().replace([':', '.'], "-"),
        };
        let starts = template.lines().filter_map(|line| {
            line.trim().strip_prefix("ExecStart=").filter(|line| line.contains("/rowhouse "))
        });
        let filled = starts.map(|line| {
            let mut parts = line.split("${");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| {
                let (name, rest) = part.split_once('}').expect("a parameter ends");
                text + &value(name) + rest
            })
        });
        filled.map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn the_templates_start_this_program_with_arguments_that_it_knows() {
        for template in [
            include_str!("../../../templates/app.yaml"),
            include_str!("../../../templates/app-dedicated.yaml"),
        ] {
            let commands = commands(template);
            let words: Vec<&str> = commands.iter().map(|command| command[1].as_str()).collect();
            assert_eq!(words, ["up", "instance"]);
            for command in commands {
                let parsed = Arguments::try_parse_from(&command);
                assert!(parsed.is_ok(), "{command:?}: {}", parsed.unwrap_err());
            }
        }
    }
}
