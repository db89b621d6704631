//! The function `AppDemoReactorLambda`: doorbells in, distinct names looked at side by side, and
//! the two sweeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use rowhouse_core::{
    Again, AppName, AppTable, RowKey, Sweep, Unreachable, Waking, full_sweep, reconcile,
    short_sweep,
};
use serde_json::{Value, json};
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::config::Config;
use crate::doorbell::{Doorbell, Ring};
use crate::manifests::Manifests;
use crate::metric;
use crate::orphans::Orphans;
use crate::platform::CloudFormationPlatform;
use crate::table::DynamoTable;

/// How many names are looked at side by side.
const SIDE_BY_SIDE: usize = 8;
/// How often a name is looked at again at once, when somebody else was faster.
const LOOKS: usize = 3;
/// No look begins with less time than this left: what is begun is ended.
const ENOUGH: Duration = Duration::from_secs(12);

/// The reactor of one installation.
#[derive(Debug)]
pub struct Reactor {
    table: DynamoTable,
    platform: CloudFormationPlatform,
    manifests: Manifests,
    prefix: String,
    /// Whose figures the metrics are.
    installation: String,
    partial_batch: bool,
    /// Counts the full sweeps, beginning with a number that another process has not begun with.
    turn: AtomicUsize,
}

/// How looking at names went.
#[derive(Debug, Default)]
struct Looked {
    reactions: AtomicUsize,
    failed: std::sync::Mutex<BTreeSet<RowKey>>,
}

impl Reactor {
    /// The reactor of that installation, in the account and region of `shared`.
    pub fn new(shared: &aws_config::SdkConfig, config: &Config) -> Reactor {
        let table = DynamoTable::new(
            aws_sdk_dynamodb::Client::new(shared),
            config.app_database.clone(),
            config.app_history.clone(),
        )
        .knowing(Orphans::new(shared, config));
        let platform = CloudFormationPlatform::new(shared, config.clone());
        Reactor {
            table,
            platform,
            manifests: Manifests::new(shared, config),
            prefix: config.stack_prefix.clone(),
            installation: std::env::var("ROWHOUSE_STACK")
                .unwrap_or_else(|_| config.apps_domain.clone()),
            partial_batch: config.partial_batch,
            turn: AtomicUsize::new(quarter(Timestamp::now())),
        }
    }

