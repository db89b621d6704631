//! Answers: what the rows say and no operation tells, as events. Why a version is not to be had is
//! known before anything begins, and stands in the row alone.

use std::collections::BTreeMap;

use rowhouse_core::{AppName, Generation, Obstacle, Row, Status};

use crate::machine::Machine;
use crate::stack::stacks::Stacks;

/// What was told last of each app, so that it is told once.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<AppName, (Option<Generation>, String)>);

impl Answers {
    /// Tells what is new in an answer.
    pub(crate) async fn tell(&mut self, machine: &Machine, stacks: &Stacks, row: &Row) {
        let Ok(name) = AppName::parse(row.key.as_str()) else { return };
        let report = &row.report;
        let (kind, reason) = match (report.status, &report.reason) {
            (Some(Status::Deploying), Some(reason)) => {
                ("retrying", Obstacle::of(report).map_or(reason.as_str(), Obstacle::why))
            }
            (Some(Status::DeployFailed), Some(reason))
                if report.no_commit(&machine.settings().digest).is_some() =>
            {
                ("refused", reason.as_str())
            }
            // A try that has begun is not yet another answer.
            (Some(Status::Deploying), None) => return,
            (Some(Status::DeployFailed | Status::Deployed | Status::Invalid) | None, _) => {
                self.0.remove(&name);
                return;
            }
        };
        let is_put_off = stacks.stack(&name).is_put_off_for(reason);
        let news = (report.generation.clone(), reason.to_owned());
        if !is_put_off && self.0.insert(name.clone(), news.clone()).as_ref() != Some(&news) {
            machine.journal.tell(&name, kind, news.1).await;
        }
    }
}
