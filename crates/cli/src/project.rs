//! The project in a folder, as git knows it.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use rowhouse_command::rows::names::label;
use rowhouse_core::Repository;

use crate::failure::bad_input;
use crate::output::clean;

/// What `deploy` deploys.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder's name, made a legal host name.
    pub(crate) name: String,
    pub(crate) repository: String,
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
        let folder_name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Project {
            name: label(&folder_name),
            repository: remote.unwrap_or(root),
            origin,
            path: path.trim_end_matches('/').to_owned(),
            commit,
            uncommitted: changed.lines().count(),
        })
    }
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
