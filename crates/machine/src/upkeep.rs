//! The upkeep of mirrors, so that they do not grow for ever: commits that no build needs are let go, what was
//! fetched bit by bit is packed, and what nobody has used for long is removed. All of it can be fetched again,
//! as long as the repository has it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rowhouse_core::{Commit, Repository};

use crate::git::Git;
use crate::git_error::GitError;
use crate::mirror::{FETCH, LOOK, Mirrors, remove};
use crate::room::remove_now;

const DAY: Duration = Duration::from_hours(24);
/// How long a mirror stays that no app's repository has.
const UNUSED: Duration = Duration::from_hours(24 * 30);
/// Longer than a checkout may take, which reads the mirror and holds nothing.
const QUIET: Duration = Duration::from_mins(15);
/// Files of a mirror whose times say when it was used, and when it was tidied.
const USED: &str = "rowhouse-used";
const TIDIED: &str = "rowhouse-tidied";

impl Mirrors {
    /// Tidies every mirror that was used since it was tidied last, at most once a day. Of the repositories
    /// `named`, the commits stay that `is_needed`; of others all of them, but the mirror goes when it was not
    /// used for 30 days. Whoever needs a commit that is not there meanwhile waits, as for a fetch.
    ///
    /// # Errors
    /// The first thing that went wrong; the other mirrors are tidied all the same.
    pub async fn tidy(
        &self,
        named: &BTreeSet<Repository>,
        is_needed: impl Fn(&Repository, &Commit) -> bool,
    ) -> Result<(), GitError> {
        let named: HashMap<PathBuf, &Repository> =
            named.iter().map(|repository| (self.mirror(repository), repository)).collect();
        let mut result = Ok(());
        for mirror in self.all() {
            let repository = named.get(&mirror).copied();
            result = result.and(self.tidy_one(&mirror, repository, &is_needed).await);
        }
        result
    }

    async fn tidy_one(
        &self,
        mirror: &Path,
        repository: Option<&Repository>,
        is_needed: &impl Fn(&Repository, &Commit) -> bool,
    ) -> Result<(), GitError> {
        let lock = self.lock(mirror);
        let Ok(_held) = lock.try_lock() else { return Ok(()) };
        let used = age(&mirror.join(USED)).or_else(|| age(mirror)).unwrap_or_default();
        if repository.is_none() && used > UNUSED {
            return remove(mirror);
        }
        let is_tidy = |tidied: Duration| tidied < DAY || tidied < used;
        if used < QUIET || age(&mirror.join(TIDIED)).is_some_and(is_tidy) {
            return Ok(());
        }
        // Nothing here talks to the repository itself.
        let here = Repository::parse(&mirror.display().to_string())?;
        let git = || Git::new(mirror, &here).args(["--git-dir=."]);
        if let Some(repository) = repository {
            let list = git().args(["for-each-ref", "--format=%(refname)", "refs/rowhouse/"]);
            let pins = list.run("list the kept commits", LOOK).await?.text();
            for pin in pins.lines() {
                let commit = pin.rsplit('/').next().and_then(Commit::parse);
                if commit.is_some_and(|commit| !is_needed(repository, &commit)) {
                    git().args(["update-ref", "-d", pin]).run("let a commit go", LOOK).await?;
                }
            }
        }
        git().args(["gc", "--quiet"]).run("pack a mirror", FETCH).await?;
        touch(&mirror.join(TIDIED));
        Ok(())
    }

    fn all(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let is_mirror = |path: &PathBuf| path.extension().is_some_and(|end| end == "git");
        entries.map(|entry| entry.path()).filter(is_mirror).collect()
    }
}

/// A git that was killed leaves locks which would stop every later one. Whoever calls this holds
/// the mirror, and no git works longer than [`FETCH`].
pub(crate) fn remove_old_locks(mirror: &Path) {
    let mut folders = vec![mirror.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
            if about.is_dir() && entry.file_name() != "objects" {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "lock") {
                let changed = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                if changed.elapsed().is_ok_and(|age| age > FETCH) {
                    // What cannot be removed git names itself.
                    let _ = fs::remove_file(path);
                }
            }
        }
    }
}

/// A fetch that was ended leaves what it had, which nobody uses and which may fill the disk.
/// Whoever calls this holds the mirror.
pub(crate) fn remove_half_fetched(mirror: &Path) {
    let objects = mirror.join("objects");
    for folder in [objects.join("pack"), objects] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("tmp_") {
                // What cannot be removed only takes room.
                let _ = remove_now(&entry.path());
            }
        }
    }
}

/// Remembers that a mirror was used now.
pub(crate) fn mark_used(mirror: &Path) {
    touch(&mirror.join(USED));
}

fn touch(file: &Path) {
    // A mark that is missing costs a day, or a fetch.
    let _ = fs::File::create(file).and_then(|file| file.set_modified(SystemTime::now()));
}

fn age(path: &Path) -> Option<Duration> {
    fs::metadata(path).and_then(|about| about.modified()).ok()?.elapsed().ok()
}
