//! Going back to a release: which one is meant, and what becomes of the row.

use std::collections::{BTreeMap, BTreeSet};

use crate::app;
use crate::attribute::{Attribute, UserAttributes, Value};
use crate::commit::Commit;
use crate::digest::Generation;
use crate::history::StoredEntry;
use crate::meaning;
use crate::release::{Release, Releases};
use crate::repository::Repository;
use crate::row::{Row, Status};
use crate::settings::Settings;

/// How few hex digits may stand for a commit.
const FEWEST_DIGITS: usize = 7;

/// The release that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// After a failed change what was deployed last, else what was deployed before what stands in
    /// the row.
    Earlier,
    /// The commit that begins with these lower-case hex digits.
    Revision(String),
    /// The entry of that number.
    Number(u64),
}

impl Asked {
    /// What is allowed, for a sentence.
    pub const ALLOWED: &str = "a release's number, or at least 7 hex digits of a revision";

    /// Reads a commit's first digits, or fewer decimal ones for a number.
    pub fn parse(text: &str) -> Option<Asked> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (FEWEST_DIGITS..=40).contains(&text.len()) {
            return Some(Asked::Revision(text.to_ascii_lowercase()));
        }
        let is_number =
            text.len() < FEWEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok().map(Asked::Number)).flatten()
    }
}

/// Why there is nothing to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRollback {
    /// Nothing that differs from the row was deployed before it.
    NothingEarlier,
    /// The history has no such entry.
    Unknown,
    /// The digits begin more than one revision.
    Ambiguous,
    /// Its rollout failed: it never served.
    Failed,
    /// It ran no instance, so nobody knows its commit.
    WithoutCommit,
    /// Of an entry of the first form, whose commit is another repository's than the row's.
    AnotherRepository,
}

/// What going back comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    /// The entry that is gone back to.
    pub entry: StoredEntry,
    pub commit: Commit,
    /// Whether all attributes are known as they were; else the commit alone is.
    pub is_whole: bool,
    /// What to write; `None` clears an attribute.
    pub changes: BTreeMap<Attribute, Option<Value>>,
    /// The branch or tag to return to afterwards: of the same repository, the one that was deployed
    /// last. What was never deployed is no place to return to.
    pub branch: Option<String>,
}

impl Rollback {
    /// Whether nothing would be changed of a row but that it is deployed again.
    pub fn changes_nothing(&self, user: &UserAttributes) -> bool {
        self.changes.iter().all(|(attribute, value)| {
            *attribute == Attribute::Redeploy
                || attribute.means_the_same(user.get(attribute), value.as_ref())
        })
    }
}

/// `Redeploy`, one higher than it stands there.
pub fn raised(user: &UserAttributes) -> Value {
    match user.get(&Attribute::Redeploy) {
        Some(Value::Whole(count)) => Value::Whole(count.saturating_add(1)),
        Some(_) | None => Value::Whole(1),
    }
}

/// Finds the release that is asked for, and what the row becomes: all attributes as they were then
/// but for those that say how much of an app runs, when and under which names, and those in `kept`.
/// `history`: newest first. `settings`: those of the platform, if they are known.
///
/// # Errors
/// Why nothing can be gone back to.
pub fn rollback(
    row: &Row,
    history: &[StoredEntry],
    releases: &Releases,
    asked: &Asked,
    kept: &BTreeSet<Attribute>,
    settings: Option<&Settings>,
) -> Result<Rollback, NoRollback> {
    let look = Look { row, history, releases, kept, settings };
    let candidate = match asked {
        Asked::Earlier => look.earlier(),
        Asked::Revision(digits) => look.revision(digits),
        Asked::Number(number) => look.number(*number),
    }?;
    Ok(look.back_to(&candidate))
}

/// An entry that can be gone back to.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    entry: &'a StoredEntry,
    commit: &'a Commit,
    /// `None`: the entry is of the first form, or its release is gone.
    release: Option<&'a Release>,
}

/// What stays the same while a release is looked for.
struct Look<'a> {
    row: &'a Row,
    history: &'a [StoredEntry],
    releases: &'a Releases,
    kept: &'a BTreeSet<Attribute>,
    settings: Option<&'a Settings>,
}

