//! Upstream: one instance that may receive requests, and the count of those it has.
//!
//! The count and whether the instance is closed are one atomic, so that no request can slip in
//! between "nothing is in flight" and "closed".

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// The bit of the count that says: no new claims.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// How long the proxy's threads get to let go of what was cut.
const CUT: Duration = Duration::from_secs(5);

/// One instance that may receive requests.  Cheap to clone; clones are the same instance.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: String,
    address: SocketAddr,
    claims: AtomicUsize,
    cut: AtomicBool,
    /// Whether it has sent more headers than hyper usually has room for.
    wordy: AtomicBool,
    released: Notify,
    /// Rung when the instance is closed or cut, so that the proxy's threads look.
    bell: OnceLock<watch::Sender<()>>,
}

impl Upstream {
    /// An instance, open to claims.  `id` is for logs.
    pub fn new(id: String, address: SocketAddr) -> Self {
        Upstream(Arc::new(Shared {
            id,
            address,
            claims: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            wordy: AtomicBool::new(false),
            released: Notify::new(),
            bell: OnceLock::new(),
        }))
    }

    /// The name it was given.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Where the instance listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// How many requests, and connections that were upgraded, it has.
    pub fn in_flight(&self) -> usize {
        self.0.claims.load(Ordering::Acquire) & !CLOSED
    }

    /// Closes it to new claims, for good, and waits until what is in flight has ended or `limit`
    /// has passed; then cuts the rest.
    ///
    /// Take it out of [`Routes`](crate::proxy::Routes) first: as long as it is there, requests may
    /// find nobody else. Returns how many were cut.
    pub async fn drain(&self, limit: Duration) -> usize {
        self.0.claims.fetch_or(CLOSED, Ordering::AcqRel);
        self.ring();
        if timeout(limit, self.emptied()).await.is_ok() {
            return 0;
        }
        let cut = self.in_flight();
        self.0.cut.store(true, Ordering::Release);
        self.ring();
        if timeout(CUT, self.emptied()).await.is_err() {
            tracing::warn!(upstream = self.id(), in_flight = self.in_flight(), "not all cut");
        }
        cut
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.claims.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }

    /// It has sent more headers than there is usually room for, and will do so again.
    pub(super) fn found_wordy(&self) {
        self.0.wordy.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_wordy(&self) -> bool {
        self.0.wordy.load(Ordering::Relaxed)
    }

    pub(super) fn is(&self, other: &Upstream) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A key for maps; unique as long as a clone is kept.
    pub(super) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(super) fn hang_bell(&self, bell: &watch::Sender<()>) {
        self.0.bell.get_or_init(|| bell.clone());
    }

    /// Counts one request more, unless it is closed.
    pub(super) fn claim(&self) -> Option<Claim> {
        let mut seen = self.0.claims.load(Ordering::Acquire);
        while seen & CLOSED == 0 {
            match self.0.claims.compare_exchange_weak(
                seen,
                seen + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(Claim(self.clone())),
                Err(now) => seen = now,
            }
        }
        None
    }

    fn ring(&self) {
        if let Some(bell) = self.0.bell.get() {
            bell.send_replace(());
        }
    }

    async fn emptied(&self) {
        loop {
            let released = self.0.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            released.await;
        }
    }
}

/// One request counted at an instance, until dropped.
#[derive(Debug)]
pub(super) struct Claim(Upstream);

impl Claim {
    pub(super) fn upstream(&self) -> &Upstream {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let before = self.0.0.claims.fetch_sub(1, Ordering::AcqRel);
        if before == CLOSED + 1 {
            self.0.0.released.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Upstream {
        Upstream::new("shop-1".to_owned(), "127.0.0.1:1".parse().unwrap())
    }

    #[tokio::test]
    async fn a_closed_upstream_cannot_be_claimed() {
        let upstream = upstream();
        assert_eq!(upstream.drain(Duration::ZERO).await, 0);
        assert!(upstream.claim().is_none());
        assert_eq!(upstream.in_flight(), 0);
    }

    #[tokio::test]
    async fn draining_waits_for_the_last_claim() {
        let upstream = upstream();
        let claims = [upstream.claim().unwrap(), upstream.claim().unwrap()];
        let draining = tokio::spawn({
            let upstream = upstream.clone();
            async move { upstream.drain(Duration::from_mins(1)).await }
        });
        while !upstream.is_closed() {
            tokio::task::yield_now().await;
        }
        let [first, second] = claims;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!draining.is_finished());
        drop(second);
        assert_eq!(draining.await.unwrap(), 0);
    }
}
