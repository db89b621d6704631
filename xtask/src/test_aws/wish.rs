//! The arguments of `cargo xtask test-aws`.

use std::path::PathBuf;

use anyhow::{Context, bail};

const USAGE: &str = "cargo xtask test-aws --domain DOMAIN [--hosted-zone ID] [--profile NAME] \
    [--region REGION]\n  \
    [--repo URL] [--path FOLDER] [--version VERSION] [--rowhouse-aws PROGRAM] [--yes]\n\
    DOMAIN must be in a Route 53 hosted zone of the account; account, credentials and region are \
    those that the AWS \
    CLI would use.";

/// What is tried, and where.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) domain: String,
    pub(super) hosted_zone: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) region: Option<String>,
    /// The app.
    pub(super) name: String,
    pub(super) repository: String,
    pub(super) path: String,
    pub(super) version: String,
    /// The command that is tried, where it is not this checkout's.
    pub(super) program: Option<PathBuf>,
    pub(super) yes: bool,
}

impl Wish {
    pub(super) fn parse(arguments: &[&str]) -> anyhow::Result<Wish> {
        let mut wish = Wish {
            domain: String::new(),
            hosted_zone: None,
            profile: None,
            region: None,
            name: "hello".to_owned(),
            repository: "https://github.com/rowhouse/rowhouse".to_owned(),
            path: "examples/hello".to_owned(),
            version: "main".to_owned(),
            program: None,
            yes: false,
        };
        let mut left = arguments.iter();
        while let Some(word) = left.next() {
            if *word == "--yes" {
                wish.yes = true;
                continue;
            }
            let mut value = || -> anyhow::Result<String> {
                Ok((*left.next().with_context(|| format!("`{word}` needs a value\n{USAGE}"))?)
                    .to_owned())
            };
            match *word {
                "--domain" => wish.domain = value()?,
                "--hosted-zone" => wish.hosted_zone = Some(value()?),
                "--profile" => wish.profile = Some(value()?),
                "--region" => wish.region = Some(value()?),
                "--repo" => wish.repository = value()?,
                "--path" => wish.path = value()?,
                "--version" => wish.version = value()?,
                "--rowhouse-aws" => wish.program = Some(value()?.into()),
                other => bail!("`{other}` is unknown\n{USAGE}"),
            }
        }
        if wish.domain.is_empty() {
            bail!("a domain is needed\n{USAGE}");
        }
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_asked_for_and_what_nobody_knows_is_named() {
        let problem = |arguments: &[&str]| Wish::parse(arguments).unwrap_err().to_string();
        assert!(problem(&[]).starts_with("a domain is needed"));
        assert!(problem(&["--domain"]).starts_with("`--domain` needs a value"));
        assert!(problem(&["--domain", "x.y", "--force"]).starts_with("`--force` is unknown"));
        let wish = Wish::parse(&["--yes", "--domain", "x.y", "--region", "eu-west-1"]).unwrap();
        assert!(wish.yes && wish.domain == "x.y" && wish.region.as_deref() == Some("eu-west-1"));
    }
}
