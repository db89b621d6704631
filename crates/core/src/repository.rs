//! The address of a repository, parsed once for both platforms: what may be handed to git, and how
//! it is shown. Which of them a platform reaches is said in its `Settings`.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::{password, without_password};

/// How long an address may be, in bytes.
const LONGEST: usize = 2048;
/// A password so short that it is part of common words is hidden only where the whole address
/// stands.
const SHORTEST_SECRET: usize = 4;

/// The address of a repository that may be handed to git: never an option, a helper that runs
/// commands, or a transport that anybody on the way can change. It may hold a password, which
/// neither `Display` nor `Debug` shows.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Repository(String);

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `https://host/path`
    Https,
    /// `ssh://user@host/path`, or git's short form of it, `user@host:path`.
    Ssh,
    /// A path of this machine, or `file:///path`.
    Local,
}

/// An address that no platform takes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("repository `{shown}` is refused: it {objection}; {}", Repository::ALLOWED)]
pub struct RefusedAddress {
    /// The address without its password.
    pub shown: String,
    pub objection: AddressObjection,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressObjection {
    #[error("is empty")]
    Empty,
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
    #[error("has a part that begins with `-`, as options do")]
    LeadingDash,
    #[error("has control characters in it")]
    Control,
    #[error("has white space in it")]
    WhiteSpace,
    #[error("names a helper program by `::`")]
    Helper,
    #[error("has a protocol that can be tampered with")]
    OpenProtocol,
    #[error("has a protocol that is not known")]
    UnknownProtocol,
    #[error("has no host")]
    NoHost,
    #[error("has no path")]
    NoPath,
    #[error("has no absolute path after `file://`")]
    RelativePath,
    #[error("is neither a URL, nor `user@host:path`, nor an absolute path")]
    NoAddress,
}

/// Why a submodule is not fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmoduleObjection {
    #[error(transparent)]
    Address(RefusedAddress),
    #[error("submodule `{relative}` of `{repository}` leads out of its host")]
    LeadsOut { relative: String, repository: Repository },
    #[error(
        "repository `{repository}` has a submodule at `{submodule}`, a path of this machine; a \
         submodule's address must be `https`, `ssh` or relative"
    )]
    Local { repository: Repository, submodule: Repository },
}

impl Repository {
    /// What is allowed, for a sentence.
    pub const ALLOWED: &str = "allowed are `https://host/path`, `ssh://user@host/path`, \
                               `user@host:path` and, on a machine, an absolute path or \
                               `file:///path`";

    /// Reads an address as users write it.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn parse(text: &str) -> Result<Repository, RefusedAddress> {
        match objection(text) {
            None => Ok(Repository(text.to_owned())),
            Some(objection) => Err(RefusedAddress { shown: without_password(text), objection }),
        }
    }

    /// The address as it was written, with any password in it: for git, a digest or a row, not for
    /// people.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How it is reached.
    pub fn transport(&self) -> Transport {
        if self.0.starts_with('/') || self.0.starts_with("file://") {
            Transport::Local
        } else if self.0.starts_with("https://") {
            Transport::Https
        } else {
            Transport::Ssh
        }
    }

    /// Whether it is a path of this machine.
    pub fn is_local(&self) -> bool {
        self.transport() == Transport::Local
    }

    /// Whether a password or a token stands in it.
    pub fn has_password(&self) -> bool {
        password(&self.0).is_some()
    }

    /// The repository that a submodule of this one names, which may be relative (`../other`).
    ///
    /// # Errors
    /// The address is not allowed, or is local while this one is not: a repository from elsewhere
    /// must not have the files of this machine copied.
    pub fn submodule(&self, address: &str) -> Result<Repository, SubmoduleObjection> {
        let is_relative = address.starts_with("./") || address.starts_with("../");
        let address = if is_relative { self.join(address)? } else { address.to_owned() };
        let submodule = Repository::parse(&address).map_err(SubmoduleObjection::Address)?;
        if submodule.is_local() && !self.is_local() {
            return Err(SubmoduleObjection::Local { repository: self.clone(), submodule });
        }
        Ok(submodule)
    }

    /// Hides this address's secrets in what others say of it.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let hidden = text.replace(&self.0, &without_password(&self.0));
        match password(&self.0).filter(|secret| secret.len() >= SHORTEST_SECRET) {
            Some(secret) => hidden.replace(secret, "***"),
            None => hidden,
        }
    }

    fn join(&self, relative: &str) -> Result<String, SubmoduleObjection> {
        let (mut base, mut rest) = (self.0.trim_end_matches('/'), relative);
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                let Some(cut) = base.rfind(['/', ':']).filter(|cut| !base[..*cut].ends_with('/'))
                else {
                    let (relative, repository) = (relative.to_owned(), self.clone());
                    return Err(SubmoduleObjection::LeadsOut { relative, repository });
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

fn objection(text: &str) -> Option<AddressObjection> {
    if text.is_empty() {
        return Some(AddressObjection::Empty);
    }
    if text.len() > LONGEST {
        return Some(AddressObjection::TooLong);
    }
    if text.starts_with('-') {
        return Some(AddressObjection::LeadingDash);
    }
    if text.chars().any(char::is_control) {
        return Some(AddressObjection::Control);
    }
    if text.starts_with('/') {
        return None;
    }
    // `ext::command` and its like: git would run a helper of that name.
    let scheme =
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter));
    let scheme = scheme.into_iter().next().unwrap_or_default();
    if text[scheme.len()..].starts_with("::") {
        return Some(AddressObjection::Helper);
    }
    match text.split_once("://") {
        // Folders have blanks in their names; addresses have none.
        Some((scheme, _)) if scheme != "file" && has_blank(text) => {
            Some(AddressObjection::WhiteSpace)
        }
        Some(("https" | "ssh", rest)) => host_and_path(rest),
        Some(("file", path)) if path.starts_with('/') => None,
        Some(("file", _)) => Some(AddressObjection::RelativePath),
        Some(("http" | "git" | "ftp" | "ftps", _)) => Some(AddressObjection::OpenProtocol),
        Some(_) => Some(AddressObjection::UnknownProtocol),
        None => short_form_of_ssh(text),
    }
}

