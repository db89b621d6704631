//! What the row says: the status that never lies.

use crate::decide::{Because, Decision, Desired, Pinned, Wanted, only_lags};
use crate::digest::Target;
use crate::outcome::Outcome;
use crate::reason::retrying;
use crate::row::{Report, Row, Status};
use crate::stack::{Observed, Phase};

/// How the decision went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It asked for nothing, or for nothing yet: also what the claim before an action says.
    Decided,
    /// The platform's answer to the action.
    Performed(Outcome),
}

/// What is known beside row and stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Why the row is invalid.
    pub invalid: Option<String>,
    /// Why the version could not be looked up, or names nothing.
    pub version: Option<String>,
}

/// Says how things stand. Total and pure, as `decide` is; `None` where there is no row to say it
/// in.
pub fn report(
    row: &Row,
    desired: &Desired,
    observed: &Observed,
    decision: Decision,
    progress: &Progress,
    notes: &Notes,
) -> Option<Report> {
    let (status, reason) = match desired {
        Desired::Removed | Desired::Absent => return None,
        Desired::Invalid => (Status::Invalid, notes.invalid.clone()),
        Desired::App(wanted) => verdict(row, wanted, observed, decision, progress, notes),
    };
    let stack = observed.stack();
    Some(Report {
        status: Some(status),
        url: stack.and_then(|stack| stack.url.clone()),
        reason,
        revision: observed.running().map(|running| running.commit.clone()),
        healthy: stack.map_or(0, |stack| stack.healthy),
        generation: Some(row.generation()),
        target: target(row, desired, observed, decision),
    })
}

fn target(row: &Row, desired: &Desired, observed: &Observed, decision: Decision) -> Option<Target> {
    match desired {
        // Until the sweep takes its turn, nothing but what runs is aimed at.
        Desired::App(_) if decision.because == Because::SettingsLag => {
            observed.running().map(|running| running.target.clone())
        }
        Desired::App(Wanted {
            commit: Pinned::Known { target, .. } | Pinned::Nothing { target, .. },
            ..
        }) => Some(target.clone()),
        // Nothing new is aimed at.
        Desired::App(Wanted { commit: Pinned::Unreachable, .. })
        | Desired::Invalid
        | Desired::Removed
        | Desired::Absent => row.report.target.clone(),
    }
}

fn verdict(
    row: &Row,
    wanted: &Wanted,
    observed: &Observed,
    decision: Decision,
    progress: &Progress,
    notes: &Notes,
) -> (Status, Option<String>) {
    let stack = observed.stack();
    let trouble = || joined([stack.and_then(|stack| stack.trouble.clone()), notes.version.clone()]);
    let on_earlier_settings = |reason: Option<String>| {
        let failed = reason.map(|reason| {
            format!("runs on the platform's earlier settings; the new ones failed: {reason}")
        });
        (Status::Deployed, joined([failed, trouble()]))
    };
    match progress {
        Progress::Performed(Outcome::Refused { reason }) => {
            let lags = observed.running().is_some_and(|running| only_lags(wanted, running));
            let refused = || (Status::DeployFailed, Some(reason.clone()));
            return if lags { on_earlier_settings(Some(reason.clone())) } else { refused() };
        }
        Progress::Performed(Outcome::Unreachable { reason }) => {
            return (Status::Deploying, Some(retrying(reason)));
        }
        Progress::Performed(Outcome::Started | Outcome::Busy) | Progress::Decided => {}
    }
    let failure = || failure(row, wanted, observed, notes);
    match decision.because {
        Because::Foreign => {
            (Status::DeployFailed, Some(not_ours(row, observed)))
        }
        Because::Unreadable => (Status::DeployFailed, unreadable(observed)),
        Because::Invalid => (Status::Invalid, notes.invalid.clone()),
        Because::Unresolved => unresolved(row, wanted, notes),
        // The row is the only witness of a refusal, and must not forget it while the way is
        // cleared.
        Because::ClearingTheWay | Because::AnotherInProgress | Because::Overtaken
            if wanted.refused =>
        {
            (Status::DeployFailed, failure())
        }
        Because::DeletionFailed
        | Because::OnItsWay
        | Because::ClearingTheWay
        | Because::Overtaken
        | Because::AnotherInProgress
        | Because::Absent
        | Because::Behind
        | Because::BrokenByAnother
        | Because::Stuck
        | Because::StuckAndReplaced
        // Without a row there is no report; were there one, something would still be under way.
        | Because::NothingThere
        | Because::UnwantedCancellable
        | Because::UnwantedInProgress
        | Because::Unwanted
        | Because::Orphan => (Status::Deploying, None),
        Because::Runs | Because::SettingsLag => (Status::Deployed, trouble()),
        // The row's own reason has the sentence around it already.
        Because::SettingsTriedBefore if wanted.refused => {
            (Status::Deployed, row.report.reason.clone())
        }
        Because::SettingsTriedBefore => on_earlier_settings(failure()),
        Because::RefusedBefore | Because::TriedBefore | Because::BrokenByThis => {
            (Status::DeployFailed, failure())
        }
        Because::DeletionGivenUp => {
            (Status::DeployFailed, Some(left_behind(observed)))
        }
        Because::StuckForGood => {
            (Status::DeployFailed, joined([failure(), failed_rollback(observed)]))
        }
    }
}

