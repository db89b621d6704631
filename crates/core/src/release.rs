//! A release: what a user wanted when a rollout ended, as it is kept beside the history.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, json};

use crate::attribute::{Attribute, UserAttributes, Value};
use crate::digest::Generation;
use crate::row::Row;

/// The user's part of a row as it was, for as long as an entry of the history speaks of it. Its
/// values are as secret as the row's, so `Debug` shows the names alone.
#[derive(Clone, PartialEq)]
pub struct Release(UserAttributes);

/// An app's releases, each by what it is the canonical form of.
pub type Releases = BTreeMap<Generation, Release>;

impl Release {
    /// Of a row as it stands.
    pub fn of(row: &Row) -> Release {
        Release(row.user.clone())
    }

    /// Of attributes that were kept.
    pub fn kept(attributes: UserAttributes) -> Release {
        Release(attributes)
    }

    /// The attributes, with their values.
    pub fn revealed(&self) -> &UserAttributes {
        &self.0
    }

    /// The form in which it is kept as a text: a JSON object by the contract's names.
    pub fn form(&self) -> String {
        let pairs = self.0.iter().filter_map(|(attribute, value)| {
            json_of(value).map(|value| (attribute.name().to_owned(), value))
        });
        serde_json::Value::Object(pairs.collect()).to_string()
    }

    /// Reads the form back; `None`: it is none. Attributes of a newer program are left out.
    pub fn read(form: &str) -> Option<Release> {
        let mut stored: Map<String, serde_json::Value> = serde_json::from_str(form).ok()?;
        let attributes = Attribute::ALL
            .into_iter()
            .filter_map(|attribute| Some((attribute, value_of(stored.remove(attribute.name())?))));
        Some(Release(attributes.collect()))
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// `None`: no row that could be deployed has such a value.
fn json_of(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::Text(text) => json!(text),
        Value::Whole(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Boolean(flag) => json!(flag),
        Value::Map(entries) => {
            let pairs =
                entries.iter().filter_map(|(key, value)| Some((key.clone(), json_of(value)?)));
            serde_json::Value::Object(pairs.collect())
        }
        Value::List(items) => items.iter().filter_map(json_of).collect(),
        Value::Other(_) => return None,
    })
}

fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Bool(flag) => Value::Boolean(flag),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::Whole)
            .or_else(|| number.as_f64().map(Value::Real))
            .unwrap_or(Value::Other("a number")),
        serde_json::Value::Object(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| (key, value_of(value))).collect())
        }
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(value_of).collect()),
        serde_json::Value::Null => Value::Other("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> UserAttributes {
        let entries = BTreeMap::from([("KEY".to_owned(), Value::Text("hunter2".to_owned()))]);
        UserAttributes::from([
            (Attribute::Version, Value::Text("main".to_owned())),
            (Attribute::Scale, Value::Whole(2)),
            (Attribute::Follow, Value::Boolean(true)),
            (Attribute::Env, Value::Map(entries)),
        ])
    }

    #[test]
    fn a_release_is_read_back_as_it_was_kept() {
        let release = Release::kept(full());
        assert_eq!(Release::read(&release.form()), Some(release));
    }

    #[test]
    fn a_form_that_was_cut_is_none_and_one_of_a_newer_program_has_what_is_known() {
        let form = Release::kept(full()).form();
        assert_eq!(Release::read(&form[..form.len() - 1]), None);
        assert_eq!(Release::read("[]"), None);
        let newer = form.replacen('{', r#"{"Colour":["blue"],"#, 1);
        assert_eq!(Release::read(&newer), Some(Release::kept(full())));
    }

    #[test]
    fn no_value_of_a_release_is_ever_shown() {
        assert!(!format!("{:?}", Release::kept(full())).contains("hunter2"));
    }
}
