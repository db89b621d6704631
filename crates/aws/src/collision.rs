//! Creations that failed only because another rule had their priority: not the row's fault, so each
//! is tried anew, but not for ever. Their stacks are deleted in between, so an object beside the
//! manifests remembers them.

use rowhouse_core::{AppName, Attempt, Target};

/// How often in a row a creation may fail so, before the row says that it did.
const MOST: usize = 3;
/// What lies further apart is no row of failures: a target that is put again has its three tries
/// anew. In seconds.
const APART: i64 = 60 * 60;

/// One such failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collision {
    /// What would have been tried.
    pub(crate) attempt: Attempt,
    /// Seconds since 1970 of the creation's begin.
    pub(crate) began: i64,
}

/// Where those of a target are remembered, an empty object for each: two reactors that see one note
/// it twice, and none that the other noted is lost.
pub(crate) fn folder(name: &AppName, target: &Target) -> String {
    format!("collisions/{name}/{target}/")
}

/// The object of one: the last part of its stack's ARN, which no other stack has.
pub(crate) fn key(name: &AppName, target: &Target, stack: &str) -> String {
    format!("{}{}", folder(name, target), unique(stack))
}

fn unique(stack: &str) -> &str {
    stack.rsplit('/').next().unwrap_or(stack)
}

/// Those that are remembered: the object of each, and when it was written, in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered(pub(crate) Vec<(String, i64)>);

impl Remembered {
    /// The attempt that counts as tried, where this one is the last of too many.
    pub(crate) fn tried(&self, collision: &Collision, stack: &str) -> Option<Attempt> {
        let others = self.0.iter().filter(|(key, noted)| {
            !key.ends_with(unique(stack)) && collision.began - noted <= APART
        });
        let times = others.count() + 1;
        (times >= MOST).then(|| {
            let Attempt { target, commit, reason } = collision.attempt.clone();
            let reason = format!(
                "{reason}: {times} times in a row another app took the priority first; raise \
                 `Redeploy` to try again"
            );
            Attempt { target, commit, reason }
        })
    }
}

#[cfg(test)]
mod tests {
    use rowhouse_core::Commit;

    use super::*;

    fn collision(began: i64) -> Collision {
        let attempt = Attempt {
            target: Target::stored(format!("v1-{}", "a".repeat(32))),
            commit: Commit::parse(&"a".repeat(40)).unwrap(),
            reason: "Rule: Priority '7' is currently in use".to_owned(),
        };
        Collision { attempt, began }
    }

    fn stack(began: i64) -> String {
        format!("arn:aws:cloudformation:eu-west-1:1:stack/demo-app-shop/id-{began}")
    }

    /// What is remembered after these failures, each noted as soon as it began.
    fn after(begins: &[i64]) -> Remembered {
        let name = AppName::parse("shop").unwrap();
        let key = |began| key(&name, &collision(began).attempt.target, &stack(began));
        Remembered(begins.iter().map(|began| (key(*began), *began)).collect())
    }

    #[test]
    fn the_third_in_a_row_counts_as_tried_and_says_why() {
        assert_eq!(after(&[]).tried(&collision(100), &stack(100)), None);
        assert_eq!(after(&[100]).tried(&collision(200), &stack(200)), None);
        let tried = after(&[100, 200]).tried(&collision(300), &stack(300)).unwrap();
        assert_eq!(tried.target, collision(300).attempt.target);
        assert!(tried.reason.contains("'7'") && tried.reason.contains("3 times"), "{tried:?}");
    }

    #[test]
    fn one_stack_counts_once_however_often_it_is_looked_at() {
        assert_eq!(after(&[100, 200]).tried(&collision(200), &stack(200)), None);
        assert!(after(&[100, 200, 300]).tried(&collision(300), &stack(300)).is_some());
    }

    #[test]
    fn what_lies_long_ago_does_not_count() {
        let late = 101 + APART;
        assert_eq!(after(&[100, 200]).tried(&collision(late), &stack(late)), None);
        assert!(after(&[101, 200]).tried(&collision(late), &stack(late)).is_some());
    }
}
