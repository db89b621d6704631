//! A valid app: what a row means once every attribute was understood.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access;
use crate::attribute::{Attribute, UserAttributes};
use crate::digest::{EnvDigest, Source};
use crate::domains::Domains;
use crate::environment::Environment;
use crate::http_protocol::HttpProtocol;
use crate::meaning::{self, Objection};
use crate::name::AppName;
use crate::offer::offered;
use crate::process_type::{ProcessType, ProcfileLines};
use crate::processes;
use crate::repository::Repository;
use crate::row::Row;
use crate::schedule::{Schedule, ScheduleName};
use crate::secret::Secret;
use crate::settings::{Limits, Settings};
use crate::version::Version;

/// A valid row, the platform's defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub name: AppName,
    pub version: Version,
    pub scale: u32,
    pub repository: Repository,
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
    #[serde(default, skip_serializing_if = "ProcfileLines::is_empty")]
    pub procfile: ProcfileLines,
    /// How many of each process type beside `web` run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workers: BTreeMap<ProcessType, u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cron: BTreeMap<ScheduleName, Schedule>,
    #[serde(default, skip_serializing_if = "Domains::is_empty")]
    pub domains: Domains,
    /// MiB for each instance; `None`: the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    #[serde(default, skip_serializing_if = "HttpProtocol::is_default")]
    pub protocol: HttpProtocol,
    /// With what a git host may ring for this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Secret>,
}

/// Why a row is no app: one sentence for each attribute that is bad, what it was and what is
/// allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    name: Option<String>,
    objections: Vec<Objection>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objections = self.objections.iter().map(Objection::to_string);
        let sentences: Vec<String> = self.name.iter().cloned().chain(objections).collect();
        formatter.write_str(&sentences.join("; "))
    }
}

impl App {
    /// Understands a row.
    ///
    /// # Errors
    /// What is wrong with its name and its attributes, all at once.
    pub fn parse(row: &Row, settings: &Settings) -> Result<App, Invalid> {
        let name = AppName::parse(row.key.as_str());
        match (name, read(&row.user, &settings.limits())) {
            (Ok(name), Ok(attributes)) => attributes
                .of(name, settings)
                .map_err(|objection| Invalid { name: None, objections: vec![objection] }),
            (name, attributes) => {
                Err(Invalid { name: name.err(), objections: attributes.err().unwrap_or_default() })
            }
        }
    }
}

/// What is wrong with the attributes that somebody wrote or is about to write, in the order of the
/// contract.
pub fn objections(user: &UserAttributes, limits: &Limits) -> Vec<Objection> {
    read(user, limits).err().unwrap_or_default()
}

/// The repository and the folder in it that a row's attributes come to; `None`: nobody names a
/// repository. The platform's path is a folder of the platform's repository, so it goes with that
/// one only.
pub(crate) fn place(
    repository: Option<Repository>,
    path: Option<String>,
    settings: &Settings,
) -> Option<(Repository, String)> {
    let (repository, default_path) = match (repository, &settings.repository) {
        (Some(repository), _) => (repository, None),
        (None, default) => (default.clone()?, settings.path.clone()),
    };
    Some((repository, path.or(default_path).unwrap_or_default()))
}

/// Every attribute, understood; the platform's defaults are not filled in.
struct Attributes {
    version: Version,
    scale: u32,
    repository: Option<Repository>,
    path: Option<String>,
    env: Environment,
    build_env: Environment,
    health: Option<String>,
    health_timeout: u32,
    follow: bool,
    redeploy: u64,
    procfile: ProcfileLines,
    workers: BTreeMap<ProcessType, u32>,
    cron: BTreeMap<ScheduleName, Schedule>,
    domains: Domains,
    memory: Option<u32>,
    protocol: HttpProtocol,
    hook: Option<Secret>,
}