/// What failed has failed, also while nobody can look the version up again.
fn unresolved(row: &Row, wanted: &Wanted, notes: &Notes) -> (Status, Option<String>) {
    let is_of_this = row.report.generation.as_ref() == Some(&wanted.generation);
    if is_of_this && row.report.status == Some(Status::DeployFailed) {
        (Status::DeployFailed, row.report.reason.clone())
    } else {
        (Status::Deploying, notes.version.as_deref().map(retrying))
    }
}

fn not_ours(row: &Row, observed: &Observed) -> String {
    let what = match observed {
        Observed::Foreign(what) => what.as_str(),
        Observed::Missing | Observed::Unreadable(_) | Observed::Ours(_) => "it is not ours",
    };
    format!(
        "there is a stack named `{}` that Rowhouse did not make ({what}): delete it, or choose \
         another name",
        row.key
    )
}

fn unreadable(observed: &Observed) -> Option<String> {
    match observed {
        Observed::Unreadable(why) => Some(why.clone()),
        Observed::Missing | Observed::Foreign(_) | Observed::Ours(_) => None,
    }
}

fn left_behind(observed: &Observed) -> String {
    let left = match observed.stack().map(|stack| &stack.phase) {
        Some(Phase::DeletionFailed { left, .. }) => left.as_str(),
        Some(_) | None => "something",
    };
    format!("the earlier stack of this name could not be deleted, and left: {left}")
}

fn failed_rollback(observed: &Observed) -> Option<String> {
    match observed.stack().map(|stack| &stack.phase) {
        Some(Phase::Stuck { reason, .. }) => Some(format!("the rollback failed: {reason}")),
        Some(_) | None => None,
    }
}

/// Why this very target failed: the platform knows what it tried; of what was refused before any
/// operation began, the row is the only witness.
fn failure(row: &Row, wanted: &Wanted, observed: &Observed, notes: &Notes) -> Option<String> {
    let tried = observed.tried().filter(|attempt| match &wanted.commit {
        Pinned::Known { target, .. } => attempt.target == *target,
        Pinned::Nothing { .. } | Pinned::Unreachable => false,
    });
    match (&wanted.commit, tried) {
        (Pinned::Nothing { .. }, _) => notes.version.clone(),
        (_, Some(attempt)) => Some(attempt.reason.clone()),
        (_, None) if wanted.refused => row.report.reason.clone(),
        (_, None) => None,
    }
}

fn joined(texts: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}
