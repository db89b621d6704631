//! The proxy, over real sockets, with apps and clients that misbehave.

mod balance;
mod drain;
mod fixture;
mod limits;
mod protocol;
mod retry;
mod upgrade;
