//! One bare mirror per repository: which commit a version is, and the files of a commit. What is
//! done with the files is left to `build`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rowhouse_core::{Commit, Repository, Version};

use crate::digest::digest;
use crate::git::error::GitError;
use crate::git::remote::{ASK, Remotes};
use crate::git::residue::{mark_used, remove_half_fetched, remove_old_locks};
use crate::git::{FETCH, Git, LOOK};
use crate::room::remove_now;
use crate::supply::Supply;

/// What a mirror has of its repository.
const EVERYTHING: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// What a version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    Commit(Commit),
    /// The repository answered, and has no such branch or tag.
    NoSuchVersion {
        reason: String,
    },
}

/// The mirrors of all repositories, in one folder.
#[derive(Debug)]
pub struct Mirrors {
    folder: PathBuf,
    /// One holder at a time for what changes a mirror.
    busy: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    remotes: Remotes,
    supply: Option<Supply>,
    /// Where git finds what opens private repositories.
    credentials: Option<PathBuf>,
    /// How many index files were begun, so that no two at a time have one name.
    indexes: AtomicU64,
}

impl Mirrors {
    /// Mirrors in `folder`, which is made when it is first needed.
    pub fn new(folder: PathBuf) -> Mirrors {
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Mirrors {
            folder,
            busy: Mutex::default(),
            remotes: Remotes::default(),
            supply: None,
            credentials: None,
            indexes: AtomicU64::new(0),
        }
    }

    /// Takes commits that lie in the supply from there.
    #[must_use]
    pub fn with_supply(mut self, supply: Option<Supply>) -> Mirrors {
        self.supply = supply;
        self
    }

    /// Fetches with what stands in `file`, for servers that ask for it: a line
    /// `https://user:token@host` for each, as git's own helper `store` reads it
    /// (<https://git-scm.com/docs/git-credential-store>).
    #[must_use]
    pub fn with_credentials(mut self, file: PathBuf) -> Mirrors {
        self.credentials = Some(file);
        self
    }

    /// Finds the commit of `version`: 40 hex digits are one (nobody is asked), else a branch goes
    /// before a tag, and a tag stands for the commit that it names.
    ///
    /// # Errors
    /// [`GitError::Unreachable`] when the repository does not answer, [`GitError::Denied`] when it
    /// cannot be read, [`GitError::Refused`] when it keeps no commits of 40 hex digits.
    pub async fn resolve(
        &self,
        repository: &Repository,
        version: &Version,
    ) -> Result<Resolved, GitError> {
        if let Some(commit) = version.commit() {
            return Ok(Resolved::Commit(commit));
        }
        let (branch, tag) = (format!("refs/heads/{version}"), format!("refs/tags/{version}"));
        let peeled = format!("{tag}^{{}}");
        let names = [branch.as_str(), peeled.as_str(), tag.as_str()];
        let found = self.list(repository, &[], &names).await?;
        match names.iter().find_map(|name| found.get(*name)) {
            Some(id) => Ok(Resolved::Commit(commit_of(repository, id)?)),
            None => self.no_such(repository, version).await,
        }
    }

    /// The branch that the repository itself takes for its main one.
    ///
    /// # Errors
    /// [`GitError::Refused`] when it has none (it is empty), [`GitError::Unreachable`] when it does
    /// not answer.
    pub async fn default_branch(&self, repository: &Repository) -> Result<String, GitError> {
        let outcome = self.list_raw(repository, &["--symref"], &["HEAD"]).await?;
        let branch = outcome.lines().find_map(|line| {
            let (name, of) = line.strip_prefix("ref: refs/heads/")?.split_once('\t')?;
            (of == "HEAD").then(|| name.to_owned())
        });
        branch.ok_or_else(|| GitError::Refused {
            reason: format!(
                "repository `{repository}` has no default branch (is it empty?); name a version"
            ),
        })
    }

    /// Sees to it that the mirror has the commit, whole, and keeps it. A mirror that is no good is
    /// made anew.
    pub(crate) async fn obtain(
        &self,
        repository: &Repository,
        commit: &Commit,
        mirror: &Path,
    ) -> Result<(), GitError> {
        let lock = self.lock(mirror);
        let _held = lock.lock().await;
        match self.obtain_held(repository, commit, mirror).await {
            Err(GitError::Io { what, source }) if mirror.join("HEAD").exists() => {
                tracing::warn!(
                    %repository, reason = %source, "cannot {what}; the mirror is made anew"
                );
                self.renew(repository, mirror).await?;
                self.obtain_held(repository, commit, mirror).await
            }
            obtained => obtained,
        }
    }

