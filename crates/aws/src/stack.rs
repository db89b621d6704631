//! A stack as CloudFormation describes it, and as the rule observes it: the one translation between
//! the two.
//!
//! What runs is read from `Outputs`, which keep what was completed last; what is aimed at from
//! `Parameters`, which show it as soon as an operation begins; what was tried from the tokens of
//! the events.

use std::collections::BTreeMap;

use rowhouse_core::{
    Base, Commit, Deployment, Generation, Observed, Phase, SettingsDigest, Source, Stack, Target,
};

use crate::event::{self, Event, Past};
use crate::status::{Life, StackStatus};

/// The tag that tells our stacks from others, and its value.
pub const MANAGED_BY: (&str, &str) = ("rowhouse:managed-by", "rowhouse");

/// How long an update may make no progress before a newer row may cancel it: there a cancel costs a
/// rollback.
const STALLED_SECONDS: i64 = 5 * 60;
/// More tries than any: only a new wish helps.
const FOR_GOOD: u32 = u32::MAX;

/// What `DescribeStacks` says of one stack, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub id: String,
    pub name: String,
    pub status: StackStatus,
    pub status_reason: Option<String>,
    /// Creation, last update and deletion, in any stable form.
    pub created: String,
    pub updated: Option<String>,
    pub deleted: Option<String>,
    /// Seconds since 1970 of the last operation's begin.
    pub began: i64,
    pub parameters: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

impl Described {
    /// Whether a page of events is needed to observe it: after a failure, and when an update takes
    /// long.
    pub(crate) fn needs_events(&self, now: i64) -> bool {
        self.is_ours() && (self.status.has_failed() || self.is_slow(now))
    }

    fn is_slow(&self, now: i64) -> bool {
        self.status.life() == Life::Updating && now - self.began > STALLED_SECONDS
    }

    fn is_ours(&self) -> bool {
        self.tags.get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1)
    }

    /// The stack in the rule's words. `now`: seconds since 1970.
    pub(crate) fn observed(&self, events: &[Event], now: i64) -> Observed {
        if self.status == StackStatus::DeleteComplete {
            return Observed::Missing;
        }
        if !self.is_ours() {
            let what = format!("it has no tag `{}` = `{}`", MANAGED_BY.0, MANAGED_BY.1);
            return Observed::Foreign(what);
        }
        let past = event::past(events);
        let running = deployment(&self.outputs);
        let serves = running.is_some();
        Observed::Ours(Box::new(Stack {
            base: self.base(&past),
            phase: self.phase(&past, now),
            healthy: if serves { self.instances() } else { 0 },
            url: self.outputs.get("LoadBalancer").cloned().filter(|_| serves),
            running,
            tried: past.tried,
            trouble: None,
        }))
    }

    /// New after every operation: an update changes its time, a deletion its own, and where only a
    /// count of failures tells two tries apart, the count does.
    fn base(&self, past: &Past) -> Base {
        let mark = format!(
            "{} {} {} {}",
            self.updated.as_ref().unwrap_or(&self.created),
            self.deleted.as_deref().unwrap_or("-"),
            past.rollbacks_failed,
            past.deletions_failed
        );
        Base::of(&self.id, &mark)
    }

    fn phase(&self, past: &Past, now: i64) -> Phase {
        match self.status.life() {
            Life::Up => Phase::Up,
            Life::Creating => match deployment(&self.parameters) {
                // It cannot be cancelled, only deleted.
                Some(aim) => Phase::Creating { aim, cancellable: false },
                None => Phase::RollingBack,
            },
            Life::Updating => match deployment(&self.parameters) {
                Some(aim) => {
                    let since = past.last.unwrap_or(self.began).max(self.began);
                    let cancellable = self.is_slow(now) && now - since > STALLED_SECONDS;
                    Phase::Updating { aim, cancellable }
                }
                None => Phase::RollingBack,
            },
            Life::CleaningUp => match deployment(&self.parameters) {
                Some(aim) => Phase::Updating { aim, cancellable: false },
                None => Phase::RollingBack,
            },
            Life::RollingBack => Phase::RollingBack,
            Life::Deleting | Life::Gone => Phase::Deleting,
            Life::DeletionFailed => Phase::DeletionFailed {
                failures: past.deletions_failed.max(1),
                left: self.left(past),
            },
            Life::Broken => Phase::Broken,
            Life::Stuck => Phase::Stuck {
                tries: past.rollbacks_failed.saturating_sub(1),
                reason: self.reason(),
            },
            Life::Lost => Phase::Stuck { tries: FOR_GOOD, reason: self.reason() },
        }
    }

    fn left(&self, past: &Past) -> String {
        if past.left.is_empty() {
            return self.reason();
        }
        let shown = past.left.iter().map(|(id, reason)| format!("{id}: {reason}"));
        shown.collect::<Vec<_>>().join("; ")
    }

    fn reason(&self) -> String {
        self.status_reason.clone().unwrap_or_else(|| self.status.as_str().to_owned())
    }

    /// How many instances the last completed rollout brought up.
    fn instances(&self) -> u32 {
        self.outputs.get("Scale").and_then(|scale| scale.parse().ok()).unwrap_or(0)
    }
}

