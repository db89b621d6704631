//! The templates of apps' stacks, and the parameters that each takes.

use std::borrow::Cow;

use rowhouse_core::Plan;

use crate::config::{Config, program_folder};

const SHARED: &str = include_str!("../../../templates/app.yaml");
const DEDICATED: &str = include_str!("../../../templates/app-dedicated.yaml");

/// The file beside a function's program that takes the place of the templates here.
pub(crate) const OWN: &str = "template.yaml";

/// The template of an installation's apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Cow<'static, str>,
    /// Behind a load balancer that all apps share, or with one of its own, as in the original.
    is_shared: bool,
    makes_roles: bool,
}

/// A parameter and its value.
pub(crate) type Parameter = (&'static str, String);

impl Template {
    /// The one that a configuration is for: of those here, or an operator's own beside the program.
    /// That one takes the same parameters, and gives the same outputs.
    pub fn of(config: &Config) -> Template {
        let is_shared = config.is_shared();
        let own = program_folder().map(|folder| folder.join(OWN));
        if let Some(text) = own.and_then(|path| std::fs::read_to_string(path).ok()) {
            return Template { text: text.into(), is_shared, makes_roles: true };
        }
        let text = if is_shared { SHARED } else { DEDICATED };
        Template { text: text.into(), is_shared, makes_roles: !is_shared }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameters that an operator's own template takes where apps share a load balancer.
    pub fn expected_parameters() -> Vec<String> {
        declared(SHARED).into_iter().map(|(name, _)| name).collect()
    }

    /// The parameters that its outputs repeat: what runs is read there.
    pub const REPEATED: [&str; 6] =
        ["Generation", "Source", "Commit", "Settings", "Target", "Scale"];

    /// The outputs that it gives.
    pub const EXPECTED_OUTPUTS: [&str; 7] =
        ["LoadBalancer", "Generation", "Source", "Commit", "Settings", "Target", "Scale"];

    /// Whether apps share a load balancer, so that each needs a rule of its own on it.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether it makes roles, which CloudFormation wants to hear.
    pub(crate) fn makes_roles(&self) -> bool {
        self.makes_roles
    }

    /// What the installation sets for all apps. What is not configured is left to the template's
    /// default.
    pub(crate) fn of_platform(&self, config: &Config) -> Vec<Parameter> {
        let subnets = config.subnet_ids.join(",");
        let token_secrets = config.token_secrets.join(",");
        let common = [
            ("AppsDomain", config.apps_domain.as_str()),
            ("VpcId", &config.vpc_id),
            ("SubnetIds", &subnets),
            ("KeyName", &config.key_name),
            ("InstanceType", &config.instance_type),
            ("ImageId", &config.image_id),
            ("ArtifactBucket", config.artifacts()),
            ("Program", &config.program),
            ("CertificateBucket", &config.certificate_bucket),
            ("CreateElbBackendCertificatesArn", &config.create_elb_backend_certificates_arn),
        ];
        let shared = [
            ("ListenerArn", config.listener_arn.as_str()),
            ("InstanceSecurityGroup", &config.instance_security_group),
            ("InstanceProfile", &config.instance_profile),
        ];
        let dedicated = [
            ("AppsDomainSSLCertificate", config.apps_domain_ssl_certificate.as_str()),
            ("Route53HostedZoneId", &config.route53_hosted_zone_id),
            ("TokenSecrets", &token_secrets),
        ];
        let own = if self.is_shared { &shared[..] } else { &dedicated[..] };
        let given = common.iter().chain(own).filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    /// What the plan sets for its app.
    pub(crate) fn of_plan(plan: &Plan, manifest: &str) -> Vec<Parameter> {
        let deployment = &plan.deployment;
        vec![
            ("AppName", plan.app.name.as_str().to_owned()),
            ("Scale", plan.app.scale.to_string()),
            ("Commit", deployment.commit.as_str().to_owned()),
            ("Generation", deployment.generation.as_str().to_owned()),
            ("Source", deployment.source.as_str().to_owned()),
            ("Settings", deployment.settings.as_str().to_owned()),
            ("Target", deployment.target.as_str().to_owned()),
            ("Manifest", manifest.to_owned()),
        ]
    }
}

/// The names under `Parameters:` of a template here, and which of them have a default.
fn declared(text: &str) -> Vec<(String, bool)> {
    let parameters = text.split("\nParameters:\n").nth(1).unwrap_or_default();
    let mut declared: Vec<(String, bool)> = Vec::new();
    for line in parameters.lines().take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match line.strip_prefix("  ") {
            Some(name) if !name.starts_with([' ', '#']) => {
                declared.push((name.trim_end_matches(':').to_owned(), false));
            }
            Some(rest) if rest.trim_start().starts_with("Default:") => {
                if let Some((_, has_default)) = declared.last_mut() {
                    *has_default = true;
                }
            }
            Some(_) | None => {}
        }
    }
    declared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_that_is_passed_is_declared_and_the_reverse() {
        let plan = rowhouse_core::testing::plan(
            &rowhouse_core::AppName::parse("shop").unwrap(),
            "https://example.com/shop.git",
            &rowhouse_core::Commit::parse(&"a".repeat(40)).unwrap(),
            &rowhouse_core::Settings::for_tests(),
        );
        let full = |listener: &str| {
            let text = crate::config::template().replace("\"KeyName\": \"\"", &format!(
                "\"KeyName\": \"key\", {listener} \"VpcId\": \"vpc\", \"SubnetIds\": [\"subnet\"], \
                 \"InstanceType\": \"t3.micro\", \"ImageId\": \"ami\", \"Program\": \"{}\", \
                 \"InstanceSecurityGroup\": \"sg\", \"InstanceProfile\": \"profile\", \
                 \"TokenSecrets\": [\"arn\"]", "a".repeat(64)));
            Config::parse(&text, "config.json").unwrap()
        };
        let listener = "\"ListenerArn\": \"arn:aws:elasticloadbalancing:r:a:listener/x\",";
        for (config, text) in [(full(listener), SHARED), (full(""), DEDICATED)] {
            let template = Template::of(&config);
            assert_eq!(template.text(), text);
            let mut passed: Vec<&str> =
                template.of_platform(&config).into_iter().map(|(name, _)| name).collect();
            passed.extend(Template::of_plan(&plan, "digest").into_iter().map(|(name, _)| name));
            if template.is_shared() {
                passed.push("Priority");
            }
            let declared = declared(text);
            let mut names: Vec<&str> = declared.iter().map(|(name, _)| name.as_str()).collect();
            passed.sort_unstable();
            names.sort_unstable();
            assert_eq!(passed, names);
            assert!(text.len() < 51_200, "a template goes inline");
            let outputs = text.split("\nOutputs:\n").nth(1).unwrap();
            for name in Template::EXPECTED_OUTPUTS {
                assert!(outputs.contains(&format!("  {name}:")), "{name}");
            }
            // What the eight keys of the original do not give has a default.
            if !template.is_shared() {
                let bare = Config::parse(&crate::config::template(), "config.json").unwrap();
                let given = template.of_platform(&bare);
                let of_plan = Template::of_plan(&plan, "digest");
                for (name, has_default) in &declared {
                    let is_given = given.iter().chain(&of_plan).any(|(given, _)| given == name);
                    // The digest of the program lies in the package itself.
                    assert!(is_given || *has_default || name == "Program", "{name}");
                }
            }
        }
    }
}