    async fn obtain_held(
        &self,
        repository: &Repository,
        commit: &Commit,
        mirror: &Path,
    ) -> Result<(), GitError> {
        let git = || Git::new(mirror, repository).args(["--git-dir=."]);
        if !mirror.join("HEAD").is_file() {
            create(repository, mirror).await?;
        }
        let pin = pin(commit);
        let pinned = git().args(["show-ref", "--verify", "--quiet", &pin]).ask(LOOK).await?;
        if pinned.success() {
            mark_used(mirror);
            return Ok(());
        }
        self.fetch_supplied(commit, mirror).await;
        if !reached(repository, commit, mirror).await? {
            remove_old_locks(mirror);
            remove_half_fetched(mirror);
            self.fetch_all(repository, mirror).await?;
            if !reached(repository, commit, mirror).await? {
                self.fetch_alone(repository, commit, mirror, &pin).await?;
            }
        }
        let kind = git().args(["cat-file", "-t", commit.as_str()]);
        let kind = kind.run("find a commit that was fetched", LOOK).await?.text();
        if kind != "commit" {
            git().args(["update-ref", "-d", &pin]).run("drop a mark", LOOK).await?;
            let reason = format!(
                "`{}` of repository `{repository}` is a {kind}, not a commit; a tag is \
                 written by its name",
                commit.short()
            );
            return Err(GitError::Refused { reason });
        }
        let keep = git().args(["update-ref", &pin, commit.as_str()]);
        keep.run("keep a commit", LOOK).await?;
        mark_used(mirror);
        Ok(())
    }

    /// Fetches all branches and tags. Where that fails though the repository answers, the mirror is
    /// to blame.
    async fn fetch_all(&self, repository: &Repository, mirror: &Path) -> Result<(), GitError> {
        match self.fetching(repository, mirror, &EVERYTHING).reach(FETCH).await {
            Err(GitError::Denied { said, .. }) => {
                self.list_raw(repository, &[], &["HEAD"]).await?;
                let what = format!("fetch repository `{repository}`");
                Err(GitError::Io { what, source: io::Error::other(said) })
            }
            fetched => fetched.map(drop),
        }
    }

    /// Makes a mirror anew, with the commits that the old one still has. It stays as it is unless
    /// that succeeds. Whoever calls this holds the mirror.
    pub(crate) async fn renew(
        &self,
        repository: &Repository,
        mirror: &Path,
    ) -> Result<(), GitError> {
        // Named as a mirror is, so that one which was left half-made goes when nobody has used it
        // for long.
        let new = mirror.with_extension("new.git");
        create(repository, &new).await?;
        let fetched = self.fetching(repository, &new, &EVERYTHING).reach(FETCH).await;
        if let Err(error) = fetched {
            remove(&new)?;
            return Err(error);
        }
        let old = Repository::parse(&mirror.display().to_string())?;
        let kept = ["+refs/rowhouse/*:refs/rowhouse/*"];
        // What the old one cannot give is fetched again when it is needed.
        let _ = Git::new(&new, &old).fetching_from(&old, &kept).ask(FETCH).await?;
        remove(mirror)?;
        fs::rename(&new, mirror)
            .map_err(|error| GitError::io("put a new mirror in its place", mirror, error))
    }

