//! The reactor: doorbells in, one look at a time per name, several names side by side, and the two sweeps.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rowhouse_core::{
    Again, AppTable, Platform, RowKey, Sweep, Unreachable, Waking, full_sweep, reconcile,
    short_sweep,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{Instrument, error, info_span, warn};

/// How many names are looked at side by side. A look costs next to nothing, but may have to wait for a git server.
const SIDE_BY_SIDE: usize = 32;
/// The longest that a status can be out of date when a doorbell was lost.
const SHORT_SWEEP: Duration = Duration::from_mins(1);
const FULL_SWEEP: Duration = Duration::from_mins(15);
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// Works until it is dropped or the doorbell's last handle is. `after_full_sweep` is called with each full
/// sweep's result: the time to tidy up.
pub(crate) async fn run<T, P>(
    table: Arc<T>,
    platform: Arc<P>,
    mut doorbell: UnboundedReceiver<RowKey>,
    after_full_sweep: impl Fn(&Sweep),
) where
    T: AppTable + Send + Sync + 'static,
    P: Platform + Send + Sync + 'static,
{
    let mut queue = Queue::default();
    let mut looks = JoinSet::new();
    let mut short = interval(SHORT_SWEEP);
    let mut full = interval(FULL_SWEEP);
    short.set_missed_tick_behavior(MissedTickBehavior::Delay);
    full.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and the full sweep covers the short one.
    short.tick().await;
    loop {
        while looks.len() < SIDE_BY_SIDE {
            let Some((key, waking)) = queue.take() else { break };
            let (table, platform) = (Arc::clone(&table), Arc::clone(&platform));
            let span = info_span!("reconcile", app = %key);
            let look = async move {
                let result = reconcile(&key, waking, &*table, &*platform).await;
                (key, result)
            };
            looks.spawn(look.instrument(span));
        }
        let next_retry = queue.next_retry();
        tokio::select! {
            rung = doorbell.recv() => match rung {
                Some(key) => {
                    queue.ring(key, Waking::Change);
                    while let Ok(key) = doorbell.try_recv() {
                        queue.ring(key, Waking::Change);
                    }
                }
                None => return,
            },
            Some(look) = looks.join_next() => match look {
                Ok((key, result)) => queue.looked(&key, again(&key, result)),
                Err(panic) => {
                    error!(reason = %panic, "a look ended without an answer; the sweep will look again");
                    queue.forget_looks();
                }
            },
            () = sleep_until(next_retry.unwrap_or_else(Instant::now)), if next_retry.is_some() => {
                queue.retry();
            }
            _ = short.tick() => match short_sweep(&*table, &*platform).await {
                Ok(sweep) => queue.ring_all(sweep),
                Err(error) => warn!(reason = %error, "cannot sweep; will retry"),
            },
            _ = full.tick() => match full_sweep(&*table, &*platform).await {
                Ok(sweep) => {
                    after_full_sweep(&sweep);
                    queue.ring_all(sweep);
                }
                Err(error) => {
                    warn!(reason = %error, "cannot sweep; will retry");
                    full.reset_after(SHORT_SWEEP);
                }
            },
        }
    }
}

fn again(key: &RowKey, result: Result<rowhouse_core::Reconciled, Unreachable>) -> Again {
    match result {
        Ok(reconciled) => reconciled.again,
        Err(error) => {
            warn!(app = %key, reason = %error, "cannot look; will retry");
            Again::Later
        }
    }
}

/// The names that were rung: each at most once, never one that is being looked at, and in the order in which they
/// came, so that those who wait long for an answer do not keep others waiting again and again.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<RowKey, Waking>,
    order: VecDeque<RowKey>,
    looking: BTreeSet<RowKey>,
    /// When to look again at what could not be asked, and how long it was put off.
    put_off: BTreeMap<RowKey, (Instant, Duration)>,
}

impl Queue {
    fn ring(&mut self, key: RowKey, waking: Waking) {
        match self.waiting.entry(key) {
            Entry::Vacant(entry) => {
                self.order.push_back(entry.key().clone());
                entry.insert(waking);
            }
            Entry::Occupied(mut entry) if waking != Waking::Change => {
                entry.insert(waking);
            }
            Entry::Occupied(_) => {}
        }
    }

    fn ring_all(&mut self, sweep: Sweep) {
        for key in sweep.ring {
            self.ring(key, Waking::Change);
        }
        for key in sweep.catch_up {
            self.ring(key, Waking::CatchUp);
        }
        for key in sweep.ask_again {
            self.ring(key, Waking::AskAgain);
        }
    }

    fn take(&mut self) -> Option<(RowKey, Waking)> {
        let next = self.order.iter().position(|key| !self.looking.contains(key))?;
        let key = self.order.remove(next)?;
        let waking = self.waiting.remove(&key)?;
        self.looking.insert(key.clone());
        Some((key, waking))
    }

    fn looked(&mut self, key: &RowKey, again: Again) {
        self.looking.remove(key);
        match again {
            Again::No => {
                self.put_off.remove(key);
            }
            Again::Now => self.ring(key.clone(), Waking::Change),
            Again::Later => {
                let pause = self
                    .put_off
                    .get(key)
                    .map_or(FIRST_BACK_OFF, |(_, pause)| (*pause * 2).min(LONGEST_BACK_OFF));
                self.put_off.insert(key.clone(), (Instant::now() + pause, pause));
            }
        }
    }

    /// After a look that panicked nobody knows whose it was.
    fn forget_looks(&mut self) {
        self.looking.clear();
    }

    fn next_retry(&self) -> Option<Instant> {
        self.put_off
            .iter()
            .filter(|(key, _)| !self.waiting.contains_key(*key) && !self.looking.contains(*key))
            .map(|(_, (at, _))| *at)
            .min()
    }

    fn retry(&mut self) {
        let now = Instant::now();
        let due: Vec<RowKey> = self
            .put_off
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.ring(key, Waking::Change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RowKey {
        RowKey(text.to_owned())
    }

    #[test]
    fn a_name_rung_while_it_is_looked_at_is_looked_at_again() {
        let mut queue = Queue::default();
        queue.ring(key("a"), Waking::Change);
        queue.ring(key("a"), Waking::Change);
        assert_eq!(queue.take(), Some((key("a"), Waking::Change)));
        queue.ring(key("a"), Waking::Change);
        assert_eq!(queue.take(), None);
        queue.looked(&key("a"), Again::No);
        assert_eq!(queue.take(), Some((key("a"), Waking::Change)));
        queue.looked(&key("a"), Again::No);
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn names_are_looked_at_in_the_order_in_which_they_came() {
        let mut queue = Queue::default();
        for name in ["c", "a", "b"] {
            queue.ring(key(name), Waking::Change);
        }
        assert_eq!(queue.take(), Some((key("c"), Waking::Change)));
        // One that is never done does not come before those who wait.
        queue.ring(key("c"), Waking::Change);
        queue.looked(&key("c"), Again::Now);
        for name in ["a", "b", "c"] {
            assert_eq!(queue.take(), Some((key(name), Waking::Change)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_asked_is_put_off_longer_and_longer() {
        let mut queue = Queue::default();
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            queue.looked(&key("a"), Again::Later);
            assert_eq!(queue.next_retry(), Some(Instant::now() + Duration::from_secs(pause)));
        }
        queue.looked(&key("a"), Again::No);
        assert_eq!(queue.next_retry(), None);
    }
}
