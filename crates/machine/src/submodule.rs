//! The submodules of a commit: which repositories they come from, and where their files go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rowhouse_core::{Commit, Repository};

use crate::git::Git;
use crate::git_error::GitError;
use crate::mirror::LOOK;

/// Where the links of a commit lead, each a commit at a path. One without an address is an empty folder to everybody,
/// and left out.
pub(crate) async fn linked<'a>(
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
pub(crate) fn place(folder: &Path, path: &str) -> Result<PathBuf, GitError> {
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
