//! Why there is no list of references: sorted by whether time alone may mend it.

use crate::outbound::OutboundError;
use crate::repository::reference::NotUnderstood;

/// Why a repository, or what opens it, gave no answer; the text says what came in its place.
pub(crate) enum Trouble {
    /// It is not there, refuses us, or is none of git's: somebody must mend that.
    Denied(String),
    /// It did not answer, or not to its end.
    Silent(String),
}

impl From<OutboundError> for Trouble {
    fn from(error: OutboundError) -> Trouble {
        match error {
            OutboundError::Forbidden(said) => Trouble::Denied(said),
            OutboundError::Silent(said) => Trouble::Silent(said),
        }
    }
}

impl From<NotUnderstood> for Trouble {
    fn from(error: NotUnderstood) -> Trouble {
        let said = error.to_string();
        match error {
            NotUnderstood::Garbage | NotUnderstood::Said(_) => Trouble::Denied(said),
            NotUnderstood::Cut => Trouble::Silent(said),
        }
    }
}

impl Trouble {
    /// The same, said with what led to it.
    pub(crate) fn after(self, before: &str) -> Trouble {
        match self {
            Trouble::Denied(said) => Trouble::Denied(format!("{before}{said}")),
            Trouble::Silent(said) => Trouble::Silent(format!("{before}{said}")),
        }
    }
}
