//! Digests: how two states are compared without keeping them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::commit::Commit;
use crate::platform::Settings;
use crate::row::{Attribute, UserAttributes, Value};

/// The version of the canonical forms below. Raise it when one of them changes: stacks that carry an
/// older one then count as lagging, and the full sweep brings them up slowly.
const FORMAT: &str = "v1-";

fn digest(kind: &str, form: &serde_json::Value) -> String {
    use fmt::Write as _;
    let hash = Sha256::digest(format!("{kind}\n{form}"));
    let mut text = FORMAT.to_owned();
    for byte in &hash[..16] {
        write!(text, "{byte:02x}").expect("a String takes all text");
    }
    text
}

macro_rules! digest_type {
    ($(#[$meaning:meta])* $name:ident) => {
        $(#[$meaning])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a digest back from where it was stored.
            pub fn stored(text: impl Into<String>) -> $name {
                $name(text.into())
            }

            /// The digest's text: letters, digits and one dash, as AWS tokens allow.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it was made by today's canonical form, and so can be compared.
            pub fn is_current_format(&self) -> bool {
                self.0.starts_with(FORMAT)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

digest_type!(
    /// Which desired state a status speaks of: the user's attributes in canonical form, where an absent
    /// attribute equals its default.
    Generation
);
digest_type!(
    /// What is built: repository, path, version, build environment and `Redeploy`. While it stays the same,
    /// the stack's commit is kept.
    Source
);
digest_type!(
    /// What is aimed at: generation, commit and settings.
    Target
);
digest_type!(
    /// What instances are made from on this platform, apart from the row.
    SettingsDigest
);
digest_type!(
    /// A state of a stack, as a decision saw it; new after every operation.
    Base
);
digest_type!(
    /// The `Env` of a row, for the history: two entries can be compared without showing a value.
    EnvDigest
);

impl Generation {
    /// Of what stands in the row, valid or not.
    pub fn of(user: &UserAttributes) -> Generation {
        let mut form = Map::new();
        for (attribute, value) in user {
            if !is_default(*attribute, value) {
                form.insert(attribute.name().to_owned(), canonical(*attribute, value));
            }
        }
        Generation(digest("generation", &form.into()))
    }
}

impl Source {
    /// Of a valid row, with the platform's defaults filled in.
    pub fn of(app: &App) -> Source {
        Source(digest(
            "source",
            &json!([
                app.repository,
                app.path,
                app.version.as_str(),
                app.build_env.revealed(),
                app.redeploy
            ]),
        ))
    }
}

impl Target {
    /// `commit` is `None` where the version names no commit: that is a target too, and a refused one.
    pub fn of(generation: &Generation, commit: Option<&Commit>, settings: &Settings) -> Target {
        Target::on(generation, commit, &settings.digest)
    }

    /// As `of`, on settings that are known by their digest alone.
    pub(crate) fn on(
        generation: &Generation,
        commit: Option<&Commit>,
        settings: &SettingsDigest,
    ) -> Target {
        Target(digest("target", &json!([generation, commit, settings])))
    }
}

impl SettingsDigest {
    /// Of whatever the platform makes instances from, in any stable text form.
    pub fn of(settings: &str) -> SettingsDigest {
        SettingsDigest(digest("settings", &json!(settings)))
    }
}

impl Base {
    /// Of the identity of a stack and the mark of its last operation.
    pub fn of(stack: &str, mark: &str) -> Base {
        Base(digest("base", &json!([stack, mark])))
    }
}

impl EnvDigest {
    /// Of a row's `Env`.
    pub fn of(app: &App) -> EnvDigest {
        EnvDigest(digest("env", &json!(app.env.revealed())))
    }
}

fn is_default(attribute: Attribute, value: &Value) -> bool {
    match (attribute, value) {
        (Attribute::Env | Attribute::BuildEnv, Value::Map(entries)) => entries.is_empty(),
        (Attribute::HealthTimeout, Value::Whole(seconds)) => *seconds == 60,
        (Attribute::Follow, _) => crate::app::as_flag(value) == Some(false),
        (Attribute::Redeploy, Value::Whole(count)) => *count == 0,
        (_, _) => false,
    }
}

fn canonical(attribute: Attribute, value: &Value) -> serde_json::Value {
    match value {
        _ if attribute == Attribute::Follow && crate::app::as_flag(value) == Some(true) => {
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
