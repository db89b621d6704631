//! The words of `Reason` that somebody reads back from a row alone: what a row that is `deploying`
//! waits for. Every other reason is for people, and is never read by a program.

use std::fmt;

use crate::repository::Repository;
use crate::row::{Report, Status};

/// How every reason begins of what is tried again by itself.
const RETRYING: &str = "retrying: ";
/// How that begins which a repository alone can end: it does not answer …
const SILENT: &str = "cannot reach repository ";
/// … or is not there, refuses us, or cannot be read.
const DENIED: &str = "cannot read repository ";

/// A repository that does not answer, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent<'a> {
    pub repository: &'a Repository,
    /// What came in place of an answer.
    pub said: &'a str,
}

impl fmt::Display for Silent<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SILENT}`{}`: {}", self.repository, self.said)
    }
}

/// A repository that is not there, refuses us, or cannot be read, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied<'a> {
    pub repository: &'a Repository,
    /// What came in place of what was asked for.
    pub said: &'a str,
}

impl fmt::Display for Denied<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{DENIED}`{}`: {}", self.repository, self.said)
    }
}

impl Denied<'_> {
    /// Whether this is why a deployment failed, before it began or while it was built.
    pub fn is_told_by(report: &Report) -> bool {
        report.status == Some(Status::DeployFailed)
            && report.reason.as_deref().is_some_and(|reason| reason.starts_with(DENIED))
    }
}

/// The reason of what is tried again by itself.
pub(crate) fn retrying(why: &str) -> String {
    format!("{RETRYING}{why}")
}

/// What a row that is `deploying` waits for, with the words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// Its repository, which does not answer.
    Repository(&'a str),
    /// Something of the platform's.
    Other(&'a str),
}

impl<'a> Obstacle<'a> {
    /// What stands in the way of the change that this report is about; `None`: nothing does.
    pub fn of(report: &'a Report) -> Option<Obstacle<'a>> {
        let reason = report.reason.as_deref().filter(|_| report.status == Some(Status::Deploying));
        let why = reason?.strip_prefix(RETRYING)?;
        let is_silent = why.starts_with(SILENT);
        Some(if is_silent { Obstacle::Repository(why) } else { Obstacle::Other(why) })
    }

    /// The words for it.
    pub fn why(self) -> &'a str {
        match self {
            Obstacle::Repository(why) | Obstacle::Other(why) => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: Status, reason: &str) -> Report {
        let reason = Some(reason.to_owned());
        Report { status: Some(status), reason, ..Report::default() }
    }

    #[test]
    fn what_is_waited_for_is_read_back_as_it_was_written() {
        let repository = Repository::parse("https://me:hunter2@host/a").unwrap();
        let silent = Silent { repository: &repository, said: "no answer" }.to_string();
        assert_eq!(silent, "cannot reach repository `https://me:***@host/a`: no answer");
        let said = report(Status::Deploying, &retrying(&silent));
        assert_eq!(Obstacle::of(&said), Some(Obstacle::Repository(&silent)));
        let denied = Denied { repository: &repository, said: "no such thing" }.to_string();
        assert_eq!(denied, "cannot read repository `https://me:***@host/a`: no such thing");
        assert!(Denied::is_told_by(&report(Status::DeployFailed, &denied)));
        assert!(!Denied::is_told_by(&report(Status::Deployed, &denied)));
        let full = report(Status::Deploying, &retrying("the disk is full"));
        assert_eq!(Obstacle::of(&full), Some(Obstacle::Other("the disk is full")));
    }

    #[test]
    fn nothing_stands_in_the_way_of_what_has_an_answer() {
        for said in [
            report(Status::DeployFailed, &retrying("x")),
            report(Status::Deployed, "1 of 2 instances answer"),
            report(Status::Deploying, "the app says retrying: x"),
            Report { status: Some(Status::Deploying), ..Report::default() },
            Report::default(),
        ] {
            assert_eq!(Obstacle::of(&said), None);
        }
    }
}
