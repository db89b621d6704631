//! What a platform brings to every row.

use crate::digest::SettingsDigest;
use crate::repository::Repository;

/// What a platform brings to every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of what instances are made from; not listen addresses, domain or limits.
    pub digest: SettingsDigest,
    /// The repository of a row without `Repo`.
    pub repository: Option<Repository>,
    /// The folder of a row without `Repo` and `Path`.
    pub path: Option<String>,
    /// The most instances that a row may ask for.
    pub max_scale: u32,
    /// Whether `Repo` may be reached by ssh or be a path on this machine.
    pub local_repositories: bool,
    /// Apps answer at `<name>.<domain>`; `None`: it is not known here.
    pub domain: Option<String>,
}

/// What attributes are held against, as far as it is known where they are looked at: whoever writes
/// a row need not know the platform that will read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most instances that a row may ask for; `None`: the platform alone knows.
    pub max_scale: Option<u32>,
    /// Whether a row without `Repo` has one from the platform; `None`: the platform alone knows.
    pub has_repository: Option<bool>,
    /// Whether `Repo` may be reached by ssh or be a path on this machine.
    pub local_repositories: bool,
    /// The domain of every app's own name; `None`: the platform alone knows.
    pub domain: Option<String>,
}

impl Settings {
    /// What they allow.
    pub fn limits(&self) -> Limits {
        Limits {
            max_scale: Some(self.max_scale),
            has_repository: Some(self.repository.is_some()),
            local_repositories: self.local_repositories,
            domain: self.domain.clone(),
        }
    }

    /// Settings for tests and demonstrations: a local default repository, at most three instances.
    pub fn for_tests() -> Settings {
        Settings {
            digest: SettingsDigest::of("test"),
            repository: Repository::parse("/srv/default").ok(),
            path: Some("apps".to_owned()),
            max_scale: 3,
            local_repositories: true,
            domain: Some("localhost".to_owned()),
        }
    }
}

impl Limits {
    /// Those of a platform that nobody could ask.
    pub fn unknown(local_repositories: bool) -> Limits {
        Limits { max_scale: None, has_repository: None, local_repositories, domain: None }
    }

    /// What a number of instances may be.
    pub(crate) fn scale_allowed(&self) -> String {
        match self.max_scale {
            Some(most) => format!("a whole number from 0 to {most}"),
            None => "a whole number from 0 to the platform's maximum".to_owned(),
        }
    }
}
