//! How a process ended.

use std::fmt;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::limits::Excess;

/// How a process ended, as its small parent saw it, and wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It was ended at its time limit.
    TimedOut,
    /// It was ended because it took more than it may.
    Exceeded(Excess),
    /// It never ran, for this reason.
    NotStarted(String),
    /// Its parent was killed, and what it left behind was ended. Nobody was left to write that
    /// down.
    #[serde(skip)]
    Lost,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(status) => write!(formatter, "exited with status {status}"),
            End::Signalled(signal) => {
                let name = match Signal::from_named_raw(*signal) {
                    Some(Signal::KILL) => " (SIGKILL)",
                    Some(Signal::TERM) => " (SIGTERM)",
                    Some(Signal::SEGV) => " (SIGSEGV)",
                    Some(Signal::ABORT) => " (SIGABRT)",
                    Some(_) | None => "",
                };
                write!(formatter, "was killed by signal {signal}{name}")
            }
            End::TimedOut => formatter.write_str("did not end within its time limit"),
            End::Exceeded(excess) => excess.fmt(formatter),
            End::NotStarted(reason) => write!(formatter, "could not be started: {reason}"),
            End::Lost => formatter.write_str("was lost: its parent process was killed"),
        }
    }
}
