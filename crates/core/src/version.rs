//! A version: what somebody wants to run of a repository, by a name that git knows or by the commit
//! itself.

use std::fmt;

use gix_validate::reference::name::Error as Objection;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::commit::Commit;

/// How long a part of a name may be, in bytes: each is the name of a file in a repository.
const LONGEST_PART: usize = 255;

/// A branch, a tag or a commit: 40 hex digits, or what `git check-ref-format --branch` takes for
/// the name of a branch (<https://git-scm.com/docs/git-check-ref-format>).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

/// Why a text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VersionObjection {
    #[error("is empty")]
    Empty,
    #[error("begins with `-`")]
    LeadingDash,
    #[error("is a word of git's own")]
    Reserved,
    #[error("has a part of more than {LONGEST_PART} bytes")]
    LongPart,
    #[error("has a space, a control character or one of `~ ^ : ? * [ \\` in it")]
    Character,
    #[error("has `..` or `@{{` in it")]
    Range,
    #[error("has a part that is empty, begins or ends with `.`, or ends with `.lock`")]
    Part,
}

impl Version {
    /// What is allowed, for a sentence.
    pub const ALLOWED: &str = "a branch, a tag, or a commit of 40 hex digits, as `git \
        check-ref-format --branch` takes it";

    /// Reads a version as somebody wrote it.
    ///
    /// # Errors
    /// What keeps it from being one, by git's own rules.
    pub fn parse(text: &str) -> Result<Version, VersionObjection> {
        if text.starts_with('-') {
            return Err(VersionObjection::LeadingDash);
        }
        // Short for `HEAD`, which git puts in its place before it looks.
        if text == "@" {
            return Err(VersionObjection::Reserved);
        }
        if text.split('/').any(|part| part.len() > LONGEST_PART) {
            return Err(VersionObjection::LongPart);
        }
        let name = format!("refs/heads/{text}");
        match gix_validate::reference::branch_name(name.as_str().into()) {
            Ok(_) => Ok(Version(text.to_owned())),
            Err(_) if text.is_empty() => Err(VersionObjection::Empty),
            Err(Objection::Reserved { .. }) => Err(VersionObjection::Reserved),
            Err(Objection::InvalidByte { .. } | Objection::Asterisk) => {
                Err(VersionObjection::Character)
            }
            Err(Objection::RepeatedDot | Objection::ReflogPortion) => Err(VersionObjection::Range),
            // Whatever else is about parts of the name; the enum may grow.
            Err(_) => Err(VersionObjection::Part),
        }
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in a sentence: a commit abbreviated.
    pub fn shown(&self) -> &str {
        if self.commit().is_some() { &self.0[..7] } else { &self.0 }
    }

    /// The commit that it names by itself; a branch or a tag names none until a repository is
    /// asked.
    pub fn commit(&self) -> Option<Commit> {
        Commit::parse(&self.0)
    }
}

impl From<&Commit> for Version {
    fn from(commit: &Commit) -> Version {
        Version(commit.as_str().to_owned())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_commit_a_sentence_has_the_first_digits() {
        let shown = |text: &str| Version::parse(text).unwrap().shown().to_owned();
        assert_eq!(shown(&"0123456789".repeat(4)), "0123456");
        assert_eq!(shown("release/0123456789"), "release/0123456789");
    }

    #[test]
    fn names_of_branches_and_tags_and_commits_are_versions() {
        let long = format!("{0}/{0}/{0}", "a".repeat(LONGEST_PART));
        for text in [
            "main",
            "v1.0.0",
            "feature/a,b",
            "feature/x-1",
            "a@b",
            "größe",
            "#1",
            "$(id)",
            "a;b",
            "a/@",
            "x-",
            &"b".repeat(220),
            &long,
            &"a".repeat(40),
        ] {
            assert_eq!(Version::parse(text).map(|version| version.0), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_git_would_take_for_something_else_is_none() {
        for (text, why) in [
            ("", VersionObjection::Empty),
            ("-x", VersionObjection::LeadingDash),
            ("--upload-pack=id", VersionObjection::LeadingDash),
            ("@", VersionObjection::Reserved),
            ("HEAD", VersionObjection::Reserved),
            ("a b", VersionObjection::Character),
            ("a~1", VersionObjection::Character),
            ("a^{}", VersionObjection::Character),
            ("a:b", VersionObjection::Character),
            ("a?", VersionObjection::Character),
            ("a*", VersionObjection::Character),
            ("a[b", VersionObjection::Character),
            ("a\\b", VersionObjection::Character),
            ("a\nb", VersionObjection::Character),
            ("a\0b", VersionObjection::Character),
            ("a\u{7f}", VersionObjection::Character),
            ("a..b", VersionObjection::Range),
            ("a@{1}", VersionObjection::Range),
            ("/a", VersionObjection::Part),
            ("a/", VersionObjection::Part),
            ("a//b", VersionObjection::Part),
            (".a", VersionObjection::Part),
            ("a/.b", VersionObjection::Part),
            ("a.", VersionObjection::Part),
            ("a.lock", VersionObjection::Part),
            ("a.lock/b", VersionObjection::Part),
            (&"a".repeat(LONGEST_PART + 1), VersionObjection::LongPart),
        ] {
            assert_eq!(Version::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn only_forty_hex_digits_are_a_commit() {
        let commit = |text: &str| Version::parse(text).unwrap().commit();
        assert_eq!(commit(&"A".repeat(40)).unwrap().as_str(), "a".repeat(40));
        assert_eq!(commit(&"a".repeat(39)), None);
        assert_eq!(commit("main"), None);
    }
}
