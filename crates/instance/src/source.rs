//! The source of a private repository: fetched by this half, which may read its token, and laid out
//! for the platform as bundles of git. The token reaches neither arguments nor variables, and
//! nobody but this half's user.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rowhouse_command::output;
use rowhouse_core::{Commit, Manifest, Repository, token_secret};
use rowhouse_machine::git::error::GitError;
use rowhouse_machine::git::mirror::Mirrors;
use rowhouse_machine::supply::Supply;
use tokio::time::sleep;
use url::Url;

use crate::account::Account;
use crate::notes::Notes;
use crate::refused::Refused;

/// How long a repository is asked again that does not answer.
const PATIENCE: Duration = Duration::from_mins(3);
/// A repository with its submodules, and theirs.
const REPOSITORIES: usize = 100;

/// Lays out the commit of a manifest, submodules included, if there is a token for its host; else
/// the platform fetches it for itself.
pub(crate) async fn lay_out(
    manifest: &Manifest,
    account: &Account,
    notes: &Notes,
    supply: &Supply,
) -> Result<(), Refused> {
    let repository = &manifest.repo;
    let mut tokens = Tokens { account, notes, known: BTreeMap::new() };
    if !tokens.has(repository).await? {
        return Ok(());
    }
    let outcome = fetch(&mut tokens, repository, &manifest.commit, supply).await;
    forget(notes);
    outcome
}

/// Removes tokens from the disk, with what they were needed for.
pub(crate) fn forget(notes: &Notes) {
    let _ = std::fs::remove_file(notes.path(FILE));
    let _ = std::fs::remove_dir_all(notes.path("mirrors"));
}

async fn fetch(
    tokens: &mut Tokens<'_>,
    repository: &Repository,
    commit: &Commit,
    supply: &Supply,
) -> Result<(), Refused> {
    let mirrors = Mirrors::new(tokens.notes.path("mirrors")).with_credentials(tokens.file());
    let mut wanted = vec![(repository.clone(), commit.clone())];
    let mut seen = BTreeSet::new();
    while let Some((repository, commit)) = wanted.pop() {
        if !seen.insert((repository.clone(), commit.clone())) {
            continue;
        }
        if seen.len() > REPOSITORIES {
            return Err(Refused(format!("there are more than {REPOSITORIES} submodules")));
        }
        tokens.has(&repository).await?;
        let began = Instant::now();
        loop {
            match mirrors.bundle(&repository, &commit, supply).await {
                Ok(below) => {
                    wanted.extend(below);
                    break;
                }
                Err(error) => {
                    let reason = tokens.hide(&error.to_string());
                    let may_pass = match &error {
                        GitError::Denied { .. } => return Err(tokens.denied(&repository)),
                        GitError::Refused { .. } => false,
                        GitError::Unreachable { .. }
                        | GitError::DiskFull { .. }
                        | GitError::Io { .. } => true,
                    };
                    if !may_pass || began.elapsed() > PATIENCE {
                        return Err(Refused(reason));
                    }
                    output::warning(&output::clean(&reason));
                    sleep(Duration::from_secs(5)).await;
                }
            }
        }
    }
    Ok(())
}

/// What opens repositories, by the names of secrets. No `Debug`: it would be shown sooner or later.
struct Tokens<'a> {
    account: &'a Account,
    notes: &'a Notes,
    known: BTreeMap<String, Option<Token>>,
}

struct Token {
    /// As git's helper `store` reads it.
    line: String,
    password: String,
}

