//! `rowhouse rollback`: back to a revision of the history.

use rowhouse_core::{Attribute, Commit, Row, Status, StoredEntry, Value};

use crate::client::{Changes, Client, Rows};
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::output::clean;
use crate::output::quoted;
use crate::rows::args::Rollback;
use crate::rows::change::{Unchanged, carry_out, text};
use crate::rows::{following, names};

pub(crate) async fn rollback(client: &impl Client, rollback: Rollback) -> anyhow::Result<Exit> {
    let row = names::row(client, &rollback.name).await?.row;
    let key = row.key.clone();
    let history = client.history(&key).await?;
    let name = clean(key.as_str());
    let look =
        format!("`{}` lists what ran", client.location().command(&format!("history {name}")));
    let good = good(&history, repository(client, &row).as_deref());
    let commit = match &rollback.revision {
        None => {
            let running = row.report.revision.clone();
            // After a failed change the one before is what serves; after a good one, what served
            // before that.
            let failed = row.report.status == Some(Status::DeployFailed);
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
    output::note(&format!("{name}: rolling back to {}", commit.short()));
    if let Some(branch) = branch(&history) {
        // `Follow` is turned off with the rollback, so it is turned on with the return.
        let follow = if following::follows(&row.user) { " --follow true" } else { "" };
        let back = format!("put {name} --version {}{follow}", quoted(&clean(branch)));
        output::note(&format!("to return to the branch: {}", client.location().command(&back)));
    }
    let edit = move |_: Option<&Row>| {
        Ok(Changes::from([
            (Attribute::Version, Some(text(commit.as_str()))),
            (Attribute::Follow, Some(Value::Whole(0))),
        ]))
    };
    carry_out(client, &key, edit, Unchanged::Already, &rollback.waiting).await
}

/// Where the row's commits come from; `None`: nobody knows now.
fn repository(rows: &impl Rows, row: &Row) -> Option<String> {
    match row.user.get(&Attribute::Repo) {
        Some(Value::Text(repository)) => Some(repository.clone()),
        Some(_) => None,
        None => rows.settings()?.repository.map(|default| default.as_str().to_owned()),
    }
}

fn is_good(entry: &StoredEntry) -> bool {
    entry.status.as_deref() == Some(Status::Deployed.as_str())
}

/// The revisions that were deployed from this repository, the last one first, each once.
fn good(history: &[StoredEntry], repository: Option<&str>) -> Vec<Commit> {
    let mut good = Vec::new();
    let is_from_here = |entry: &&StoredEntry| {
        repository.is_none()
            || entry.repository.is_none()
            || entry.repository.as_deref() == repository
    };
    let deployed = history.iter().filter(|entry| is_good(entry)).filter(is_from_here);
    for commit in deployed.filter_map(|entry| entry.revision.clone()) {
        if !good.contains(&commit) {
            good.push(commit);
        }
    }
    good
}

fn is_branch(version: &str) -> bool {
    Commit::parse(version).is_none()
}

/// The branch or tag to return to: the one that was deployed last. What was never deployed is no
/// place to return to.
fn branch(history: &[StoredEntry]) -> Option<&str> {
    let good = history.iter().filter(|entry| is_good(entry));
    good.filter_map(|entry| entry.version.as_deref()).find(|version| is_branch(version))
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
