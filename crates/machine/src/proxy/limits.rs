//! Limits: what the proxy allows a client, and an app, to take.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Descriptors that are kept for what is no connection: the table, builds, git, instances.  A
/// quarter of few, at most this many.
const RESERVE: usize = 1024;

/// How many headers of a head hyper has room for without taking any memory, as it is made.
pub(super) const HEADERS: usize = 100;

/// The bytes of the shortest header.
const HEADER: usize = "a:\n".len();

/// Times and sizes.  Times are looked at a few times per second, so they end up to a second late.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request's head, or from the start of a connection, to the head's
    /// end.
    pub head: Duration,
    /// How long a client may keep a connection open between two requests.
    pub idle: Duration,
    /// How long a client may neither send the rest of a body nor take the rest of an answer.
    pub stalled: Duration,
    /// How long an app may be silent, before or inside its answer.
    pub silent: Duration,
    /// To connect to an instance.
    pub connect: Duration,
    /// How long a connection to an instance is kept without a request.
    pub pooled: Duration,
    /// A connection to an instance that was idle for longer than this gets only requests that can
    /// be sent again: apps close idle connections, and a request that crosses with that is lost.
    pub fresh: Duration,
    /// Connections to one instance that a thread keeps without a request.
    pub pool: usize,
    /// Bytes of a request's or answer's head, at least 8192.  Larger requests are answered 431.
    pub head_size: usize,
    /// Bytes of all heads that are being read, or served, beyond 8192 of each.  Above that large
    /// heads wait for one another, and are answered 503 after the time for a head; all other
    /// requests are served.
    pub heads: usize,
    /// How long a connection without a request keeps what it needs for one.
    pub kept: Duration,
    /// Open connections of clients, or as many as there are descriptors for.  Above that the one
    /// that has had no request for longest gives way to the newest; if all have one, the newest
    /// waits in the listener's queue.
    pub connections: usize,
    /// Connections from one address; `None`: half of all.  Above that one of its own gives way, or
    /// the newest is closed.
    pub connections_per_client: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stalled: Duration::from_mins(1),
            silent: Duration::from_mins(10),
            connect: Duration::from_secs(2),
            pooled: Duration::from_secs(30),
            fresh: Duration::from_millis(250),
            pool: 1024,
            head_size: 64 * 1024,
            heads: 8 * 1024 * 1024,
            kept: Duration::from_secs(2),
            connections: 10_000,
            connections_per_client: None,
        }
    }
}

impl Limits {
    /// How many connections there may be, and how many from one address. Behind a balancer all come
    /// from a few.
    pub(super) fn crowd(&self, are_behind_balancer: bool) -> (usize, usize) {
        let connections =
            self.connections.min(for_descriptors(getrlimit(Resource::Nofile).current));
        if connections < self.connections {
            tracing::info!(connections, "the limit of open files bounds the connections");
        }
        let half = connections.div_ceil(2);
        let of_client = self.connections_per_client.unwrap_or(half);
        (connections, if are_behind_balancer { usize::MAX } else { of_client })
    }

    /// The most headers that a head may have, by its size.
    pub(super) fn most_headers(&self) -> usize {
        self.head_size / HEADER
    }

    /// How often the times are looked at: often enough for the shortest, at most once a second.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.stalled).min(self.silent).min(self.pooled);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

/// How many connections there may be with that many descriptors: each may need another one to an
/// instance.
fn for_descriptors(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return usize::MAX };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    ((descriptors - RESERVE.min(descriptors / 4)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_left_for_what_is_no_connection() {
        assert_eq!(for_descriptors(None), usize::MAX);
        assert_eq!(for_descriptors(Some(1024)), 384);
        assert_eq!(for_descriptors(Some(524_288)), 261_632);
        assert_eq!(for_descriptors(Some(0)), 1);
    }

    #[test]
    fn one_address_may_have_half_of_all_unless_it_is_a_balancer() {
        let limits = Limits { connections: 101, ..Limits::default() };
        assert_eq!(limits.crowd(false), (101, 51));
        assert_eq!(limits.crowd(true), (101, usize::MAX));
        let limits = Limits { connections_per_client: Some(1_000), ..limits };
        assert_eq!(limits.crowd(false), (101, 1_000));
    }
}