impl Tokens<'_> {
    /// Whether there is a token for this repository's server. It is where git looks for it, then.
    async fn has(&mut self, repository: &Repository) -> Result<bool, Refused> {
        let Some((url, name)) = address(repository) else { return Ok(false) };
        if let Some(known) = self.known.get(&name) {
            return Ok(known.is_some());
        }
        let began = Instant::now();
        let text = loop {
            match self.account.secret(&name).await {
                Ok(text) => break text,
                Err(error) => {
                    let error = output::clean(&error);
                    if began.elapsed() > PATIENCE {
                        return Err(Refused(format!(
                            "the secret `{name}` cannot be read: {error}"
                        )));
                    }
                    output::warning(&format!("the secret `{name}` cannot be read: {error}"));
                    sleep(Duration::from_secs(5)).await;
                }
            }
        };
        let token = match text.as_deref() {
            None => None,
            Some(text) => Some(Token::parse(&url, text).ok_or_else(|| {
                Refused(format!("the secret `{name}` must be plain text: `user:token` or a token"))
            })?),
        };
        let is_there = token.is_some();
        self.known.insert(name, token);
        let lines: String =
            self.known.values().flatten().map(|token| token.line.as_str()).collect();
        self.notes
            .write(FILE, lines.as_bytes())
            .map_err(|error| Refused(format!("cannot keep what opens a repository: {error}")))?;
        Ok(is_there)
    }

    fn file(&self) -> PathBuf {
        self.notes.path(FILE)
    }

    /// A text without any token.
    fn hide(&self, text: &str) -> String {
        let tokens = self.known.values().flatten();
        tokens.fold(text.to_owned(), |text, token| text.replace(&token.password, "***"))
    }

    fn denied(&self, repository: &Repository) -> Refused {
        let name = address(repository).map(|(_, name)| name).unwrap_or_default();
        let is_known = self.known.get(&name).is_some_and(Option::is_some);
        let how = if is_known {
            "with the token in the secret"
        } else {
            "and there is, for the role of instances, no secret"
        };
        Refused(format!(
            "the repository `{repository}` cannot be read {how} `{name}`: put a token there that \
             may read it, let instances read it (`TokenSecrets` of the platform), or correct `Repo`"
        ))
    }
}

const FILE: &str = "git-credentials";

/// What may be wrong where this machine may not read a repository, and what to do about it.
pub(crate) fn advice(repository: &Repository) -> Option<String> {
    let (_, name) = address(repository)?;
    Some(format!(
        "the repository `{repository}` cannot be read: correct `Repo`, or, if it is private, put \
         a token into the secret `{name}` and let instances read it (`TokenSecrets` of the \
         platform)"
    ))
}

/// The server of a repository, and the name of its secret, as the reactor finds it. One that brings
/// credentials with it in its address, or is not on the web, has none.
fn address(repository: &Repository) -> Option<(Url, String)> {
    let url = Url::parse(repository.as_str()).ok()?;
    if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let host = url.host_str()?;
    let name = token_secret(host, url.port());
    Some((url, name))
}

impl Token {
    /// `user:token`, or a token alone. What the console of AWS stores as keys and values is
    /// neither.
    fn parse(server: &Url, text: &str) -> Option<Token> {
        let rowhouse_core::Token { user, password } = rowhouse_core::Token::parse(text)?;
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
        let line = format!(
            "https://{}:{}@{}{port}\n",
            encoded(user),
            encoded(password),
            server.host_str()?
        );
        Some(Token { line, password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Option<String> {
        address(&Repository::parse(text).unwrap()).map(|(_, name)| name)
    }

    #[test]
    fn every_server_has_the_secret_that_the_reactor_looks_for() {
        assert_eq!(named("https://GitHub.com/a/b").as_deref(), Some("rowhouse/git/github.com"));
        assert_eq!(named("https://github.com:443/a").as_deref(), Some("rowhouse/git/github.com"));
        let other = named("https://github.com:8443/a");
        assert_eq!(other.as_deref(), Some("rowhouse/git/github.com/8443"));
        assert_eq!(named("https://me:secret@github.com/a"), None);
        assert_eq!(named("git@github.com:a/b"), None);
        assert_eq!(named("/srv/git/a"), None);
    }

    #[test]
    fn a_token_is_for_one_server_alone() {
        let url = Url::parse("https://git.example.com:8443/owner/name").unwrap();
        let line = |text| Token::parse(&url, text).map(|token| token.line);
        let server = "git.example.com:8443\n";
        assert_eq!(line("abc"), Some(format!("https://x%2Daccess%2Dtoken:abc@{server}")));
        assert_eq!(line("me:a/b@c%41"), Some(format!("https://me:a%2Fb%40c%2541@{server}")));
        for bad in ["", "{\"token\":\"abc\"}", "me:", "a\nb"] {
            assert_eq!(line(bad), None, "{bad}");
        }
    }
}
