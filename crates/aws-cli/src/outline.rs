//! What an operator's own template declares and refers to: read as YAML with CloudFormation's tags,
//! of which JSON is a part. What it means, CloudFormation alone decides.

use std::collections::BTreeSet;

use saphyr::{LoadableYamlNode as _, Yaml};

/// The parts of a template that the reactor depends on.
#[derive(Debug)]
pub(crate) struct Outline<'text> {
    document: Yaml<'text>,
}

impl<'text> Outline<'text> {
    /// # Errors
    /// Says why the text cannot be read, in a sentence that needs no subject but "it".
    pub(crate) fn read(text: &'text str) -> Result<Outline<'text>, String> {
        let documents = Yaml::load_from_str(text);
        let documents = documents.map_err(|error| {
            let mark = error.marker();
            // Columns count from 0 there, lines from 1.
            format!(
                "it is no YAML at line {}, column {}: {}",
                mark.line(),
                mark.col() + 1,
                error.info()
            )
        })?;
        let [document] = <[Yaml; 1]>::try_from(documents)
            .map_err(|documents| format!("it has {} documents, not one", documents.len()))?;
        if document.is_mapping() {
            Ok(Outline { document })
        } else {
            Err("it is no mapping with `Parameters`, `Resources` and `Outputs`".to_owned())
        }
    }

    /// Its parameters, and whether they have a default.
    pub(crate) fn parameters(&self) -> Vec<(&str, bool)> {
        let has_default = |one: &Yaml| one.as_mapping_get("Default").is_some();
        self.entries("Parameters").map(|(name, one)| (name, has_default(one))).collect()
    }

    /// Whether it gives this output.
    pub(crate) fn has_output(&self, name: &str) -> bool {
        self.output(name).is_some()
    }

    /// Whether this output may be missing, since it has a condition.
    pub(crate) fn is_conditional(&self, output: &str) -> bool {
        self.output(output).is_some_and(|one| one.as_mapping_get("Condition").is_some())
    }

    /// Whether the value of an output refers to this name.
    pub(crate) fn output_refers_to(&self, output: &str, name: &str) -> bool {
        let value = self.output(output).and_then(|one| one.as_mapping_get("Value"));
        value.is_some_and(|value| references(value).contains(name))
    }

    /// All that its resources refer to: a parameter that is not among these changes nothing when it
    /// changes, and CloudFormation refuses such an update.
    pub(crate) fn used_by_resources(&self) -> BTreeSet<&str> {
        self.document.as_mapping_get("Resources").map(references).unwrap_or_default()
    }

    /// Whether it is to be transformed by macros first.
    pub(crate) fn has_transform(&self) -> bool {
        self.document.as_mapping_get("Transform").is_some()
    }

    fn output(&self, name: &str) -> Option<&Yaml<'text>> {
        self.document.as_mapping_get("Outputs")?.as_mapping_get(name)
    }

    fn entries(&self, section: &str) -> impl Iterator<Item = (&str, &Yaml<'text>)> {
        let section = self.document.as_mapping_get(section).and_then(Yaml::as_mapping);
        section.into_iter().flatten().filter_map(|(name, one)| Some((name.as_str()?, one)))
    }
}

/// The names that are referred to below a node, by `Ref` and by `Fn::Sub` in either form.
fn references<'node>(node: &'node Yaml<'_>) -> BTreeSet<&'node str> {
    let mut found = BTreeSet::new();
    // A list and no recursion: how deep a template is nested is its author's.
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        match node {
            Yaml::Tagged(tag, value) if tag.handle == "!" => match tag.suffix.as_str() {
                "Ref" => found.extend(value.as_str()),
                "Sub" => found.extend(substituted(value)),
                _ => {}
            },
            Yaml::Mapping(mapping) => {
                let long = |name: &str| node.as_mapping_get(name).filter(|_| mapping.len() == 1);
                found.extend(long("Ref").and_then(Yaml::as_str));
                found.extend(long("Fn::Sub").into_iter().flat_map(substituted));
            }
            Yaml::Tagged(..)
            | Yaml::Sequence(_)
            | Yaml::Representation(..)
            | Yaml::Value(_)
            | Yaml::Alias(_)
            | Yaml::BadValue => {}
        }
        match node {
            Yaml::Tagged(_, value) => left.push(value),
            Yaml::Mapping(mapping) => left.extend(mapping.values()),
            Yaml::Sequence(sequence) => left.extend(sequence),
            Yaml::Representation(..) | Yaml::Value(_) | Yaml::Alias(_) | Yaml::BadValue => {}
        }
    }
    found
}

/// The names in the text of a substitution, but for those that it brings values for itself.
fn substituted<'node>(node: &'node Yaml<'_>) -> Vec<&'node str> {
    let parts = node.as_sequence().map_or(&[][..], Vec::as_slice);
    let text = node.as_str().or_else(|| parts.first()?.as_str()).unwrap_or_default();
    let is_own = |name: &str| parts.get(1).is_some_and(|own| own.as_mapping_get(name).is_some());
    text.split("${")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0.trim()))
        // `${!Name}` is the text `${Name}`.
        .filter(|name| !name.starts_with('!') && !is_own(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(resources: &str) -> Vec<String> {
        let text = format!("Resources: {resources}");
        let outline = Outline::read(&text).unwrap();
        outline.used_by_resources().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_reference_is_found_in_each_form_that_cloudformation_has() {
        for (resources, expected) in [
            ("{A: {Metadata: !Ref Target}}", &["Target"][..]),
            ("{A: {Metadata: {Ref: Target}}}", &["Target"]),
            ("{A: {\"Metadata\": [{\"Ref\": \"Target\"}]}}", &["Target"]),
            ("{A: {X: !Sub 'a-${Target}-${B.Arn}'}}", &["B.Arn", "Target"]),
            ("{A: {X: {'Fn::Sub': '${Target}'}}}", &["Target"]),
            ("{A: {X: !Sub ['${Own}${Target}', {Own: !Ref Commit}]}}", &["Commit", "Target"]),
            ("{A: {X: {'Fn::Base64': !Sub '${Target}'}}}", &["Target"]),
            ("{A: {X: !If [Has, !Ref Target, !Ref 'AWS::NoValue']}}", &["AWS::NoValue", "Target"]),
            // Texts that only look like one.
            ("{A: {X: Target, Y: '!Ref Target', Z: '${Target}', V: !Sub '${!Target}'}}", &[]),
            ("{A: {X: {Ref: Target, Other: 1}}} # !Ref Target", &[]),
        ] {
            assert_eq!(used(resources), expected, "{resources}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        for (text, expected) in [
            ("Resources:\n  A: [1\n", "it is no YAML at line 3, column 1: "),
            ("A: 1\nA: 2\n", "it is no YAML at line 2, column 1: duplicated key in mapping"),
            ("", "it has 0 documents, not one"),
            ("a: 1\n---\nb: 2\n", "it has 2 documents, not one"),
            ("only a text", "it is no mapping with `Parameters`, `Resources` and `Outputs`"),
        ] {
            let said = Outline::read(text).unwrap_err();
            assert!(said.starts_with(expected), "{text:?}: {said}");
        }
    }
}