    /// Answers one invocation, which must end by `deadline`.
    ///
    /// # Errors
    /// What could not be looked at, for whoever invokes it to come again; never what a row or a
    /// stack did.
    pub async fn handle(&self, event: &Value, deadline: Instant) -> Result<Value, Unreachable> {
        match Doorbell::parse(event, &self.prefix) {
            Doorbell::Stream(rings) => self.answer_stream(&rings, deadline).await,
            Doorbell::Stacks(keys) => {
                let names = keys.into_iter().map(|key| (key, Waking::Change)).collect();
                let failed = self.look_at(names, deadline).await;
                if failed.is_empty() { Ok(Value::Null) } else { Err(not_looked_at(&failed)) }
            }
            Doorbell::ShortSweep => {
                let sweep = short_sweep(&self.table, &self.platform).await?;
                self.sweep(sweep, deadline).await;
                Ok(Value::Null)
            }
            Doorbell::FullSweep => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                let sweep = full_sweep(&self.table, &self.platform, turn).await?;
                self.tell_orphans(&sweep);
                self.sweep(sweep, deadline).await;
                self.tidy(deadline).await;
                Ok(Value::Null)
            }
            Doorbell::Unknown => {
                warn!("an event of an unknown shape was dropped");
                Ok(Value::Null)
            }
        }
    }

    async fn answer_stream(&self, rings: &[Ring], deadline: Instant) -> Result<Value, Unreachable> {
        let names = rings.iter().map(|ring| (ring.key.clone(), Waking::Change)).collect();
        let failed = self.look_at(names, deadline).await;
        if failed.is_empty() {
            return Ok(json!({ "batchItemFailures": [] }));
        }
        if !self.partial_batch {
            return Err(not_looked_at(&failed));
        }
        // The lowest number is where the stream goes on from.
        let failures: Vec<Value> = rings
            .iter()
            .filter(|ring| failed.contains(&ring.key))
            .map(|ring| json!({ "itemIdentifier": ring.sequence }))
            .collect();
        Ok(json!({ "batchItemFailures": failures }))
    }

    async fn sweep(&self, sweep: Sweep, deadline: Instant) {
        let mut names: BTreeMap<RowKey, Waking> =
            sweep.ring.into_iter().map(|key| (key, Waking::Change)).collect();
        names.extend(sweep.catch_up.into_iter().map(|key| (key, Waking::CatchUp)));
        names.extend(sweep.ask_again.into_iter().map(|key| (key, Waking::AskAgain)));
        // What fails now is restless still at the next sweep.
        let _ = self.look_at(names, deadline).await;
    }

    /// Looks at names, bounded side by side; returns those that could not be looked at. Each
    /// invocation begins at another name, so that what one has no time for comes first in a later
    /// one.
    async fn look_at(
        &self,
        names: BTreeMap<RowKey, Waking>,
        deadline: Instant,
    ) -> BTreeSet<RowKey> {
        if names.is_empty() {
            return BTreeSet::new();
        }
        let looked = Arc::new(Looked::default());
        let mut names: Vec<(RowKey, Waking)> = names.into_iter().collect();
        let minute = usize::try_from(Timestamp::now().as_second() / 60).unwrap_or(0);
        let turn = minute.wrapping_mul(names.len() / 4 + 1) % names.len();
        names.rotate_left(turn);
        let looks = names.into_iter().map(|(key, waking)| {
            let span = info_span!("reconcile", app = %key);
            self.look(key, waking, deadline, Arc::clone(&looked)).instrument(span)
        });
        stream::iter(looks).for_each_concurrent(SIDE_BY_SIDE, |look| look).await;
        let failed = looked.failed.lock().map(|failed| failed.clone()).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "counts of names are small")]
        metric::write(
            &self.installation,
            &[
                ("Reactions", looked.reactions.load(Ordering::Relaxed) as f64, "Count"),
                ("Failures", failed.len() as f64, "Count"),
            ],
        );
        failed
    }

    async fn look(&self, key: RowKey, waking: Waking, deadline: Instant, looked: Arc<Looked>) {
        for _ in 0..LOOKS {
            if deadline.saturating_duration_since(Instant::now()) < ENOUGH {
                looked.fail(key);
                return;
            }
            looked.reactions.fetch_add(1, Ordering::Relaxed);
            match reconcile(&key, waking, &self.table, &self.platform).await {
                Ok(reconciled) => match reconciled.again {
                    Again::Now => {}
                    // The row says that it is retried; the short sweep does so every minute.
                    Again::No | Again::Later => return,
                },
                Err(error) => {
                    warn!(reason = %error, "cannot look; will retry");
                    looked.fail(key);
                    return;
                }
            }
        }
        info!("somebody else was faster each time; the sweep will look again");
    }

    fn tell_orphans(&self, sweep: &Sweep) {
        let names = |names: &[AppName]| {
            let names: Vec<&str> = names.iter().map(AppName::as_str).collect();
            names.join(" ")
        };
        if !sweep.orphans.is_empty() {
            error!(
                orphans = names(&sweep.orphans),
                "these stacks have no row, and nobody removed one: they run on; a row of its name \
                 adopts each, and `rowhouse --aws rm NAME…` deletes them"
            );
        }
        if !sweep.left.is_empty() {
            error!(
                left = names(&sweep.left),
                "the rows of these stacks were removed, as were more than a sweep may end at once: \
                 they go with later ones, and `rowhouse --aws rm NAME…` deletes them now"
            );
        }
        let without = sweep.orphans.len() + sweep.left.len();
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of stacks and ages in seconds are small"
        )]
        metric::write(
            &self.installation,
            &[
                ("StacksWithoutRow", without as f64, "Count"),
                ("OldestUndeployedSeconds", self.table.oldest_undeployed() as f64, "Seconds"),
            ],
        );
    }

    /// Once a day, the history of apps that are gone is given its time to live, and the manifests
    /// go from which nothing is made any more.
    async fn tidy(&self, deadline: Instant) {
        let at = Timestamp::now();
        let now = at.as_second();
        let is_first_of_day = now % (24 * 60 * 60) < 15 * 60;
        if !is_first_of_day || deadline.saturating_duration_since(Instant::now()) < ENOUGH {
            return;
        }
        let rows = match self.table.list().await {
            Ok(rows) => rows.into_iter().map(|row| row.key).collect(),
            Err(error) => return warn!(reason = %error, "cannot tidy the history"),
        };
        if let Err(error) = self.table.expire_history(&rows).await {
            warn!(reason = %error, "cannot tidy the history");
        }
        if let Err(error) = self.manifests.tidy(at).await {
            warn!(reason = %error, "cannot tidy the manifests");
        }
    }
}

impl Looked {
    fn fail(&self, key: RowKey) {
        if let Ok(mut failed) = self.failed.lock() {
            failed.insert(key);
        }
    }
}

/// Which quarter of an hour it is, since 1970: how many full sweeps there were.
fn quarter(now: Timestamp) -> usize {
    usize::try_from(now.as_second() / (15 * 60)).unwrap_or(0)
}

fn not_looked_at(failed: &BTreeSet<RowKey>) -> Unreachable {
    let names: Vec<&str> = failed.iter().map(RowKey::as_str).take(10).collect();
    Unreachable { reason: format!("cannot look at {} names: {}", failed.len(), names.join(" ")) }
}
