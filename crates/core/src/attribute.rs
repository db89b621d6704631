//! The attributes that users own: values as somebody wrote them, and the form in which two of them
//! are compared.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, json};

use crate::digest::Generation;
use crate::http_protocol::HttpProtocol;
use crate::quoted::shortened;

/// An attribute that the user owns; the reactor never writes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    Version,
    Scale,
    Repo,
    Path,
    Env,
    BuildEnv,
    Health,
    HealthTimeout,
    Follow,
    Redeploy,
    Procfile,
    Workers,
    Cron,
    Domains,
    Memory,
    Protocol,
    Hook,
}

impl Attribute {
    /// Every user attribute, in the order of the contract.
    pub const ALL: [Attribute; 17] = [
        Attribute::Version,
        Attribute::Scale,
        Attribute::Repo,
        Attribute::Path,
        Attribute::Env,
        Attribute::BuildEnv,
        Attribute::Health,
        Attribute::HealthTimeout,
        Attribute::Follow,
        Attribute::Redeploy,
        Attribute::Procfile,
        Attribute::Workers,
        Attribute::Cron,
        Attribute::Domains,
        Attribute::Memory,
        Attribute::Protocol,
        Attribute::Hook,
    ];

    /// The attribute that somebody means by a name: the contract's or a column's, in any case.
    pub fn named(text: &str) -> Option<Attribute> {
        let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
        Attribute::ALL.into_iter().find(|attribute| plain(attribute.name()) == plain(text))
    }

    /// Whether both values mean the same in this attribute, where an absent one equals its default.
    pub fn means_the_same(self, one: Option<&Value>, other: Option<&Value>) -> bool {
        let form = |value: Option<&Value>| {
            let given = value.filter(|value| !is_default(self, value));
            given.map(|value| canonical(self, value))
        };
        form(one) == form(other)
    }

    /// The name in the contract, the same on both platforms.
    pub fn name(self) -> &'static str {
        match self {
            Attribute::Version => "Version",
            Attribute::Scale => "Scale",
            Attribute::Repo => "Repo",
            Attribute::Path => "Path",
            Attribute::Env => "Env",
            Attribute::BuildEnv => "BuildEnv",
            Attribute::Health => "Health",
            Attribute::HealthTimeout => "HealthTimeout",
            Attribute::Follow => "Follow",
            Attribute::Redeploy => "Redeploy",
            Attribute::Procfile => "Procfile",
            Attribute::Workers => "Workers",
            Attribute::Cron => "Cron",
            Attribute::Domains => "Domains",
            Attribute::Memory => "Memory",
            Attribute::Protocol => "Protocol",
            Attribute::Hook => "Hook",
        }
    }

    /// Whether what stands in it is shown to nobody who has not asked.
    pub fn is_secret(self) -> bool {
        match self {
            Attribute::Env | Attribute::BuildEnv | Attribute::Hook => true,
            Attribute::Version
            | Attribute::Scale
            | Attribute::Repo
            | Attribute::Path
            | Attribute::Health
            | Attribute::HealthTimeout
            | Attribute::Follow
            | Attribute::Redeploy
            | Attribute::Procfile
            | Attribute::Workers
            | Attribute::Cron
            | Attribute::Domains
            | Attribute::Memory
            | Attribute::Protocol => false,
        }
    }

    /// A value of it for a sentence: of a secret one its type alone.
    pub(crate) fn shown(self, value: &Value) -> String {
        if self.is_secret() { value.kind().to_owned() } else { value.shown() }
    }
}

/// A value as somebody wrote it, of whatever type.
#[derive(Clone, PartialEq)]
pub enum Value {
    Text(String),
    Whole(i64),
    Real(f64),
    Boolean(bool),
    Map(BTreeMap<String, Value>),
    /// Of `Domains` alone; in any other attribute a list is a type that it cannot have.
    List(Vec<Value>),
    /// A type that no attribute has; the word names it for the user ("a blob", "a list").
    Other(&'static str),
}

impl Value {
    /// The value for a sentence: its type where that says enough, shortened, control characters
    /// escaped.
    pub fn shown(&self) -> String {
        match self {
            Value::Text(text) => shortened(text),
            Value::Whole(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::Map(_) | Value::List(_) | Value::Other(_) => self.kind().to_owned(),
        }
    }

    /// Its type, for a sentence.
    fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Whole(_) | Value::Real(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Map(_) => "an object",
            Value::List(_) => "a list",
            Value::Other(kind) => kind,
        }
    }

