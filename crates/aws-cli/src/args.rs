//! The command line as people type it.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, value_parser};
use rowhouse_aws::package::Architecture;
use rowhouse_command::rows::RowCommand;

/// The platform on AWS: rows in DynamoDB, each app a CloudFormation stack, the reactor a Lambda
/// function.
///
/// Credentials, profile and region are those that the AWS CLI would use.
#[derive(Debug, Parser)]
#[command(name = "rowhouse aws", bin_name = "rowhouse aws", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where in AWS.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Profile of the AWS CLI's files [default: `AWS_PROFILE`, else `default`]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Region [default: `AWS_REGION`, else the profile's]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// What brought a command here: `rowhouse --aws`
    #[arg(long, global = true, hide = true)]
    pub(crate) aws: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the platform in this account and region, or bring it up to date
    Install(Install),
    /// Remove the platform and everything that it made
    Uninstall(Uninstall),
    /// Check the platform, and say what to do about it
    Doctor(Doctor),
    /// Lay the functions down for an installation by hand
    Package(Package),
    #[command(flatten)]
    Row(RowCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Apps answer at NAME.DOMAIN, by HTTPS [default of an update: as it is, like all that follow]
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Hosted zone of that domain [default: the one of its name, or of the nearest parent]
    #[arg(long, value_name = "ID")]
    pub(crate) hosted_zone: Option<String>,
    /// Git repository of rows without one; empty for none
    #[arg(long, value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// Hosts of git repositories that may have private addresses, with commas between them; empty
    /// for none
    #[arg(long, value_name = "HOSTS")]
    pub(crate) allowed_repository_hosts: Option<String>,
    /// The most instances of an app [default of a new platform: 3]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) max_scale: Option<u32>,
    /// Type of the apps' instances [default of a new platform: t3.micro]
    #[arg(long, value_name = "TYPE")]
    pub(crate) instance_type: Option<String>,
    /// Secrets `rowhouse/git/HOST`, with whose tokens instances may fetch private repositories;
    /// empty for none
    #[arg(long, value_name = "ARN,…")]
    pub(crate) token_secrets: Option<String>,
    /// EC2 key pair for SSH through Session Manager; empty for none
    #[arg(long, value_name = "NAME")]
    pub(crate) key_name: Option<String>,
    /// Template of the apps' stacks, with the parameters and outputs of templates/app.yaml; empty
    /// for that one
    #[arg(long, value_name = "FILE", value_parser = path_or_nothing())]
    pub(crate) app_template: Option<PathBuf>,
    /// Do not ask whether another domain is meant, which moves the apps
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Delete the apps, too
    #[arg(long)]
    pub(crate) delete_apps: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Have CloudFormation compare what it made with its template, too, which takes a minute
    #[arg(long)]
    pub(crate) drift: bool,
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Package {
    /// Folder to lay it down in
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Processor of functions and instances [default: this machine's]
    #[arg(long, value_name = "x86_64|arm64", value_parser = architecture)]
    pub(crate) arch: Option<Architecture>,
    /// Your config.json, to be packed with the reactor [default: one to be filled in]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// A path that may be empty, which that of clap refuses.
fn path_or_nothing() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn architecture(text: &str) -> Result<Architecture, String> {
    let found = Architecture::ALL.into_iter().find(|one| one.as_str() == text);
    found.ok_or_else(|| "write `x86_64` or `arm64`".to_owned())
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
        let command = Arguments::command();
        for name in command.get_subcommands().map(clap::Command::get_name) {
            let has = |name: &str| document.contains(&format!("\n| `{name}` |"));
            assert!(has(name) || has(&format!("aws {name}")), "docs/platforms.md lacks `{name}`");
        }
    }

    #[test]
    fn an_empty_template_is_the_way_back_to_the_shipped_one() {
        for (words, expected) in [
            (&["--app-template", ""][..], Some("")),
            (&["--app-template="], Some("")),
            (&["--app-template", "own.yaml"], Some("own.yaml")),
            (&[], None),
        ] {
            let words = ["rowhouse aws", "install"].iter().chain(words);
            let arguments = Arguments::try_parse_from(words).unwrap();
            let Command::Install(install) = arguments.command else { panic!("another command") };
            assert_eq!(install.app_template.as_deref(), expected.map(std::path::Path::new));
        }
    }
}
