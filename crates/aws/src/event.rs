//! The events of a stack, one page of them: what was tried last, how it ended, and why.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html>

use rowhouse_core::Attempt;

use crate::collision::Collision;
use crate::token::{self, Token};

/// One event, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub logical_id: String,
    pub resource_type: String,
    /// Whether the event is the stack's own.
    pub is_of_stack: bool,
    /// A stack's or a resource's status, in the API's word.
    pub status: String,
    pub reason: Option<String>,
    pub token: Option<String>,
    /// Seconds since 1970.
    pub at: i64,
}

/// What a page of events tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// The last rollout that failed, unless one succeeded since; one that a cancel ended was not
    /// tried.
    pub(crate) tried: Option<Attempt>,
    /// Seconds since 1970 of the begin of that rollout, where it failed for an instance's own
    /// signal: then the instance has left a reason.
    pub(crate) instances_failed: Option<i64>,
    /// The creation that failed only because another rule had its priority.
    pub(crate) collision: Option<Collision>,
    /// How often the rollback that is stuck has failed.
    pub(crate) rollbacks_failed: u32,
    /// How often the deletion has failed.
    pub(crate) deletions_failed: u32,
    /// What the last deletion left: logical id and reason of each resource.
    pub(crate) left: Vec<(String, String)>,
    /// Seconds since 1970 of the newest event.
    pub(crate) last: Option<i64>,
}

/// What AWS says of a listener rule whose priority another rule has. Then the platform is to blame,
/// and not what was tried.
const PRIORITY_IN_USE: &str = "is currently in use";

/// How a reason begins when the instances have failed, a resource of this name in every template;
/// it says no more than how many signals there were.
const INSTANCES: &str = "Instances (";

/// Reads a page, newest first as the API gives it.
pub(crate) fn past(events: &[Event]) -> Past {
    let mut past = Past { last: events.first().map(|event| event.at), ..Past::default() };
    let mut rollout = Rollout::default();
    for event in events.iter().rev() {
        rollout.note(event);
        if !event.is_of_stack {
            if event.status == "DELETE_FAILED" {
                let reason = event.reason.clone().unwrap_or_default();
                past.left.push((event.logical_id.clone(), reason));
            }
            continue;
        }
        match event.status.as_str() {
            "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" => {
                past.rollbacks_failed = 0;
            }
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => {
                past.tried = None;
                past.instances_failed = None;
            }
            "CREATE_FAILED"
            | "ROLLBACK_COMPLETE"
            | "ROLLBACK_FAILED"
            | "UPDATE_FAILED"
            | "UPDATE_ROLLBACK_COMPLETE" => rollout.end(&mut past),
            "UPDATE_ROLLBACK_FAILED" => {
                past.rollbacks_failed += 1;
                rollout.end(&mut past);
            }
            "DELETE_IN_PROGRESS" => past.left.clear(),
            "DELETE_FAILED" => past.deletions_failed += 1,
            _ => {}
        }
    }
    past
}

/// The rollout that events on the way tell of.
#[derive(Debug, Default)]
struct Rollout {
    aim: Option<(String, Token)>,
    failure: Option<String>,
    is_cancelled: bool,
    began: i64,
}

impl Rollout {
    fn note(&mut self, event: &Event) {
        if let Some(text) = &event.token {
            match token::parse(text) {
                Token::Cancel => self.is_cancelled = true,
                aim @ Token::Rollout { .. }
                    if self.aim.as_ref().is_none_or(|(of, _)| of != text) =>
                {
                    let aim = Some((text.clone(), aim));
                    *self = Rollout { aim, began: event.at, ..Rollout::default() };
                }
                Token::Rollout { .. } | Token::Other => {}
            }
        }
        let begins = matches!(event.status.as_str(), "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS");
        let is_ours = event.token.as_ref() == self.aim.as_ref().map(|(text, _)| text);
        if event.is_of_stack && begins && !is_ours {
            // Somebody else's operation: what it aims at is not known.
            *self = Rollout::default();
        }
        let failed = !event.is_of_stack
            && matches!(event.status.as_str(), "CREATE_FAILED" | "UPDATE_FAILED");
        let reason = event.reason.as_deref().unwrap_or("no reason is given");
        // What fails first is the cause; the others were stopped for it.
        if failed && self.failure.is_none() && !reason.ends_with("cancelled") {
            self.failure =
                Some(format!("{} ({}): {reason}", event.logical_id, event.resource_type));
        }
        let rolls_back =
            matches!(event.status.as_str(), "ROLLBACK_IN_PROGRESS" | "UPDATE_ROLLBACK_IN_PROGRESS");
        if event.is_of_stack && rolls_back && self.failure.is_none() {
            match event.reason.as_deref() {
                Some("User Initiated" | "User initiated") => self.is_cancelled = true,
                Some(reason) => self.failure = Some(reason.to_owned()),
                None => {}
            }
        }
    }

