//! Which addresses of repositories are allowed, and how they are shown. Talking to them is left
//! to `git` and `mirror`.

use std::fmt;

use rowhouse_core::{password, without_password};

use crate::git::GitError;

const ALLOWED: &str = "allowed are `https://host/path`, `ssh://user@host/path`, `user@host:path` \
                       and, on a machine, an absolute path or `file:///path`";

/// The address of a repository that may be handed to git: never an option, a helper that runs
/// commands, or a transport without authentication.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

impl Repository {
    /// Reads an address as users write it.
    ///
    /// # Errors
    /// [`GitError::Refused`], with what is allowed, for everything else.
    pub fn parse(text: &str) -> Result<Repository, GitError> {
        match objection(text) {
            None => Ok(Repository(text.to_owned())),
            Some(objection) => {
                let shown = without_password(text);
                let reason = format!("repository `{shown}` is refused: {objection}; {ALLOWED}");
                Err(GitError::Refused { reason })
            }
        }
    }

    /// The address as it was written, with any password in it: for git, not for people.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it a path of this machine?
    pub fn is_local(&self) -> bool {
        self.0.starts_with('/') || self.0.starts_with("file://")
    }

    /// The repository that a submodule of this one names, which may be relative (`../other`).
    ///
    /// # Errors
    /// [`GitError::Refused`] if the address is not allowed, or is local while this one is not: a
    /// repository from elsewhere must not have the files of this machine copied.
    pub fn submodule(&self, address: &str) -> Result<Repository, GitError> {
        let relative = address.starts_with("./") || address.starts_with("../");
        let found =
            Repository::parse(&if relative { self.join(address)? } else { address.into() })?;
        if found.is_local() && !self.is_local() {
            let reason = format!(
                "repository `{self}` has a submodule at `{found}`, a path of this machine; \
                 a submodule's address must be `https`, `ssh` or relative"
            );
            return Err(GitError::Refused { reason });
        }
        Ok(found)
    }

    /// Hides this address's secrets in what git says.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mut hidden = text.replace(&self.0, &without_password(&self.0));
        if let Some(secret) = secret_of(&self.0) {
            hidden = hidden.replace(secret, "***");
        }
        hidden
    }

    fn join(&self, relative: &str) -> Result<String, GitError> {
        let (mut base, mut rest) = (self.0.trim_end_matches('/'), relative);
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                let Some(cut) = base.rfind(['/', ':']).filter(|cut| !base[..*cut].ends_with('/'))
                else {
                    let reason =
                        format!("submodule `{relative}` of `{self}` leads out of its host");
                    return Err(GitError::Refused { reason });
                };
                // `git@host:name` keeps its colon, so that what follows stays a path.
                let end = if base.as_bytes()[cut] == b':' { cut + 1 } else { cut };
                (base, rest) = (&base[..end], after);
            } else {
                let between = if base.ends_with(':') { "" } else { "/" };
                return Ok(format!("{base}{between}{rest}"));
            }
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Repository({self})")
    }
}

fn objection(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 2048 {
        return Some("it is longer than 2048 bytes");
    }
    if text.starts_with('-') {
        return Some("it begins with `-`");
    }
    if text.chars().any(char::is_control) {
        return Some("it has control characters in it");
    }
    if text.starts_with('/') {
        return None;
    }
    if text.chars().any(char::is_whitespace) && !text.starts_with("file://") {
        return Some("it has white space in it");
    }
    // `ext::command` and its like: git would run a helper of that name.
    let scheme =
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter));
    let scheme = scheme.into_iter().next().unwrap_or_default();
    if text[scheme.len()..].starts_with("::") {
        return Some("`::` names a helper program");
    }
    match text.split_once("://") {
        Some(("https" | "ssh", rest)) => host_and_path(rest),
        Some(("file", path)) if path.starts_with('/') => None,
        Some(("file", _)) => Some("after `file://` an absolute path must follow"),
        Some(("http" | "git" | "ftp" | "ftps", _)) => Some("its protocol can be tampered with"),
        Some(_) => Some("its protocol is not known"),
        None => scp(text),
    }
}

fn host_and_path(rest: &str) -> Option<&'static str> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.starts_with(':') {
        Some("it has no host")
    } else if host.starts_with('-') || authority.starts_with('-') || path.starts_with('-') {
        Some("a part of it begins with `-`")
    } else if path.is_empty() {
        Some("it has no path")
    } else {
        None
    }
}

