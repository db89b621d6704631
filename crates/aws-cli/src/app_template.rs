//! An operator's own template for the stacks of apps: refused here, before any app meets it, if it
//! cannot work.

use std::path::Path;

use rowhouse_aws::Template;
use rowhouse_core::ObjectDigest;

use crate::account::{Account, told};
use crate::bucket;
use crate::failure::bad_input;

pub(crate) struct AppTemplate {
    pub(crate) text: String,
    pub(crate) digest: String,
}

impl AppTemplate {
    /// Where it is kept, in the bucket of code.
    pub(crate) fn key(&self) -> String {
        key(&self.digest)
    }
}

fn key(digest: &str) -> String {
    format!("templates/{digest}")
}

/// The one in this file, or that of last time; an empty name means none of one's own.
pub(crate) async fn of(
    account: &Account,
    file: Option<&Path>,
    last: Option<String>,
) -> anyhow::Result<Option<AppTemplate>> {
    let Some(file) = file else {
        let Some(digest) = last else { return Ok(None) };
        let text = bucket::text(account, &bucket::of_code(account), &key(&digest)).await?;
        return Ok(Some(AppTemplate { text, digest }));
    };
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file).map_err(|error| {
        bad_input(
            format!("cannot read the template `{}`: {error}", file.display()),
            "begin with a copy of templates/app.yaml",
        )
    })?;
    let asked = account.cloudformation.validate_template().template_body(&text).send().await;
    let known = asked.map_err(|error| told("AWS refuses the template", &error))?;
    let declared: Vec<(&str, bool)> = known
        .parameters()
        .iter()
        .filter_map(|one| Some((one.parameter_key()?, one.default_value().is_some())))
        .collect();
    let problems = problems(&text, &declared);
    if !problems.is_empty() {
        return Err(bad_input(
            format!("the template `{}` cannot work: {}", file.display(), problems.join("; ")),
            "templates/app.yaml has the parameters and outputs that the reactor passes and reads",
        ));
    }
    let digest = ObjectDigest::of(text.as_bytes()).to_string();
    Ok(Some(AppTemplate { text, digest }))
}

/// What stands between a template and the reactor. `declared`: its parameters, and whether they
/// have a default.
fn problems(text: &str, declared: &[(&str, bool)]) -> Vec<String> {
    let expected = Template::expected_parameters();
    let mut problems = Vec::new();
    for name in expected.iter().filter(|name| !declared.iter().any(|(one, _)| one == name)) {
        problems.push(format!("it lacks the parameter `{name}`"));
    }
    for (name, _) in declared
        .iter()
        .filter(|(name, has_default)| !has_default && !expected.iter().any(|one| one == name))
    {
        problems.push(format!("its parameter `{name}` is passed by nobody, and has no default"));
    }
    let outputs = text.rsplit_once("Outputs").map_or("", |(_, outputs)| outputs);
    // As YAML and as JSON name a key.
    let has = |name: &str| {
        [format!("{name}:"), format!("\"{name}\"")].iter().any(|key| outputs.contains(key))
    };
    for name in Template::EXPECTED_OUTPUTS.iter().filter(|name| !has(name)) {
        problems.push(format!("it lacks the output `{name}`"));
    }
    if text.len() > 51_200 {
        problems.push(format!("it has {} bytes, and AWS takes 51,200", text.len()));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_cannot_work_is_told_what_it_lacks() {
        let shared = include_str!("../../../templates/app.yaml");
        let names = Template::expected_parameters();
        let mut declared: Vec<(&str, bool)> =
            names.iter().map(|name| (name.as_str(), false)).collect();
        assert_eq!(problems(shared, &declared), [""; 0]);
        declared.retain(|(name, _)| *name != "Target");
        declared.push(("Mine", false));
        declared.push(("Other", true));
        let without = shared.replace("  Commit: {Value", "  Revision: {Value");
        assert_eq!(
            problems(&without, &declared),
            [
                "it lacks the parameter `Target`",
                "its parameter `Mine` is passed by nobody, and has no default",
                "it lacks the output `Commit`"
            ]
        );
    }
}
