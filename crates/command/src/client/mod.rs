//! A platform, as far as the commands on rows need it: its rows, what is seen of what runs for
//! them, and where it is. It has no words for people; the commands have those, and no rules: they
//! write rows, and read what the reactor has answered.

mod location;
mod rows;
mod sight;

pub use location::Location;
pub use rows::{Changes, Removed, Rows};
pub use sight::{
    Event, EventId, Function, Hearing, InstanceState, Left, ListedInstance, News, PrintedLine,
    Process, Reactor, Sight, WithoutRow,
};

/// A platform that somebody has chosen.
pub trait Client: Rows + Sight {
    /// Whether it is on this machine, so that a path of this machine is a repository to it.
    const IS_HERE: bool;

    /// Where it is.
    fn location(&self) -> &Location;
}
