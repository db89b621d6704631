//! The commands that write the user's part of a row: `put`, `deploy`, `scale`, `redeploy`, `rollback`.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::Context as _;
use rowhouse_core::{
    App, Attribute, Commit, Generation, Row, RowKey, Status, UserAttributes, Value,
};
use rowhouse_machine::mirror::{Mirrors, Resolved};
use rowhouse_machine::repository::Repository;
use rowhouse_machine::table::StoredEntry;

use crate::args::{Changed, Deploy, Put, Rollback, Scale, Waiting};
use crate::commands::up::absolute_repository;
use crate::context::Context;
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::project::Project;
use crate::wait::{self, Progress};

type Changes = BTreeMap<Attribute, Option<Value>>;

/// What to do where the changes change nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unchanged {
    /// It is so already, unless it failed: then it is tried again.
    Already,
    /// Look whether the version names another commit by now.
    LookAgain,
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// `rowhouse put`.
pub(crate) async fn put(context: &Context, put: Put) -> anyhow::Result<Exit> {
    let name = context.name(&put.name)?;
    let before = context.table()?.get(&name.key())?.map(|stored| stored.row);
    let mut changes = Changes::new();
    let unchanged = if put.version.is_some() { Unchanged::LookAgain } else { Unchanged::Already };
    if let Some(repo) = &put.repo {
        changes.insert(Attribute::Repo, Some(text(absolute_repository(repo)?)));
    }
    if let Some(path) = &put.path {
        changes.insert(Attribute::Path, Some(text(path)));
    }
    if let Some(scale) = &put.scale {
        changes.insert(Attribute::Scale, Some(number(scale)));
    } else if before.is_none() {
        changes.insert(Attribute::Scale, Some(Value::Whole(1)));
    }
    if let Some(version) = &put.version {
        changes.insert(Attribute::Version, Some(text(version)));
    } else if before.is_none() {
        let version = default_version(context, &changes).await?;
        changes.insert(Attribute::Version, Some(text(version)));
    }
    if let Some(path) = &put.health {
        changes.insert(Attribute::Health, Some(text(path)));
    }
    if let Some(timeout) = put.health_timeout {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        changes.insert(Attribute::HealthTimeout, Some(Value::Whole(seconds)));
    }
    if let Some(follow) = put.follow {
        changes.insert(Attribute::Follow, Some(Value::Whole(i64::from(follow))));
    }
    let given = EnvironmentChange::read(&put)?;
    let build_env = pairs(&put.build_env, "--build-env")?;
    let edit = move |row: Option<&Row>| {
        let mut changes = changes;
        if let Some(env) = given.apply(row, Attribute::Env)? {
            changes.insert(Attribute::Env, Some(env));
        }
        let build = EnvironmentChange { set: build_env, unset: Vec::new() };
        if let Some(env) = build.apply(row, Attribute::BuildEnv)? {
            changes.insert(Attribute::BuildEnv, Some(env));
        }
        Ok(changes)
    };
    write(context, &name.key(), edit, unchanged, &put.waiting).await
}

/// `rowhouse deploy`.
pub(crate) async fn deploy(context: &Context, deploy: Deploy) -> anyhow::Result<Exit> {
    let folder = std::env::current_dir().context("cannot tell the current folder")?;
    let project = Project::of(&folder)?;
    let name = context.name(deploy.name.as_deref().unwrap_or(&project.name))?;
    if project.is_dirty {
        output::note("warning: there are uncommitted changes; what is deployed is the last commit");
    }
    output::note(&format!(
        "deploying `{name}`: commit {} of {}{}",
        project.commit.get(..7).unwrap_or(&project.commit),
        project.repository,
        if project.path.is_empty() { String::new() } else { format!(", folder {}", project.path) }
    ));
    let edit = move |row: Option<&Row>| {
        let mut changes = Changes::from([
            (Attribute::Version, Some(text(project.commit))),
            (Attribute::Repo, Some(text(project.repository))),
            (Attribute::Path, Some(text(project.path)).filter(|path| *path != text(""))),
        ]);
        if row.is_none() {
            changes.insert(Attribute::Scale, Some(Value::Whole(1)));
        }
        Ok(changes)
    };
    write(context, &name.key(), edit, Unchanged::Already, &deploy.waiting).await
}

/// `rowhouse scale`.
pub(crate) async fn scale(context: &Context, scale: Scale) -> anyhow::Result<Exit> {
    let count = number(&scale.instances);
    let key = existing(context, &scale.name)?;
    let edit = move |_: Option<&Row>| Ok(Changes::from([(Attribute::Scale, Some(count))]));
    write(context, &key, edit, Unchanged::Already, &scale.waiting).await
}

/// `rowhouse redeploy`.
pub(crate) async fn redeploy(context: &Context, changed: Changed) -> anyhow::Result<Exit> {
    let key = existing(context, &changed.name)?;
    let edit = |row: Option<&Row>| Ok(raised(row.map(|row| &row.user)));
    write(context, &key, edit, Unchanged::Already, &changed.waiting).await
}