    fn end(&mut self, past: &mut Past) {
        let Some((_, Token::Rollout { target, commit, is_creation })) = &self.aim else { return };
        let reason = self.failure.as_deref().unwrap_or("no reason is given");
        if self.is_cancelled {
            return;
        }
        let (target, commit) = (target.clone(), commit.clone());
        let attempt = Attempt { target, commit, reason: reason.to_owned() };
        // Another creation reads the rules anew. An update keeps its priority, and would fail the
        // same way.
        if *is_creation && is_priority_in_use(reason) {
            past.collision = Some(Collision { attempt, began: self.began });
            return;
        }
        past.tried = Some(attempt);
        past.instances_failed = reason.starts_with(INSTANCES).then_some(self.began);
    }
}

/// Whether a listener rule could not be made only because another one had its priority.
fn is_priority_in_use(reason: &str) -> bool {
    reason.contains("AWS::ElasticLoadBalancingV2::ListenerRule") && reason.contains(PRIORITY_IN_USE)
}

#[cfg(test)]
mod tests {
    use rowhouse_core::{Base, Commit, Target};

    use super::*;

    fn update(digit: &str, base: &str) -> String {
        let commit = Commit::parse(&digit.repeat(40)).unwrap();
        let target = Target::stored(format!("v1-{}", digit.repeat(32)));
        token::rollout("update", &target, &commit, &Base::of("stack", base))
    }

    fn stack(status: &str, token: &str) -> Event {
        Event {
            is_of_stack: true,
            status: status.to_owned(),
            token: Some(token.to_owned()),
            ..Event::default()
        }
    }

    fn resource(status: &str, reason: &str, token: &str) -> Event {
        Event {
            logical_id: "Instances".to_owned(),
            resource_type: "AWS::AutoScaling::AutoScalingGroup".to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            token: Some(token.to_owned()),
            ..Event::default()
        }
    }

    /// Oldest first, as they happened.
    fn told(events: &[Event]) -> Past {
        let newest_first: Vec<Event> = events.iter().rev().cloned().collect();
        past(&newest_first)
    }

    fn failed(token: &str) -> Vec<Event> {
        vec![
            stack("UPDATE_IN_PROGRESS", token),
            resource("UPDATE_FAILED", "Received 1 FAILURE signal(s)", token),
            resource("UPDATE_FAILED", "Resource update cancelled", token),
            stack("UPDATE_ROLLBACK_IN_PROGRESS", token),
            stack("UPDATE_ROLLBACK_COMPLETE", token),
        ]
    }

    #[test]
    fn a_failed_update_was_tried_and_the_first_failure_is_its_reason() {
        let tried = told(&failed(&update("a", "1"))).tried.unwrap();
        assert_eq!(tried.commit.as_str(), "a".repeat(40));
        assert_eq!(tried.target.as_str(), format!("v1-{}", "a".repeat(32)));
        assert_eq!(
            tried.reason,
            "Instances (AWS::AutoScaling::AutoScalingGroup): Received 1 FAILURE signal(s)"
        );
    }

    #[test]
    fn instances_that_failed_have_left_a_reason_since_the_rollout_began() {
        let token = update("a", "1");
        let mut events = failed(&token);
        for (second, event) in (7..).zip(&mut events) {
            event.at = second;
        }
        assert_eq!(told(&events).instances_failed, Some(7));
        events[1].logical_id = "LaunchTemplate".to_owned();
        assert_eq!(told(&events).instances_failed, None);
    }

