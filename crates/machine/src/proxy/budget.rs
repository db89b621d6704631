//! Budget: what all heads that are being read may take together, beyond the little that each
//! connection has anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Up to how many bytes a head is of the usual size, and costs the budget nothing.
pub(super) const USUAL: usize = 8192;

/// Bytes that are left for large heads, over all threads.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
    /// What one of them may need at most.
    most: usize,
}

impl Budget {
    /// `bytes` for all heads, of which each has at most `head_size`.
    pub(super) fn new(bytes: usize, head_size: usize) -> Arc<Budget> {
        let most = head_size.saturating_sub(USUAL);
        // One at a time there is always room for.
        Arc::new(Budget { left: AtomicUsize::new(bytes.max(most)), most })
    }

    /// A share of nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), held: AtomicUsize::new(0) }
    }

    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(self.most);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// What one connection has of the budget, until dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    held: AtomicUsize,
}

impl Share {
    /// Takes what the largest head needs, so that who has begun can end.  Returns false if that is
    /// not left.
    pub(super) fn take(&self) -> bool {
        if self.is_held() {
            return true;
        }
        let taken = self.budget.take();
        if taken {
            self.held.store(self.budget.most, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back what a head of that many bytes, now that it is read, does not need.
    pub(super) fn shrink(&self, size: usize) {
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 {
            // A little, as long as it is held at all.
            let rest = size.saturating_sub(USUAL).clamp(1, held);
            self.held.store(rest, Ordering::Relaxed);
            self.budget.left.fetch_add(held - rest, Ordering::Relaxed);
        }
    }

    pub(super) fn release(&self) {
        let held = self.held.swap(0, Ordering::Relaxed);
        self.budget.left.fetch_add(held, Ordering::Relaxed);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) > 0
    }

    /// Whether it is worth trying to take it.
    pub(super) fn is_there(&self) -> bool {
        self.budget.left.load(Ordering::Relaxed) >= self.budget.most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_no_more_than_there_is_is_taken() {
        let budget = Budget::new(20_000, USUAL + 10_000);
        let shares = [budget.share(), budget.share(), budget.share()];
        assert!(shares[0].take() && shares[0].take() && shares[1].take());
        assert!(!shares[2].take() && !shares[2].is_there());
        shares[0].shrink(USUAL + 500);
        assert!(!shares[2].take(), "9,500 are left");
        shares[1].shrink(USUAL + 9_000);
        assert!(shares[2].take());
        drop(shares);
        assert_eq!(budget.left.load(Ordering::Relaxed), 20_000);
    }

    #[test]
    fn one_large_head_at_a_time_can_always_be_read() {
        assert!(Budget::new(0, 65_536).share().take());
        assert!(Budget::new(0, 8192).share().take());
    }
}
