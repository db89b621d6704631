//! The sweeps: what makes up for lost doorbells. They ring names; they never act on what their lists say.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::App;
use crate::attribute::{Attribute, Value};
use crate::commit::NoCommit;
use crate::digest::Target;
use crate::listed::is_settled;
use crate::name::{AppName, RowKey};
use crate::outcome::Unreachable;
use crate::platform::Platform;
use crate::reconcile::is_unchanged;
use crate::row::{Row, Status};
use crate::settings::Settings;
use crate::stack::{Deployment, Observed, Stack};
use crate::table::AppTable;

/// How many stacks may catch up with new settings at a time.
const CATCHING_UP: usize = 2;

/// What a sweep found worth a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Names to reconcile.
    pub ring: BTreeSet<RowKey>,
    /// Names whose stacks may catch up with the platform's settings; none of them is in `ring`.
    pub catch_up: BTreeSet<RowKey>,
    /// Names whose repositories may have become readable; none of them is in `ring` or `catch_up`.
    pub ask_again: BTreeSet<RowKey>,
    /// Stacks without a row that are too many to be deleted unasked.
    pub refused_orphans: Vec<AppName>,
}

/// Every minute: rows that are not settled or not answered, stacks in progress, rows that follow a branch.
pub async fn short_sweep(
    table: &impl AppTable,
    platform: &impl Platform,
) -> Result<Sweep, Unreachable> {
    let rows = table.list().await?;
    let stacks = platform.list().await?;
    let mut ring: BTreeSet<RowKey> =
        rows.iter().filter(|row| is_restless(row)).map(|row| row.key.clone()).collect();
    let known: BTreeSet<&RowKey> = rows.iter().map(|row| &row.key).collect();
    let busy = stacks.iter().filter(|(_, observed)| observed.is_in_progress());
    let (wanted, orphans): (Vec<RowKey>, Vec<RowKey>) =
        busy.map(|(name, _)| name.key()).partition(|key| known.contains(key));
    ring.extend(wanted);
    // To ring a name without a row may cancel or delete; the full sweep names those that are too many.
    if orphans.len() <= deletable(rows.len(), stacks.len()) {
        ring.extend(orphans);
    }
    Ok(Sweep { ring, ..Sweep::default() })
}

fn is_restless(row: &Row) -> bool {
    let follows = row.user.get(&Attribute::Follow).and_then(Value::as_flag) == Some(true);
    follows || !row.is_answered() || row.report.status == Some(Status::Deploying)
}

/// Every quarter of an hour and at each start: every row that the lists do not show settled, and the stacks that have
/// no row. What rests costs its place in the lists and nothing more.
pub async fn full_sweep(
    table: &impl AppTable,
    platform: &impl Platform,
) -> Result<Sweep, Unreachable> {
    let stacks: BTreeMap<RowKey, (AppName, Observed)> = platform
        .list()
        .await?
        .into_iter()
        .map(|(name, observed)| (name.key(), (name, observed)))
        .collect();
    // The rows after the stacks: one that was made in between has its row by now.
    let rows = table.list().await?;
    let settings = platform.settings();
    let catch_up = catching_up(&rows, &stacks, &settings);
    let known: BTreeSet<&RowKey> = rows.iter().map(|row| &row.key).collect();
    let orphans: Vec<&AppName> =
        stacks.iter().filter(|(key, _)| !known.contains(key)).map(|(_, (name, _))| name).collect();
    let (mut ring, mut ask_again) = (BTreeSet::new(), BTreeSet::new());
    for row in rows.iter().filter(|row| !catch_up.contains(&row.key)) {
        if row.is_answered() && row.report.no_commit(&settings.digest) == Some(NoCommit::Denied) {
            ask_again.insert(row.key.clone());
            continue;
        }
        let observed = stacks.get(&row.key).map(|(_, observed)| observed);
        if !is_settled(row, observed, &settings).await {
            ring.insert(row.key.clone());
        }
    }
    let refused_orphans = if orphans.len() <= deletable(rows.len(), stacks.len()) {
        ring.extend(orphans.iter().map(|name| name.key()));
        Vec::new()
    } else {
        orphans.into_iter().cloned().collect()
    };
    Ok(Sweep { ring, catch_up, ask_again, refused_orphans })
}

/// How many stacks a sweep may delete because their rows are gone. A table that reads empty is more likely a
/// wrong or a restored table than a wish.
fn deletable(rows: usize, stacks: usize) -> usize {
    if rows == 0 { 0 } else { (stacks / 5).max(1) }
}

fn catching_up(
    rows: &[Row],
    stacks: &BTreeMap<RowKey, (AppName, Observed)>,
    settings: &Settings,
) -> BTreeSet<RowKey> {
    let lags = |running: &&Deployment| {
        running.settings != settings.digest || !running.target.is_current_format()
    };
    let mut under_way = 0;
    let mut lagging = BTreeSet::new();
    for row in rows {
        let Some((_, Observed::Ours(stack))) = stacks.get(&row.key) else { continue };
        let Some(running) = stack.running.as_ref().filter(lags) else { continue };
        if failed_on_settings(row, stack, running, settings) {
            // One failure speaks against the settings, not against that app.
            return BTreeSet::new();
        }
        if stack.phase.is_in_progress() {
            under_way += 1;
        } else if may_take_a_turn(row, running) && App::parse(row, settings).is_ok() {
            lagging.insert(row.key.clone());
        }
    }
    lagging.into_iter().take(CATCHING_UP.saturating_sub(under_way)).collect()
}

/// Whether what runs is what the row wants but for the settings: a turn given to another row would be lost,
/// for it takes the new settings with its next change, or rests because it failed.
fn may_take_a_turn(row: &Row, running: &Deployment) -> bool {
    let generation = row.generation();
    if running.target.is_current_format() {
        running.generation == generation
    } else {
        is_unchanged(row, &generation)
    }
}

/// Whether this stack shows that today's settings were tried, and failed, for what it already runs.
fn failed_on_settings(row: &Row, stack: &Stack, running: &Deployment, settings: &Settings) -> bool {
    let today = row.generation();
    let generation = if running.target.is_current_format() { &running.generation } else { &today };
    let tried_now = Target::of(generation, &running.commit, &settings.digest);
    let refused = row.report.status == Some(Status::Deployed)
        && row.report.target.as_ref() == Some(&tried_now)
        && running.target != tried_now;
    refused || stack.tried.as_ref().is_some_and(|attempt| attempt.target == tried_now)
}
