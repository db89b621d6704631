//! The rule: what to do next, given what somebody wants and what there is.

use std::fmt;

use crate::commit::{Commit, NoCommit};
use crate::digest::{Generation, SettingsDigest, Target};
use crate::stack::{Deployment, Observed, Phase, Stack};

/// How often a failed rollback is continued before only a new generation helps.
const MOST_CONTINUATIONS: u32 = 3;
/// How many deletions may fail before what is left is reported and left.
const MOST_DELETIONS: u32 = 3;

/// What somebody wants of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Desired {
    /// A user removed the row.
    Removed,
    /// There is no row, and nobody removed one: what runs is an orphan.
    Absent,
    /// There is a row that cannot be understood.
    Invalid,
    /// There is a valid row.
    App(Wanted),
}

/// A valid row, reduced to what the rule compares.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that the rule asks for by name"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub generation: Generation,
    pub settings: SettingsDigest,
    pub commit: Pinned,
    /// The row itself says that this target was refused before any operation began.
    pub refused: bool,
    /// The last attempt was for this generation, on whatever commit and settings: nobody wished
    /// anew.
    pub attempted: bool,
    /// The row says `deployed` of these very attributes (or in an older format of digests, which
    /// cannot be compared): what runs in an older format is what is wanted.
    pub unchanged: bool,
    /// Whether a stack that only lags behind in settings may be updated now: the full sweep's
    /// choice.
    pub may_catch_up: bool,
}

/// The commit that the row's version stands for here, and the target that it gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pinned {
    Known {
        commit: Commit,
        target: Target,
    },
    /// There is none, for certain. That too is a target, and a refused one.
    Nothing {
        why: NoCommit,
        target: Target,
    },
    /// Nobody knows now.
    Unreachable,
}

/// The next step. It carries no data: the executor takes row and stack as the decision saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing to do until something changes.
    Rest,
    /// Nothing to do until what is under way ends.
    Wait,
    Create,
    Update,
    Cancel,
    Delete {
        retain: bool,
    },
    ContinueRollback,
}

/// Which line of the decision table spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    Foreign,
    Unreadable,
    DeletionFailed,
    DeletionGivenUp,
    NothingThere,
    UnwantedCancellable,
    UnwantedInProgress,
    Unwanted,
    Orphan,
    Invalid,
    Unresolved,
    OnItsWay,
    ClearingTheWay,
    Overtaken,
    AnotherInProgress,
    RefusedBefore,
    Absent,
    Runs,
    TriedBefore,
    SettingsTriedBefore,
    SettingsLag,
    Behind,
    BrokenByThis,
    BrokenByAnother,
    Stuck,
    StuckForGood,
    StuckAndReplaced,
}

impl fmt::Display for Because {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Because::Foreign => "a stack of that name is not ours",
            Because::Unreadable => "what is known of the stack cannot be read",
            Because::DeletionFailed => "its deletion failed",
            Because::DeletionGivenUp => "its deletion failed for good",
            Because::NothingThere => "no row, no stack",
            Because::UnwantedCancellable => {
                "the row was removed, and what is under way can be cancelled"
            }
            Because::UnwantedInProgress => "the row was removed; what is under way must end first",
            Because::Unwanted => "the row was removed",
            Because::Orphan => "there is no row, and nobody removed one",
            Because::Invalid => "the row is invalid",
            Because::Unresolved => "the version could not be looked up",
            Because::OnItsWay => "this target is on its way",
            Because::ClearingTheWay => "the way is being cleared",
            Because::Overtaken => "the newest row wins over what is under way",
            Because::AnotherInProgress => "another target is under way",
            Because::RefusedBefore => "this target was refused before",
            Because::Absent => "there is no stack yet",
            Because::Runs => "this target runs",
            Because::TriedBefore => "this target was tried and failed",
            Because::SettingsTriedBefore => "the new settings were tried and failed",
            Because::SettingsLag => "only the platform's settings differ; the sweep will update it",
            Because::Behind => "another target runs",
            Because::BrokenByThis => "this target never came up",
            Because::BrokenByAnother => "another target never came up",
            Because::Stuck => "its rollback failed",
            Because::StuckForGood => "its rollback failed for good",
            Because::StuckAndReplaced => "its rollback failed for good, and the row is new",
        })
    }
}

/// The next step and the reason for it.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    pub action: Action,
    pub because: Because,
}

fn decision(action: Action, because: Because) -> Decision {
    Decision { action, because }
}

/// Chooses the next step. Total and pure: it has an answer for every input, and the same one every
/// time. The first line that matches wins; the order is that of the decision table in
/// ARCHITECTURE.md.
pub fn decide(desired: &Desired, observed: &Observed) -> Decision {
    match observed {
        Observed::Foreign(_) => decision(Action::Rest, Because::Foreign),
        Observed::Unreadable(_) => match desired {
            Desired::Removed => decision(Action::Delete { retain: false }, Because::Unreadable),
            Desired::Absent | Desired::Invalid | Desired::App(_) => {
                decision(Action::Rest, Because::Unreadable)
            }
        },
        Observed::Missing => decide_missing(desired),
        Observed::Ours(stack) => match (&stack.phase, desired) {
            (Phase::DeletionFailed { failures, .. }, _) => decide_deletion_failed(*failures),
            (_, Desired::Absent) => decision(Action::Rest, Because::Orphan),
            (_, Desired::Removed) => decide_unwanted(&stack.phase),
            (_, Desired::Invalid) => decision(Action::Rest, Because::Invalid),
            (_, Desired::App(wanted)) => decide_wanted(wanted, stack),
        },
    }
}