fn scp(text: &str) -> Option<&'static str> {
    let Some((user_and_host, path)) = text.split_once(':') else {
        return Some("it is not an address");
    };
    let Some((user, host)) = user_and_host.split_once('@') else {
        return Some("before its `:` there is no `user@host`");
    };
    if user.is_empty() || host.is_empty() || user_and_host.contains('/') || path.is_empty() {
        Some("it is not `user@host:path`")
    } else if host.starts_with('-') || path.starts_with('-') || path.starts_with(':') {
        Some("a part of it begins with `-` or `:`")
    } else {
        None
    }
}

/// The password where it can be hidden in any text. One so short that it is part of common words is hidden only
/// where the whole address stands.
fn secret_of(address: &str) -> Option<&str> {
    password(address).filter(|secret| secret.len() > 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Repository::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_usual_addresses_are_allowed() {
        for text in [
            "https://github.com/owner/name",
            "https://github.com/owner/name.git",
            "https://user:secret@host:8443/a/b",
            "https://[::1]/a/b",
            "ssh://git@host:22/a/b",
            "git@github.com:owner/name.git",
            "/srv/git/name",
            "file:///srv/git/name",
        ] {
            assert_eq!(Repository::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn options_helpers_and_open_protocols_are_refused() {
        for (text, why) in [
            ("", "empty"),
            ("-u", "begins with `-`"),
            ("--upload-pack=id", "begins with `-`"),
            ("ext::sh -c id", "white space"),
            ("ext::id", "helper program"),
            ("fd::17/foo", "helper program"),
            ("http://host/a", "tampered"),
            ("git://host/a", "tampered"),
            ("svn://host/a", "not known"),
            ("ssh://-oProxyCommand=id/a", "begins with `-`"),
            ("ssh://-oProxyCommand=id@host/a", "begins with `-`"),
            ("git@-oProxyCommand=id:a", "begins with `-`"),
            ("git@host:-a", "begins with `-`"),
            ("https:///path", "no host"),
            ("https://host", "no path"),
            ("https://host/a\nb", "control characters"),
            ("file://host/a", "absolute path"),
            ("relative/path", "not an address"),
            ("../up", "not an address"),
            ("host:path", "no `user@host`"),
        ] {
            let message = refused(text);
            assert!(message.contains(why), "{text}: {message}");
            assert!(message.contains("allowed are `https://"), "{text}: {message}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "https://user:hunter2@host/a";
        let repository = Repository::parse(text).unwrap();
        assert_eq!(repository.to_string(), "https://user:***@host/a");
        assert_eq!(format!("{repository:?}"), "Repository(https://user:***@host/a)");
        let said = repository.mask("cannot read https://user:hunter2@host/a/: hunter2");
        assert_eq!(said, "cannot read https://user:***@host/a/: ***");
        let token = Repository::parse("https://ghp_token@host/a").unwrap();
        assert_eq!(token.to_string(), "https://***@host/a");
        assert!(!refused("http://user:hunter2@host/a").contains("hunter2"));
        let plain = Repository::parse("ssh://git@host/a").unwrap();
        assert_eq!(plain.to_string(), "ssh://git@host/a");
    }

    #[test]
    fn a_relative_submodule_is_beside_its_repository() {
        for (base, relative, expected) in [
            ("https://host/owner/app.git", "../lib.git", "https://host/owner/lib.git"),
            ("https://host/owner/app", "../../other/lib", "https://host/other/lib"),
            ("git@host:owner/app", "../lib", "git@host:owner/lib"),
            ("git@host:app", "../lib", "git@host:lib"),
            ("/srv/app", "../lib", "/srv/lib"),
            ("/srv/app", "./lib", "/srv/app/lib"),
        ] {
            let found = Repository::parse(base).unwrap().submodule(relative).unwrap();
            assert_eq!(found.as_str(), expected);
        }
        let base = Repository::parse("https://host/app").unwrap();
        assert!(base.submodule("../../../lib").is_err());
    }

    #[test]
    fn a_submodule_cannot_name_a_path_of_this_machine_from_elsewhere() {
        let base = Repository::parse("https://host/owner/app").unwrap();
        assert!(base.submodule("/root/private").unwrap_err().to_string().contains("this machine"));
        assert!(base.submodule("ext::id").is_err());
        assert!(base.submodule("ssh://git@host/lib").is_ok());
    }
}
