//! The branch that a repository takes for its main one, asked by the git of whoever types the
//! command: it may read what its user may.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_core::{Repository, Silent};
use tokio::process::Command;
use tokio::time::timeout;

use crate::failure::bad_input;
use crate::output::{clean, quoted};

/// How long a repository may take to answer.
const LIMIT: Duration = Duration::from_mins(1);

/// The default branch of a repository.
///
/// # Errors
/// It is no address that git may be given, does not answer, or has none.
pub(crate) async fn ask(address: &str) -> anyhow::Result<String> {
    let repository = Repository::parse(address)
        .map_err(|refused| bad_input(refused.to_string(), "give another one with `--repo`"))?;
    let said = match timeout(LIMIT, git(&repository).output()).await {
        Ok(output) => {
            let output =
                output.context("cannot run `git`: install it, on Debian with `apt install git`")?;
            if output.status.success() {
                let found = branch(&String::from_utf8_lossy(&output.stdout));
                return found.ok_or_else(|| without_branch(&repository));
            }
            complaint(&repository, &output)
        }
        Err(_) => format!("git did not end within {} seconds", LIMIT.as_secs()),
    };
    let ask = format!("git ls-remote {}", quoted(&repository.to_string()));
    Err(bad_input(
        Silent { repository: &repository, said: &said }.to_string(),
        format!("look at the address: `{ask}` must answer, and ask for nothing"),
    ))
}

fn without_branch(repository: &Repository) -> anyhow::Error {
    bad_input(
        format!("repository `{repository}` has no default branch (is it empty?); name a version"),
        "name the version with `--version REF`",
    )
}

/// A question that no prompt answers, and that is put by no other way than an address may name.
fn git(repository: &Repository) -> Command {
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
        .args(["ls-remote", "--quiet", "--symref", "--", repository.as_str(), "HEAD"])
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
fn complaint(repository: &Repository, output: &Output) -> String {
    let said = repository.mask(&String::from_utf8_lossy(&output.stderr));
    let fatal = said.lines().find_map(|line| line.trim().strip_prefix("fatal: "));
    fatal.map_or_else(|| format!("git ended with {}", output.status), clean)
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
    async fn an_address_names_no_program_and_no_path_of_this_machine() {
        for address in ["ext::touch /tmp/x", "--upload-pack=id", "/"] {
            assert!(ask(address).await.is_err(), "{address}");
        }
    }

    #[tokio::test]
    async fn what_git_complains_of_is_told_without_the_secret_of_the_address() {
        let error = ask("https://user:hunter2@127.0.0.1:1/a").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot reach repository `https://user:***@127.0.0.1:1/a`: "));
        assert!(!error.contains("hunter2"), "{error}");
    }
}
