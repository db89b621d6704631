//! What the reactor and the instances of an app agree on where instances are machines of their own:
//! where objects lie in the bucket of artifacts, and what opens a private repository.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::commit::Commit;
use crate::name::AppName;

/// SHA-256 of an object, in 64 lower-case hex digits: what it is named by, and verified with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectDigest(String);

impl ObjectDigest {
    /// Of an object's bytes.
    pub fn of(bytes: &[u8]) -> ObjectDigest {
        ObjectDigest(HEXLOWER.encode(&Sha256::digest(bytes)))
    }

    /// Reads one back; anything but 64 lower-case hex digits is none.
    pub fn parse(text: &str) -> Option<ObjectDigest> {
        let legal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(legal)).then(|| ObjectDigest(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where the manifest of that digest lies. Only the digest stands in a template, so that no text of
/// a user reaches a shell, and only its change replaces instances.
pub fn manifest_key(digest: &ObjectDigest) -> String {
    format!("manifests/{digest}.json")
}

/// Where an instance says why a version did not come up on it.
pub fn failure_key(name: &AppName, commit: &Commit) -> String {
    format!("failures/{name}/{commit}.txt")
}

/// The secret with the token for a server of git. Another port is another server, which must not
/// get the token of the first.
pub fn token_secret(host: &str, port: Option<u16>) -> String {
    match port {
        None => format!("rowhouse/git/{host}"),
        Some(port) => format!("rowhouse/git/{host}/{port}"),
    }
}

/// What such a secret holds: `user:token`, or a token alone. No `Debug`: it would be shown sooner
/// or later.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "a token is never shown")]
pub struct Token<'a> {
    pub user: &'a str,
    pub password: &'a str,
}

impl<'a> Token<'a> {
    /// The user for a token that comes without one: GitHub and GitLab take any.
    const ANY_USER: &'static str = "x-access-token";

    /// Reads the text of a secret; `None`: it is empty, more than a line, or what the console of
    /// AWS stores as keys and values.
    pub fn parse(text: &'a str) -> Option<Token<'a>> {
        let text = text.trim();
        let is_plain = !text.starts_with('{') && !text.contains('\n');
        let (user, password) = text.split_once(':').unwrap_or((Token::ANY_USER, text));
        (is_plain && !password.is_empty()).then_some(Token { user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_lie_where_they_always_lay() {
        let digest = ObjectDigest::of(b"{}");
        let hex = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(digest.as_str(), hex);
        assert_eq!(manifest_key(&digest), format!("manifests/{hex}.json"));
        let commit = Commit::parse(&"a".repeat(40)).unwrap();
        let key = failure_key(&AppName::parse("shop").unwrap(), &commit);
        assert_eq!(key, format!("failures/shop/{commit}.txt"));
    }

    #[test]
    fn only_what_could_be_a_digest_is_read_as_one() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(ObjectDigest::parse(&hex).unwrap().as_str(), hex);
        for bad in ["", &hex[1..], &hex.to_uppercase(), &hex.replace('0', "/"), &format!("{hex}0")]
        {
            assert_eq!(ObjectDigest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_server_has_a_secret_of_its_own() {
        assert_eq!(token_secret("github.com", None), "rowhouse/git/github.com");
        assert_eq!(token_secret("github.com", Some(8443)), "rowhouse/git/github.com/8443");
    }

    #[test]
    fn a_secret_is_a_token_or_a_user_and_a_token() {
        let read = |text| Token::parse(text).map(|token| (token.user, token.password));
        assert_eq!(read("abc\n"), Some(("x-access-token", "abc")));
        assert_eq!(read("me:a:b"), Some(("me", "a:b")));
        for bad in ["", " ", "me:", "{\"token\":\"abc\"}", "a\nb"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
