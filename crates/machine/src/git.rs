//! The `git` command with fixed arguments: never a prompt, never a hook, only the protocols that a
//! repository's address allows, a time limit. What is asked of it is in `mirror`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::command::{self, Outcome};
use crate::repository::Repository;
use crate::room::is_full;

/// Why git did not do what was asked, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The row asks for something that cannot be had: tell its user, and do not try again.
    #[error("{reason}")]
    Refused { reason: String },
    /// The repository did not answer, or not to us: try again later.
    #[error("{reason}")]
    Unreachable { reason: String },
    /// There is no room for the files.
    #[error("no space left on the device of `{}`; free some, or move the platform's folder", folder.display())]
    DiskFull { folder: PathBuf },
    /// This machine does not do what it must.
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
}

impl GitError {
    /// What went wrong with a file or a program of ours, a full disk named as such.
    pub(crate) fn io(what: impl Into<String>, folder: &Path, source: io::Error) -> GitError {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            GitError::DiskFull { folder: folder.to_owned() }
        } else {
            GitError::Io { what: what.into(), source }
        }
    }
}

/// Of the caller's `GIT_…` variables only these are kept: where the operator's own configuration
/// is, and which certificates to trust.
const KEPT: [&str; 7] = [
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_EXEC_PATH",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_PROXY_SSL_CAINFO",
];

/// One call of git, being put together.
pub(crate) struct Git<'a> {
    command: Command,
    folder: PathBuf,
    /// Where it writes most.
    written: PathBuf,
    repository: &'a Repository,
}

impl<'a> Git<'a> {
    /// A call that works in `folder`, a bare repository or a place without one, and talks to
    /// nothing but `repository`.
    pub(crate) fn new(folder: &Path, repository: &'a Repository) -> Git<'a> {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("GIT_") && !KEPT.contains(&text.as_ref()) {
                command.env_remove(&name);
            }
        }
        command
            .current_dir(folder)
            .env_remove("SSH_ASKPASS")
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env("GCM_INTERACTIVE", "never")
            .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_OPTIONAL_LOCKS", "0");
        if let Some(above) = folder.parent() {
            command.env("GIT_CEILING_DIRECTORIES", above);
        }
        let file = if repository.is_local() { "always" } else { "never" };
        for setting in [
            "protocol.allow=never",
            "protocol.https.allow=always",
            "protocol.ssh.allow=always",
            &format!("protocol.file.allow={file}"),
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.autocrlf=false",
            "core.symlinks=true",
            "core.protectHFS=true",
            "core.protectNTFS=true",
            "gc.auto=0",
            "maintenance.auto=false",
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=60",
            "advice.defaultBranchName=false",
            "transfer.bundleURI=false",
        ] {
            command.args(["-c", setting]);
        }
        let folder = folder.to_owned();
        Git { command, written: folder.clone(), folder, repository }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Git<'a> {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &Path) -> Git<'a> {
        self.command.env(name, value);
        self
    }

    /// Lets git's own helper answer a server that asks who we are, from this file, and nobody else. It is no argument
    /// and no variable that holds a secret.
    pub(crate) fn credentials(mut self, file: Option<&Path>) -> Git<'a> {
        if let Some(file) = file {
            let helper = format!("credential.helper=store --file='{}'", file.display());
            self.command.args(["-c", "credential.helper=", "-c", &helper]);
        }
        self
    }

    pub(crate) fn writes(mut self, folder: &Path) -> Git<'a> {
        folder.clone_into(&mut self.written);
        self
    }

    /// Runs it, whatever its exit status.
    pub(crate) async fn ask(self, limit: Duration) -> Result<Outcome, GitError> {
        let mut outcome = command::run(self.command, limit).await.map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() {
                let what = "run `git`, which is not installed: `apt install git`";
                return GitError::Io { what: what.to_owned(), source: error };
            }
            GitError::io("run `git`", &self.folder, error)
        })?;
        outcome.stderr = self.repository.mask(&outcome.stderr);
        if disk_is_full(&outcome.stderr) || !outcome.success() && is_full(&self.written) {
            return Err(GitError::DiskFull { folder: self.written });
        }
        Ok(outcome)
    }

    /// Runs it here, on files of ours: a failure is ours.
    pub(crate) async fn run(self, what: &str, limit: Duration) -> Result<Outcome, GitError> {
        let outcome = self.ask(limit).await?;
        if outcome.success() {
            return Ok(outcome);
        }
        let said = said(&outcome, limit);
        Err(GitError::Io { what: what.to_owned(), source: io::Error::other(said) })
    }

    /// Runs it over the network: a failure is the repository's, and may pass.
    pub(crate) async fn reach(self, limit: Duration) -> Result<Outcome, GitError> {
        let repository = self.repository;
        let outcome = self.ask(limit).await?;
        if outcome.success() { Ok(outcome) } else { Err(unreachable(repository, &outcome, limit)) }
    }
}

pub(crate) fn unreachable(repository: &Repository, outcome: &Outcome, limit: Duration) -> GitError {
    let said = said(outcome, limit);
    let cure = cure(&said);
    GitError::Unreachable { reason: format!("{UNREACHED} `{repository}`: {said}{cure}") }
}

