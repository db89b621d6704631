//! The platform port on this machine: observes stacks in hand, and starts operations on them.

use std::sync::Arc;

use rowhouse_core::{
    AppName, Base, Observed, Operation, Outcome, Plan, Platform, Repository, Resolution, Settings,
    Unreachable, Version, counted,
};

use crate::git::error::GitError;
use crate::git::mirror::Resolved;
use crate::machine::Machine;
use crate::stack::live::LiveStack;
use crate::stack::operation;
use crate::stack::stacks::Stacks;
use crate::stack::{Ongoing, StackRecord};
use crate::supply::Supply;

/// This machine, as the reactor sees it.
#[derive(Clone, Debug)]
pub(crate) struct MachinePlatform {
    machine: Arc<Machine>,
    stacks: Arc<Stacks>,
}

impl MachinePlatform {
    pub(crate) fn new(machine: Arc<Machine>, stacks: Arc<Stacks>) -> MachinePlatform {
        MachinePlatform { machine, stacks }
    }
}

impl Platform for MachinePlatform {
    fn settings(&self) -> Settings {
        self.machine.settings()
    }

    async fn observe(&self, name: &AppName) -> Result<Observed, Unreachable> {
        match self.stacks.held().get(name) {
            Some(why) => Ok(Observed::Unreadable(why.clone())),
            None => Ok(self.stacks.stack(name).observe().await),
        }
    }

    async fn resolve(&self, repository: &Repository, version: &Version) -> Resolution {
        if let Some(order) = self.machine.config.supply.as_ref().and_then(Supply::order) {
            return Resolution::Known(order.commit);
        }
        match self.machine.mirrors.resolve(repository, version).await {
            Ok(Resolved::Commit(commit)) => Resolution::Known(commit),
            Ok(Resolved::NoSuchVersion { reason }) => Resolution::NoSuchVersion { reason },
            Err(error @ (GitError::Refused { .. } | GitError::Denied { .. })) => {
                Resolution::Denied { reason: error.to_string() }
            }
            Err(
                error @ (GitError::Unreachable { .. }
                | GitError::DiskFull { .. }
                | GitError::Io { .. }),
            ) => Resolution::Unreachable { reason: error.to_string() },
        }
    }

    async fn perform(&self, name: &AppName, operation: Operation, base: Option<Base>) -> Outcome {
        if self.stacks.held().contains_key(name) {
            let Operation::Delete { .. } = operation else { return Outcome::Busy };
            let ended = self.stacks.end_held(name).await;
            return ended.map_or_else(
                |error| Outcome::Unreachable { reason: error.reason },
                |()| Outcome::Started,
            );
        }
        let stack = self.stacks.stack(name);
        let _turn = stack.turn.lock().await;
        let record = stack.record().await;
        if record.as_ref().map(StackRecord::base) != base {
            return Outcome::Busy;
        }
        let performed = match operation {
            Operation::Create(plan) => self.create(&stack, record, plan).await,
            Operation::Update(plan) => update(&stack, record, plan).await,
            Operation::Cancel => cancel(&stack).await,
            Operation::Delete { retain: _ } => delete(&stack, record).await,
            // A rollback here cannot fail for good, so none is ever continued.
            Operation::ContinueRollback => Ok(Outcome::Busy),
        };
        performed.unwrap_or_else(|error| Outcome::Unreachable { reason: error.reason })
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        let held = self.stacks.held().into_iter();
        let mut stacks: Vec<(AppName, Observed)> =
            held.map(|(name, why)| (name, Observed::Unreadable(why))).collect();
        for stack in self.stacks.all() {
            let observed = stack.observe().await;
            if observed != Observed::Missing {
                stacks.push((stack.name.clone(), observed));
            }
        }
        Ok(stacks)
    }
}

impl MachinePlatform {
    async fn create(
        &self,
        stack: &Arc<LiveStack>,
        record: Option<StackRecord>,
        plan: Box<Plan>,
    ) -> Result<Outcome, Unreachable> {
        if record.is_some() {
            return Ok(Outcome::Busy);
        }
        if let Some(reason) = stack.held(&plan.deployment.target) {
            return Ok(Outcome::Unreachable { reason });
        }
        let id =
            self.machine.unique_name(&format!("{:x}", jiff::Timestamp::now().as_microsecond()));
        let text =
            format!("{} with {}", plan.app.version.shown(), counted(plan.app.scale, "instance"));
        let ongoing = Ongoing::Create { plan, moved: false };
        stack.create(StackRecord::new(stack.name.clone(), id, ongoing)).await?;
        stack.tell("creating", text).await;
        operation::spawn(stack);
        Ok(Outcome::Started)
    }
}

async fn update(
    stack: &Arc<LiveStack>,
    record: Option<StackRecord>,
    plan: Box<Plan>,
) -> Result<Outcome, Unreachable> {
    if record.is_none_or(|record| record.ongoing.is_some() || record.running.is_none()) {
        return Ok(Outcome::Busy);
    }
    if let Some(reason) = stack.held(&plan.deployment.target) {
        return Ok(Outcome::Unreachable { reason });
    }
    let text = format!("{} with {}", plan.app.version.shown(), counted(plan.app.scale, "instance"));
    let ongoing = Ongoing::Update { plan, moved: false };
    stack.change(|record| record.begin(ongoing)).await?;
    stack.tell("updating", text).await;
    operation::spawn(stack);
    Ok(Outcome::Started)
}

async fn cancel(stack: &Arc<LiveStack>) -> Result<Outcome, Unreachable> {
    if !is_cancellable(stack).await {
        return Ok(Outcome::Busy);
    }
    stack.end_task().await;
    // It may have come to its end, or past the point of return, in the meantime.
    if !is_cancellable(stack).await {
        operation::spawn(stack);
        return Ok(Outcome::Busy);
    }
    // The serial stays, so that the rollback ends what this operation has begun.
    let written =
        stack.change(|record| record.ongoing = Some(Ongoing::RollBack { failed: None })).await;
    // Also where the journal cannot be written: then what was cancelled goes on.
    operation::spawn(stack);
    written?;
    stack.tell("cancelled", "a newer wish goes first".to_owned()).await;
    Ok(Outcome::Started)
}

async fn delete(
    stack: &Arc<LiveStack>,
    record: Option<StackRecord>,
) -> Result<Outcome, Unreachable> {
    let Some(record) = record else { return Ok(Outcome::Busy) };
    stack.end_task().await;
    let written = stack.change(|record| record.begin(Ongoing::Delete)).await;
    operation::spawn(stack);
    written?;
    // What runs is deleted for one reason alone; what never came up also makes way for another try.
    let (kind, text) = if record.has_only_failed() {
        ("removing", "removing what failed before")
    } else {
        ("deleting", "its row is gone")
    };
    stack.tell(kind, text.to_owned()).await;
    Ok(Outcome::Started)
}

async fn is_cancellable(stack: &LiveStack) -> bool {
    let Some(record) = stack.record().await else { return false };
    match record.ongoing {
        Some(Ongoing::Create { moved, .. } | Ongoing::Update { moved, .. }) => {
            !moved && !stack.has_admitted(&record)
        }
        Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => false,
    }
}