    /// A yes or no, in the forms that tables have for it.
    pub fn as_flag(&self) -> Option<bool> {
        match self {
            Value::Boolean(flag) => Some(*flag),
            Value::Whole(0) => Some(false),
            Value::Whole(1) => Some(true),
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            Value::Text(_)
            | Value::Whole(_)
            | Value::Real(_)
            | Value::Map(_)
            | Value::List(_)
            | Value::Other(_) => None,
        }
    }
}

// A value alone does not say whether it is a secret, so its debug form never shows one.
impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Map(entries) => formatter.debug_set().entries(entries.keys()).finish(),
            Value::Text(_)
            | Value::Whole(_)
            | Value::Real(_)
            | Value::Boolean(_)
            | Value::List(_)
            | Value::Other(_) => formatter.write_str(self.kind()),
        }
    }
}

/// The user's part of a row; an absent (or null) attribute has no entry.
pub type UserAttributes = BTreeMap<Attribute, Value>;

/// The attributes of a row in its debug form: the values of those that are no secret.
pub(crate) struct Told<'a>(pub(crate) &'a UserAttributes);

impl fmt::Debug for Told<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |(attribute, value): (&Attribute, &Value)| (*attribute, attribute.shown(value));
        formatter.debug_map().entries(self.0.iter().map(told)).finish()
    }
}

impl Generation {
    /// Of what stands in the row, valid or not.
    pub fn of(user: &UserAttributes) -> Generation {
        let mut form = Map::new();
        for (attribute, value) in user {
            if !is_default(*attribute, value) {
                form.insert(attribute.name().to_owned(), canonical(*attribute, value));
            }
        }
        Generation::digest(&form.into())
    }
}

fn is_default(attribute: Attribute, value: &Value) -> bool {
    match (attribute, value) {
        (
            Attribute::Env
            | Attribute::BuildEnv
            | Attribute::Procfile
            | Attribute::Workers
            | Attribute::Cron,
            Value::Map(entries),
        ) => entries.is_empty(),
        (Attribute::Domains, Value::List(names)) => names.is_empty(),
        (Attribute::Protocol, Value::Text(word)) => {
            HttpProtocol::parse(word) == Some(HttpProtocol::default())
        }
        (Attribute::HealthTimeout, Value::Whole(seconds)) => *seconds == 60,
        (Attribute::Follow, _) => value.as_flag() == Some(false),
        (Attribute::Redeploy, Value::Whole(count)) => *count == 0,
        (_, _) => false,
    }
}

fn canonical(attribute: Attribute, value: &Value) -> serde_json::Value {
    match value {
        _ if attribute == Attribute::Follow && value.as_flag() == Some(true) => {
            json!(true)
        }
        Value::Text(text) => json!(text),
        Value::Whole(number) => json!(number),
        // Not a JSON number: infinities have none, and no attribute is a fraction.
        Value::Real(number) => json!({ "real": number.to_string() }),
        Value::Boolean(flag) => json!(flag),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), canonical(attribute, value))).collect()
        }
        Value::List(values) => {
            // A table may hold a set, which has no order, and none means anything.
            let mut forms: Vec<serde_json::Value> =
                values.iter().map(|value| canonical(attribute, value)).collect();
            forms.sort_by_cached_key(ToString::to_string);
            forms.dedup();
            json!(forms)
        }
        Value::Other(kind) => json!({ "other": kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(entries: &[(Attribute, Value)]) -> UserAttributes {
        entries.iter().cloned().collect()
    }

    #[test]
    fn an_absent_attribute_has_the_generation_of_its_default() {
        let bare = user(&[(Attribute::Version, Value::Text("main".into()))]);
        let mut full = bare.clone();
        full.insert(Attribute::Follow, Value::Boolean(false));
        full.insert(Attribute::HealthTimeout, Value::Whole(60));
        full.insert(Attribute::Env, Value::Map(std::collections::BTreeMap::new()));
        full.insert(Attribute::Redeploy, Value::Whole(0));
        assert_eq!(Generation::of(&bare), Generation::of(&full));
    }

    #[test]
    fn every_attribute_that_changes_changes_the_generation() {
        let mut seen = std::collections::BTreeSet::new();
        for attribute in Attribute::ALL {
            for value in [Value::Text("7".into()), Value::Whole(7), Value::Real(7.5)] {
                assert!(seen.insert(Generation::of(&user(&[(attribute, value)]))), "{attribute:?}");
            }
        }
    }

    #[test]
    fn the_canonical_form_never_changes_without_a_new_format() {
        let row = user(&[
            (Attribute::Version, Value::Text("main".into())),
            (Attribute::Scale, Value::Whole(2)),
        ]);
        assert_eq!(Generation::of(&row).as_str(), "v1-cf9f615ee036ae323f0797fab79cf718");
    }
}