fn has_blank(text: &str) -> bool {
    text.chars().any(char::is_whitespace)
}

fn host_and_path(rest: &str) -> Option<AddressObjection> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.starts_with(':') {
        Some(AddressObjection::NoHost)
    } else if [host, authority, path].iter().any(|part| part.starts_with('-')) {
        Some(AddressObjection::LeadingDash)
    } else if path.is_empty() {
        Some(AddressObjection::NoPath)
    } else {
        None
    }
}

/// `user@host:path`
fn short_form_of_ssh(text: &str) -> Option<AddressObjection> {
    let parts = text.split_once(':').and_then(|(user_and_host, path)| {
        let (user, host) = user_and_host.split_once('@')?;
        Some((user, host, path))
    });
    let Some((user, host, path)) = parts else { return Some(AddressObjection::NoAddress) };
    if user.is_empty() || user.contains('/') || host.contains('/') || path.starts_with(':') {
        Some(AddressObjection::NoAddress)
    } else if has_blank(text) {
        Some(AddressObjection::WhiteSpace)
    } else if host.is_empty() {
        Some(AddressObjection::NoHost)
    } else if host.starts_with('-') || path.starts_with('-') {
        Some(AddressObjection::LeadingDash)
    } else if path.is_empty() {
        Some(AddressObjection::NoPath)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Repository::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_usual_addresses_are_allowed() {
        for (text, transport) in [
            ("https://github.com/owner/name", Transport::Https),
            ("https://github.com/owner/name.git", Transport::Https),
            ("https://user:secret@host:8443/a/b", Transport::Https),
            ("https://[::1]/a/b", Transport::Https),
            ("ssh://git@host:22/a/b", Transport::Ssh),
            ("git@github.com:owner/name.git", Transport::Ssh),
            ("/srv/git/name", Transport::Local),
            ("/srv/git/my site", Transport::Local),
            ("/srv/a::b", Transport::Local),
            ("file:///srv/git/name", Transport::Local),
            ("file:///srv/git/my site", Transport::Local),
        ] {
            let repository = Repository::parse(text).unwrap();
            assert_eq!((repository.as_str(), repository.transport()), (text, transport));
        }
    }

    #[test]
    fn options_helpers_and_open_protocols_are_refused() {
        for (text, why) in [
            ("", "empty"),
            ("-u", "begins with `-`"),
            ("--upload-pack=id", "begins with `-`"),
            ("ext::sh -c id", "helper program"),
            ("ext::id", "helper program"),
            ("fd::17/foo", "helper program"),
            ("http://host/a", "tampered"),
            ("git://host/a", "tampered"),
            ("svn://host/a", "not known"),
            ("ssh://-oProxyCommand=id/a", "begins with `-`"),
            ("ssh://-oProxyCommand=id@host/a", "begins with `-`"),
            ("ssh://git@-oProxyCommand=id/a", "begins with `-`"),
            ("git@-oProxyCommand=id:a", "begins with `-`"),
            ("git@host:-a", "begins with `-`"),
            ("git@host:", "no path"),
            ("git@:a", "no host"),
            ("https:///path", "no host"),
            ("https://:443/path", "no host"),
            ("https://host", "no path"),
            ("https://host/a\nb", "control characters"),
            ("https://host/a b", "white space"),
            ("file://host/a", "absolute path"),
            ("file:a", "neither a URL"),
            ("relative/path", "neither a URL"),
            ("a folder of mine", "neither a URL"),
            ("git@host:a b", "white space"),
            ("../up", "neither a URL"),
            ("host:path", "neither a URL"),
            ("a/b@host:path", "neither a URL"),
            (&format!("/{}", "a".repeat(LONGEST)), "longer than 2048"),
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
