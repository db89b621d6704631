//! The `git` command with fixed arguments: never a prompt, never a hook, only the protocols that a
//! repository's address allows, a time limit. What is asked of it is in `mirror`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_core::Repository;
use tokio::process::Command;

use crate::command::{self, Outcome};
use crate::git_error::{GitError, said};
use crate::room::is_full;

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

    /// A fetch of these references, and of nothing else; where the source has them no more, they go here as well.
    pub(crate) fn fetching_from(self, source: &Repository, refs: &[&str]) -> Git<'a> {
        let git = self.args(["--git-dir=.", "fetch", "--quiet", "--no-tags", "--force", "--prune"]);
        let git = git.args(["--no-write-fetch-head", "--no-auto-maintenance"]);
        git.args(["--no-recurse-submodules", "--", source.as_str()]).args(refs)
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

    /// Runs it over the network: a failure is the repository's.
    pub(crate) async fn reach(self, limit: Duration) -> Result<Outcome, GitError> {
        let repository = self.repository;
        let outcome = self.ask(limit).await?;
        if outcome.success() {
            Ok(outcome)
        } else {
            Err(GitError::of_repository(repository, &outcome, limit))
        }
    }
}

fn disk_is_full(said: &str) -> bool {
    said.contains("No space left on device") || said.contains("Disk quota exceeded")
}