fn decide_missing(desired: &Desired) -> Decision {
    match desired {
        Desired::Removed | Desired::Absent => decision(Action::Rest, Because::NothingThere),
        Desired::Invalid => decision(Action::Rest, Because::Invalid),
        Desired::App(wanted) => match &wanted.commit {
            Pinned::Unreachable => decision(Action::Wait, Because::Unresolved),
            Pinned::Nothing { .. } => decision(Action::Rest, Because::RefusedBefore),
            Pinned::Known { .. } if wanted.refused => {
                decision(Action::Rest, Because::RefusedBefore)
            }
            Pinned::Known { .. } => decision(Action::Create, Because::Absent),
        },
    }
}

fn decide_deletion_failed(failures: u32) -> Decision {
    if failures < MOST_DELETIONS {
        // The first one again may have been bad luck; the second time, what is stuck stays behind.
        decision(Action::Delete { retain: failures > 1 }, Because::DeletionFailed)
    } else {
        decision(Action::Rest, Because::DeletionGivenUp)
    }
}

fn decide_unwanted(phase: &Phase) -> Decision {
    match phase {
        Phase::Creating { cancellable: true, .. } | Phase::Updating { cancellable: true, .. } => {
            decision(Action::Cancel, Because::UnwantedCancellable)
        }
        Phase::Updating { cancellable: false, .. } | Phase::RollingBack | Phase::Deleting => {
            decision(Action::Wait, Because::UnwantedInProgress)
        }
        // A creation can be deleted half-way.
        Phase::Creating { cancellable: false, .. }
        | Phase::Up
        | Phase::Broken
        | Phase::Stuck { .. }
        | Phase::DeletionFailed { .. } => {
            decision(Action::Delete { retain: false }, Because::Unwanted)
        }
    }
}

fn decide_wanted(wanted: &Wanted, stack: &Stack) -> Decision {
    let (target, refused) = match &wanted.commit {
        Pinned::Known { target, .. } => (target, wanted.refused),
        Pinned::Nothing { target, .. } => (target, true),
        Pinned::Unreachable => return decision(Action::Wait, Because::Unresolved),
    };
    let tried = stack.tried.as_ref().is_some_and(|attempt| attempt.target == *target);
    match &stack.phase {
        Phase::Creating { aim, .. } | Phase::Updating { aim, .. } if aim.target == *target => {
            decision(Action::Wait, Because::OnItsWay)
        }
        Phase::Deleting | Phase::RollingBack => decision(Action::Wait, Because::ClearingTheWay),
        Phase::Creating { cancellable: true, .. } | Phase::Updating { cancellable: true, .. } => {
            decision(Action::Cancel, Because::Overtaken)
        }
        Phase::Creating { cancellable: false, .. } | Phase::Updating { cancellable: false, .. } => {
            decision(Action::Wait, Because::AnotherInProgress)
        }
        Phase::Up => match &stack.running {
            Some(running) if running.target == *target => decision(Action::Rest, Because::Runs),
            running => {
                let lags = running.as_ref().is_some_and(|running| only_lags(wanted, running));
                if tried || refused {
                    let because =
                        if lags { Because::SettingsTriedBefore } else { Because::TriedBefore };
                    decision(Action::Rest, because)
                } else if lags && !wanted.may_catch_up {
                    decision(Action::Rest, Because::SettingsLag)
                } else {
                    decision(Action::Update, Because::Behind)
                }
            }
        },
        Phase::Broken if tried || refused => decision(Action::Rest, Because::BrokenByThis),
        Phase::Broken => decision(Action::Delete { retain: false }, Because::BrokenByAnother),
        Phase::Stuck { tries, .. } if *tries < MOST_CONTINUATIONS && !wanted.refused => {
            decision(Action::ContinueRollback, Because::Stuck)
        }
        // Only somebody's new wish is worth losing what still serves: no new settings, no moved
        // branch.
        Phase::Stuck { .. } if tried || refused || wanted.attempted => {
            decision(Action::Rest, Because::StuckForGood)
        }
        Phase::Stuck { .. } => {
            decision(Action::Delete { retain: false }, Because::StuckAndReplaced)
        }
        Phase::DeletionFailed { failures, .. } => decide_deletion_failed(*failures),
    }
}

/// Whether the user's wish runs, and only the platform's settings or our digests' format moved on.
pub(crate) fn only_lags(wanted: &Wanted, running: &Deployment) -> bool {
    let Pinned::Known { commit, .. } = &wanted.commit else { return false };
    let same_wish = running.generation == wanted.generation && running.settings != wanted.settings;
    let older_format = wanted.unchanged && !running.target.is_current_format();
    running.commit == *commit && (same_wish || older_format)
}