    fn fetching<'a>(&self, repository: &'a Repository, mirror: &Path, refs: &[&str]) -> Git<'a> {
        let git = Git::new(mirror, repository).credentials(self.credentials.as_deref());
        git.fetching_from(repository, refs)
    }

    /// Fetches a commit that no branch or tag leads to: most servers still give it.
    async fn fetch_alone(
        &self,
        repository: &Repository,
        commit: &Commit,
        mirror: &Path,
        pin: &str,
    ) -> Result<(), GitError> {
        const UNKNOWN: [&str; 4] = [
            "not our ref",
            "unadvertised object",
            "couldn't find remote ref",
            "does not point to a valid object",
        ];
        let refs = format!("+{commit}:{pin}");
        let outcome = self.fetching(repository, mirror, &[&refs]).ask(FETCH).await?;
        if outcome.success() {
            return Ok(());
        }
        if UNKNOWN.iter().any(|sign| outcome.stderr.contains(sign)) {
            let reason = format!(
                "repository `{repository}` has no commit {}; was it pushed, and not removed \
                 by a forced push since?",
                commit.short()
            );
            return Err(GitError::Refused { reason });
        }
        Err(GitError::of_repository(repository, &outcome, FETCH))
    }

    /// Takes the commit from the supply, if it is there: its repository may be closed to us.
    async fn fetch_supplied(&self, commit: &Commit, mirror: &Path) {
        let Some(supply) = &self.supply else { return };
        let file = supply.bundle(&name(mirror));
        if !file.is_file() {
            return;
        }
        let fetched = async {
            let bundle = Repository::parse(&file.display().to_string())?;
            let pin = format!("+{0}:{0}", pin(commit));
            Git::new(mirror, &bundle)
                .fetching_from(&bundle, &[&pin])
                .run("fetch a bundle", FETCH)
                .await
        };
        if let Err(error) = fetched.await {
            tracing::warn!(reason = %error, "a supplied commit is no good");
        }
    }

    async fn no_such(
        &self,
        repository: &Repository,
        version: &Version,
    ) -> Result<Resolved, GitError> {
        let found = self.list(repository, &["--heads"], &[]).await?;
        let mut branches: Vec<&str> =
            found.keys().filter_map(|name| name.strip_prefix("refs/heads/")).collect();
        branches.sort_by_key(|name| !["main", "master"].contains(name));
        let shown = branches.iter().take(5).map(|name| format!("`{name}`"));
        let shown = shown.collect::<Vec<String>>().join(", ");
        let there = match branches.len() {
            0 => "it has no branches: push one".to_owned(),
            1..=5 => format!("its branches are {shown}"),
            more => format!("some of its {more} branches are {shown}"),
        };
        let digits = version.as_str();
        let is_abbreviated =
            (7..40).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = if is_abbreviated {
            format!(
                "; a commit is named by all of its 40 digits: `git rev-parse {version}` tells \
                 them, and `rowhouse history NAME --json` those of what ran"
            )
        } else {
            String::new()
        };
        let reason =
            format!("repository `{repository}` has no branch or tag `{version}`{commit}; {there}");
        Ok(Resolved::NoSuchVersion { reason })
    }

    async fn list(
        &self,
        repository: &Repository,
        options: &[&str],
        names: &[&str],
    ) -> Result<BTreeMap<String, String>, GitError> {
        let text = self.list_raw(repository, options, names).await?;
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(pairs.map(|(id, name)| (name.to_owned(), id.to_owned())).collect())
    }

    async fn list_raw(
        &self,
        repository: &Repository,
        options: &[&str],
        names: &[&str],
    ) -> Result<String, GitError> {
        make(&self.folder)?;
        let git = Git::new(&self.folder, repository).args(["ls-remote", "--quiet"]);
        let git = git.args(options).args(["--", repository.as_str()]).args(names);
        Ok(self.remotes.ask(repository, git.reach(ASK)).await?.text())
    }

    /// A number that no other index file of this process has.
    pub(crate) fn next_index(&self) -> u64 {
        self.indexes.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn mirror(&self, repository: &Repository) -> PathBuf {
        let name = digest(repository.as_str().as_bytes());
        self.folder.join(format!("{name}.git"))
    }

    pub(crate) fn lock(&self, mirror: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock();
        Arc::clone(busy.entry(mirror.to_owned()).or_default())
    }
}

/// What keeps a commit in a mirror.
pub(crate) fn pin(commit: &Commit) -> String {
    format!("refs/rowhouse/{commit}")
}

/// What a mirror is called.
pub(crate) fn name(mirror: &Path) -> String {
    mirror.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn commit_of(repository: &Repository, id: &str) -> Result<Commit, GitError> {
    Commit::parse(id).ok_or_else(|| {
        let reason = format!(
            "repository `{repository}` names its commits by `{id}`; supported are 40 hex digits \
             (the object format `sha1`)"
        );
        GitError::Refused { reason }
    })
}

async fn create(repository: &Repository, mirror: &Path) -> Result<(), GitError> {
    remove(mirror)?;
    make(mirror)?;
    let git = Git::new(mirror, repository);
    let options = ["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "."];
    git.args(options).run("make a mirror", LOOK).await.map(drop)
}

/// Does a branch, a tag or a kept commit lead to it? Only then is it known to be whole.
async fn reached(
    repository: &Repository,
    commit: &Commit,
    mirror: &Path,
) -> Result<bool, GitError> {
    let git = Git::new(mirror, repository).args(["--git-dir=.", "for-each-ref", "--count=1"]);
    let outcome = git.args(["--contains", commit.as_str()]).ask(LOOK).await?;
    Ok(outcome.success() && !outcome.stdout.is_empty())
}

pub(crate) fn make(folder: &Path) -> Result<(), GitError> {
    fs::create_dir_all(folder).map_err(|error| {
        GitError::io(format!("make the folder `{}`", folder.display()), folder, error)
    })
}

pub(crate) fn remove(path: &Path) -> Result<(), GitError> {
    remove_now(path)
        .map_err(|error| GitError::io(format!("remove `{}`", path.display()), path, error))
}