impl<'a> Look<'a> {
    fn earlier(&self) -> Result<Candidate<'a>, NoRollback> {
        let has_failed = match self.row.report.status {
            Some(Status::DeployFailed | Status::Invalid) => true,
            Some(Status::Deployed | Status::Deploying) | None => false,
        };
        let mut candidates = self.candidates();
        let found = if has_failed {
            candidates.next()
        } else {
            candidates.find(|candidate| self.differs(candidate))
        };
        found.ok_or(NoRollback::NothingEarlier)
    }

    fn revision(&self, digits: &str) -> Result<Candidate<'a>, NoRollback> {
        let begins = |commit: &Commit| commit.as_str().starts_with(digits);
        let matching: Vec<Candidate<'a>> =
            self.candidates().filter(|candidate| begins(candidate.commit)).collect();
        let Some(first) = matching.first() else {
            let others = self.history.iter().filter(|entry| is_deployed(entry));
            let is_elsewhere = others.filter_map(|entry| entry.revision.as_ref()).any(begins);
            return Err(if is_elsewhere {
                NoRollback::AnotherRepository
            } else {
                NoRollback::Unknown
            });
        };
        if matching.iter().any(|candidate| candidate.commit != first.commit) {
            return Err(NoRollback::Ambiguous);
        }
        Ok(*matching.iter().find(|candidate| self.differs(candidate)).unwrap_or(first))
    }

    fn number(&self, number: u64) -> Result<Candidate<'a>, NoRollback> {
        let mut entries = self.history.iter();
        let entry =
            entries.find(|entry| entry.number == Some(number)).ok_or(NoRollback::Unknown)?;
        self.candidate(entry)
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> {
        self.history.iter().filter_map(|entry| self.candidate(entry).ok())
    }

    fn candidate(&self, entry: &'a StoredEntry) -> Result<Candidate<'a>, NoRollback> {
        if !is_deployed(entry) {
            return Err(NoRollback::Failed);
        }
        let commit = entry.revision.as_ref().ok_or(NoRollback::WithoutCommit)?;
        let generation = entry.generation.as_ref().map(Generation::stored);
        let release = generation.and_then(|generation| self.releases.get(&generation));
        if release.is_none() && !self.is_from_here(entry) {
            return Err(NoRollback::AnotherRepository);
        }
        Ok(Candidate { entry, commit, release })
    }

    /// Whether an entry's commits are those of the row's repository, as far as anybody knows now.
    fn is_from_here(&self, entry: &StoredEntry) -> bool {
        let here = match self.row.user.get(&Attribute::Repo) {
            Some(Value::Text(repository)) => Some(repository.as_str()),
            Some(_) => None,
            None => self
                .settings
                .and_then(|settings| settings.repository.as_ref())
                .map(Repository::as_str),
        };
        here.is_none() || entry.repository.is_none() || entry.repository.as_deref() == here
    }

    /// Whether going back there would change what runs.
    fn differs(&self, candidate: &Candidate<'_>) -> bool {
        let (row, entry) = (self.row, candidate.entry);
        let Some(release) = candidate.release else {
            return row.report.revision.as_ref() != Some(candidate.commit);
        };
        let is_moved = |attribute| !self.kept.contains(&attribute);
        let mut restored =
            Attribute::ALL.into_iter().filter(|it| is_restored(*it) && is_moved(*it));
        let has_other = restored.any(|attribute| {
            let then = release.revealed().get(&attribute);
            !attribute.means_the_same(row.user.get(&attribute), then)
        });
        let has_other_place = is_moved(Attribute::Repo)
            && is_moved(Attribute::Path)
            && self.settings.is_some_and(|settings| !comes_to(&row.user, settings, entry));
        let has_other_commit = is_moved(Attribute::Version) && !is_at(row, candidate.commit);
        has_other || has_other_place || has_other_commit
    }

    fn back_to(&self, candidate: &Candidate<'_>) -> Rollback {
        let (row, commit) = (self.row, candidate.commit);
        let mut changes = candidate
            .release
            .map(|release| self.restored(release, candidate.entry))
            .unwrap_or_default();
        if !self.kept.contains(&Attribute::Version) {
            let version = Value::Text(commit.as_str().to_owned());
            changes.insert(Attribute::Version, Some(version));
            // A commit never moves.
            changes.insert(Attribute::Follow, Some(Value::Whole(0)));
        }
        changes.insert(Attribute::Redeploy, Some(raised(&row.user)));
        changes.retain(|attribute, _| !self.kept.contains(attribute));
        Rollback {
            entry: candidate.entry.clone(),
            commit: commit.clone(),
            is_whole: candidate.release.is_some(),
            changes,
            branch: self.branch(candidate.entry),
        }
    }

    /// The attributes that are not as they were, as they were.
    fn restored(
        &self,
        release: &Release,
        entry: &StoredEntry,
    ) -> BTreeMap<Attribute, Option<Value>> {
        let mut then = release.revealed().clone();
        if !then.contains_key(&Attribute::Repo) {
            self.write_defaults(&mut then, entry);
        }
        let restored = Attribute::ALL.into_iter().filter(|attribute| is_restored(*attribute));
        let changed = restored.filter(|attribute| {
            let now = self.row.user.get(attribute);
            !attribute.means_the_same(now, then.get(attribute))
        });
        changed.map(|attribute| (attribute, then.get(&attribute).cloned())).collect()
    }

    /// Gives a row that left its repository to the platform the one that it was, where the
    /// platform's is another by now, or nobody can tell.
    fn write_defaults(&self, then: &mut UserAttributes, entry: &StoredEntry) {
        let (Some(repository), Some(path)) = (&entry.repository, &entry.path) else { return };
        if self.settings.is_some_and(|settings| comes_to(then, settings, entry)) {
            return;
        }
        let default = self.settings.and_then(|settings| settings.repository.as_ref());
        let is_default = default.is_some_and(|default| default.as_str() == repository);
        if !is_default {
            then.insert(Attribute::Repo, Value::Text(repository.clone()));
        }
        if is_default || !path.is_empty() {
            then.insert(Attribute::Path, Value::Text(path.clone()));
        } else {
            then.remove(&Attribute::Path);
        }
    }

    fn branch(&self, entry: &StoredEntry) -> Option<String> {
        let same = |other: &&StoredEntry| {
            is_deployed(other)
                && (other.repository == entry.repository
                    || other.repository.is_none()
                    || entry.repository.is_none())
        };
        let versions = self.history.iter().filter(same).filter_map(|entry| entry.version.as_ref());
        versions.into_iter().find(|version| Commit::parse(version).is_none()).cloned()
    }
}

