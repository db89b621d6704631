//! `config.json`: what an installation is made of. The eight keys of the original are enough; ours
//! are additions.

use std::fmt::Write as _;
use std::path::PathBuf;

use rowhouse_core::{Repository, Transport, without_password};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The variable that holds the same JSON, for an installation whose template makes it.
pub const VARIABLE: &str = "ROWHOUSE_CONFIG";
const FILE: &str = "config.json";
/// The file in which a package says which program its instances run.
pub const PROGRAM: &str = "program.sha256";

/// An installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Config {
    /// Name of the table of rows, the seed's `apps-db`.
    #[serde(rename = "app_database")]
    pub app_database: String,
    /// Apps answer at `<name>.<AppsDomain>`.
    pub apps_domain: String,
    /// ARN of the wildcard certificate for that domain.
    #[serde(rename = "AppsDomainSSLCertificate")]
    pub apps_domain_ssl_certificate: String,
    /// EC2 key pair for SSH; empty for none.
    pub key_name: String,
    /// Bucket of the certificates between load balancer and instances.
    pub certificate_bucket: String,
    /// ARN of the function `CreateElbBackendCertificates`.
    pub create_elb_backend_certificates_arn: String,
    /// Hosted zone of `AppsDomain`.
    pub route53_hosted_zone_id: String,
    /// ARN of the topic to which CloudFormation tells of the stacks.
    pub cloud_formation_notification_arn: String,

    /// Name of the history's table.
    #[serde(rename = "app_history", default, skip_serializing_if = "Option::is_none")]
    pub app_history: Option<String>,
    /// What names of stacks begin with.
    #[serde(default = "default_prefix")]
    pub stack_prefix: String,
    /// The repository of rows without `Repo`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
    /// The folder of rows without `Repo` and `Path`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The most instances that a row may ask for.
    #[serde(default = "default_max_scale")]
    pub max_scale: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vpc_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnet_ids: Vec<String>,
    /// The HTTPS listener of a load balancer that all apps share. Without it, each app has one of
    /// its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub listener_arn: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance_security_group: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance_profile: String,
    /// Bucket of programs, manifests and builds; by default that of the certificates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_bucket: String,
    /// SHA-256 of the program `rowhouse` that instances run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// The role that CloudFormation takes for the apps' stacks; empty for the reactor's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_role_arn: String,
    /// Whether the table's stream is told which of its records failed. A mapping that does not ask
    /// for it takes such an answer for success.
    #[serde(default)]
    pub partial_batch: bool,
    /// ARNs of the secrets with whose tokens instances may fetch private repositories; for apps
    /// with a role of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_secrets: Vec<String>,
    /// Hosts of repositories that may be private addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_repository_hosts: Vec<String>,
}

fn default_prefix() -> String {
    "demo-app-".to_owned()
}

fn default_max_scale() -> u32 {
    3
}

/// A configuration that cannot be used; the text names the key.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read `{}`: put `config.json` beside the function's `bootstrap`, or set \
        `{VARIABLE}`", path.display())]
    Missing { path: PathBuf, source: std::io::Error },
    #[error("{place}: {reason}")]
    Invalid { place: String, reason: String },
}

impl Config {
    /// The configuration of a function: the variable, else the file beside its program.
    pub fn load() -> Result<Config, ConfigError> {
        let mut config = Config::read()?;
        if config.program.is_empty() {
            let packed = program_folder().map(|folder| folder.join(PROGRAM));
            let digest = packed.and_then(|path| std::fs::read_to_string(path).ok());
            digest.unwrap_or_default().trim().clone_into(&mut config.program);
        }
        Ok(config)
    }

