//! Meter: what was last seen of a client's connection, for whoever watches the time, and what its
//! task and its socket tell each other past hyper.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use crate::proxy::budget::Share;
use crate::proxy::gate::Gate;

/// What a client's connection is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Between requests.
    Idle,
    /// A request's head has begun, or the connection is new.
    Head,
    /// A request is being served.
    Busy,
    /// It was handed over to another protocol.
    Upgraded,
}

/// Counts and states, written by the thread that has the socket; another one reads them only to
/// choose who gives way.  No order is needed.
#[derive(Debug)]
pub(super) struct Meter {
    activity: AtomicU8,
    progress: AtomicU32,
    blocked: AtomicBool,
    /// Since when it has had no request, by the crowd's clock.
    resting: AtomicU64,
    giving_way: AtomicBool,
    gate: OnceLock<Arc<Gate>>,
    /// Whether an answer of ours or of an app is not yet with the kernel.
    owing: AtomicBool,
    /// Whether the client was refused before it had a request.
    refused: AtomicBool,
    /// Whether the socket stays open when hyper has ended.
    kept: AtomicBool,
    /// Bytes that were read since the connection was last idle; 0 once any were read in between.
    head: AtomicUsize,
    share: Share,
    waits_for_room: AtomicBool,
    aside: Aside,
}

/// What the client gets that hyper's server knows nothing of: it is written when hyper has nothing
/// to write.
#[derive(Debug, Default)]
struct Aside {
    is_there: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl Meter {
    /// Of a connection that begins `now`, by the crowd's clock.
    pub(super) fn new(now: u64, share: Share) -> Arc<Meter> {
        Arc::new(Meter {
            activity: AtomicU8::new(Activity::Head as u8),
            progress: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            resting: AtomicU64::new(now),
            giving_way: AtomicBool::new(false),
            gate: OnceLock::new(),
            owing: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            head: AtomicUsize::new(0),
            share,
            waits_for_room: AtomicBool::new(false),
            aside: Aside::default(),
        })
    }

    pub(super) fn activity(&self) -> Activity {
        let activity = self.activity.load(Ordering::Relaxed);
        [Activity::Idle, Activity::Head, Activity::Busy]
            .into_iter()
            .find(|known| *known as u8 == activity)
            .unwrap_or(Activity::Upgraded)
    }

    pub(super) fn enter(&self, activity: Activity) {
        if activity == Activity::Busy {
            self.owing.store(true, Ordering::Relaxed);
            self.share.shrink(self.head());
        }
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// A request has ended, `now` by the crowd's clock.
    pub(super) fn rest(&self, now: u64) {
        self.resting.store(now, Ordering::Relaxed);
        self.enter(Activity::Idle);
    }

    /// Since when it has been without a request, if nothing is lost when it ends.
    pub(super) fn rests_since(&self) -> Option<u64> {
        let rests = match self.activity() {
            Activity::Idle => true,
            Activity::Head => self.progress() == 0,
            Activity::Busy | Activity::Upgraded => false,
        };
        (rests && !self.gives_way()).then(|| self.resting.load(Ordering::Relaxed))
    }

    /// Tells the connection to end, for another one's sake.
    pub(super) fn give_way(&self) {
        self.giving_way.store(true, Ordering::SeqCst);
        if let Some(gate) = self.gate.get() {
            gate.wake_task();
        }
    }

    pub(super) fn gives_way(&self) -> bool {
        self.giving_way.load(Ordering::SeqCst)
    }

    /// By what the connection's task is woken.
    pub(super) fn hang_gate(&self, gate: &Arc<Gate>) {
        self.gate.get_or_init(|| Arc::clone(gate));
    }

    /// Writes this before anything that hyper has to write from now on.
    pub(super) fn put_aside(&self, bytes: &[u8]) {
        self.aside.bytes.lock().extend_from_slice(bytes);
        self.aside.is_there.store(true, Ordering::Relaxed);
    }

    /// Whether something that was put aside is not written yet.
    pub(super) fn has_aside(&self) -> bool {
        self.aside.is_there.load(Ordering::Relaxed)
    }

    /// What was put aside.
    pub(super) fn aside(&self) -> MutexGuard<'_, Vec<u8>> {
        self.aside.bytes.lock()
    }

    /// All that was put aside is written.
    pub(super) fn clear_aside(&self) {
        self.aside.is_there.store(false, Ordering::Relaxed);
    }

    /// It was refused before it had a request.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether it was refused before it had a request.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Something moved.
    pub(super) fn count(&self) {
        self.progress.store(self.progress().wrapping_add(1), Ordering::Relaxed);
    }

    /// Differs whenever something has moved.
    pub(super) fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Whether the client does not take what is there for it.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// So many bytes came.
    pub(super) fn read(&self, count: usize) {
        self.count();
        let head = match self.activity() {
            Activity::Idle => {
                self.enter(Activity::Head);
                count
            }
            Activity::Head => self.head() + count,
            Activity::Busy | Activity::Upgraded => 0,
        };
        self.head.store(head, Ordering::Relaxed);
    }

    /// A head begins to come.
    pub(super) fn begin_head(&self) {
        if self.activity() == Activity::Idle || self.progress() == 0 {
            self.count();
            self.enter(Activity::Head);
        }
    }

    /// How many bytes of a head were read, if all of them came since the connection was idle.
    pub(super) fn head(&self) -> usize {
        self.head.load(Ordering::Relaxed)
    }

    /// What was read is read once more.
    pub(super) fn unread(&self) {
        self.head.store(0, Ordering::Relaxed);
    }

    /// What its head has of the budget.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// Whether there is no room for more of a head.
    pub(super) fn waits_for_room(&self) -> bool {
        self.waits_for_room.load(Ordering::Relaxed)
    }

    /// Takes room for a large head.  Returns whether there is any; if not, `waker` is woken as soon
    /// as there is.
    pub(super) fn has_room(&self, waker: &Waker) -> bool {
        let has_room = self.share.take(waker);
        self.waits_for_room.store(!has_room, Ordering::Relaxed);
        has_room
    }

    /// Whether the socket stays open when hyper has ended.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    pub(super) fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Relaxed);
    }

    /// Whether an answer of ours or of an app may not yet be with the kernel.
    pub(super) fn is_owing(&self) -> bool {
        self.owing.load(Ordering::Relaxed)
    }

    /// Everything that hyper had to write is written.
    pub(super) fn flushed(&self) {
        if self.owing.load(Ordering::Relaxed)
            && matches!(self.activity(), Activity::Idle | Activity::Head)
        {
            self.owing.store(false, Ordering::Relaxed);
        }
    }

    /// Something was written, or could not be for now.
    pub(super) fn written(&self, is_blocked: bool) {
        self.count();
        self.blocked.store(is_blocked, Ordering::Relaxed);
    }
}
