//! The proxy, over real sockets, with apps and clients that misbehave.

#![expect(clippy::unwrap_used, reason = "what fails in a fixture fails the test")]

mod balance;
mod drain;
mod fixture;
mod framing;
mod limits;
mod pages;
mod protocol;
mod retry;
mod upgrade;
