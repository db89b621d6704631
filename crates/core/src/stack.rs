//! What stands for an app on a platform, in the reactor's own words. Each platform translates its
//! own into these.

use crate::commit::Commit;
use crate::digest::{Base, Generation, SettingsDigest, Source, Target};

/// What an operation aims at, and what runs once it is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Deployment {
    pub target: Target,
    pub generation: Generation,
    pub source: Source,
    pub commit: Commit,
    pub settings: SettingsDigest,
}

/// The operation that was tried last, and failed: rolled back, or refused by what it found.
/// One that a cancel or our own crash ended was not tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    pub target: Target,
    pub commit: Commit,
    pub reason: String,
}

/// What a look at the platform found under an app's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observed {
    Missing,
    /// A stack of that name that is not ours; the text says how it was told.
    Foreign(String),
    /// One of ours of which nobody knows any more what it is; the text says why, and the cure.
    Unreadable(String),
    Ours(Box<Stack>),
}

/// A stack of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Changes with every operation, so that one decision is performed once.
    pub base: Base,
    pub phase: Phase,
    /// What was completed last, and serves; `None`: it never came up.
    pub running: Option<Deployment>,
    pub tried: Option<Attempt>,
    pub url: Option<String>,
    /// How many instances answer now.
    pub healthy: u32,
    /// Why fewer instances answer than wanted, or what else a reader of `deployed` should know.
    pub trouble: Option<String>,
}

/// Where a stack is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// At rest and up; `running` says with what.
    Up,
    /// Being created towards this.
    Creating {
        aim: Deployment,
        cancellable: bool,
    },
    /// Being updated towards this.
    Updating {
        aim: Deployment,
        cancellable: bool,
    },
    /// On the way back to what ran before; also after a cancel.
    RollingBack,
    Deleting,
    /// At rest, some of it left. `failures` counts the deletions that failed.
    DeletionFailed {
        failures: u32,
        left: String,
    },
    /// At rest, and never came up; `tried` says by what.
    Broken,
    /// The rollback failed too. `tries` counts how often it was continued.
    Stuck {
        tries: u32,
        reason: String,
    },
}

impl Phase {
    /// Whether something is under way, so that its end will ring again.
    pub fn is_in_progress(&self) -> bool {
        match self {
            Phase::Creating { .. }
            | Phase::Updating { .. }
            | Phase::RollingBack
            | Phase::Deleting => true,
            Phase::Up | Phase::DeletionFailed { .. } | Phase::Broken | Phase::Stuck { .. } => false,
        }
    }

    /// What the operation in progress aims at.
    pub fn aim(&self) -> Option<&Deployment> {
        match self {
            Phase::Creating { aim, .. } | Phase::Updating { aim, .. } => Some(aim),
            Phase::Up
            | Phase::RollingBack
            | Phase::Deleting
            | Phase::DeletionFailed { .. }
            | Phase::Broken
            | Phase::Stuck { .. } => None,
        }
    }
}

impl Observed {
    /// The stack, if it is there and ours.
    pub fn stack(&self) -> Option<&Stack> {
        match self {
            Observed::Ours(stack) => Some(stack),
            Observed::Missing | Observed::Foreign(_) | Observed::Unreadable(_) => None,
        }
    }

    /// What serves.
    pub fn running(&self) -> Option<&Deployment> {
        self.stack().and_then(|stack| stack.running.as_ref())
    }

    /// What was tried last and failed.
    pub fn tried(&self) -> Option<&Attempt> {
        self.stack().and_then(|stack| stack.tried.as_ref())
    }

    /// What the operation in progress aims at.
    pub fn aim(&self) -> Option<&Deployment> {
        self.stack().and_then(|stack| stack.phase.aim())
    }

    /// Whether something is under way.
    pub fn is_in_progress(&self) -> bool {
        self.stack().is_some_and(|stack| stack.phase.is_in_progress())
    }
}