/// `rowhouse rollback`.
pub(crate) async fn rollback(context: &Context, rollback: Rollback) -> anyhow::Result<Exit> {
    let key = existing(context, &rollback.name)?;
    let table = context.table()?;
    let row = context.row(&table, key.as_str())?.row;
    let history = table.history(&key)?;
    let running = row.report.revision.clone();
    // After a failed change the one before is what serves; after a good one it is what served before that.
    let failed = row.report.status == Some(Status::DeployFailed);
    let deployed =
        |entry: &&StoredEntry| entry.status.as_deref() == Some(Status::Deployed.as_str());
    let mut good: Vec<Commit> = Vec::new();
    for commit in history.iter().filter(deployed).filter_map(|entry| entry.revision.clone()) {
        if !good.contains(&commit) {
            good.push(commit);
        }
    }
    let name = key.as_str();
    let look = format!("`{}` lists what ran", context.command(&format!("history {name}")));
    let commit = match &rollback.revision {
        None => {
            let earlier = good.iter().find(|commit| Some(*commit) != running.as_ref()).cloned();
            running.clone().filter(|_| failed).or(earlier).ok_or_else(|| {
                bad_input(format!("`{name}` has no earlier revision to go back to"), look)
            })?
        }
        Some(text) => match Commit::parse(text) {
            Some(commit) => commit,
            None => abbreviated(text, &good, &look)?,
        },
    };
    let branch = history
        .iter()
        .filter(deployed)
        .filter_map(|entry| entry.version.as_deref())
        .find(|version| Commit::parse(version).is_none())
        .map(str::to_owned);
    output::note(&format!("rolling `{name}` back to {}", commit.short()));
    if let Some(branch) = branch {
        let back = context.command(&format!("put {name} --version {branch}"));
        output::note(&format!("to return to the branch: {back}"));
    }
    let edit = move |_: Option<&Row>| {
        Ok(Changes::from([
            (Attribute::Version, Some(text(commit.as_str()))),
            (Attribute::Follow, Some(Value::Whole(0))),
        ]))
    };
    write(context, &key, edit, Unchanged::Already, &rollback.waiting).await
}

fn abbreviated(text: &str, good: &[Commit], look: &str) -> anyhow::Result<Commit> {
    let shown = rowhouse_core::shortened(text);
    let long_enough = text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lower = text.to_ascii_lowercase();
    let matching: Vec<&Commit> =
        good.iter().filter(|commit| long_enough && commit.as_str().starts_with(&lower)).collect();
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(bad_input(
            format!(
                "{shown} is no revision of the history: it must be at least 7 hex digits of one"
            ),
            look,
        )),
        _ => Err(bad_input(format!("{shown} begins more than one revision of the history"), look)),
    }
}

fn existing(context: &Context, name: &str) -> anyhow::Result<RowKey> {
    Ok(context.row(&context.table()?, name)?.row.key)
}

/// What somebody typed for a number, in the type that the row's check can speak of.
fn number(text: &str) -> Value {
    text.parse().map_or_else(
        |_| text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Real),
        Value::Whole,
    )
}

fn raised(user: Option<&UserAttributes>) -> Changes {
    let count = match user.and_then(|user| user.get(&Attribute::Redeploy)) {
        Some(Value::Whole(count)) => *count,
        Some(_) | None => 0,
    };
    Changes::from([(Attribute::Redeploy, Some(Value::Whole(count.saturating_add(1))))])
}

/// Writes the row, unless that would make an app invalid, and waits for what comes of it.
async fn write(
    context: &Context,
    key: &RowKey,
    edit: impl FnOnce(Option<&Row>) -> anyhow::Result<Changes>,
    unchanged: Unchanged,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    let mut table = context.table()?;
    let settings = context.settings();
    let progress = Progress::new(context, key.as_str())?;
    // Asked before the table is locked: git may take its time.
    let current = match unchanged {
        Unchanged::LookAgain => table.get(key)?.map(|stored| stored.row),
        Unchanged::Already => None,
    };
    let moved = match &current {
        Some(row) => has_moved(context, row).await,
        None => false,
    };
    let mut already = false;
    let written = table.edit(key, |before| -> anyhow::Result<Changes> {
        let mut changes = edit(before)?;
        let mut user = after(before, &changes);
        if before.is_some_and(|row| Generation::of(&row.user) == Generation::of(&user)) {
            let report = before.map(|row| &row.report);
            let answered = report.and_then(|report| report.generation.as_ref());
            let runs_well = report.is_some_and(|report| report.status == Some(Status::Deployed));
            let is_ours = answered == Some(&Generation::of(&user));
            let failed = report.is_some_and(|report| report.status == Some(Status::DeployFailed));
            if is_ours && (failed || moved) {
                changes.extend(raised(Some(&user)));
                user = after(before, &changes);
            } else {
                already = is_ours && runs_well;
            }
        }
        let row = Row { key: key.clone(), user, report: rowhouse_core::Report::default(), seq: 0 };
        if let Err(reason) = App::parse(&row, &settings) {
            let hint = format!("`{}` shows what can be given", context.command("put --help"));
            return Err(bad_input(reason, hint));
        }
        Ok(changes)
    })??;
    if already {
        let commit = written.report.revision.as_ref().map_or("", Commit::short);
        let url = written.report.url.as_deref().unwrap_or("");
        context.warn_if_absent();
        output::line(&format!("{key} already deployed {commit} {url}"));
        return Ok(Exit::Done);
    }
    wait::outcome(context, &table, &written, progress, waiting).await
}