/// Whether an attribute is taken back with a release, as it was. The others say how much of an app
/// runs, when, and under which names, or are written by the rollback itself.
fn is_restored(attribute: Attribute) -> bool {
    match attribute {
        Attribute::Repo
        | Attribute::Path
        | Attribute::Env
        | Attribute::BuildEnv
        | Attribute::Health
        | Attribute::HealthTimeout
        | Attribute::Procfile
        | Attribute::Memory
        | Attribute::Protocol => true,
        Attribute::Scale
        | Attribute::Workers
        | Attribute::Cron
        | Attribute::Domains
        | Attribute::Hook
        | Attribute::Version
        | Attribute::Follow
        | Attribute::Redeploy => false,
    }
}

fn is_deployed(entry: &StoredEntry) -> bool {
    entry.status.as_deref() == Some(Status::Deployed.as_str())
}

/// Whether a row is at a commit: it says `deployed` of it, or names it.
fn is_at(row: &Row, commit: &Commit) -> bool {
    if row.report.status == Some(Status::Deployed) && row.is_answered() {
        return row.report.revision.as_ref() == Some(commit);
    }
    match row.user.get(&Attribute::Version) {
        Some(Value::Text(version)) => Commit::parse(version).as_ref() == Some(commit),
        Some(_) | None => false,
    }
}

/// Whether attributes come to the repository and the folder of an entry on this platform.
fn comes_to(user: &UserAttributes, settings: &Settings, entry: &StoredEntry) -> bool {
    let place = || {
        let repository = meaning::repository(user, &settings.limits()).ok()?;
        app::place(repository, meaning::path(user).ok()?, settings)
    };
    place().is_some_and(|(repository, path)| {
        entry.repository.as_deref() == Some(repository.as_str())
            && entry.path.as_deref().is_none_or(|then| then == path)
    })
}
