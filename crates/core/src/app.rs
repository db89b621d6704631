//! A valid app: what a row means once every attribute was understood.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::without_password;
use crate::platform::Settings;
use crate::row::{Attribute, Row, RowKey, UserAttributes, Value, shortened};

/// A DNS label: the host name under the platform's domain, and the name of the stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppName(String);

impl AppName {
    /// `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`, or the sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<AppName, String> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(legal)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-');
        fits.then(|| AppName(text.to_owned())).ok_or_else(|| {
            format!(
                "`Name` is {}: it must be a host name of 1 to 63 lower-case letters, digits and dashes \
                 that begins with a letter and does not end with a dash",
                shortened(text)
            )
        })
    }

    /// The label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the row that this app is.
    pub fn key(&self) -> RowKey {
        RowKey(self.0.clone())
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A branch, a tag or a commit, checked so far that it can be handed to git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Environment variables, by name. Values are secrets: `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables with their values: for the process, a digest, or a person who asked.
    pub fn revealed(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Environment {
    fn from(variables: BTreeMap<String, String>) -> Environment {
        Environment(variables)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.keys().map(|name| (name, "***"))).finish()
    }
}

/// A valid row, the platform's defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub name: AppName,
    pub version: Version,
    pub scale: u32,
    pub repository: String,
    /// Folder inside the repository; empty is its root.
    pub path: String,
    pub env: Environment,
    pub build_env: Environment,
    /// HTTP path to probe; `None`: the port accepts a connection.
    pub health: Option<String>,
    /// Seconds until an instance must be healthy.
    pub health_timeout: u32,
    pub follow: bool,
    pub redeploy: u64,
}

/// Variables that every process of an app gets from the platform, and `Env` cannot set: an app that listens elsewhere
/// than on its `PORT` would never be found. `PATH` and `LANG` are the row's to change.
pub const PLATFORM_VARIABLES: [&str; 8] =
    ["APP_NAME", "APP_REVISION", "APP_VERSION", "DATA_DIR", "HOME", "HOST", "PORT", "TMPDIR"];

const TEXT_LIMIT: usize = 2048;
const ENV_LIMIT: usize = 64 * 1024;

impl App {
    /// Understands a row, or says in one sentence per bad attribute what it was and what is allowed.
    pub fn parse(row: &Row, settings: &Settings) -> Result<App, String> {
        let mut problems = Vec::new();
        let mut keep = |problem: String| problems.push(problem);
        let name = AppName::parse(row.key.as_str()).map_err(&mut keep).ok();
        let version = version(&row.user).map_err(&mut keep).ok();
        let scale = scale(&row.user, settings.max_scale).map_err(&mut keep).ok();
        let repo = text(&row.user, Attribute::Repo)
            .and_then(|repo| repo.map(|repo| repository(repo, settings)).transpose())
            .map_err(&mut keep)
            .ok();
        let path = text(&row.user, Attribute::Path)
            .and_then(|path| path.map(folder).transpose())
            .map_err(&mut keep)
            .ok();
        let env = environment(&row.user, Attribute::Env)
            .and_then(without_the_platforms)
            .map_err(&mut keep)
            .ok();
        let build_env = environment(&row.user, Attribute::BuildEnv).map_err(&mut keep).ok();
        let health = text(&row.user, Attribute::Health)
            .and_then(|path| path.map(probe_path).transpose())
            .map_err(&mut keep)
            .ok();
        let health_timeout =
            whole(&row.user, Attribute::HealthTimeout, 60, 1..=3600).map_err(&mut keep).ok();
        let follow = flag(&row.user, Attribute::Follow).map_err(&mut keep).ok();
        let redeploy =
            whole(&row.user, Attribute::Redeploy, 0, 0..=i64::MAX).map_err(&mut keep).ok();
        // The platform's path is a folder of the platform's repository, so it goes with that one only.
        let source = match (repo, path) {
            (Some(Some(repo)), Some(path)) => Some((repo, path.unwrap_or_default())),
            (Some(None), Some(path)) => settings.repository.clone().map(|default| {
                (default, path.unwrap_or_else(|| settings.path.clone().unwrap_or_default()))
            }),
            (_, _) => None,
        };
        if settings.repository.is_none() && !row.user.contains_key(&Attribute::Repo) {
            problems.push(
                "`Repo` is missing, and this platform has no repository of its own: it must be a git \
                 URL"
                    .to_owned(),
            );
        }
        let parsed = (|| {
            let (repository, path) = source?;
            Some(App {
                name: name?,
                version: version?,
                scale: u32::try_from(scale?).ok()?,
                repository,
                path,
                env: env?,
                build_env: build_env?,
                health: health?,
                health_timeout: u32::try_from(health_timeout?).ok()?,
                follow: follow?,
                redeploy: u64::try_from(redeploy?).ok()?,
            })
        })();
        parsed.filter(|_| problems.is_empty()).ok_or_else(|| problems.join("; "))
    }
}

/// A yes or no, in the forms that tables have for it.
pub(crate) fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(flag) => Some(*flag),
        Value::Whole(0) => Some(false),
        Value::Whole(1) => Some(true),
        Value::Text(text) if text == "true" => Some(true),
        Value::Text(text) if text == "false" => Some(false),
        Value::Text(_) | Value::Whole(_) | Value::Real(_) | Value::Map(_) | Value::Other(_) => None,
    }
}

fn wrong(attribute: Attribute, was: &str, allowed: &str) -> String {
    format!("`{}` is {was}: it must be {allowed}", attribute.name())
}

fn text(user: &UserAttributes, attribute: Attribute) -> Result<Option<&str>, String> {
    match user.get(&attribute) {
        None => Ok(None),
        Some(Value::Text(text)) if text.len() > TEXT_LIMIT => Err(wrong(
            attribute,
            &format!("a text of {} bytes", text.len()),
            &format!("at most {TEXT_LIMIT} bytes long"),
        )),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(attribute, &other.shown(), "a text")),
    }
}

fn version(user: &UserAttributes) -> Result<Version, String> {
    const ALLOWED: &str = "a branch, a tag or a commit of 40 hex digits: letters, digits and \
                           `. _ - / + @ # =`, not beginning with `-`, `.` or `/`";
    let Some(version) = text(user, Attribute::Version)? else {
        return Err(format!("`Version` is missing: it must be {ALLOWED}"));
    };
    let legal = |letter: char| letter.is_alphanumeric() || "._-/+@#=".contains(letter);
    // What git itself forbids in a reference, <https://git-scm.com/docs/git-check-ref-format>, and no more
    // punctuation than names of branches have.
    let fits = !version.is_empty()
        && version.len() <= 255
        && version.chars().all(legal)
        && !version.starts_with(['-', '.', '/'])
        && !version.ends_with(['.', '/'])
        && !["..", "//", "/.", "@{"].iter().any(|bad| version.contains(bad))
        && !version
            .split('/')
            .any(|part| part.rsplit_once('.').is_some_and(|(_, end)| end == "lock"))
        && version != "@";
    if fits {
        Ok(Version(version.to_owned()))
    } else {
        Err(wrong(Attribute::Version, &shortened(version), ALLOWED))
    }
}