/// How every reason begins that speaks of a repository which did not answer, or not to us.
const UNREACHED: &str = "cannot reach repository";

/// What git says where it is not allowed to read.
const REFUSALS: [&str; 6] = [
    "terminal prompts disabled",
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "Permission denied (",
    "returned error: 403",
];
const UNKNOWN_HOST_KEY: &str = "Host key verification failed";
/// What git says where there is no repository.
const MISSING: [&str; 3] =
    ["does not appear to be a git repository", "' not found", "Repository not found"];

/// How a repository did not answer, by the words of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// Time alone may mend it.
    Silent,
    /// Somebody must: its address, or what we may read.
    Refused,
}

/// Whether a reason speaks of a repository that did not answer, and how.
pub fn unreached(reason: &str) -> Option<Unreached> {
    let said = reason.strip_prefix(UNREACHED)?;
    let is_refused = REFUSALS.iter().chain(&MISSING).chain([&UNKNOWN_HOST_KEY]);
    let mut is_refused = is_refused.filter(|words| said.contains(**words));
    Some(if is_refused.next().is_some() { Unreached::Refused } else { Unreached::Silent })
}

/// What keeps `version` from being the name of a branch or a tag, by git's own rules
/// (`git check-ref-format`).
pub(crate) fn version_objection(version: &str) -> Option<&'static str> {
    let forbidden = |letter: char| letter.is_control() || " ~^:?*[\\".contains(letter);
    #[expect(clippy::case_sensitive_file_extension_comparisons, reason = "git's rule is exact")]
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if version.is_empty() {
        Some("it is empty")
    } else if version.len() > 200 {
        Some("it is longer than 200 bytes")
    } else if version.starts_with('-') {
        Some("it begins with `-`")
    } else if version.contains(forbidden) {
        Some("it has a space, a control character or one of `~^:?*[\\` in it")
    } else if version.contains("..") || version.contains("@{") || version == "@" {
        Some("it has `..` or `@{` in it, or is `@`")
    } else if version.ends_with('.') || version.split('/').any(bad_part) {
        Some("a part of it is empty, begins or ends with `.`, or ends with `.lock`")
    } else {
        None
    }
}

fn disk_is_full(said: &str) -> bool {
    said.contains("No space left on device") || said.contains("Disk quota exceeded")
}

/// What git says after every failure of a connection.
const EMPTY_WORDS: [&str; 3] = [
    "Could not read from remote repository",
    "Please make sure you have the correct access rights",
    "and the repository exists",
];

/// What git said, on one line, without what says nothing.
fn said(outcome: &Outcome, limit: Duration) -> String {
    let Some(status) = outcome.status else {
        return format!("git did not end within {} seconds", limit.as_secs());
    };
    let lines = outcome.stderr.lines().map(|line| {
        let line = line.trim();
        line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line)
    });
    let telling = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("warning: ")
            && !EMPTY_WORDS.iter().any(|words| line.starts_with(words))
    };
    let lines: Vec<&str> = lines.filter(telling).take(6).collect();
    if lines.is_empty() { format!("git ended with {status}") } else { lines.join("; ") }
}

fn cure(said: &str) -> &'static str {
    if REFUSALS.iter().any(|refusal| said.contains(refusal)) {
        "; if the repository is private, configure a git credential helper or an ssh key for the \
         user that runs rowhouse; if not, look at the spelling of its address"
    } else if said.contains(UNKNOWN_HOST_KEY) {
        "; connect once by hand (`ssh -T user@host`) as the user that runs rowhouse, to accept the \
         host's key"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_git_would_take_for_something_else_are_refused() {
        for version in [
            "",
            "-x",
            "--upload-pack=id",
            "a b",
            "a..b",
            "a~1",
            "a^",
            "a^{}",
            "a:b",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "@",
            "a@{1}",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
            "a\nb",
            "a\0b",
        ] {
            assert!(version_objection(version).is_some(), "{version:?}");
        }
    }

    #[test]
    fn names_of_branches_and_tags_are_taken() {
        for version in ["main", "v1.0.0", "feature/x-1", "a@b", "größe", "#1", "$(id)", "a;b"] {
            assert_eq!(version_objection(version), None, "{version:?}");
        }
    }

    #[test]
    fn a_wanted_password_has_a_cure() {
        let said = "fatal: could not read Username for 'https://h': terminal prompts disabled";
        assert!(cure(said).contains("credential helper"));
        assert_eq!(cure("Could not resolve host: h"), "");
    }

    #[test]
    fn what_time_may_mend_is_told_from_what_somebody_must() {
        for (said, how) in [
            ("Could not resolve host: h", Unreached::Silent),
            ("git did not end within 20 seconds", Unreached::Silent),
            ("'/tmp' does not appear to be a git repository", Unreached::Refused),
            ("repository 'https://h/a/' not found", Unreached::Refused),
            (
                "could not read Username for 'https://h': terminal prompts disabled",
                Unreached::Refused,
            ),
        ] {
            let reason = format!("cannot reach repository `x`: {said}");
            assert_eq!(unreached(&reason), Some(how), "{said}");
        }
        assert_eq!(unreached("no space left on the device of `/`"), None);
    }
}
