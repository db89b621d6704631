//! `rowhouse put`: an app is created, or what is given of it is changed.

use rowhouse_core::{Attribute, Row, Value};
use rowhouse_machine::git::GitError;
use rowhouse_machine::mirror::Mirrors;
use rowhouse_machine::repository::Repository;

use crate::args::Put;
use crate::change::{Changes, Unchanged, carry_out, number, text};
use crate::commands::up::absolute_repository;
use crate::context::{Context, quoted};
use crate::environment::EnvironmentChange;
use crate::failure::{Exit, bad_input};
use crate::names;

/// `find` opens the data folder, and `make` makes it where it is missing, which is done for an app and not for a
/// mistake.
pub(crate) async fn put(
    find: impl FnOnce() -> anyhow::Result<Context>,
    make: impl FnOnce() -> anyhow::Result<Context>,
    put: Put,
) -> anyhow::Result<Exit> {
    let name = names::new(&put.name)?;
    let mut changes = given(&put)?;
    let (env, build_env) = (EnvironmentChange::of_app(&put)?, EnvironmentChange::of_build(&put)?);
    let has_repository = matches!(changes.get(&Attribute::Repo), Some(Some(_)));
    let context = match find() {
        // Where there is no platform, there is none that has a repository.
        Err(_) if put.version.is_none() && !has_repository => return Err(no_repository()),
        Ok(_) | Err(_) => make()?,
    };
    let is_new = context.table()?.get(&name.key())?.is_none();
    let unchanged = if put.version.is_some() { Unchanged::LookAgain } else { Unchanged::Already };
    // Git is asked before the table is locked.
    if is_new && put.version.is_none() {
        let version = default_version(&context, &changes).await?;
        changes.insert(Attribute::Version, Some(text(version)));
    }
    let edit = move |row: Option<&Row>| {
        let mut changes = changes;
        if row.is_none() {
            changes.entry(Attribute::Scale).or_insert(Some(Value::Whole(1)));
        }
        for (attribute, change) in [(Attribute::Env, env), (Attribute::BuildEnv, build_env)] {
            if let Some(value) = change.apply(row, attribute)? {
                changes.insert(attribute, Some(value));
            }
        }
        Ok(changes)
    };
    carry_out(&context, &name.key(), edit, unchanged, &put.waiting).await
}

/// The options as attributes. An empty text clears what has a default.
fn given(put: &Put) -> anyhow::Result<Changes> {
    let or_default = |given: &str| Some(text(given)).filter(|_| !given.is_empty());
    let mut changes = Changes::new();
    if let Some(repo) = &put.repo {
        changes.insert(Attribute::Repo, or_default(&absolute_repository(repo)?));
    }
    if let Some(path) = &put.path {
        changes.insert(Attribute::Path, or_default(path));
    }
    if let Some(scale) = &put.scale {
        changes.insert(Attribute::Scale, Some(number(scale)));
    }
    if let Some(version) = &put.version {
        changes.insert(Attribute::Version, Some(text(version)));
    }
    if let Some(path) = &put.health {
        changes.insert(Attribute::Health, or_default(path));
    }
    if let Some(timeout) = put.health_timeout {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        changes.insert(Attribute::HealthTimeout, Some(Value::Whole(seconds)));
    }
    if let Some(follow) = put.follow {
        changes.insert(Attribute::Follow, Some(Value::Whole(i64::from(follow))));
    }
    Ok(changes)
}

/// The branch that the repository itself takes for its main one.
async fn default_version(context: &Context, changes: &Changes) -> anyhow::Result<String> {
    let given = match changes.get(&Attribute::Repo) {
        Some(Some(Value::Text(repo))) => Some(repo.clone()),
        Some(_) | None => context.holder().and_then(|holder| holder.repository),
    };
    let Some(given) = given else {
        return Err(no_repository());
    };
    let repository = Repository::parse(&given)
        .map_err(|error| bad_input(error.to_string(), "give another one with `--repo`"))?;
    let branch = Mirrors::new(context.folder.mirrors()).default_branch(&repository).await;
    branch.map_err(|error| match error {
        GitError::Refused { reason } => bad_input(reason, "name the version with `--version REF`"),
        GitError::Unreachable { reason } => {
            let ask = format!("git ls-remote {}", quoted(&repository.to_string()));
            bad_input(
                reason,
                format!("look at the address: `{ask}` must answer, and ask for nothing"),
            )
        }
        error @ (GitError::DiskFull { .. } | GitError::Io { .. }) => error.into(),
    })
}

fn no_repository() -> anyhow::Error {
    bad_input(
        "no repository is known for a new app",
        "name it with `--repo URL`, or run `rowhouse deploy` in the project's folder",
    )
}
