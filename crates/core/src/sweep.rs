//! The sweeps: what makes up for lost doorbells. They ring names; they never act on what their
//! lists say.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use crate::app::App;
use crate::attribute::{Attribute, Value};
use crate::commit::NoCommit;
use crate::decide::{Action, Desired, decide};
use crate::digest::Target;
use crate::listed::is_settled;
use crate::name::{AppName, RowKey};
use crate::outcome::Unreachable;
use crate::platform::Platform;
use crate::reconcile::is_unchanged;
use crate::row::{Row, Status};
use crate::settings::Settings;
use crate::stack::{Deployment, Observed, Stack};
use crate::table::{AppTable, Found};

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
    /// Stacks without a row that nobody removed: they run on until somebody does, or puts one.
    pub orphans: Vec<AppName>,
    /// Stacks whose rows were removed, and that are more than one sweep may end: later ones do.
    pub left: Vec<AppName>,
}

/// Every minute: rows that are not answered or that the lists do not show settled, whoever wrote
/// what stands in them; stacks in progress, rows that follow a branch.
pub async fn short_sweep(
    table: &impl AppTable,
    platform: &impl Platform,
) -> Result<Sweep, Unreachable> {
    let rows = table.list().await?;
    let stacks = platform.list().await?;
    let settings = platform.settings();
    let by_key: BTreeMap<RowKey, &Observed> =
        stacks.iter().map(|(name, observed)| (name.key(), observed)).collect();
    let mut ring = BTreeSet::new();
    for row in &rows {
        let observed = by_key.get(&row.key).copied();
        if is_restless(row) || !is_settled(row, observed, &settings).await {
            ring.insert(row.key.clone());
        }
    }
    let known: BTreeSet<&RowKey> = rows.iter().map(|row| &row.key).collect();
    let busy = stacks.iter().filter(|(_, observed)| observed.is_in_progress());
    let (wanted, without): (Vec<&Listed>, Vec<&Listed>) =
        busy.partition(|(name, _)| known.contains(&name.key()));
    ring.extend(wanted.into_iter().map(|(name, _)| name.key()));
    let without = Without::of(without, table).await;
    ring.extend(without.put);
    // What is in progress does not stay so, hence none comes before the others again and again.
    let (some, _) = without.removed.some(deletable(&stacks), 0);
    ring.extend(some);
    Ok(Sweep { ring, ..Sweep::default() })
}

fn is_restless(row: &Row) -> bool {
    let follows = row.user.get(&Attribute::Follow).and_then(Value::as_flag) == Some(true);
    follows || !row.is_answered() || row.report.status == Some(Status::Deploying)
}

/// Every quarter of an hour and at each start: every row that the lists do not show settled, and
/// the stacks that have no row. What rests costs its place in the lists and nothing more. `turn`
/// counts the full sweeps: of what is too much for one, each takes others.
pub async fn full_sweep(
    table: &impl AppTable,
    platform: &impl Platform,
    turn: usize,
) -> Result<Sweep, Unreachable> {
    let listed = platform.list().await?;
    let stacks: BTreeMap<RowKey, &Listed> =
        listed.iter().map(|listed| (listed.0.key(), listed)).collect();
    // The rows after the stacks: one that was made in between has its row by now.
    let rows = table.list().await?;
    let settings = platform.settings();
    let catch_up = catching_up(&rows, &stacks, &settings);
    let known: BTreeSet<&RowKey> = rows.iter().map(|row| &row.key).collect();
    let without =
        stacks.iter().filter(|(key, _)| !known.contains(key)).map(|(_, listed)| *listed).collect();
    let Without { put, removed, orphans } = Without::of(without, table).await;
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
    ring.extend(put);
    let (some, left) = removed.some(deletable(&listed), turn);
    ring.extend(some);
    Ok(Sweep { ring, catch_up, ask_again, orphans, left })
}

/// A stack as the platform listed it.
type Listed = (AppName, Observed);

/// The stacks of ours for which a list showed no row, by what the table holds in the place of one.
#[derive(Default)]
struct Without {
    /// Their rows have come since.
    put: Vec<RowKey>,
    removed: Removed,
    orphans: Vec<AppName>,
}

impl Without {
    async fn of(listed: Vec<&Listed>, table: &impl AppTable) -> Without {
        let mut without = Without::default();
        for (name, observed) in listed {
            if observed.stack().is_none() {
                continue;
            }
            match table.get(&name.key()).await {
                Ok(Found::Row(_)) => without.put.push(name.key()),
                Ok(Found::Removed) => without.removed.add(name, observed),
                Ok(Found::Absent) => without.orphans.push(name.clone()),
                // Rows are looked at all the same, and what nobody can tell of runs on.
                Err(Unreachable { reason }) => {
                    warn!(app = %name, reason, "cannot tell why it has no row");
                }
            }
        }
        without
    }
}

/// Stacks whose rows a user removed.
#[derive(Default)]
struct Removed {
    /// Those that a look would begin to end.
    standing: Vec<AppName>,
    /// Those that are ending already, or cannot be ended.
    ending: Vec<AppName>,
}

impl Removed {
    fn add(&mut self, name: &AppName, observed: &Observed) {
        match decide(&Desired::Removed, observed).action {
            Action::Delete { .. } | Action::Cancel => self.standing.push(name.clone()),
            Action::Rest
            | Action::Wait
            | Action::Create
            | Action::Update
            | Action::ContinueRollback => self.ending.push(name.clone()),
        }
    }

    /// The names to ring, of which at most so many are ended, and those that are left. One that
    /// cannot be ended, whyever, keeps none of the others waiting for ever: each turn begins where
    /// the last one ended.
    fn some(self, most: usize, turn: usize) -> (Vec<RowKey>, Vec<AppName>) {
        let Removed { mut standing, ending } = self;
        let mut left = Vec::new();
        if standing.len() > most {
            let first = turn.wrapping_mul(most) % standing.len();
            standing.rotate_left(first);
            left = standing.split_off(most);
            left.sort_unstable();
        }
        (standing.iter().chain(&ending).map(AppName::key).collect(), left)
    }
}

/// How many stacks a sweep may end because their rows were removed: what the table says of so many
/// at once is more likely wrong than a wish, and somebody should have the time to see it.
fn deletable(stacks: &[Listed]) -> usize {
    let ours = stacks.iter().filter(|(_, observed)| observed.stack().is_some()).count();
    (ours / 5).max(1)
}

fn catching_up(
    rows: &[Row],
    stacks: &BTreeMap<RowKey, &Listed>,
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

/// Whether what runs is what the row wants but for the settings: a turn given to another row would
/// be lost, for it takes the new settings with its next change, or rests because it failed.
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
