//! One bare mirror per repository: which commit a version is, and the files of a commit. What is
//! done with the files is left to `build`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rowhouse_core::Commit;

use crate::digest::digest;
use crate::git::{Git, GitError, unreachable, version_objection};
use crate::remote::{ASK, Remotes};
use crate::repository::Repository;
use crate::room::remove_now;
use crate::supply::Supply;
use crate::upkeep::mark_used;

pub(crate) const LOOK: Duration = Duration::from_mins(1);
pub(crate) const FETCH: Duration = Duration::from_mins(15);
const FILES: Duration = Duration::from_mins(5);
/// Submodules of submodules, to this depth.
const DEPTH: usize = 8;

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

    /// Fetches with what stands in `file`, for servers that ask for it: a line `https://user:token@host` for each, as
    /// git's own helper `store` reads it (<https://git-scm.com/docs/git-credential-store>).
    #[must_use]
    pub fn with_credentials(mut self, file: PathBuf) -> Mirrors {
        self.credentials = Some(file);
        self
    }

    /// Finds the commit of `version`: 40 hex digits are one (nobody is asked), else a branch goes
    /// before a tag, and a tag stands for the commit that it names.
    ///
    /// # Errors
    /// [`GitError::Unreachable`] when the repository does not answer; [`GitError::Refused`] when it
    /// keeps no commits of 40 hex digits.
    pub async fn resolve(
        &self,
        repository: &Repository,
        version: &str,
    ) -> Result<Resolved, GitError> {
        if let Some(commit) = Commit::parse(version) {
            return Ok(Resolved::Commit(commit));
        }
        if let Some(objection) = version_objection(version) {
            let shown = version.escape_debug();
            let reason = format!(
                "version `{shown}` is refused: {objection}; allowed is a branch, a tag or a commit \
                 of 40 hex digits"
            );
            return Ok(Resolved::NoSuchVersion { reason });
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

    /// Makes `folder`, which must not exist, the files of `commit`, submodules included, without
    /// any `.git`. It appears whole or not at all. A commit that was checked out once is kept in
    /// the mirror until `tidy` lets it go, and needs no network again.
    ///
    /// # Errors
    /// [`GitError::Refused`]: there is no such commit, or a submodule is not allowed.
    /// [`GitError::Unreachable`]: it had to be fetched and could not be.
    pub async fn check_out(
        &self,
        repository: &Repository,
        commit: &Commit,
        folder: &Path,
    ) -> Result<(), GitError> {
        let folder = &std::path::absolute(folder).unwrap_or(folder.to_owned());
        let above = folder.parent().unwrap_or(Path::new("/"));
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let new = above.join(format!(".{name}.new"));
        remove(&new)?;
        make(&new)?;
        let result = async {
            self.fill(repository.clone(), commit.clone(), new.clone()).await?;
            fs::rename(&new, folder).map_err(|error| {
                GitError::io(format!("make `{}`", folder.display()), folder, error)
            })
        };
        let result = result.await;
        if result.is_err() {
            remove(&new)?;
        }
        result
    }

    /// Fills `folder` and then those of the submodules in it, level by level.
    async fn fill(
        &self,
        repository: Repository,
        commit: Commit,
        folder: PathBuf,
    ) -> Result<(), GitError> {
        let mut level = vec![(repository, commit, folder)];
        for _ in 0..DEPTH {
            let mut below = Vec::new();
            for (repository, commit, folder) in level {
                below.extend(self.files(&repository, &commit, &folder).await?);
            }
            if below.is_empty() {
                return Ok(());
            }
            level = below;
        }
        let reason = format!("submodules lie in submodules more than {DEPTH} deep");
        Err(GitError::Refused { reason })
    }

    /// Writes the files of one commit, and says which submodules go where.
    async fn files(
        &self,
        repository: &Repository,
        commit: &Commit,
        folder: &Path,
    ) -> Result<Vec<(Repository, Commit, PathBuf)>, GitError> {
        let mirror = self.mirror(repository);
        self.obtain(repository, commit, &mirror).await?;
        let number = self.indexes.fetch_add(1, Ordering::Relaxed);
        let index = mirror.join(format!("rowhouse-index-{number}"));
        remove(&index)?;
        let git = || {
            let tree = format!("--work-tree={}", folder.display());
            let git = Git::new(&mirror, repository).env("GIT_INDEX_FILE", &index);
            git.writes(folder).args(["--git-dir=.", &tree])
        };
        let result = async {
            let write = git().args(["read-tree", "--reset", "-u", commit.as_str()]);
            write.run("write the files of a commit", FILES).await?;
            let listed = git().args(["ls-files", "--stage", "-z"]);
            listed.run("list the files of a commit", FILES).await
        };
        let listed = result.await;
        remove(&index)?;
        let listed = String::from_utf8_lossy(&listed?.stdout).into_owned();
        let links = listed.split('\0').filter_map(|entry| {
            let (mode_id_stage, path) = entry.strip_prefix("160000 ")?.split_once('\t')?;
            Some((Commit::parse(mode_id_stage.split(' ').next()?)?, path))
        });
        let linked = linked(repository, commit, &mirror, links.collect()).await?;
        let placed = linked
            .into_iter()
            .map(|(submodule, commit, path)| Ok((submodule, commit, place(folder, path)?)));
        placed.collect()
    }

    /// Sees to it that the mirror has the commit, whole, and keeps it.
    async fn obtain(
        &self,
        repository: &Repository,
        commit: &Commit,
        mirror: &Path,
    ) -> Result<(), GitError> {
        let lock = self.lock(mirror);
        let _held = lock.lock().await;
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
            let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
            self.fetching(repository, mirror, &refs).reach(FETCH).await?;
            if !reached(repository, commit, mirror).await? {
                self.fetch_alone(repository, commit, mirror, &pin).await?;
            }
        }
        let kind = git().args(["cat-file", "-t", commit.as_str()]).ask(LOOK).await?.text();
        if kind != "commit" {
            git().args(["update-ref", "-d", &pin]).run("drop a mark", LOOK).await?;
            let reason = format!(
                "`{commit}` of repository `{repository}` is a {kind}, not a commit; a tag is \
                 written by its name"
            );
            return Err(GitError::Refused { reason });
        }
        let keep = git().args(["update-ref", &pin, commit.as_str()]);
        keep.run("keep a commit", LOOK).await?;
        mark_used(mirror);
        Ok(())
    }

    fn fetching<'a>(&self, repository: &'a Repository, mirror: &Path, refs: &[&str]) -> Git<'a> {
        let git = Git::new(mirror, repository).credentials(self.credentials.as_deref());
        let git = git.args(["--git-dir=.", "fetch", "--quiet", "--no-tags"]);
        let git =
            git.args(["--force", "--prune", "--no-write-fetch-head", "--no-auto-maintenance"]);
        git.args(["--no-recurse-submodules", "--", repository.as_str()]).args(refs)
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
                "repository `{repository}` has no commit {commit}; was it pushed, and not removed \
                 by a forced push since?"
            );
            return Err(GitError::Refused { reason });
        }
        Err(unreachable(repository, &outcome, FETCH))
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
            // Nothing of the mirror is pruned: the bundle has this commit alone.
            let git = Git::new(mirror, &bundle).args(["--git-dir=.", "fetch", "--quiet"]);
            let git = git.args(["--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"]);
            let git = git.args(["--no-recurse-submodules", "--", bundle.as_str(), &pin]);
            git.run("fetch a bundle", FETCH).await
        };
        if let Err(error) = fetched.await {
            tracing::warn!(reason = %error, "a supplied commit is no good");
        }
    }

    /// Writes a commit with all that leads to it into a file, for a supply, and says which submodules it has.
    ///
    /// # Errors
    /// As for [`Mirrors::check_out`].
    pub async fn bundle(
        &self,
        repository: &Repository,
        commit: &Commit,
        supply: &Supply,
    ) -> Result<Vec<(Repository, Commit)>, GitError> {
        let mirror = self.mirror(repository);
        self.obtain(repository, commit, &mirror).await?;
        let file = supply.bundle(&name(&mirror));
        let git = || Git::new(&mirror, repository).args(["--git-dir=."]);
        // What a git that was killed has left: the next one would wait for it in vain.
        let mut lock = file.clone().into_os_string();
        lock.push(".lock");
        // What cannot be removed git names itself.
        let _ = fs::remove_file(lock);
        let create = git().args(["bundle", "create", "--quiet"]).args([&file]).writes(&file);
        create.args([pin(commit)]).run("write a bundle", FETCH).await?;
        let list = git().args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]);
        let listed = list.run("list the files of a commit", FILES).await?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let links = listed.split('\0').filter_map(|entry| {
            let (commit, path) = entry.strip_prefix("160000 commit ")?.split_once('\t')?;
            Some((Commit::parse(commit)?, path))
        });
        let linked = linked(repository, commit, &mirror, links.collect()).await?;
        Ok(linked.into_iter().map(|(submodule, commit, _)| (submodule, commit)).collect())
    }

    async fn no_such(&self, repository: &Repository, version: &str) -> Result<Resolved, GitError> {
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
        let is_abbreviated = (7..40).contains(&version.len())
            && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = if is_abbreviated {
            format!(
                "; a commit is named by all of its 40 digits: `git rev-parse {version}` tells them, and \
                 `rowhouse history NAME --json` those of what ran"
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

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn mirror(&self, repository: &Repository) -> PathBuf {
        let name = digest(repository.as_str().as_bytes());
        self.folder.join(format!("{name}.git"))
    }

    pub(crate) fn lock(&self, mirror: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(busy.entry(mirror.to_owned()).or_default())
    }
}

/// What keeps a commit in a mirror.
fn pin(commit: &Commit) -> String {
    format!("refs/rowhouse/{commit}")
}

/// What a mirror is called.
fn name(mirror: &Path) -> String {
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

/// Where the links of a commit lead, each a commit at a path. One without an address is an empty folder to everybody,
/// and left out.
async fn linked<'a>(
    repository: &Repository,
    commit: &Commit,
    mirror: &Path,
    links: Vec<(Commit, &'a str)>,
) -> Result<Vec<(Repository, Commit, &'a str)>, GitError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = submodules(repository, commit, mirror).await?;
    let mut found = Vec::new();
    for (commit, path) in links {
        if let Some(address) = addresses.get(path) {
            found.push((repository.submodule(address)?, commit, path));
        }
    }
    Ok(found)
}

/// The addresses of a commit's submodules, by their path.
async fn submodules(
    repository: &Repository,
    commit: &Commit,
    mirror: &Path,
) -> Result<BTreeMap<String, String>, GitError> {
    let blob = format!("--blob={commit}:.gitmodules");
    let git = Git::new(mirror, repository).args(["--git-dir=.", "config", &blob]);
    let outcome = git.args(["--null", "--no-includes", "--list"]).ask(LOOK).await?;
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let mut by_name: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for (key, value) in text.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let Some((name, field)) =
            key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.'))
        else {
            continue;
        };
        let entry = by_name.entry(name).or_default();
        match field {
            "path" => entry.0 = Some(value),
            "url" => entry.1 = Some(value),
            _ => {}
        }
    }
    let pairs = by_name.into_values().filter_map(|(path, url)| path.zip(url));
    Ok(pairs.map(|(path, url)| (path.to_owned(), url.to_owned())).collect())
}

/// Where a submodule goes: a folder of the checkout itself, reached without a symbolic link.
fn place(folder: &Path, path: &str) -> Result<PathBuf, GitError> {
    let what = || format!("find the submodule folder `{path}`");
    let inner = folder.join(path);
    let real = fs::canonicalize(&inner).map_err(|error| GitError::io(what(), folder, error))?;
    let root = fs::canonicalize(folder).map_err(|error| GitError::io(what(), folder, error))?;
    if real == root || real != root.join(path) {
        let reason = format!("submodule `{path}` leads out of its checkout");
        return Err(GitError::Refused { reason });
    }
    Ok(real)
}

/// A git that was killed leaves locks which would stop every later one. Whoever calls this holds
/// the mirror, and no git works longer than [`FETCH`].
fn remove_old_locks(mirror: &Path) {
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
fn remove_half_fetched(mirror: &Path) {
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

fn make(folder: &Path) -> Result<(), GitError> {
    fs::create_dir_all(folder).map_err(|error| {
        GitError::io(format!("make the folder `{}`", folder.display()), folder, error)
    })
}

pub(crate) fn remove(path: &Path) -> Result<(), GitError> {
    remove_now(path)
        .map_err(|error| GitError::io(format!("remove `{}`", path.display()), path, error))
}
