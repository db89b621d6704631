//! The checkout that somebody works in: its remote is the repository of rows that name none.

use std::path::Path;
use std::process::{Command, Stdio};

use rowhouse_core::{Repository, Transport};

/// The remote `origin` of the checkout that this folder is in, as the reactor reads it: by HTTPS
/// and without a password. `None`: there is none such.
pub(crate) fn remote(folder: &Path) -> Option<Repository> {
    let asked = Command::new("git")
        .args(["remote", "get-url", "origin"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let printed = String::from_utf8(asked.stdout).ok()?;
    by_https(printed.trim())
}

/// The same repository by HTTPS, which is where the hosts of git have what they have by SSH.
fn by_https(address: &str) -> Option<Repository> {
    let repository = Repository::parse(address).ok()?;
    let repository = match repository.transport() {
        Transport::Https => repository,
        Transport::Local => return None,
        Transport::Ssh => {
            let (place, separator) = match address.strip_prefix("ssh://") {
                Some(place) => (place, '/'),
                None => (address, ':'),
            };
            let (host, path) = place.split_once(separator)?;
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            let host = host.split_once(':').map_or(host, |(host, _)| host);
            let path = path.trim_start_matches('/');
            Repository::parse(&format!("https://{host}/{path}")).ok()?
        }
    };
    Some(repository).filter(|repository| !repository.has_password())
}

/// A configuration in which rows without `Repo` have that repository, where it says nothing of one.
/// All else stays as it was written.
pub(crate) fn with_repository(config: &str, repository: &Repository) -> String {
    let known = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(config);
    let is_silent = known.is_ok_and(|keys| !keys.is_empty() && !keys.contains_key("Repository"));
    let end = config.trim_end().strip_suffix('}').filter(|_| is_silent);
    // What is no configuration is told by whoever packs it.
    let Some(keys) = end else { return config.to_owned() };
    let value = serde_json::Value::from(repository.as_str());
    format!("{},\n  \"Repository\": {value}\n}}\n", keys.trim_end())
}

#[cfg(test)]
mod tests {
    use rowhouse_aws::config::{Config, template};

    use super::*;

    #[test]
    fn the_remote_of_a_checkout_is_read_by_https_however_it_is_written() {
        for (address, expected) in [
            ("https://github.com/you/app.git", Some("https://github.com/you/app.git")),
            ("git@github.com:you/app.git", Some("https://github.com/you/app.git")),
            ("ssh://git@example.com:2222/you/app.git", Some("https://example.com/you/app.git")),
            ("https://you:secret@github.com/you/app.git", None),
            ("/srv/git/app.git", None),
            ("../app", None),
            ("", None),
        ] {
            let found = by_https(address);
            assert_eq!(found.as_ref().map(Repository::as_str), expected, "{address}");
        }
        let room = tempfile::tempdir().unwrap();
        assert!(remote(room.path()).is_none());
        let git = |words: &[&str]| {
            let status = Command::new("git").args(words).current_dir(room.path()).status();
            assert!(status.unwrap().success());
        };
        git(&["init", "--quiet"]);
        assert!(remote(room.path()).is_none());
        git(&["remote", "add", "origin", "git@github.com:you/app.git"]);
        assert_eq!(remote(room.path()).unwrap().as_str(), "https://github.com/you/app.git");
    }

    #[test]
    fn the_eight_keys_of_the_original_get_the_repository_of_rows_without_one() {
        let repository = Repository::parse("https://github.com/you/app.git").unwrap();
        let text = with_repository(&template(), &repository);
        assert!(text.starts_with(template().trim_end_matches("\n}\n")), "{text}");
        let config = Config::parse(&text, "config.json").unwrap();
        assert_eq!(config.default_repository(), Some(repository.clone()));
        // What it says itself stands, and what is none is left alone.
        let other = Repository::parse("https://example.com/b.git").unwrap();
        assert_eq!(with_repository(&text, &other), text);
        for broken in ["{}", "{", "[]"] {
            assert_eq!(with_repository(broken, &other), broken);
        }
    }
}
