//! Further host names of an app.

use std::collections::BTreeMap;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A host name as it stands in a certificate: lower case, ASCII, no dot at its end. Its first label
/// may be `*`, which stands for any one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(String);

/// What is wrong with a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostNameObjection {
    #[error("is empty")]
    Empty,
    #[error("is a URL")]
    Url,
    #[error("has a port, or is an address")]
    Port,
    #[error("is an address")]
    Address,
    #[error("has a `*` that is not its whole first part")]
    Wildcard,
    #[error("is no host name (RFC 1123, or IDNA where it has other letters)")]
    NoName,
}

impl HostName {
    /// Reads a name as people write it: in any case, in any script, with a dot at its end or not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<HostName, HostNameObjection> {
        let (star, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        match name {
            "" => return Err(HostNameObjection::Empty),
            _ if name.contains('/') => return Err(HostNameObjection::Url),
            _ if name.contains(':') => return Err(HostNameObjection::Port),
            _ if name.contains('*') => return Err(HostNameObjection::Wildcard),
            _ => {}
        }
        let ascii = Uts46::new()
            .to_ascii(
                name.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| HostNameObjection::NoName)?;
        let name = format!("{star}{ascii}");
        // The wildcard's own label counts, too. RFC 1035, 2.3.4.
        if name.len() > 253 {
            return Err(HostNameObjection::NoName);
        }
        // What browsers take for an address.
        // <https://url.spec.whatwg.org/#ends-in-a-number-checker>
        let last = ascii.rsplit('.').next().unwrap_or_default();
        let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(is_hex)
        {
            return Err(HostNameObjection::Address);
        }
        Ok(HostName(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for more names than itself.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// Whether it is this domain, or a name under it.
    pub fn is_within(&self, domain: &str) -> bool {
        let name = self.0.strip_prefix("*.").unwrap_or(&self.0);
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        name.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Further host names of an app, and where those redirect to that do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Domains(BTreeMap<HostName, Option<HostName>>);

impl Domains {
    /// Whether the app has its own name alone.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name, with the one that it redirects to; `None`: the app answers there.
    pub fn names(&self) -> &BTreeMap<HostName, Option<HostName>> {
        &self.0
    }
}

impl From<BTreeMap<HostName, Option<HostName>>> for Domains {
    fn from(names: BTreeMap<HostName, Option<HostName>>) -> Domains {
        Domains(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_in_any_case_and_script() {
        for (text, name) in [
            ("example.com", "example.com"),
            ("WWW.Example.COM.", "www.example.com"),
            ("*.Example.com", "*.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("intranet", "intranet"),
            ("a--b.example", "a--b.example"),
        ] {
            assert_eq!(HostName::parse(text).map(|name| name.0), Ok(name.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_by_what_it_is() {
        let long = format!("*.{}com", "a.".repeat(125));
        for (text, objection) in [
            ("", HostNameObjection::Empty),
            (".", HostNameObjection::Empty),
            ("*.", HostNameObjection::Empty),
            ("https://example.com", HostNameObjection::Url),
            ("example.com/shop", HostNameObjection::Url),
            ("example.com:8080", HostNameObjection::Port),
            ("[::1]", HostNameObjection::Port),
            ("*", HostNameObjection::Wildcard),
            ("*.*.example.com", HostNameObjection::Wildcard),
            ("www.*.com", HostNameObjection::Wildcard),
            ("w*.example.com", HostNameObjection::Wildcard),
            ("10.0.0.1", HostNameObjection::Address),
            ("１２７.0.0.1", HostNameObjection::Address),
            ("example.0x7f", HostNameObjection::Address),
            ("a b.example", HostNameObjection::NoName),
            ("a\r\nb.example", HostNameObjection::NoName),
            ("under_score.example", HostNameObjection::NoName),
            ("-a.example", HostNameObjection::NoName),
            ("a-.example", HostNameObjection::NoName),
            ("a..example", HostNameObjection::NoName),
            ("xn--a.example", HostNameObjection::NoName),
            (&format!("{}.example", "a".repeat(64)), HostNameObjection::NoName),
            (&long, HostNameObjection::NoName),
        ] {
            assert_eq!(HostName::parse(text), Err(objection), "{text}");
        }
    }

    #[test]
    fn a_name_is_within_a_domain_by_whole_labels() {
        for (name, is_within) in [
            ("localhost", true),
            ("shop.localhost", true),
            ("*.localhost", true),
            ("*.shop.localhost", true),
            ("mylocalhost", false),
            ("localhost.example", false),
        ] {
            let name = HostName::parse(name).unwrap();
            assert_eq!(name.is_within("LocalHost."), is_within, "{name:?}");
        }
    }
}
