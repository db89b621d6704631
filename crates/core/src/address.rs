//! Addresses of repositories as people may see them: without the password that may stand in one.
//! What is allowed is said in `repository`.

use std::ops::Range;

/// The password of `user:password@`, or a token that stands there alone, as forges allow. Addresses
/// that no platform takes have theirs too, for they are shown where they are refused.
pub(crate) fn password(address: &str) -> Option<&str> {
    place(address).map(|place| &address[place])
}

/// The address with `***` in place of its password.
pub fn without_password(address: &str) -> String {
    match place(address) {
        Some(place) => format!("{}***{}", &address[..place.start], &address[place.end..]),
        None => address.to_owned(),
    }
}

fn place(address: &str) -> Option<Range<usize>> {
    if address.starts_with('/') {
        return None;
    }
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, address),
    };
    let user = user(rest, scheme.is_some())?;
    let start = address.len() - rest.len();
    let name = match (user.find(':'), scheme) {
        (Some(colon), _) => colon + 1,
        // A user of ssh is no secret: its key is.
        (None, Some(scheme)) if !scheme.ends_with("ssh") => 0,
        (None, _) => user.len(),
    };
    let place = start + name..start + user.len();
    (!place.is_empty()).then_some(place)
}

/// What stands before the `@` and the host.
fn user(rest: &str, is_url: bool) -> Option<&str> {
    let before_the_last = |text: &str| text.rfind('@').map(|at| &rest[..at]);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if is_url {
        // Something else than a port after the colon is a password that was not written as URLs
        // want it.
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        let is_host = authority.starts_with('[') || port.bytes().all(|byte| byte.is_ascii_digit());
        before_the_last(authority).or_else(|| before_the_last(rest).filter(|_| !is_host))
    } else {
        // The path of `user@host:path` may have an `@` of its own.
        let (user, _) = authority.split_once('@').unwrap_or((authority, ""));
        before_the_last(rest).filter(|_| user.contains(':'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_wherever_somebody_writes_one() {
        for (address, shown) in [
            ("https://user:hunter2@host/a", "https://user:***@host/a"),
            ("https://hunter2@host/a", "https://***@host/a"),
            ("http://bot:hunter2@git/x", "http://bot:***@git/x"),
            ("ssh://git:hunter2@host/a", "ssh://git:***@host/a"),
            ("https://user:hunter2@@host/a", "https://user:***@host/a"),
            ("https://user:hun/ter2@host/a", "https://user:***@host/a"),
            ("https://user:hunter#2@host/a", "https://user:***@host/a"),
            ("https://user:hunter2@host", "https://user:***@host"),
            ("ext::https://user:hunter2@host/a", "ext::https://user:***@host/a"),
            ("user:hunter2@host:a", "user:***@host:a"),
            ("user:hunter2@host/a", "user:***@host/a"),
            ("https://u:hunter2@host/hunter2@b", "https://u:***@host/hunter2@b"),
            ("https:/user:hunter2@host/a", "https:***@host/a"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }

    #[test]
    fn an_address_without_one_is_shown_as_it_is() {
        for address in [
            "https://host/a",
            "https://host:8443/@owner/a",
            "https://[::1]/@owner/a",
            "https://host/a@b.git",
            "ssh://git@host:22/a",
            "git@host:a",
            "git@host:a@b/c",
            "/srv/a:b@c",
            "file:///srv/a@b",
            "https://@host/a",
            "relative/path",
            "",
        ] {
            assert_eq!(without_password(address), address);
        }
    }
}
