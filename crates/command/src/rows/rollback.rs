//! `rowhouse rollback`: back to a release of the history.

use std::collections::BTreeSet;

use rowhouse_core::{Asked, Attribute, NoRollback, Row, StoredEntry, UserAttributes, shortened};

use crate::client::{Changes, Client};
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::output::{clean, quoted};
use crate::rows::args::{Rollback, Waiting};
use crate::rows::change::{TRIES, after, check, unanswered};
use crate::rows::wait::{self, Progress};
use crate::rows::{difference, following, history, names, reactor, row_text};

pub(crate) async fn rollback(client: &impl Client, rollback: Rollback) -> anyhow::Result<Exit> {
    let row = names::row(client, &rollback.name).await?.row;
    let name = clean(row.key.as_str());
    let asked = match &rollback.revision {
        None => Asked::Earlier,
        Some(text) => Asked::parse(text).ok_or_else(|| {
            let shown = shortened(text);
            let must =
                format!("{shown} is no revision of the history: it must be {}", Asked::ALLOWED);
            bad_input(must, look(client, &name))
        })?,
    };
    let kept: BTreeSet<Attribute> = rollback.keep.iter().copied().collect();
    let (history, releases) = (client.history(&row.key).await?, client.releases(&row.key).await?);
    let settings = client.settings();
    let found =
        rowhouse_core::rollback(&row, &history, &releases, &asked, &kept, settings.as_ref());
    let found = found.map_err(|why| {
        refused(client, &name, rollback.revision.as_deref().unwrap_or_default(), why)
    })?;
    let is_deployed =
        row.report.status == Some(rowhouse_core::Status::Deployed) && row.is_answered();
    if is_deployed && found.changes_nothing(&row.user) {
        reactor::warn_if_absent(client);
        output::note(&format!("`{name}` is already so"));
        output::line(&row_text::line(&row));
        return Ok(unanswered(client, &rollback.waiting));
    }
    show(client, &row, &found);
    write(client, row, &found.changes, &rollback.waiting).await
}

fn look(client: &impl Client, name: &str) -> String {
    format!("`{}` lists what ran", client.location().command(&format!("history {name}")))
}

/// The error where there is nothing to go back to.
fn refused(client: &impl Client, name: &str, text: &str, why: NoRollback) -> anyhow::Error {
    let shown = shortened(text);
    let sentence = match why {
        NoRollback::NothingEarlier => format!("`{name}` has no earlier release to go back to"),
        NoRollback::Unknown => {
            format!("the history of `{name}` has neither a release nor a revision {shown}")
        }
        NoRollback::Ambiguous => format!("{shown} begins more than one revision of the history"),
        NoRollback::Failed => format!("release {shown} failed: it never served"),
        NoRollback::WithoutCommit => {
            format!("release {shown} ran no instance, so it has no commit to go back to")
        }
        NoRollback::AnotherRepository => {
            format!("{shown} is a commit of another repository, whose attributes were not kept")
        }
    };
    bad_input(sentence, look(client, name))
}

/// Says what will change, and how to return.
fn show(client: &impl Client, row: &Row, found: &rowhouse_core::Rollback) {
    let name = clean(row.key.as_str());
    output::note(&format!("{name}: rolling back to {}", release(&found.entry)));
    if !found.is_whole {
        output::note(&format!(
            "{name}: of that rollout the history has the commit alone: the other attributes stay \
             as they are"
        ));
    }
    for line in difference::lines(&row.user, &found.changes) {
        output::note(&format!("{name}: {line}"));
    }
    if let Some(branch) = &found.branch {
        // `Follow` is turned off with the rollback, so it is turned on with the return.
        let follow = if following::follows(&row.user) { " --follow true" } else { "" };
        let back = format!("put {name} --version {}{follow}", quoted(&clean(branch)));
        output::note(&format!("to return to the branch: {}", client.location().command(&back)));
    }
}

fn release(entry: &StoredEntry) -> String {
    let commit = entry.revision.as_ref().map_or("-", rowhouse_core::Commit::short);
    match entry.number {
        Some(number) => {
            format!("{commit}, release {number} of {}", clean(&history::seconds(&entry.at)))
        }
        None => commit.to_owned(),
    }
}

/// Writes what was shown, while the row is as it was shown, and waits for what comes of it. The
/// reactor's own answers in between change nothing of that.
async fn write(
    client: &impl Client,
    shown: Row,
    changes: &Changes,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    let user: UserAttributes = after(Some(&shown), changes);
    check(client, &shown.key, changes, &user)?;
    let progress = Progress::new(client, shown.key.as_str(), waiting).await?;
    let wanted = rowhouse_core::Generation::of(&user);
    let names = std::slice::from_ref(&shown.key.0);
    let mut is_sent = false;
    for _ in 0..TRIES {
        let now = client.get(&shown.key).await?.map(|stored| stored.row);
        let written = match now {
            Some(row) if row.user == shown.user => {
                is_sent = true;
                client.write(&shown.key, Some(&row), changes).await?
            }
            // It was written, and only the answer to that was lost.
            Some(row) if is_sent && row.generation() == wanted => Some(row),
            Some(_) | None => return Ok(superseded(client, &shown)),
        };
        if let Some(written) = written {
            let outcome = wait::outcome(client, &written, progress, waiting);
            return wait::unless_interrupted(client, names, outcome).await;
        }
    }
    Err(anyhow::anyhow!("`{}` was not changed: others write its row all the time", shown.key))
}

fn superseded(client: &impl Client, shown: &Row) -> Exit {
    let name = row_text::name(shown);
    output::problem(&format!(
        "superseded: `{name}` is no longer as it was shown, and nothing was written"
    ));
    let look = client.location().command(&format!("show {name}"));
    output::hint(&format!("`{look}` shows what is wanted now"));
    Exit::Yours
}
