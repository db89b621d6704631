//! The templates of apps' stacks, and the parameters that each takes.

use rowhouse_core::Plan;

use crate::config::Config;

/// Which template the apps of an installation have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Behind a load balancer that all apps share.
    Shared,
    /// With a load balancer of its own, as in the original.
    Dedicated,
}

/// A parameter and its value.
pub(crate) type Parameter = (&'static str, String);

impl Template {
    /// The one that an installation's configuration is for.
    pub fn of(config: &Config) -> Template {
        if config.is_shared() { Template::Shared } else { Template::Dedicated }
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        match self {
            Template::Shared => include_str!("../../../templates/app.yaml"),
            Template::Dedicated => include_str!("../../../templates/app-dedicated.yaml"),
        }
    }

    /// Whether it makes roles, which CloudFormation wants to hear.
    pub(crate) fn makes_roles(self) -> bool {
        match self {
            Template::Shared => false,
            Template::Dedicated => true,
        }
    }

    /// What the installation sets for all apps. What is not configured is left to the template's default.
    pub(crate) fn of_platform(self, config: &Config) -> Vec<Parameter> {
        let subnets = config.subnet_ids.join(",");
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
        let own = match self {
            Template::Shared => [
                ("ListenerArn", config.listener_arn.as_str()),
                ("InstanceSecurityGroup", &config.instance_security_group),
                ("InstanceProfile", &config.instance_profile),
            ],
            Template::Dedicated => [
                ("AppsDomainSSLCertificate", config.apps_domain_ssl_certificate.as_str()),
                ("Route53HostedZoneId", &config.route53_hosted_zone_id),
                ("", ""),
            ],
        };
        let given = common.into_iter().chain(own).filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (name, value.to_owned())).collect()
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