/// What a set of parameters, or of outputs, stands for; `None` where one is missing.
fn deployment(values: &BTreeMap<String, String>) -> Option<Deployment> {
    let text = |name: &str| values.get(name).filter(|value| !value.is_empty()).cloned();
    Some(Deployment {
        target: Target::stored(text("Target")?),
        generation: Generation::stored(text("Generation")?),
        source: Source::stored(text("Source")?),
        commit: Commit::parse(&text("Commit")?)?,
        settings: SettingsDigest::stored(text("Settings")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(digit: char) -> BTreeMap<String, String> {
        let digest = format!("v1-{}", digit.to_string().repeat(32));
        let mut values: BTreeMap<String, String> = ["Target", "Generation", "Source", "Settings"]
            .into_iter()
            .map(|name| (name.to_owned(), digest.clone()))
            .collect();
        values.insert("Commit".to_owned(), digit.to_string().repeat(40));
        values.insert("Scale".to_owned(), "2".to_owned());
        values.insert("LoadBalancer".to_owned(), "https://shop.example.com".to_owned());
        values
    }

    fn described(status: StackStatus) -> Described {
        Described {
            id: "arn:aws:cloudformation:eu-west-1:1:stack/demo-app-shop/1".to_owned(),
            name: "demo-app-shop".to_owned(),
            status,
            status_reason: None,
            created: "1".to_owned(),
            updated: None,
            deleted: None,
            began: 1_000,
            parameters: values('b'),
            outputs: values('a'),
            tags: [(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into(),
        }
    }

    fn stack(described: &Described, events: &[Event], now: i64) -> Stack {
        match described.observed(events, now) {
            Observed::Ours(stack) => *stack,
            other @ (Observed::Missing | Observed::Foreign(_) | Observed::Unreadable(_)) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn every_status_has_its_phase() {
        let (aim, running) = (deployment(&values('b')).unwrap(), deployment(&values('a')));
        for status in StackStatus::ALL {
            let described = described(status);
            if status == StackStatus::DeleteComplete {
                assert_eq!(described.observed(&[], 1_000), Observed::Missing);
                continue;
            }
            let stack = stack(&described, &[], 1_000);
            assert_eq!(stack.running, running, "{status:?}: outputs tell what runs");
            let expected = match status {
                StackStatus::CreateComplete
                | StackStatus::UpdateComplete
                | StackStatus::UpdateRollbackComplete
                | StackStatus::ImportComplete
                | StackStatus::ImportRollbackComplete => Phase::Up,
                StackStatus::CreateInProgress => {
                    Phase::Creating { aim: aim.clone(), cancellable: false }
                }
                StackStatus::UpdateInProgress | StackStatus::UpdateCompleteCleanupInProgress => {
                    Phase::Updating { aim: aim.clone(), cancellable: false }
                }
                StackStatus::RollbackInProgress
                | StackStatus::UpdateRollbackInProgress
                | StackStatus::UpdateRollbackCompleteCleanupInProgress
                | StackStatus::ImportInProgress
                | StackStatus::ImportRollbackInProgress => Phase::RollingBack,
                StackStatus::ReviewInProgress
                | StackStatus::CreateFailed
                | StackStatus::RollbackComplete
                | StackStatus::RollbackFailed => Phase::Broken,
                StackStatus::UpdateFailed | StackStatus::UpdateRollbackFailed => {
                    Phase::Stuck { tries: 0, reason: status.as_str().to_owned() }
                }
                StackStatus::ImportRollbackFailed => {
                    Phase::Stuck { tries: FOR_GOOD, reason: status.as_str().to_owned() }
                }
                StackStatus::DeleteInProgress | StackStatus::DeleteComplete => Phase::Deleting,
                StackStatus::DeleteFailed => {
                    Phase::DeletionFailed { failures: 1, left: "DELETE_FAILED".to_owned() }
                }
            };
            assert_eq!(stack.phase, expected, "{status:?}");
        }
    }

    #[test]
    fn a_stack_without_our_tag_is_foreign_whatever_its_status() {
        for status in StackStatus::ALL {
            let mut described = described(status);
            described.tags.clear();
            let observed = described.observed(&[], 1_000);
            let is_gone = status == StackStatus::DeleteComplete;
            assert_eq!(matches!(observed, Observed::Foreign(_)), !is_gone, "{status:?}");
            assert!(!described.needs_events(10_000));
        }
    }

    #[test]
    fn an_update_can_be_cancelled_once_it_makes_no_progress() {
        let described = described(StackStatus::UpdateInProgress);
        let cancellable = |events: &[Event], now| {
            let phase = stack(&described, events, now).phase;
            let Phase::Updating { cancellable, .. } = phase else { panic!("{phase:?}") };
            cancellable
        };
        assert!(!described.needs_events(1_000 + STALLED_SECONDS));
        assert!(!cancellable(&[], 1_000 + STALLED_SECONDS));
        assert!(described.needs_events(1_001 + STALLED_SECONDS));
        assert!(cancellable(&[], 1_001 + STALLED_SECONDS));
        let moving = Event { at: 1_100, ..Event::default() };
        assert!(!cancellable(std::slice::from_ref(&moving), 1_001 + STALLED_SECONDS));
        assert!(cancellable(&[moving], 1_101 + STALLED_SECONDS));
    }

    #[test]
    fn the_base_is_new_after_every_operation() {
        let first = described(StackStatus::CreateComplete);
        let mut updated = described(StackStatus::UpdateComplete);
        updated.updated = Some("2".to_owned());
        let mut deleted = updated.clone();
        deleted.deleted = Some("3".to_owned());
        let bases = [&first, &updated, &deleted].map(|described| stack(described, &[], 0).base);
        assert_ne!(bases[0], bases[1]);
        assert_ne!(bases[1], bases[2]);
        assert_eq!(bases[1], stack(&updated, &[], 9).base);
    }

    #[test]
    fn what_never_came_up_serves_nobody() {
        let mut described = described(StackStatus::RollbackComplete);
        described.outputs.clear();
        let stack = stack(&described, &[], 0);
        assert_eq!((stack.running, stack.healthy, stack.url), (None, 0, None));
    }
}