    #[test]
    fn what_a_cancel_ended_was_not_tried_and_forgets_nothing() {
        let mut events = failed(&update("a", "1"));
        let token = update("b", "2");
        events.push(stack("UPDATE_IN_PROGRESS", &token));
        events.push(stack("UPDATE_ROLLBACK_IN_PROGRESS", "cancel-v1-x"));
        events.push(stack("UPDATE_ROLLBACK_COMPLETE", "cancel-v1-x"));
        assert_eq!(told(&events).tried.unwrap().commit.as_str(), "a".repeat(40));
        // Somebody cancels in the console, which gives no token of ours.
        let mut events = failed(&update("a", "1"));
        events.push(stack("UPDATE_IN_PROGRESS", &token));
        let mut cancelled = stack("UPDATE_ROLLBACK_IN_PROGRESS", &token);
        cancelled.reason = Some("User Initiated".to_owned());
        events.push(cancelled);
        events.push(stack("UPDATE_ROLLBACK_COMPLETE", &token));
        assert_eq!(told(&events).tried.unwrap().commit.as_str(), "a".repeat(40));
    }

    #[test]
    fn a_success_ends_what_was_tried_before() {
        let mut events = failed(&update("a", "1"));
        events.push(stack("UPDATE_IN_PROGRESS", &update("b", "2")));
        events.push(stack("UPDATE_COMPLETE", &update("b", "2")));
        assert_eq!(told(&events).tried, None);
    }

    #[test]
    fn somebody_elses_update_is_not_taken_for_ours() {
        let mut events = vec![
            stack("UPDATE_IN_PROGRESS", &update("a", "1")),
            stack("UPDATE_COMPLETE", &update("a", "1")),
        ];
        events.extend(failed("Console-UpdateStack-7"));
        assert_eq!(told(&events).tried, None);
    }

    #[test]
    fn a_page_that_begins_in_the_middle_still_tells_what_was_tried() {
        let events = failed(&update("a", "1"));
        assert_eq!(
            told(&events[2..]).tried.map(|tried| tried.commit),
            Commit::parse(&"a".repeat(40))
        );
    }

    #[test]
    fn failures_of_rollbacks_and_deletions_are_counted() {
        let token = update("a", "1");
        let mut events = failed(&token);
        events.pop();
        for tries in 1..=3 {
            events.push(stack("UPDATE_ROLLBACK_FAILED", &token));
            assert_eq!(told(&events).rollbacks_failed, tries);
            assert!(told(&events).tried.is_some());
            events.push(stack("UPDATE_ROLLBACK_IN_PROGRESS", "continue-v1-x"));
        }
        for failures in 1..=2 {
            events.push(stack("DELETE_IN_PROGRESS", "delete-v1-x"));
            events.push(resource("DELETE_FAILED", "in use", "delete-v1-x"));
            events.push(stack("DELETE_FAILED", "delete-v1-x"));
            let past = told(&events);
            assert_eq!(past.deletions_failed, failures);
            assert_eq!(past.left, [("Instances".to_owned(), "in use".to_owned())]);
        }
    }

    fn collided(token: &str, word: &str) -> Vec<Event> {
        let failed = if word.is_empty() { "CREATE_FAILED" } else { "UPDATE_FAILED" };
        let begins = if word.is_empty() { "CREATE_IN_PROGRESS" } else { "UPDATE_IN_PROGRESS" };
        let mut rule = resource(failed, "Priority '7' is currently in use", token);
        rule.resource_type = "AWS::ElasticLoadBalancingV2::ListenerRule".to_owned();
        vec![
            stack(begins, token),
            rule,
            stack(&format!("{word}ROLLBACK_IN_PROGRESS"), token),
            stack(&format!("{word}ROLLBACK_COMPLETE"), token),
        ]
    }

    #[test]
    fn a_priority_that_another_rule_had_is_not_the_versions_fault() {
        let token = update("a", "1").replace("update-", "create-");
        let mut events = collided(&token, "");
        for event in &mut events {
            event.at = 7;
        }
        let past = told(&events);
        assert_eq!(past.tried, None);
        let collision = past.collision.unwrap();
        assert_eq!((collision.began, collision.attempt.commit.as_str()), (7, &*"a".repeat(40)));
    }

    #[test]
    fn an_update_that_found_its_priority_taken_would_fail_again() {
        let past = told(&collided(&update("a", "1"), "UPDATE_"));
        assert_eq!((past.tried.is_some(), past.collision), (true, None));
    }

    #[test]
    fn no_events_tell_nothing() {
        assert_eq!(past(&[]), Past::default());
    }
}
