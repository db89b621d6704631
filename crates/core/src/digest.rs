//! Digests: how two states are compared without keeping them.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::commit::{Commit, NoCommit};

/// The version of the canonical forms. Raise it when one of them changes: stacks that carry an
/// older one then count as lagging, and the full sweep brings them up slowly.
const FORMAT: &str = "v1-";

macro_rules! digest_type {
    ($(#[$meaning:meta])* $name:ident, $kind:literal) => {
        $(#[$meaning])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a digest back from where it was stored.
            pub fn stored(text: impl Into<String>) -> $name {
                $name(text.into())
            }

            /// Of a canonical form; forms of different kinds never have the same digest.
            pub(crate) fn digest(form: &serde_json::Value) -> $name {
                let hash = Sha256::digest(format!("{}\n{form}", $kind));
                $name(format!("{FORMAT}{}", HEXLOWER.encode(&hash[..16])))
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
    /// Which desired state a status speaks of: the user's attributes in canonical form, where an
    /// absent attribute equals its default.
    Generation,
    "generation"
);
digest_type!(
    /// What is built: repository, path, version, build environment and `Redeploy`. While it stays
    /// the same, the stack's commit is kept.
    Source,
    "source"
);
digest_type!(
    /// What is aimed at: generation, commit and settings.
    Target,
    "target"
);
digest_type!(
    /// What instances are made from on this platform, apart from the row.
    SettingsDigest,
    "settings"
);
digest_type!(
    /// A state of a stack, as a decision saw it; new after every operation.
    Base,
    "base"
);
digest_type!(
    /// The `Env` of a row, for the history: two entries can be compared without showing a value.
    EnvDigest,
    "env"
);

impl Target {
    /// What is aimed at with this commit.
    pub fn of(generation: &Generation, commit: &Commit, settings: &SettingsDigest) -> Target {
        Target::digest(&json!([generation, commit, settings]))
    }

    /// What is aimed at where there is no commit: a target too, and a refused one.
    pub fn without_commit(
        generation: &Generation,
        why: NoCommit,
        settings: &SettingsDigest,
    ) -> Target {
        Target::digest(&match why {
            NoCommit::NoSuchVersion => json!([generation, null, settings]),
            NoCommit::Denied => json!([generation, "denied", settings]),
        })
    }
}

impl SettingsDigest {
    /// Of whatever the platform makes instances from, in any stable text form.
    pub fn of(settings: &str) -> SettingsDigest {
        SettingsDigest::digest(&json!(settings))
    }
}

impl Base {
    /// Of the identity of a stack and the mark of its last operation.
    pub fn of(stack: &str, mark: &str) -> Base {
        Base::digest(&json!([stack, mark]))
    }
}