    fn read() -> Result<Config, ConfigError> {
        if let Ok(text) = std::env::var(VARIABLE)
            && !text.is_empty()
        {
            return Config::parse(&text, VARIABLE);
        }
        let path = program_folder().unwrap_or_default().join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Config::parse(&text, &path.display().to_string()),
            Err(source) => Err(ConfigError::Missing { path, source }),
        }
    }

    /// Reads a configuration; `place` says in errors where it stands.
    pub fn parse(text: &str, place: &str) -> Result<Config, ConfigError> {
        let invalid = |reason: String| ConfigError::Invalid { place: place.to_owned(), reason };
        let config: Config =
            serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        match config.problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(invalid(problems.join("; "))),
        }
    }

    /// The repository of rows without `Repo`.
    pub fn default_repository(&self) -> Option<Repository> {
        Repository::parse(&self.repository).ok()
    }

    /// Whether all apps share a load balancer.
    pub fn is_shared(&self) -> bool {
        !self.listener_arn.is_empty()
    }

    /// Where manifests, programs and builds lie.
    pub fn artifacts(&self) -> &str {
        if self.artifact_bucket.is_empty() {
            &self.certificate_bucket
        } else {
            &self.artifact_bucket
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |key: &str, value: &str, fits: bool, allowed: &str| {
            if !fits {
                problems.push(format!("`{key}` is `{value}`: it must be {allowed}"));
            }
        };
        for (key, value) in [
            ("app_database", &self.app_database),
            ("CertificateBucket", &self.certificate_bucket),
            ("Route53HostedZoneId", &self.route53_hosted_zone_id),
        ] {
            need(key, value, !value.is_empty(), "a name, not empty");
        }
        let domain = &self.apps_domain;
        let is_domain = domain.contains('.')
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            });
        need("AppsDomain", domain, is_domain, "a domain such as `apps.example.com`");
        for (key, value, service) in [
            ("AppsDomainSSLCertificate", &self.apps_domain_ssl_certificate, "acm"),
            (
                "CreateElbBackendCertificatesArn",
                &self.create_elb_backend_certificates_arn,
                "lambda",
            ),
            ("CloudFormationNotificationArn", &self.cloud_formation_notification_arn, "sns"),
        ] {
            let allowed = format!("an ARN of `{service}`, such as `arn:aws:{service}:…`");
            need(key, value, is_arn(value, service), &allowed);
        }
        for (key, value, service) in [
            ("ServiceRoleArn", &self.service_role_arn, "iam"),
            ("ListenerArn", &self.listener_arn, "elasticloadbalancing"),
        ] {
            let allowed = format!("empty, or an ARN of `{service}`");
            need(key, value, value.is_empty() || is_arn(value, service), &allowed);
        }
        let is_https = self
            .default_repository()
            .is_some_and(|repository| repository.transport() == Transport::Https);
        let allowed = "empty, or the `https://` URL of a repository";
        let shown = without_password(&self.repository);
        need("Repository", &shown, self.repository.is_empty() || is_https, allowed);
        let is_prefix = self.stack_prefix.starts_with(|first: char| first.is_ascii_alphabetic())
            && self.stack_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && self.stack_prefix.len() <= 64;
        let allowed = "1 to 64 letters, digits and dashes, beginning with a letter";
        need("StackPrefix", &self.stack_prefix, is_prefix, allowed);
        let is_digest =
            self.program.len() == 64 && self.program.bytes().all(|byte| byte.is_ascii_hexdigit());
        need("Program", &self.program, self.program.is_empty() || is_digest, "64 hex digits");
        if self.is_shared() {
            for (key, value) in [
                ("VpcId", self.vpc_id.as_str()),
                ("SubnetIds", self.subnet_ids.first().map_or("", String::as_str)),
                ("InstanceSecurityGroup", &self.instance_security_group),
                ("InstanceProfile", &self.instance_profile),
                ("ImageId", &self.image_id),
                ("InstanceType", &self.instance_type),
                ("Program", &self.program),
            ] {
                need(key, value, !value.is_empty(), "given where `ListenerArn` is");
            }
        }
        problems
    }
}

fn is_arn(text: &str, service: &str) -> bool {
    let mut parts = text.split(':');
    let (Some("arn"), Some(_), Some(of), Some(_), Some(_), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    of == service && !rest.is_empty()
}

/// The folder of this program, where a function's files lie.
pub(crate) fn program_folder() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// The file as `aws package` lays it beside the functions: every key of the original, to be filled
/// in.
pub fn template() -> String {
    let mut text = String::from("{\n");
    let keys = [
        ("app_database", "apps-db"),
        ("AppsDomain", "apps.example.com"),
        ("AppsDomainSSLCertificate", "arn:aws:acm:REGION:ACCOUNT:certificate/ID"),
        ("KeyName", ""),
        ("CertificateBucket", "BUCKET"),
        (
            "CreateElbBackendCertificatesArn",
            "arn:aws:lambda:REGION:ACCOUNT:function:CreateElbBackendCertificates",
        ),
        ("Route53HostedZoneId", "ZONE"),
        ("CloudFormationNotificationArn", "arn:aws:sns:REGION:ACCOUNT:AppDemoCloudFormationSns"),
    ];
    for (index, (key, value)) in keys.iter().enumerate() {
        let comma = if index + 1 < keys.len() { "," } else { "" };
        writeln!(text, "  \"{key}\": \"{value}\"{comma}").expect("a String takes all text");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config, String> {
        Config::parse(text, "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn the_eight_keys_of_the_original_are_enough() {
        let config = parsed(&template()).unwrap();
        assert_eq!((config.max_scale, config.stack_prefix.as_str()), (3, "demo-app-"));
        assert!(!config.is_shared() && !config.partial_batch);
        assert_eq!(config.artifacts(), "BUCKET");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let without = template().replace("  \"AppsDomain\": \"apps.example.com\",\n", "");
        assert!(parsed(&without).unwrap_err().contains("missing field `AppsDomain`"));
        let unknown = template().replace("\"KeyName\"", "\"Keyname\"");
        assert!(parsed(&unknown).unwrap_err().contains("unknown field `Keyname`"));
        let arn = template().replace("arn:aws:sns:", "arn:aws:sqs:");
        let said = parsed(&arn).unwrap_err();
        assert!(said.contains("`CloudFormationNotificationArn` is `arn:aws:sqs:"), "{said}");
        let kind =
            template().replace("\"KeyName\": \"\"", "\"KeyName\": \"\", \"MaxScale\": \"3\"");
        assert!(parsed(&kind).unwrap_err().contains("expected u32"));
        let domain = template().replace("apps.example.com", "https://apps");
        assert!(parsed(&domain).unwrap_err().contains("`AppsDomain`"));
        let shared = template().replace(
            "\"KeyName\": \"\"",
            "\"KeyName\": \"\", \"ListenerArn\": \"arn:aws:elasticloadbalancing:r:a:listener/x\"",
        );
        assert!(parsed(&shared).unwrap_err().contains("`ImageId`"));
        assert!(parsed("{").unwrap_err().starts_with("config.json: "));
    }
}
