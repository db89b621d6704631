//! The branch that a repository takes for its main one, asked by the git of whoever types the
//! command: it may read what its user may.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_core::{password, without_password};
use tokio::process::Command;

use crate::failure::bad_input;
use crate::output::{clean, quoted};

/// How long a repository may take to answer.
const LIMIT: Duration = Duration::from_mins(1);

/// The default branch of a repository.
///
/// # Errors
/// It does not answer, or has none.
pub(crate) async fn ask(repository: &str) -> anyhow::Result<String> {
    let shown = without_password(repository);
    let output = tokio::time::timeout(LIMIT, git(repository).output()).await;
    let reason = match output {
        Ok(output) => {
            let output =
                output.context("cannot run `git`: install it, on Debian with `apt install git`")?;
            if output.status.success() {
                return branch(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
                    bad_input(
                        format!(
                            "repository `{shown}` has no default branch (is it empty?); name a \
                             version"
                        ),
                        "name the version with `--version REF`",
                    )
                });
            }
            said(repository, &output)
        }
        Err(_) => format!("git did not end within {} seconds", LIMIT.as_secs()),
    };
    let ask = format!("git ls-remote {}", quoted(&shown));
    Err(bad_input(
        clean(&format!("cannot reach repository `{shown}`: {reason}")),
        format!("look at the address: `{ask}` must answer, and ask for nothing"),
    ))
}

/// A question that is never answered by a prompt, nor by a program that the address names.
fn git(repository: &str) -> Command {
    let mut command = Command::new("git");
    command
        // Where no repository's own configuration counts.
        .current_dir("/")
        .env_remove("GIT_DIR")
        .env_remove("SSH_ASKPASS")
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "")
        .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20")
        .args(["-c", "protocol.allow=never"])
        .args(["-c", "protocol.https.allow=always", "-c", "protocol.ssh.allow=always"])
        .args(["ls-remote", "--quiet", "--symref", "--", repository, "HEAD"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Reads `ref: refs/heads/main<TAB>HEAD`.
fn branch(listed: &str) -> Option<String> {
    listed.lines().find_map(|line| {
        let (name, of) = line.strip_prefix("ref: refs/heads/")?.split_once('\t')?;
        (of == "HEAD").then(|| name.to_owned())
    })
}

/// What git complains of first, without the secret of the address.
fn said(repository: &str, output: &Output) -> String {
    let complaints = String::from_utf8_lossy(&output.stderr);
    let mut said = complaints.replace(repository, &without_password(repository));
    if let Some(secret) = password(repository) {
        said = said.replace(secret, "***");
    }
    let told = said.lines().map(str::trim).find(|line| line.starts_with("fatal: "));
    told.and_then(|line| line.strip_prefix("fatal: "))
        .map_or_else(|| format!("git ended with {}", output.status), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_branch_is_what_head_stands_for() {
        let id = "c".repeat(40);
        let listed = format!("ref: refs/heads/trunk\tHEAD\n{id}\tHEAD\n");
        assert_eq!(branch(&listed).as_deref(), Some("trunk"));
        assert_eq!(branch(&format!("{id}\tHEAD\n")), None);
        assert_eq!(branch(""), None);
    }

    #[tokio::test]
    async fn an_address_may_name_no_program_and_shows_no_secret() {
        for address in ["ext::touch /tmp/x", "--upload-pack=id", "/srv/nothing"] {
            let error = ask(address).await.unwrap_err().to_string();
            assert!(error.starts_with("cannot reach repository `"), "{error}");
        }
        let error = ask("https://user:hunter2@127.0.0.1:1/a").await.unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
