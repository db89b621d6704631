//! The ports as a replay: a look is run again from its log of answers, so that a look half-way is
//! plain data that can be copied, compared and explored.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use rowhouse_core::{
    AppName, AppTable, Base, Entry, Found, Observed, Operation, Outcome, Platform, Reconciled,
    Report, Repository, Resolution, Row, RowKey, Settings, Unreachable, Version, Waking, Written,
    reconcile,
};

/// What a look asks of the world.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Get,
    Write { seen: Box<Row>, report: Report },
    Observe,
    Resolve(String),
    Perform { operation: Operation, base: Option<Base> },
}

/// What the world answered; without the row's text, so that it can be hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer<R> {
    Got(Held<R>),
    Wrote(Option<R>),
    Saw(Observed),
    Resolved(Resolution),
    Performed(Outcome),
    Unreachable,
}

/// What the world's table holds in the place of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Held<R> {
    Row(R),
    Removed,
    Absent,
}

/// Where a look stands.
pub(crate) enum Step {
    Asks(Box<Call>),
    Ends(Result<Reconciled, Unreachable>),
}

struct Replay<'a, R> {
    answers: Mutex<VecDeque<&'a Answer<R>>>,
    call: Mutex<Option<Call>>,
    settings: Settings,
    row: fn(&R) -> Row,
}

impl<R: Sync> Replay<'_, R> {
    async fn ask(&self, call: Call) -> &Answer<R> {
        let next = self.answers.lock().unwrap().pop_front();
        if let Some(answer) = next {
            return answer;
        }
        *self.call.lock().unwrap() = Some(call);
        pending().await
    }
}

fn unreachable() -> Unreachable {
    Unreachable { reason: "no answer".to_owned() }
}

impl<R: Sync> AppTable for Replay<'_, R> {
    async fn get(&self, _: &RowKey) -> Result<Found, Unreachable> {
        match self.ask(Call::Get).await {
            Answer::Got(Held::Row(row)) => Ok(Found::Row((self.row)(row))),
            Answer::Got(Held::Removed) => Ok(Found::Removed),
            Answer::Got(Held::Absent) => Ok(Found::Absent),
            _ => Err(unreachable()),
        }
    }

    async fn write(
        &self,
        seen: &Row,
        report: &Report,
        _: Option<&Entry>,
    ) -> Result<Written, Unreachable> {
        match self.ask(Call::Write { seen: Box::new(seen.clone()), report: report.clone() }).await {
            Answer::Wrote(Some(row)) => Ok(Written::Done((self.row)(row))),
            Answer::Wrote(None) => Ok(Written::Lost),
            _ => Err(unreachable()),
        }
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        Err(unreachable())
    }
}

impl<R: Sync> Platform for Replay<'_, R> {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    async fn observe(&self, _: &AppName) -> Result<Observed, Unreachable> {
        match self.ask(Call::Observe).await {
            Answer::Saw(observed) => Ok(observed.clone()),
            _ => Err(unreachable()),
        }
    }

    async fn resolve(&self, _: &Repository, version: &Version) -> Resolution {
        match self.ask(Call::Resolve(version.as_str().to_owned())).await {
            Answer::Resolved(resolution) => resolution.clone(),
            _ => Resolution::Unreachable { reason: "no answer".to_owned() },
        }
    }

    async fn perform(&self, _: &AppName, operation: Operation, base: Option<Base>) -> Outcome {
        match self.ask(Call::Perform { operation, base }).await {
            Answer::Performed(outcome) => outcome.clone(),
            _ => Outcome::Unreachable { reason: "no answer".to_owned() },
        }
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        Err(unreachable())
    }
}

/// Runs a look up to its next question, or to its end.
pub(crate) fn step<R: Sync>(
    settings: Settings,
    waking: Waking,
    log: &[Answer<R>],
    row: fn(&R) -> Row,
) -> Step {
    let replay =
        Replay { answers: Mutex::new(log.iter().collect()), call: Mutex::new(None), settings, row };
    let key = RowKey("app".to_owned());
    let look = pin!(reconcile(&key, waking, &replay, &replay));
    match look.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(end) => Step::Ends(end),
        Poll::Pending => Step::Asks(Box::new(
            replay.call.lock().unwrap().take().expect("it waits for an answer"),
        )),
    }
}
