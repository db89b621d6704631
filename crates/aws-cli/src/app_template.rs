//! An operator's own template for the stacks of apps: refused here, before any app meets it, if it
//! cannot work.

use std::path::Path;

use rowhouse_aws::Template;
use rowhouse_core::ObjectDigest;

use crate::account::{Account, told};
use crate::bucket;
use crate::failure::bad_input;
use crate::outline::Outline;

/// Bytes that AWS takes inline, as the reactor passes it.
const LARGEST: usize = 51_200;

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
    // Before AWS is asked, whose answer to a template that is too large repeats all of it.
    let problems = problems(&text);
    if !problems.is_empty() {
        return Err(bad_input(
            format!("the template `{}` cannot work: {}", file.display(), problems.join("; ")),
            "templates/app.yaml has the parameters and outputs that the reactor passes and reads",
        ));
    }
    let asked = account.cloudformation.validate_template().template_body(&text).send().await;
    asked.map_err(|error| told("AWS refuses the template", &error))?;
    let digest = ObjectDigest::of(text.as_bytes()).to_string();
    Ok(Some(AppTemplate { text, digest }))
}

/// What stands between a template and the reactor.
fn problems(text: &str) -> Vec<String> {
    if text.len() > LARGEST {
        return vec![format!("it has {} bytes, and AWS takes 51,200", text.len())];
    }
    let outline = match Outline::read(text) {
        Ok(outline) => outline,
        Err(why) => return vec![why],
    };
    let mut problems = Vec::new();
    let declared = outline.parameters();
    let expected = Template::expected_parameters();
    for name in expected.iter().filter(|name| !declared.iter().any(|(one, _)| one == name)) {
        problems.push(format!("it lacks the parameter `{name}`"));
    }
    for (name, _) in declared
        .iter()
        .filter(|(name, has_default)| !has_default && !expected.iter().any(|one| one == name))
    {
        problems.push(format!("its parameter `{name}` is passed by nobody, and has no default"));
    }
    let is_declared = declared.iter().any(|(name, _)| *name == "Target");
    if is_declared && !outline.used_by_resources().contains("Target") {
        problems.push(
            "none of its resources refers to the parameter `Target`, without which a change of it \
             is none to AWS (`Metadata` will do)"
                .to_owned(),
        );
    }
    problems.extend(Template::EXPECTED_OUTPUTS.iter().filter_map(|name| output(&outline, name)));
    if outline.has_transform() {
        problems.push("it has a `Transform`, which the reactor may not carry out".to_owned());
    }
    problems
}

/// What is wrong with one of the outputs.
fn output(outline: &Outline<'_>, name: &str) -> Option<String> {
    if !outline.has_output(name) {
        return Some(format!("it lacks the output `{name}`"));
    }
    if !Template::REPEATED.contains(&name) {
        return None;
    }
    if outline.is_conditional(name) {
        return Some(format!("its output `{name}` has a condition, and is needed always"));
    }
    let is_repeated = outline.output_refers_to(name, name);
    (!is_repeated).then(|| format!("its output `{name}` does not repeat the parameter `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = include_str!("../../../templates/app.yaml");

    #[test]
    fn a_template_that_cannot_work_is_told_what_it_lacks() {
        assert_eq!(problems(SHARED), [""; 0]);
        for (from, to, expected) in [
            (
                "  Priority:\n    Type",
                "  Mine:\n    Type",
                &[
                    "it lacks the parameter `Priority`",
                    "its parameter `Mine` is passed by nobody, and has no default",
                ][..],
            ),
            ("  Commit: {Value", "  Revision: {Value", &["it lacks the output `Commit`"]),
            // A comment or another section that names one gives none.
            ("  Commit: {Value", "  # Commit: {Value", &["it lacks the output `Commit`"]),
            (
                "  Scale: {Value: !Ref Scale}",
                "  Scale: {Value: '1'}",
                &["its output `Scale` does not repeat the parameter `Scale`"],
            ),
            (
                "  Target: {Value",
                "  Target: {Condition: HasKey, Value",
                &["its output `Target` has a condition, and is needed always"],
            ),
            (
                "      Target: !Ref Target",
                "      Target: 'Ref Target'",
                &["none of its resources refers to the parameter `Target`"],
            ),
            (
                "\nResources:",
                "\nTransform: AWS::Include\nResources:",
                &["it has a `Transform`, which the reactor may not carry out"],
            ),
            (
                "\nResources:",
                "\nConditions: {A: !Not [!Equals ['', '']]}\nResources:",
                &["duplicated key in mapping"],
            ),
        ] {
            let changed = SHARED.replacen(from, to, 1);
            assert_ne!(changed, SHARED, "{from}");
            let said = problems(&changed);
            assert_eq!(said.len(), expected.len(), "{said:?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{from}: {said}");
            }
        }
    }

    #[test]
    fn a_template_in_json_is_read_as_one_in_yaml() {
        type Map = serde_json::Map<String, serde_json::Value>;
        let names = Template::expected_parameters();
        let of = |names: &[&str], each: &dyn Fn(&str) -> serde_json::Value| {
            names.iter().map(|name| ((*name).to_owned(), each(name))).collect::<Map>()
        };
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let reference = |name: &str| serde_json::json!({"Ref": name});
        let mut outputs =
            of(&Template::REPEATED, &|name| serde_json::json!({"Value": reference(name)}));
        outputs.insert("LoadBalancer".to_owned(), serde_json::json!({"Value": "https://x"}));
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "Parameters": of(&all, &|_| serde_json::json!({"Type": "String"})),
            "Resources": {"Topic": {
                "Type": "AWS::SNS::Topic", "Metadata": of(&Template::REPEATED, &reference),
            }},
            "Outputs": outputs,
        }))
        .unwrap();
        assert_eq!(problems(&text), [""; 0]);
        assert_eq!(problems(&text.replace("  ", "\t")), [""; 0]);
        assert_eq!(problems(&text.replace(['\n', ' '], "")), [""; 0]);
    }

    #[test]
    fn a_template_that_is_too_large_is_told_by_its_size_alone() {
        let large = format!("{SHARED}# {}\n", "x".repeat(51_200));
        let expected = format!("it has {} bytes, and AWS takes 51,200", large.len());
        assert_eq!(problems(&large), [expected]);
    }
}
