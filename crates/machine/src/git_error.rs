//! Why git did not do what was asked, told from what it said once, when it ended, and a type from then on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_core::{Denied, RefusedAddress, Repository, Silent, SubmoduleObjection};

use crate::command::Outcome;

/// Why git did not do what was asked, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The row asks for something that cannot be had: tell its user, and do not try again.
    #[error("{reason}")]
    Refused { reason: String },
    /// The repository is not there, refuses us, or cannot be read: somebody must mend that.
    #[error("{}{}", Denied { repository, said }, cure(said))]
    Denied { repository: Repository, said: String },
    /// The repository did not answer: try again later.
    #[error("{}", Silent { repository, said })]
    Unreachable { repository: Repository, said: String },
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

    /// Of a git that talked to a repository and failed. A path of this machine has nobody who could be busy or away.
    pub(crate) fn of_repository(
        repository: &Repository,
        outcome: &Outcome,
        limit: Duration,
    ) -> GitError {
        let is_silent = match outcome.status {
            None => true,
            Some(_) => {
                !repository.is_local() && SILENCE.iter().any(|words| outcome.stderr.contains(words))
            }
        };
        let (repository, said) = (repository.clone(), said(outcome, limit));
        if is_silent {
            GitError::Unreachable { repository, said }
        } else {
            GitError::Denied { repository, said }
        }
    }
}

impl From<RefusedAddress> for GitError {
    fn from(refused: RefusedAddress) -> GitError {
        GitError::Refused { reason: refused.to_string() }
    }
}

impl From<SubmoduleObjection> for GitError {
    fn from(objection: SubmoduleObjection) -> GitError {
        GitError::Refused { reason: objection.to_string() }
    }
}

/// What git, curl and ssh say, in the C locale, of a server that is away, busy, or was cut off: time alone may mend
/// that. Whatever else they say, somebody must mend.
const SILENCE: [&str; 32] = [
    // Names and routes: libcurl, OpenSSH and getaddrinfo.
    "Could not resolve",
    "Couldn't resolve",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "Network is down",
    "No route to host",
    "Host is down",
    // Connections.
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Connection closed",
    "Operation timed out",
    "Operation too slow",
    "Timeout was reached",
    "Failed to connect",
    "Couldn't connect",
    "Could not connect",
    "Broken pipe",
    "Recv failure",
    "Send failure",
    "kex_exchange_identification",
    "SSL_ERROR_SYSCALL",
    "The TLS connection was non-properly terminated",
    // Answers that were cut off.
    "early EOF",
    "unexpected disconnect",
    "The remote end hung up unexpectedly",
    "the remote end hung up unexpectedly",
    "transfer closed with",
    // Answers of HTTP servers that ask for patience, <https://www.rfc-editor.org/rfc/rfc9110#section-15.6>.
    "returned error: 408",
    "returned error: 429",
    "returned error: 5",
];

/// What git says where it is not allowed to read.
const REFUSALS: [&str; 6] = [
    "terminal prompts disabled",
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "Permission denied (",
    "returned error: 403",
];

/// What git says after every failure of a connection.
const EMPTY_WORDS: [&str; 3] = [
    "Could not read from remote repository",
    "Please make sure you have the correct access rights",
    "and the repository exists",
];

/// What git said, on one line, without what says nothing.
pub(crate) fn said(outcome: &Outcome, limit: Duration) -> String {
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

/// What to do about it, where git does not say so itself.
fn cure(said: &str) -> &'static str {
    if REFUSALS.iter().any(|refusal| said.contains(refusal)) {
        "; if the repository is private, configure a git credential helper or an ssh key for the \
         user that runs rowhouse; if not, look at the spelling of its address"
    } else if said.contains("Host key verification failed") {
        "; connect once by hand (`ssh -T user@host`) as the user that runs rowhouse, to accept the \
         host's key"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn ended(address: &str, stderr: &str) -> GitError {
        let status = Some(ExitStatus::from_raw(128 << 8));
        let outcome = Outcome { status, stdout: Vec::new(), stderr: stderr.to_owned() };
        let repository = Repository::parse(address).unwrap();
        GitError::of_repository(&repository, &outcome, Duration::from_secs(20))
    }

    #[test]
    fn what_time_may_mend_is_told_from_what_somebody_must() {
        for said in [
            "fatal: unable to access 'https://h/a/': Could not resolve host: h",
            "fatal: unable to access 'https://h/a/': The requested URL returned error: 503",
            "fatal: unable to access 'https://h/a/': Failed to connect to h port 443 after 0 ms",
            "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote",
            "error: RPC failed; curl 56 Recv failure: Connection reset by peer",
            "fatal: early EOF",
        ] {
            let error = ended("https://h/a", said);
            assert!(matches!(error, GitError::Unreachable { .. }), "{said}");
        }
        for said in [
            "fatal: repository 'https://h/a/' not found",
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            "fatal: unable to access 'https://h/a/': The requested URL returned error: 403",
            "git@h: Permission denied (publickey).",
            "Host key verification failed.",
            "fatal: '/a' does not appear to be a git repository",
            "fatal: bad object HEAD",
            "fatal: something that git has never said before",
        ] {
            assert!(matches!(ended("https://h/a", said), GitError::Denied { .. }), "{said}");
        }
    }

    #[test]
    fn nobody_waits_for_a_path_of_this_machine() {
        let said =
            "fatal: Could not read from remote repository.\nthe remote end hung up unexpectedly";
        assert!(matches!(ended("/srv/a", said), GitError::Denied { .. }));
        let repository = Repository::parse("/srv/a").unwrap();
        let outcome = Outcome { status: None, stdout: Vec::new(), stderr: String::new() };
        let error = GitError::of_repository(&repository, &outcome, Duration::from_secs(20));
        assert!(matches!(error, GitError::Unreachable { .. }));
        assert!(error.to_string().ends_with("git did not end within 20 seconds"), "{error}");
    }

    #[test]
    fn a_wanted_password_has_a_cure_and_git_its_own_words() {
        let said = "fatal: could not read Username for 'https://h': terminal prompts disabled";
        assert!(ended("https://h/a", said).to_string().contains("credential helper"));
        let said = "fatal: detected dubious ownership in repository at '/a'\nTo add an exception for this directory, \
                    call:\n\n\tgit config --global --add safe.directory /a";
        let told = ended("/a", said).to_string();
        let expected = "cannot read repository `/a`: detected dubious ownership in repository at '/a'; To add an \
                        exception for this directory, call:; git config --global --add safe.directory /a";
        assert_eq!(told, expected);
    }
}