fn scale(user: &UserAttributes, most: u32) -> Result<i64, String> {
    let allowed = format!("a whole number from 0 to {most}");
    match user.get(&Attribute::Scale) {
        None => Err(format!("`Scale` is missing: it must be {allowed}")),
        Some(Value::Whole(count)) if (0..=i64::from(most)).contains(count) => Ok(*count),
        Some(other) => Err(wrong(Attribute::Scale, &other.shown(), &allowed)),
    }
}

fn whole(
    user: &UserAttributes,
    attribute: Attribute,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<i64, String> {
    match user.get(&attribute) {
        None => Ok(default),
        Some(Value::Whole(number)) if range.contains(number) => Ok(*number),
        Some(other) if *range.end() == i64::MAX => {
            Err(wrong(attribute, &other.shown(), "a whole number, 0 or more"))
        }
        Some(other) => Err(wrong(
            attribute,
            &other.shown(),
            &format!("a whole number from {} to {}", range.start(), range.end()),
        )),
    }
}

fn flag(user: &UserAttributes, attribute: Attribute) -> Result<bool, String> {
    match user.get(&attribute) {
        None => Ok(false),
        Some(value) => {
            as_flag(value).ok_or_else(|| wrong(attribute, &value.shown(), "true or false"))
        }
    }
}

fn repository(text: &str, settings: &Settings) -> Result<String, String> {
    let clean = !text.is_empty()
        && !text.starts_with('-')
        && !text.contains("::")
        && !text
            .chars()
            .any(|letter| letter.is_control() || letter.is_whitespace() && letter != ' ');
    // Folders have blanks in their names; addresses have none.
    let has_blank = text.contains(' ');
    let is_url = |scheme: &str| {
        text.strip_prefix(scheme).is_some_and(|rest| {
            !rest.starts_with(['/', '-', ':']) && rest.find('/').is_some_and(|at| at > 0)
        })
    };
    // git's short form of ssh: user@host:path.
    let is_short_ssh = || {
        text.split_once(':').is_some_and(|(host, path)| {
            !host.contains('/') && !path.is_empty() && !path.starts_with('-') && {
                host.split_once('@').is_some_and(|(user, host)| {
                    !user.is_empty() && !host.is_empty() && !host.starts_with('-')
                })
            }
        })
    };
    let is_local = || text.starts_with('/') || text.starts_with("file:///");
    let allowed = if settings.local_repositories {
        "an `https://` or `ssh://` URL of git, `user@host:path`, or an absolute path on this machine, also as \
         `file:///path`"
    } else {
        "an `https://` URL of git"
    };
    let fits = clean
        && (is_url("https://")
            || settings.local_repositories && (is_url("ssh://") || is_short_ssh() || is_local()))
        && (!has_blank || is_local());
    if fits {
        Ok(text.to_owned())
    } else {
        Err(wrong(Attribute::Repo, &shortened(&without_password(text)), allowed))
    }
}

fn folder(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let trimmed = if trimmed == "." { "" } else { trimmed.strip_prefix("./").unwrap_or(trimmed) };
    let fits = !text.starts_with('/')
        && !text.chars().any(|letter| letter.is_control() || letter == '\\')
        && (trimmed.is_empty()
            || trimmed.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
    if fits {
        Ok(trimmed.to_owned())
    } else {
        Err(wrong(
            Attribute::Path,
            &shortened(text),
            "a folder inside the repository, such as `examples/hello`, without `..` and not \
             beginning with `/`",
        ))
    }
}

fn probe_path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        wrong(Attribute::Health, &shortened(text), "a path that begins with `/`, such as `/health`")
    })
}

