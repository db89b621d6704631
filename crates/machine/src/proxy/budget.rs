//! Budget: what all heads that are being read may take together, beyond the little that each
//! connection has anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// Up to how many bytes a head is of the usual size, and costs the budget nothing.
pub(super) const USUAL: usize = 8192;

/// Who waits for nothing.
const NONE: u64 = 0;

/// Bytes for large heads, over all threads.
#[derive(Debug)]
pub(super) struct Budget {
    room: Mutex<Room>,
    /// What one of them may need at most.
    most: usize,
}

/// Whoever waits gets what is given back before anybody who comes later: as long as somebody
/// waits, less is left than one of them needs.
#[derive(Debug)]
struct Room {
    left: usize,
    /// The number that was given out last.
    last: u64,
    /// Who has the least number is the next.
    waiting: BTreeMap<u64, Waker>,
}

impl Budget {
    /// `bytes` for all heads, of which each has at most `head_size`.
    pub(super) fn new(bytes: usize, head_size: usize) -> Arc<Budget> {
        let most = head_size.saturating_sub(USUAL);
        // One at a time there is always room for.
        let room = Room { left: bytes.max(most), last: NONE, waiting: BTreeMap::new() };
        Arc::new(Budget { room: Mutex::new(room), most })
    }

    /// A share of nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        let (held, number) = (AtomicUsize::new(0), AtomicU64::new(NONE));
        Share { budget: Arc::clone(self), held, number }
    }

    fn give_back(&self, bytes: usize) {
        self.room.lock().left += bytes;
        while let Some(next) = self.next() {
            next.wake();
        }
    }

    /// Takes for whoever waits longest, if there is enough.
    fn next(&self) -> Option<Waker> {
        let mut room = self.room.lock();
        let left = room.left.checked_sub(self.most)?;
        let (_, next) = room.waiting.pop_first()?;
        room.left = left;
        Some(next)
    }
}

/// What one connection has of the budget, until dropped.  One thread alone changes it.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    held: AtomicUsize,
    /// By which it waits; once the number is not among those who wait any more, it was its turn.
    number: AtomicU64,
}

impl Share {
    /// Takes what the largest head needs, so that who has begun can end.  Returns false if that is
    /// not left: `waker` is woken when it is this one's turn.
    pub(super) fn take(&self, waker: &Waker) -> bool {
        if self.is_held() {
            return true;
        }
        let mut room = self.budget.room.lock();
        let number = self.number.load(Ordering::Relaxed);
        if room.waiting.contains_key(&number) {
            return false;
        }
        if number == NONE {
            let Some(left) = room.left.checked_sub(self.budget.most) else {
                room.last += 1;
                let number = room.last;
                room.waiting.insert(number, waker.clone());
                self.number.store(number, Ordering::Relaxed);
                return false;
            };
            room.left = left;
        }
        self.number.store(NONE, Ordering::Relaxed);
        self.held.store(self.budget.most, Ordering::Relaxed);
        true
    }

    /// Gives back what a head of that many bytes, now that it is read, does not need.
    pub(super) fn shrink(&self, size: usize) {
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 {
            // A little, as long as it is held at all.
            let rest = size.saturating_sub(USUAL).clamp(1, held);
            self.held.store(rest, Ordering::Relaxed);
            self.budget.give_back(held - rest);
        }
    }

    /// Gives back all of it, and waits for nothing any more.
    pub(super) fn release(&self) {
        let mut held = self.held.load(Ordering::Relaxed);
        let number = self.number.load(Ordering::Relaxed);
        if held == 0 && number == NONE {
            return;
        }
        self.held.store(0, Ordering::Relaxed);
        self.number.store(NONE, Ordering::Relaxed);
        if number != NONE && self.budget.room.lock().waiting.remove(&number).is_none() {
            held += self.budget.most;
        }
        self.budget.give_back(held);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn new() -> (Arc<Woken>, Waker) {
            let woken = Arc::<Woken>::default();
            (Arc::clone(&woken), Waker::from(woken))
        }

        fn is(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_is_taken_is_given_back_and_no_more_than_there_is_is_taken() {
        let budget = Budget::new(20_000, USUAL + 10_000);
        let shares = [budget.share(), budget.share(), budget.share()];
        let nobody = Waker::noop();
        assert!(shares[0].take(nobody) && shares[0].take(nobody) && shares[1].take(nobody));
        assert!(!shares[2].take(nobody));
        shares[0].shrink(USUAL + 500);
        assert!(!shares[2].take(nobody), "9,500 are left");
        shares[1].shrink(USUAL + 9_000);
        assert!(shares[2].take(nobody));
        drop(shares);
        assert_eq!(budget.room.lock().left, 20_000);
    }

    #[test]
    fn whoever_waits_longest_is_woken_as_soon_as_there_is_room_and_nobody_comes_before_it() {
        let budget = Budget::new(0, USUAL + 10_000);
        let [held, first, gone, last, later] = std::array::from_fn(|_| budget.share());
        let (is_first, of_first) = Woken::new();
        let (is_gone, of_gone) = Woken::new();
        let (is_last, of_last) = Woken::new();
        assert!(held.take(Waker::noop()));
        assert!(!first.take(&of_first) && !gone.take(&of_gone) && !last.take(&of_last));
        held.release();
        assert!(is_first.is() && !is_gone.is() && !is_last.is());
        assert!(!later.take(Waker::noop()) && !last.take(&of_last), "it is another one's turn");
        drop(gone);
        assert!(first.take(&of_first));
        drop(first);
        assert!(is_last.is() && !is_gone.is());
        // It leaves without having taken what was kept for it.
        drop(last);
        assert!(later.take(Waker::noop()));
        drop(later);
        assert_eq!(budget.room.lock().left, 10_000);
        assert!(budget.room.lock().waiting.is_empty());
    }

    #[test]
    fn one_large_head_at_a_time_can_always_be_read() {
        assert!(Budget::new(0, 65_536).share().take(Waker::noop()));
        assert!(Budget::new(0, 8192).share().take(Waker::noop()));
    }
}
