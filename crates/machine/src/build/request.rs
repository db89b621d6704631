//! What is to be built, and its name: how a build is found again is known here, how it is made is
//! left to `build`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use rowhouse_core::{AppName, Commit, ProcfileLines, Repository};
use serde::{Deserialize, Serialize};

use crate::digest::digest;
use crate::supply::Supply;

/// What is to be built.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Whose it is: apps share no builds, for one's could have been changed by another.
    pub app: AppName,
    pub repository: Repository,
    /// The app's folder inside the repository; empty or `.` is its root.
    pub path: String,
    pub commit: Commit,
    /// The row's variables for the build.
    pub build_env: BTreeMap<String, String>,
    /// The row's lines over those of the repository's Procfile. The one for `build` is part of the
    /// build.
    pub procfile: ProcfileLines,
    /// The build's `HOME`, made if it is not there: caches of package managers stay in it.
    pub home: PathBuf,
}

impl BuildRequest {
    /// The name of what is to be built.
    pub fn key(&self) -> BuildKey {
        self.key_at(&self.commit)
    }

    /// The name of the same at another commit.
    pub(crate) fn key_at(&self, commit: &Commit) -> BuildKey {
        BuildKey::of(&self.repository, &self.path, commit, &self.build_env)
            .with_line(self.procfile.line("build"))
    }

    /// Which build it is.
    pub fn id(&self) -> BuildId {
        BuildId { app: self.app.clone(), key: self.key() }
    }
}

/// A build of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId {
    pub app: AppName,
    pub key: BuildKey,
}

/// Names a build: equal for equal repository, path, commit and build environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildKey(String);

impl BuildKey {
    /// Reads the 32 hex digits of a key that was written down.
    pub fn parse(text: &str) -> Option<BuildKey> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(digit)).then(|| BuildKey(text.to_owned()))
    }

    /// Of what decides a build. Two spellings of one path are one build.
    pub fn of(
        repository: &Repository,
        path: &str,
        commit: &Commit,
        build_env: &BTreeMap<String, String>,
    ) -> BuildKey {
        let path = inside(path).unwrap_or_else(|_| PathBuf::from(path));
        let parts = (1, repository.as_str(), path, commit, build_env);
        let text =
            serde_json::to_vec(&parts).expect("strings and maps of strings have a JSON form");
        BuildKey(digest(&text))
    }

    /// Of what is built by the row's line for `build`, if it has one.
    #[must_use]
    pub fn with_line(self, build_line: Option<&str>) -> BuildKey {
        let Some(line) = build_line else { return self };
        let text = serde_json::to_vec(&(&self, line)).expect("texts have a JSON form");
        BuildKey(digest(&text))
    }

    /// 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BuildKey {
    type Error = String;

    fn try_from(text: String) -> Result<BuildKey, String> {
        BuildKey::parse(&text)
            .ok_or_else(|| format!("`{text}` is not a build key of 32 hex digits"))
    }
}

impl From<BuildKey> for String {
    fn from(key: BuildKey) -> String {
        key.0
    }
}

impl Supply {
    /// Where the archive of a finished build lies, if somebody has one.
    pub fn build(&self, key: &BuildKey) -> PathBuf {
        self.file(&format!("{}.build", key.as_str()))
    }
}

/// The path of a folder inside a repository, in one spelling; or what is wrong with it.
pub(crate) fn inside(path: &str) -> Result<PathBuf, &'static str> {
    if path.contains('\0') {
        return Err("has a NUL in it");
    }
    let mut folder = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => folder.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("has `..` in it"),
            Component::RootDir | Component::Prefix(_) => return Err("is absolute"),
        }
    }
    Ok(folder)
}
