//! What a change does to the attributes of a row, a line each, without the value of a secret.

use std::collections::{BTreeMap, BTreeSet};

use rowhouse_core::{Attribute, Commit, UserAttributes, Value, shortened, without_password};

use crate::client::Changes;
use crate::output::{clean, cut};
use crate::rows::row_text;

/// How long a value is shown.
const LONGEST: usize = 120;
/// How many names of a map are told of.
const MOST_NAMES: usize = 50;

/// One line for each attribute that comes to mean something else.
pub(crate) fn lines(before: &UserAttributes, changes: &Changes) -> Vec<String> {
    let others = changes.iter().filter(|(attribute, value)| {
        !attribute.means_the_same(before.get(attribute), value.as_ref())
    });
    others
        .map(|(attribute, after)| {
            let (attribute, before) = (*attribute, before.get(attribute));
            let change = match (entries(before), entries(after.as_ref())) {
                (Some(then), Some(now)) => names(&then, &now),
                (_, _) => {
                    format!("{} → {}", shown(attribute, before), shown(attribute, after.as_ref()))
                }
            };
            format!("{}: {change}", attribute.name())
        })
        .collect()
}

/// The entries of a map, of which an absent one has none.
fn entries(value: Option<&Value>) -> Option<BTreeMap<&str, &Value>> {
    match value {
        None => Some(BTreeMap::new()),
        Some(Value::Map(entries)) => {
            Some(entries.iter().map(|(name, value)| (name.as_str(), value)).collect())
        }
        Some(
            Value::Text(_)
            | Value::Whole(_)
            | Value::Real(_)
            | Value::Boolean(_)
            | Value::List(_)
            | Value::Other(_),
        ) => None,
    }
}

/// The names whose entries are others; values may be secrets.
fn names(before: &BTreeMap<&str, &Value>, after: &BTreeMap<&str, &Value>) -> String {
    let all: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let told = all.into_iter().filter_map(|name| {
        let what = match (before.get(name), after.get(name)) {
            (Some(then), Some(now)) if then == now => return None,
            (Some(_), Some(_)) => "*** → ***",
            (Some(_), None) => "*** → (none)",
            (None, _) => "(none) → ***",
        };
        Some(format!("{}={what}", cut(&clean(name), LONGEST)))
    });
    let told: Vec<String> = told.collect();
    let more = match told.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", told[..told.len().min(MOST_NAMES)].join(", "))
}

fn shown(attribute: Attribute, value: Option<&Value>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    match (attribute, value) {
        (Attribute::Version, Value::Text(text)) if Commit::parse(text).is_some() => {
            row_text::version(text)
        }
        // Text that is no object may hold half a secret.
        (attribute, _) if attribute.is_secret() => "***".to_owned(),
        (Attribute::Repo, Value::Text(text)) => clean(&shortened(&without_password(text))),
        (Attribute::Follow, value) => {
            value.as_flag().map_or_else(|| clean(&value.shown()), |flag| flag.to_string())
        }
        (_, value) => clean(&value.shown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Value {
        let of =
            |(name, value): &(&str, &str)| ((*name).to_owned(), Value::Text((*value).to_owned()));
        Value::Map(entries.iter().map(of).collect())
    }

    #[test]
    fn each_attribute_that_changes_is_told_and_no_value_of_an_environment() {
        let text = |text: &str| Value::Text(text.to_owned());
        let before = UserAttributes::from([
            (Attribute::Version, text("main")),
            (Attribute::Repo, text("https://bot:hunter2@git/a")),
            (Attribute::Env, map(&[("A", "hunter2"), ("B", "same"), ("C", "hunter2")])),
            (Attribute::BuildEnv, text("hunter2")),
            (Attribute::HealthTimeout, Value::Whole(60)),
        ]);
        let changes = Changes::from([
            (Attribute::Version, Some(text(&"a".repeat(40)))),
            (Attribute::Repo, None),
            (Attribute::Path, Some(text("web"))),
            (Attribute::Env, Some(map(&[("A", "hunter3"), ("B", "same"), ("D", "hunter3")]))),
            (Attribute::BuildEnv, None),
            (Attribute::HealthTimeout, None),
            (Attribute::Follow, Some(Value::Whole(0))),
        ]);
        assert_eq!(
            lines(&before, &changes),
            [
                "Version: `main` → aaaaaaa",
                "Repo: `https://bot:***@git/a` → (none)",
                "Path: (none) → `web`",
                "Env: A=*** → ***, C=*** → (none), D=(none) → ***",
                "BuildEnv: *** → (none)",
            ]
        );
    }
}