fn environment(user: &UserAttributes, attribute: Attribute) -> Result<Environment, String> {
    let allowed = "an object of texts, such as {\"GREETING\": \"hello\"}";
    let entries = match user.get(&attribute) {
        None => return Ok(Environment::default()),
        Some(Value::Map(entries)) => entries,
        // The text of a bad one may hold half a secret, so it is not repeated.
        Some(Value::Text(_)) => {
            return Err(wrong(attribute, "a text that is no JSON object", allowed));
        }
        Some(other) => return Err(wrong(attribute, &other.shown(), allowed)),
    };
    let mut variables = BTreeMap::new();
    let mut size = 0;
    for (key, value) in entries {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && key.bytes().all(legal);
        if !fits {
            return Err(format!(
                "`{}` has a variable named {}: a name must be letters, digits and `_`, not \
                 beginning with a digit",
                attribute.name(),
                shortened(key)
            ));
        }
        let Value::Text(value) = value else {
            return Err(format!(
                "`{}` has a value of `{key}` that is no text: put it in quotes",
                attribute.name()
            ));
        };
        if value.contains('\0') {
            return Err(format!(
                "`{}` has a NUL character in `{key}`: no process can be given one",
                attribute.name()
            ));
        }
        size += key.len() + value.len() + 2;
        variables.insert(key.clone(), value.clone());
    }
    if size > ENV_LIMIT {
        return Err(wrong(
            attribute,
            &format!("{size} bytes in all"),
            &format!("at most {ENV_LIMIT} bytes"),
        ));
    }
    Ok(Environment(variables))
}

