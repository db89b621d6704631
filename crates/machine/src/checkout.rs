//! The files of a commit: in a folder, submodules included, or as a bundle for other machines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_core::{Commit, Repository};

use crate::command::Outcome;
use crate::git::Git;
use crate::git_error::{GitError, said};
use crate::mirror::{FETCH, Mirrors, make, name, pin, remove};
use crate::submodule::{linked, place};
use crate::supply::Supply;

const FILES: Duration = Duration::from_mins(5);
/// Submodules of submodules, to this depth.
const DEPTH: usize = 8;

impl Mirrors {
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
        let listed = match self.write_files(repository, commit, &mirror, folder).await {
            Err(Unwritten::Damaged) => {
                self.renew_damaged(repository, commit, &mirror).await?;
                self.write_files(repository, commit, &mirror, folder).await
            }
            written => written,
        };
        let listed = listed.map_err(|unwritten| unwritten.error(repository))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
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

    /// Writes the files of one commit, and gives what stands in its index.
    async fn write_files(
        &self,
        repository: &Repository,
        commit: &Commit,
        mirror: &Path,
        folder: &Path,
    ) -> Result<Vec<u8>, Unwritten> {
        let index = mirror.join(format!("rowhouse-index-{}", self.next_index()));
        remove(&index)?;
        let git = || {
            let tree = format!("--work-tree={}", folder.display());
            let git = Git::new(mirror, repository).env("GIT_INDEX_FILE", &index);
            git.writes(folder).args(["--git-dir=.", &tree])
        };
        let result = async {
            let written = git().args(["read-tree", "--reset", "-u", commit.as_str()]);
            let written = written.ask(FILES).await?;
            if !written.success() {
                return Err(blame(repository, commit, mirror, folder, &written).await);
            }
            let listed = git().args(["ls-files", "--stage", "-z"]);
            Ok(listed.run("list the files of a commit", FILES).await?.stdout)
        };
        let result = result.await;
        remove(&index)?;
        result
    }

    async fn renew_damaged(
        &self,
        repository: &Repository,
        commit: &Commit,
        mirror: &Path,
    ) -> Result<(), GitError> {
        tracing::warn!(%repository, "the mirror is damaged, and made anew");
        {
            let lock = self.lock(mirror);
            let _held = lock.lock().await;
            self.renew(repository, mirror).await?;
        }
        self.obtain(repository, commit, mirror).await
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
}

/// Why the files of a commit were not written.
enum Unwritten {
    /// Our mirror does not have the commit whole.
    Damaged,
    Git(GitError),
}

impl Unwritten {
    fn error(self, repository: &Repository) -> GitError {
        match self {
            Unwritten::Damaged => {
                let what = format!("read the mirror of repository `{repository}`");
                GitError::Io { what, source: io::Error::other("it is damaged") }
            }
            Unwritten::Git(error) => error,
        }
    }
}

impl From<GitError> for Unwritten {
    fn from(error: GitError) -> Unwritten {
        Unwritten::Git(error)
    }
}

/// Whose fault it is that the files of a commit could not be written: the folder's, the mirror's, or else that of the
/// commit, with git's own words: a path that it refuses, a filter that is required and not there.
async fn blame(
    repository: &Repository,
    commit: &Commit,
    mirror: &Path,
    folder: &Path,
    written: &Outcome,
) -> Unwritten {
    let what = "write the files of a commit";
    if written.status.is_none() {
        return GitError::Io {
            what: what.to_owned(),
            source: io::Error::other(said(written, FILES)),
        }
        .into();
    }
    if let Err(error) = tempfile::tempfile_in(folder) {
        return GitError::io(what, folder, error).into();
    }
    // To pack it, git reads and verifies every object that the commit needs.
    let git =
        Git::new(mirror, repository).args(["--git-dir=.", "bundle", "create", "--quiet", "-"]);
    match git.args([pin(commit)]).ask(FETCH).await {
        Err(error) => error.into(),
        Ok(packed) if !packed.success() => Unwritten::Damaged,
        Ok(_) => {
            let said = said(written, FILES);
            let reason = format!(
                "the files of commit {} of repository `{repository}` cannot be written: {said}",
                commit.short()
            );
            GitError::Refused { reason }.into()
        }
    }
}
