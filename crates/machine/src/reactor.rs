//! The reactor: doorbells in, one look at a time per name, several names side by side, and the two
//! sweeps.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rowhouse_core::{
    Again, AppTable, Platform, Reconciled, RowKey, Sweep, Unreachable, Waking, full_sweep,
    reconcile, short_sweep,
};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{Instrument, error, info_span, warn};

use crate::pause::Pause;

/// How many names are looked at side by side. A look costs next to nothing, but may have to wait
/// for a git server.
const SIDE_BY_SIDE: usize = 32;
/// The longest that a status can be out of date when a doorbell was lost.
const SHORT_SWEEP: Duration = Duration::from_mins(1);
const FULL_SWEEP: Duration = Duration::from_mins(15);
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// Works until it is dropped or the doorbell's last handle is. `sweep` asks for a full sweep at
/// once. `after_full_sweep` is called with each full sweep's result: the time to tidy up.
pub(crate) async fn run<T, P>(
    table: Arc<T>,
    platform: Arc<P>,
    doorbell: &mut UnboundedReceiver<RowKey>,
    sweep: &Notify,
    after_full_sweep: impl Fn(&Sweep),
) where
    T: AppTable + Send + Sync + 'static,
    P: Platform + Send + Sync + 'static,
{
    let mut queue = Queue::default();
    let mut looks = Looks::default();
    let mut short = interval(SHORT_SWEEP);
    let mut full = interval(FULL_SWEEP);
    let mut turn = 0;
    short.set_missed_tick_behavior(MissedTickBehavior::Delay);
    full.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate, and the full sweep covers the short one.
    short.tick().await;
    loop {
        while looks.have_room() {
            let Some((key, waking)) = queue.take() else { break };
            let (table, platform, name) = (Arc::clone(&table), Arc::clone(&platform), key.clone());
            let look = async move { reconcile(&name, waking, &*table, &*platform).await };
            looks.begin(key, look);
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
            Some((key, again)) = looks.ended() => queue.looked(&key, again),
            () = sleep_until(next_retry.unwrap_or_else(Instant::now)), if next_retry.is_some() => {
                queue.retry();
            }
            () = sweep.notified() => full.reset_immediately(),
            _ = short.tick() => match short_sweep(&*table, &*platform).await {
                Ok(sweep) => queue.ring_all(sweep),
                Err(error) => warn!(reason = %error, "cannot sweep; will retry"),
            },
            _ = full.tick() => match full_sweep(&*table, &*platform, turn).await {
                Ok(sweep) => {
                    turn += 1;
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

/// The looks in flight. They end with this.
#[derive(Default)]
struct Looks {
    tasks: JoinSet<Result<Reconciled, Unreachable>>,
    /// Whose look each task is, also when it ends without an answer.
    names: HashMap<Id, RowKey>,
}

impl Looks {
    fn have_room(&self) -> bool {
        self.tasks.len() < SIDE_BY_SIDE
    }

    fn begin(
        &mut self,
        key: RowKey,
        look: impl Future<Output = Result<Reconciled, Unreachable>> + Send + 'static,
    ) {
        let span = info_span!("reconcile", app = %key);
        let task = self.tasks.spawn(look.instrument(span));
        self.names.insert(task.id(), key);
    }

    /// The next look that ends, and when to look again. `None`: there is none in flight.
    async fn ended(&mut self) -> Option<(RowKey, Again)> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let key = self.names.remove(&id).expect("each look has its name from its beginning");
        let again = match ended {
            Ok((_, Ok(reconciled))) => reconciled.again,
            Ok((_, Err(error))) => {
                warn!(app = %key, reason = %error, "cannot look; will retry");
                Again::Later
            }
            Err(panic) => {
                error!(app = %key, reason = %panic, "a look ended without an answer; will retry");
                Again::Later
            }
        };
        Some((key, again))
    }
}

/// The names that were rung: each at most once, never one that is being looked at, and in the order
/// in which they came, so that those who wait long for an answer do not keep others waiting again
/// and again.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<RowKey, Waking>,
    order: VecDeque<RowKey>,
    looking: BTreeSet<RowKey>,
    /// When to look again at what could not be asked, and how long it was put off.
    put_off: BTreeMap<RowKey, (Instant, Pause)>,
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
                // Many may wait for one server: they do not all ask again at once.
                let fresh = || Pause::new(FIRST_BACK_OFF, LONGEST_BACK_OFF).spread_by(key);
                let (at, pause) =
                    self.put_off.entry(key.clone()).or_insert_with(|| (Instant::now(), fresh()));
                *at = Instant::now() + pause.due();
            }
        }
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

    #[tokio::test]
    async fn a_look_that_panics_is_over_and_the_others_are_still_in_flight() {
        let (mut queue, mut looks) = (Queue::default(), Looks::default());
        for name in ["broken", "slow"] {
            queue.ring(key(name), Waking::Change);
            queue.take().unwrap();
        }
        let (answer, waits) = tokio::sync::oneshot::channel();
        looks.begin(key("slow"), async move {
            waits.await.unwrap();
            Err(Unreachable { reason: "nobody is there".to_owned() })
        });
        looks.begin(key("broken"), async { panic!("a look that panics") });
        let (ended, again) = looks.ended().await.unwrap();
        assert_eq!(ended, key("broken"));
        queue.looked(&ended, again);
        for name in ["broken", "slow"] {
            queue.ring(key(name), Waking::Change);
        }
        assert_eq!(queue.take(), Some((key("broken"), Waking::Change)));
        assert_eq!(queue.take(), None, "one name is looked at by two");
        answer.send(()).unwrap();
        assert_eq!(looks.ended().await.unwrap().0, key("slow"));
        assert!(looks.ended().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_asked_is_put_off_longer_and_longer() {
        let mut queue = Queue::default();
        for pause in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs) {
            queue.looked(&key("a"), Again::Later);
            let left = queue.next_retry().unwrap() - Instant::now();
            assert!((pause..=pause * 5 / 4).contains(&left), "{pause:?} {left:?}");
        }
        queue.looked(&key("a"), Again::No);
        assert_eq!(queue.next_retry(), None);
    }
}
