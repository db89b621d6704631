//! The project in a folder, as git knows it.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use rowhouse_core::Repository;

use crate::failure::bad_input;
use crate::output::clean;

/// What `deploy` deploys.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder's name.
    pub(crate) folder: String,
    pub(crate) repository: String,
    /// Where the same repository is to be had as well: on this machine, and as `origin`.
    pub(crate) elsewhere: Vec<String>,
    pub(crate) origin: Origin,
    /// The folder inside the repository; empty is its root.
    pub(crate) path: String,
    pub(crate) commit: String,
    /// How many files differ from that commit.
    pub(crate) uncommitted: usize,
}

/// Why it is that repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The remote `origin` has the commit, as far as the last fetch or push knows.
    Remote,
    NoRemote,
    NotPushed,
    /// The address of `origin` has a password in it, which has no place in a row.
    HasPassword,
    /// The address of `origin` is none that a platform may use, such as `http://`.
    NotAllowed,
}

impl Origin {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Origin::Remote => "the remote `origin`, which has this commit",
            Origin::NoRemote => "the repository on this machine: it has no remote `origin`",
            Origin::NotPushed => {
                "the repository on this machine: the commit is not pushed to `origin`"
            }
            Origin::HasPassword => {
                "the repository on this machine: the address of `origin` has a password in it"
            }
            Origin::NotAllowed => {
                "the repository on this machine: `origin` is reached by neither https nor ssh"
            }
        }
    }
}

struct Said {
    text: Option<String>,
    error: String,
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<Said> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .output()
        .context("cannot run `git`: install it, on Debian with `apt install git`")?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
    Ok(Said {
        text: output.status.success().then_some(text),
        error: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

impl Project {
    /// Asks git about a folder.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Project> {
        let look = git(folder, &["rev-parse", "--show-toplevel"])?;
        let Some(root) = look.text.filter(|root| !root.is_empty()) else {
            let shown = clean(&folder.display().to_string());
            if look.error.contains("not a git repository") {
                return Err(bad_input(
                    format!("`{shown}` is in no git repository"),
                    "`git init && git add . && git commit -m first` makes one",
                ));
            }
            // Such as one that belongs to somebody else: git says what to do about it.
            return Err(bad_input(
                format!("git does not take `{shown}` for a project: {}", clean(&look.error)),
                "`git status` in the same folder says more",
            ));
        };
        let Some(commit) = git(folder, &["rev-parse", "--verify", "--quiet", "HEAD"])?.text else {
            return Err(bad_input(
                format!("the repository `{}` has no commit yet", clean(&root)),
                "`git add . && git commit -m first` makes one",
            ));
        };
        let path = git(folder, &["rev-parse", "--show-prefix"])?.text.unwrap_or_default();
        let changed = git(folder, &["status", "--porcelain", "--", "."])?.text.unwrap_or_default();
        let (remote, origin) = origin(folder)?;
        let address = git(folder, &["remote", "get-url", "origin"])?.text;
        Ok(Project {
            folder: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            elsewhere: address.into_iter().chain([root.clone()]).collect(),
            repository: remote.unwrap_or(root),
            origin,
            path: path.trim_end_matches('/').to_owned(),
            commit,
            uncommitted: changed.lines().count(),
        })
    }
}

impl Project {
    /// Whether it is this repository, by whichever address.
    pub(crate) fn is_in(&self, repository: &str) -> bool {
        let wanted = place(repository);
        self.elsewhere.iter().chain([&self.repository]).any(|address| place(address) == wanted)
    }
}

/// What two addresses of one repository have in common: host and path, or the real path.
fn place(address: &str) -> String {
    let address = address.trim_end_matches('/');
    let path = Path::new(address.strip_prefix("file://").unwrap_or(address));
    if path.is_absolute() {
        let real = path.canonicalize();
        return real.as_deref().unwrap_or(path).display().to_string();
    }
    let place = match address.split_once("://") {
        Some((_, place)) => place.to_owned(),
        // As git writes what ssh reaches: `user@host:path`.
        None => address.replacen(':', "/", 1),
    };
    let (host, path) = place.split_once('/').unwrap_or((&place, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
    format!("{host}/{}", path.trim_end_matches(".git"))
}

/// The remote, if the commit can be had from there.
fn origin(folder: &Path) -> anyhow::Result<(Option<String>, Origin)> {
    let Some(url) = git(folder, &["remote", "get-url", "origin"])?.text else {
        return Ok((None, Origin::NoRemote));
    };
    // A path may mean something else elsewhere, and the repository at hand is as good.
    let repository = Repository::parse(&url).ok().filter(|repository| !repository.is_local());
    let Some(repository) = repository else { return Ok((None, Origin::NotAllowed)) };
    if repository.has_password() {
        return Ok((None, Origin::HasPassword));
    }
    let branches = git(folder, &["branch", "--remotes", "--contains", "HEAD"])?.text;
    let is_pushed = branches.is_some_and(|branches| {
        branches.lines().any(|branch| branch.trim_start().starts_with("origin/"))
    });
    Ok(if is_pushed { (Some(url), Origin::Remote) } else { (None, Origin::NotPushed) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_of_one_repository_are_one_place() {
        let project = |address: &str| Project {
            folder: "sub".to_owned(),
            repository: "/no/such/a".to_owned(),
            elsewhere: vec![address.to_owned()],
            origin: Origin::Remote,
            path: String::new(),
            commit: "c".repeat(40),
            uncommitted: 0,
        };
        for (one, other) in [
            ("https://example.com/a.git", "git@example.com:a.git"),
            ("https://me:hunter2@Example.com/a", "ssh://git@example.com/a.git/"),
            ("/no/such/b/", "file:///no/such/b"),
            ("/", "/usr/.."),
        ] {
            assert!(project(one).is_in(other), "{one} {other}");
        }
        for (one, other) in [
            ("https://example.com/a.git", "https://example.com/b.git"),
            ("https://example.com/a.git", "https://example.org/a.git"),
            ("/no/such/b", "/no/such/c"),
            ("https://example.com/a", "/example.com/a"),
        ] {
            assert!(!project(one).is_in(other), "{one} {other}");
        }
        assert!(project("").is_in("/no/such/a"));
    }
}