fn without_the_platforms(env: Environment) -> Result<Environment, String> {
    match PLATFORM_VARIABLES.into_iter().find(|name| env.0.contains_key(*name)) {
        None => Ok(env),
        Some(name) => Err(format!(
            "`Env` has `{name}`, which the platform gives to every process itself: it must be left out, as must {}",
            listed(PLATFORM_VARIABLES.into_iter().filter(|other| *other != name))
        )),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<String>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Report;

    fn settings() -> Settings {
        Settings::for_tests()
    }

    fn row(name: &str, changes: &[(Attribute, Value)]) -> Row {
        let mut user = UserAttributes::from([
            (Attribute::Version, Value::Text("main".into())),
            (Attribute::Scale, Value::Whole(1)),
        ]);
        user.extend(changes.iter().cloned());
        Row { key: RowKey(name.into()), user, report: Report::default(), seq: 0 }
    }

    fn of(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[track_caller]
    fn refused(attribute: Attribute, value: Value) {
        let what = format!("{attribute:?} {value:?} must be refused");
        let reason = App::parse(&row("shop", &[(attribute, value)]), &settings()).expect_err(&what);
        assert!(reason.starts_with(&format!("`{}` ", attribute.name())), "{reason}");
        assert!(reason.contains("must") || reason.contains("put it") || reason.contains("can be"));
        assert!(reason.len() < 400, "{reason}");
    }

    #[track_caller]
    fn taken(attribute: Attribute, value: Value) -> App {
        App::parse(&row("shop", &[(attribute, value)]), &settings()).unwrap()
    }

    #[test]
    fn a_row_with_nothing_but_version_and_scale_is_an_app_of_the_platforms_repository() {
        let app = App::parse(&row("shop", &[]), &settings()).unwrap();
        assert_eq!((app.repository.as_str(), app.path.as_str()), ("/srv/default", "apps"));
        assert_eq!((app.scale, app.health_timeout, app.follow, app.redeploy), (1, 60, false, 0));
    }

    #[test]
    fn the_platforms_path_does_not_apply_to_a_repository_of_the_apps_own() {
        assert_eq!(taken(Attribute::Repo, of("https://example.com/a.git")).path, "");
    }

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "shop", "a-1", "x2", &"a".repeat(63)] {
            assert!(AppName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "1a", "a.b", "ä", " a", "a\n", &"a".repeat(64)] {
            let reason = AppName::parse(name).unwrap_err();
            assert!(reason.starts_with("`Name` is "), "{reason}");
        }
    }

    #[test]
    fn versions_are_what_git_takes_and_no_shell_would_mind() {
        for version in ["main", "v1.2.3", "feature/x", "release-1", "größe", &"a".repeat(40)] {
            assert_eq!(taken(Attribute::Version, of(version)).version.as_str(), version);
        }
        for version in [
            "",
            "--upload-pack=id",
            "a;id",
            "$(id)",
            "a b",
            "a..b",
            "a\0b",
            "x.lock",
            "/a",
            "a/",
            "a//b",
            "@",
            "a@{1}",
            "a~1",
            "a^",
            "a:b",
            "`id`",
            "a\nb",
            "HEAD|id",
            &"a".repeat(256),
            &"a".repeat(100_000),
        ] {
            refused(Attribute::Version, of(version));
        }
        refused(Attribute::Version, Value::Real(1.5));
        refused(Attribute::Version, Value::Whole(12));
    }

    #[test]
    fn scale_is_a_whole_number_up_to_the_platforms_maximum() {
        for scale in 0..=3 {
            assert_eq!(i64::from(taken(Attribute::Scale, Value::Whole(scale)).scale), scale);
        }
        for scale in
            [Value::Whole(-1), Value::Whole(99), Value::Real(2.7), of("two"), Value::Boolean(true)]
        {
            refused(Attribute::Scale, scale);
        }
    }

    #[test]
    fn repositories_are_reached_by_https_ssh_or_a_local_path_only() {
        for repo in [
            "https://example.com/a.git",
            "ssh://git@example.com/a",
            "git@example.com:a/b.git",
            "/srv/a",
            "file:///srv/a",
            "/srv/my site",
        ] {
            assert_eq!(taken(Attribute::Repo, of(repo)).repository, repo);
        }
        for repo in [
            "",
            "ext::sh -c id",
            "ext::id",
            "-x",
            "--upload-pack=id",
            "http://example.com/a",
            "https://",
            "https:///a",
            "ssh://-oProxyCommand=id/a",
            "git@-x:a",
            "relative/path",
            "file:a",
            "https://a/b c",
            "git://example.com/a",
            "user@host:-x",
            "a\nb",
        ] {
            refused(Attribute::Repo, of(repo));
        }
    }

    #[test]
    fn a_refused_address_is_shown_without_its_password() {
        for repo in ["http://bot:hunter2@git/x", "https://bot:hunter2@git/a b", "bot:hunter2@git:x"]
        {
            let row = row("shop", &[(Attribute::Repo, of(repo))]);
            let reason = App::parse(&row, &settings()).unwrap_err();
            assert!(!reason.contains("hunter2") && reason.contains("@git"), "{reason}");
        }
    }

    #[test]
    fn a_platform_without_local_repositories_takes_https_alone() {
        let settings = Settings { local_repositories: false, ..settings() };
        for repo in ["ssh://git@example.com/a", "git@example.com:a", "/srv/a", "file:///srv/a"] {
            let row = row("shop", &[(Attribute::Repo, of(repo))]);
            assert!(App::parse(&row, &settings).unwrap_err().contains("`https://`"));
        }
    }

    #[test]
    fn a_missing_repository_is_named_where_the_platform_has_none() {
        let settings = Settings { repository: None, ..settings() };
        let reason = App::parse(&row("shop", &[]), &settings).unwrap_err();
        assert!(reason.starts_with("`Repo` is missing"), "{reason}");
    }

    #[test]
    fn paths_stay_inside_the_repository() {
        for (path, means) in [("a/b", "a/b"), ("a/", "a"), (".", ""), ("./a", "a"), ("", "")] {
            assert_eq!(taken(Attribute::Path, of(path)).path, means);
        }
        for path in ["/etc", "..", "a/../b", "a//b", "a/./b", "a\\b", "a\0"] {
            refused(Attribute::Path, of(path));
        }
    }

    #[test]
    fn environments_are_objects_of_texts() {
        let map = |key: &str, value: Value| Value::Map(BTreeMap::from([(key.to_owned(), value)]));
        taken(Attribute::Env, map("A_1", of("x=y\n")));
        for bad in [
            of("not an object"),
            Value::Whole(1),
            Value::Other("a list"),
            map("A=B", of("x")),
            map("", of("x")),
            map("1A", of("x")),
            map("A", Value::Whole(1)),
            map("A", of("\0")),
            map("A", of(&"x".repeat(70_000))),
        ] {
            refused(Attribute::Env, bad.clone());
            refused(Attribute::BuildEnv, bad);
        }
    }

    #[test]
    fn what_the_platform_gives_to_every_process_cannot_be_set() {
        let map = |key: &str| Value::Map(BTreeMap::from([(key.to_owned(), of("8080"))]));
        for name in PLATFORM_VARIABLES {
            refused(Attribute::Env, map(name));
            let row = row("shop", &[(Attribute::Env, map(name))]);
            let reason = App::parse(&row, &settings()).unwrap_err();
            assert!(reason.starts_with(&format!("`Env` has `{name}`, which")), "{reason}");
            // A build gets none of them but as it is told.
            taken(Attribute::BuildEnv, map(name));
        }
        for name in ["PATH", "LANG", "port", "PORT_", "DATABASE_URL"] {
            taken(Attribute::Env, map(name));
        }
    }

    #[test]
    fn no_value_of_an_environment_is_ever_shown() {
        let secret = Value::Map(BTreeMap::from([("KEY".to_owned(), of("hunter2"))]));
        let row = row("shop", &[(Attribute::Env, secret)]);
        let app = App::parse(&row, &settings()).unwrap();
        assert!(!format!("{row:?} {app:?}").contains("hunter2"));
    }

    #[test]
    fn the_other_attributes_say_what_they_take() {
        taken(Attribute::Health, of("/health?deep=1"));
        for path in ["health", "", "/a b", "/a\r\nX: y"] {
            refused(Attribute::Health, of(path));
        }
        for seconds in [0, -1, 3601] {
            refused(Attribute::HealthTimeout, Value::Whole(seconds));
        }
        for flag in [Value::Whole(1), Value::Boolean(true), of("true")] {
            assert!(taken(Attribute::Follow, flag).follow);
        }
        refused(Attribute::Follow, of("yes"));
        refused(Attribute::Redeploy, Value::Whole(-1));
    }

    #[test]
    fn every_bad_attribute_of_a_row_is_named_at_once() {
        let bad = row("Shop", &[(Attribute::Scale, Value::Whole(9)), (Attribute::Path, of("/"))]);
        let reason = App::parse(&bad, &settings()).unwrap_err();
        assert!(
            reason.contains("`Name`") && reason.contains("`Scale`") && reason.contains("`Path`")
        );
    }
}
