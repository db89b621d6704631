//! `rowhouse put`: an app is created, or what is given of it is changed.

use rowhouse_core::{Attribute, Row, Value};

use crate::client::{Changes, Client};
use crate::failure::{Exit, bad_input};
use crate::rows::args::Put;
use crate::rows::change::{Unchanged, carry_out, number, text};
use crate::rows::environment::EnvironmentChange;
use crate::rows::opening::Opening;
use crate::rows::{names, repository};

/// The platform is opened once it is known that the options are no mistake: what is made for an app
/// is not made for one.
pub(crate) async fn put<C: Client>(
    open: impl AsyncFnOnce(Opening) -> anyhow::Result<C>,
    put: Put,
) -> anyhow::Result<Exit> {
    let name = names::new(&put.name)?;
    // A path means something on this machine alone.
    let typed = |text: &str| if C::IS_HERE { repository::typed(text) } else { Ok(text.to_owned()) };
    let mut changes = given(&put);
    if let Some(repo) = &put.repo {
        changes.insert(Attribute::Repo, or_default(&typed(repo)?));
    }
    let entries = [
        (Attribute::Env, EnvironmentChange::of_app(&put)?),
        (Attribute::BuildEnv, EnvironmentChange::of_build(&put)?),
        (Attribute::Procfile, EnvironmentChange::of_processes(&put.processes)?),
    ];
    let has_repository = matches!(changes.get(&Attribute::Repo), Some(Some(_)));
    let names_source = put.version.is_some() || has_repository;
    let client = open(Opening::First { names_source }).await?;
    let is_new = client.get(&name.key()).await?.is_none();
    let unchanged = if put.version.is_some() { Unchanged::LookAgain } else { Unchanged::Already };
    if is_new && put.version.is_none() {
        let version = default_version(&client, &changes).await?;
        changes.insert(Attribute::Version, Some(text(version)));
    }
    let edit = move |row: Option<&Row>| {
        let mut changes = changes.clone();
        if row.is_none() {
            changes.entry(Attribute::Scale).or_insert(Some(Value::Whole(1)));
        }
        for (attribute, change) in &entries {
            if let Some(value) = change.apply(row, *attribute)? {
                changes.insert(*attribute, Some(value));
            }
        }
        Ok(changes)
    };
    carry_out(&client, &name.key(), edit, unchanged, &put.waiting).await
}

/// An empty text clears what has a default.
fn or_default(given: &str) -> Option<Value> {
    Some(text(given)).filter(|_| !given.is_empty())
}

/// The options as attributes, apart from the repository.
fn given(put: &Put) -> Changes {
    let mut changes = Changes::new();
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
    if let Some(memory) = &put.memory {
        let is_given = !memory.is_empty();
        changes.insert(Attribute::Memory, is_given.then(|| number(memory)));
    }
    if let Some(follow) = put.follow {
        changes.insert(Attribute::Follow, Some(Value::Whole(i64::from(follow))));
    }
    changes
}

/// The branch that the repository itself takes for its main one.
async fn default_version<C: Client>(client: &C, changes: &Changes) -> anyhow::Result<String> {
    let given = match changes.get(&Attribute::Repo) {
        Some(Some(Value::Text(repo))) => Some(repo.clone()),
        Some(_) | None => client
            .settings()
            .and_then(|settings| settings.repository)
            .map(|default| default.as_str().to_owned()),
    };
    client.default_branch(&given.ok_or_else(|| no_repository(C::IS_HERE))?).await
}

/// The error where nobody says what a new app is made from. `is_here`: the platform is on this
/// machine.
pub fn no_repository(is_here: bool) -> anyhow::Error {
    let deploy = if is_here { ", or run `rowhouse deploy` in the project's folder" } else { "" };
    bad_input("no repository is known for a new app", format!("name it with `--repo URL`{deploy}"))
}
