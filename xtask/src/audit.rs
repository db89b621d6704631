//! `cargo xtask audit`: what others know of bad templates and policies. Apart from `check`, since
//! it installs half a gigabyte and takes a minute; to be run when a template or a policy changes.

use crate::tools::{from_pypi_apart, root, run};

/// What stands in the policy for values that each installation fills in, and examples of these.
const FILLED_IN: [(&str, &str); 5] = [
    ("HOSTED_ZONE_IDDEFGHIJ", "Z0123456789ABCDEFGHIJ"),
    ("REGION", "eu-west-1"),
    ("ACCOUNT", "123456789012"),
    ("my-artifacts", "rowhouse-artifacts"),
    ("my-certificates", "rowhouse-certificates"),
];

/// checkov on the templates, whose exceptions stand in their `Metadata` with the reasons;
/// parliament on the policy, whose exceptions stand in `parliament.yaml`.
pub fn run_all() -> anyhow::Result<()> {
    let checkov = from_pypi_apart("audit", "checkov", &["checkov==3.3.30"])?;
    let templates = root().join("templates").display().to_string();
    run(
        &checkov.display().to_string(),
        &[
            "--framework",
            "cloudformation",
            "--compact",
            "--quiet",
            "--skip-download",
            "--directory",
            &templates,
        ],
    )?;
    // The version of setuptools is the last one that has the module it wants.
    let requirements = ["setuptools==65.5.0", "parliament==1.6.4"];
    let parliament = from_pypi_apart("audit", "parliament", &requirements)?;
    let mut policy = std::fs::read_to_string(root().join("templates/lambda_policy.json"))?;
    for (name, value) in FILLED_IN {
        policy = policy.replace(name, value);
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lambda_policy.json");
    std::fs::write(&file, policy)?;
    let file = file.display().to_string();
    let answers = root().join("xtask/src/parliament.yaml").display().to_string();
    run(
        &parliament.display().to_string(),
        &["--minimum_severity", "LOW", "--config", &answers, "--files", &file],
    )
}
