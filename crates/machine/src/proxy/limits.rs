//! Limits: what the proxy allows a client, and an app, to take.

use std::time::Duration;

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
    /// Open connections of clients.  More wait in the listener's queue until one ends.
    pub connections: usize,
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
            connections: 10_000,
        }
    }
}

impl Limits {
    /// How often the times are looked at: often enough for the shortest, at most once a second.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.stalled).min(self.silent).min(self.pooled);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}
