//! Seen: what the last look at a connection's times saw.

use std::time::Instant;

/// Who keeps everybody waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Request,
    Head,
    Client,
    App,
    Nobody,
}

/// What the last look at the times saw, and since when it has been so.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) wait: Wait,
    pub(super) progress: u32,
    pub(super) requests: u32,
    pub(super) since: Instant,
}

impl Seen {
    /// Of a connection that begins.
    pub(super) fn new() -> Self {
        Seen { wait: Wait::Nobody, progress: 0, requests: 0, since: Instant::now() }
    }
}