fn read(user: &UserAttributes, limits: &Limits) -> Result<Attributes, Vec<Objection>> {
    let mut objections = Vec::new();
    let objections_to = &mut objections;
    let version = kept(meaning::version(user), objections_to);
    let scale = kept(meaning::scale(user, limits), objections_to);
    let repository = kept(meaning::repository(user, limits), objections_to);
    let path = kept(meaning::path(user), objections_to);
    let env = kept(meaning::env(user), objections_to);
    let build_env = kept(meaning::build_env(user), objections_to);
    let health = kept(meaning::health(user), objections_to);
    let health_timeout = kept(meaning::health_timeout(user), objections_to);
    let follow = kept(meaning::follow(user), objections_to);
    let redeploy = kept(meaning::redeploy(user), objections_to);
    let procfile = kept(offered(Attribute::Procfile, processes::procfile(user)), objections_to);
    let workers =
        kept(offered(Attribute::Workers, processes::workers(user, limits)), objections_to);
    let cron = kept(offered(Attribute::Cron, processes::cron(user)), objections_to);
    let domains = kept(offered(Attribute::Domains, access::domains(user, limits)), objections_to);
    let memory = kept(offered(Attribute::Memory, processes::memory(user)), objections_to);
    let protocol = kept(offered(Attribute::Protocol, access::protocol(user)), objections_to);
    let hook = kept(offered(Attribute::Hook, access::hook(user)), objections_to);
    let understood = || {
        Some(Attributes {
            version: version?,
            scale: scale?,
            repository: repository?,
            path: path?,
            env: env?,
            build_env: build_env?,
            health: health?,
            health_timeout: health_timeout?,
            follow: follow?,
            redeploy: redeploy?,
            procfile: procfile?,
            workers: workers?,
            cron: cron?,
            domains: domains?,
            memory: memory?,
            protocol: protocol?,
            hook: hook?,
        })
    };
    understood().ok_or(objections)
}

fn kept<T>(meaning: Result<T, Objection>, objections: &mut Vec<Objection>) -> Option<T> {
    meaning.map_err(|objection| objections.push(objection)).ok()
}

impl Attributes {
    fn of(self, name: AppName, settings: &Settings) -> Result<App, Objection> {
        let (repository, path) =
            place(self.repository, self.path, settings).ok_or_else(meaning::no_repository)?;
        Ok(App {
            name,
            version: self.version,
            scale: self.scale,
            repository,
            path,
            env: self.env,
            build_env: self.build_env,
            health: self.health,
            health_timeout: self.health_timeout,
            follow: self.follow,
            redeploy: self.redeploy,
            procfile: self.procfile,
            workers: self.workers,
            cron: self.cron,
            domains: self.domains,
            memory: self.memory,
            protocol: self.protocol,
            hook: self.hook,
        })
    }
}

impl Source {
    /// Of a valid row, with the platform's defaults filled in.
    pub fn of(app: &App) -> Source {
        Source::digest(&json!([
            app.repository,
            app.path,
            app.version,
            app.build_env.revealed(),
            app.redeploy
        ]))
    }
}

impl EnvDigest {
    /// Of a row's `Env`.
    pub fn of(app: &App) -> EnvDigest {
        EnvDigest::digest(&json!(app.env.revealed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Value;
    use crate::environment::PLATFORM_VARIABLES;
    use crate::name::RowKey;
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
        let reason = App::parse(&row("shop", &[(attribute, value)]), &settings())
            .expect_err(&what)
            .to_string();
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
    fn a_version_is_a_text_that_git_takes() {
        assert_eq!(taken(Attribute::Version, of("feature/a,b")).version.as_str(), "feature/a,b");
        for version in ["", "a b", "HEAD", "a\0b", &"a".repeat(256), &"a/".repeat(50_000)] {
            refused(Attribute::Version, of(version));
        }
        refused(Attribute::Version, Value::Real(1.5));
        refused(Attribute::Version, Value::Whole(12));
        let row = row("shop", &[(Attribute::Version, of("a b"))]);
        let reason = App::parse(&row, &settings()).unwrap_err().to_string();
        assert!(reason.starts_with("`Version` is `a b`, which has a space"), "{reason}");
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
            assert_eq!(taken(Attribute::Repo, of(repo)).repository.as_str(), repo);
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
            let reason = App::parse(&row, &settings()).unwrap_err().to_string();
            assert!(!reason.contains("hunter2") && reason.contains("@git"), "{reason}");
        }
    }

    #[test]
    fn a_platform_without_local_repositories_takes_https_alone() {
        let settings = Settings { local_repositories: false, ..settings() };
        for repo in ["ssh://git@example.com/a", "git@example.com:a", "/srv/a", "file:///srv/a"] {
            let row = row("shop", &[(Attribute::Repo, of(repo))]);
            assert!(App::parse(&row, &settings).unwrap_err().to_string().contains("`https://`"));
        }
    }

    #[test]
    fn a_missing_repository_is_named_where_the_platform_has_none() {
        let settings = Settings { repository: None, ..settings() };
        let reason = App::parse(&row("shop", &[]), &settings).unwrap_err().to_string();
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
            let reason = App::parse(&row, &settings()).unwrap_err().to_string();
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
        let reason = App::parse(&bad, &settings()).unwrap_err().to_string();
        assert!(
            reason.contains("`Name`") && reason.contains("`Scale`") && reason.contains("`Path`")
        );
    }
}