fn after(before: Option<&Row>, changes: &Changes) -> UserAttributes {
    let mut user = before.map(|row| row.user.clone()).unwrap_or_default();
    for (attribute, value) in changes {
        match value {
            Some(value) => user.insert(*attribute, value.clone()),
            None => user.remove(attribute),
        };
    }
    user
}

/// Whether the row's version names another commit than the one that runs. Where nobody can tell, the reactor
/// is the one to find out.
async fn has_moved(context: &Context, row: &Row) -> bool {
    let Ok(app) = App::parse(row, &context.settings()) else { return false };
    let Ok(repository) = Repository::parse(&app.repository) else { return false };
    let mirrors = Mirrors::new(context.folder.mirrors());
    match mirrors.resolve(&repository, app.version.as_str()).await {
        Ok(Resolved::Commit(commit)) => {
            row.report.revision.as_ref() != Some(&commit) || row.report.healthy < app.scale
        }
        Ok(Resolved::NoSuchVersion { .. }) | Err(_) => true,
    }
}

/// The branch that the repository itself takes for its main one.
async fn default_version(context: &Context, changes: &Changes) -> anyhow::Result<String> {
    let given = match changes.get(&Attribute::Repo) {
        Some(Some(Value::Text(repo))) => Some(repo.clone()),
        Some(_) | None => context.holder().and_then(|holder| holder.repository),
    };
    let Some(given) = given else {
        return Err(bad_input(
            "no repository is known for a new app",
            "name it with `--repo URL`, or run `rowhouse deploy` in the project's folder",
        ));
    };
    let refused = |error: rowhouse_machine::git::GitError| {
        bad_input(error.to_string(), "name the version with `--version REF`")
    };
    let repository = Repository::parse(&given).map_err(refused)?;
    Mirrors::new(context.folder.mirrors()).default_branch(&repository).await.map_err(refused)
}

/// Variables to set and to remove.
struct EnvironmentChange {
    set: BTreeMap<String, String>,
    unset: Vec<String>,
}

impl EnvironmentChange {
    fn read(put: &Put) -> anyhow::Result<EnvironmentChange> {
        let mut set = BTreeMap::new();
        if let Some(path) = &put.env_file {
            let file = std::fs::read_to_string(path).map_err(|error| {
                bad_input(
                    format!("cannot read the file `{}`: {error}", path.display()),
                    "`--env-file` takes a file of KEY=VALUE lines",
                )
            })?;
            let lines: Vec<String> = file
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(|line| line.strip_prefix("export ").unwrap_or(line))
                .map(unquoted)
                .collect();
            set.extend(pairs(&lines, "--env-file")?);
        }
        for (key, value) in pairs(&put.env, "--env")? {
            let value = if value == "-" { from_stdin(&key)? } else { value };
            set.insert(key, value);
        }
        Ok(EnvironmentChange { set, unset: put.unset_env.clone() })
    }

    /// The attribute's new value; `None` where nothing was asked of it.
    fn apply(self, row: Option<&Row>, attribute: Attribute) -> anyhow::Result<Option<Value>> {
        if self.set.is_empty() && self.unset.is_empty() {
            return Ok(None);
        }
        let mut entries = match row.and_then(|row| row.user.get(&attribute)) {
            None => BTreeMap::new(),
            Some(Value::Map(entries)) => entries.clone(),
            Some(_) => {
                return Err(bad_input(
                    format!(
                        "the row's `{}` is no JSON object, so nothing can be set in it",
                        attribute.name()
                    ),
                    "set it right with `sqlite3`, or clear it",
                ));
            }
        };
        for key in &self.unset {
            entries.remove(key);
        }
        entries.extend(self.set.into_iter().map(|(key, value)| (key, Value::Text(value))));
        Ok(Some(Value::Map(entries)))
    }
}

fn pairs(given: &[String], option: &str) -> anyhow::Result<BTreeMap<String, String>> {
    given
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
            // The value of a mistyped secret is not repeated.
            None => Err(bad_input(
                format!("`{option}` got a text without `=`"),
                format!("write `{option} KEY=VALUE`"),
            )),
        })
        .collect()
}

/// `KEY="a value"` of an environment file without its quotes.
fn unquoted(line: &str) -> String {
    let Some((key, value)) = line.split_once('=') else { return line.to_owned() };
    let bare =
        ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    format!("{key}={}", bare.unwrap_or(value))
}

fn from_stdin(key: &str) -> anyhow::Result<String> {
    let mut value = String::new();
    std::io::stdin()
        .read_to_string(&mut value)
        .with_context(|| format!("cannot read the value of `{key}` from stdin"))?;
    Ok(value.strip_suffix('\n').unwrap_or(&value).to_owned())
}
