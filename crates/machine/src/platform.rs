//! The platform port on this machine: observes stacks in hand, and starts operations on them.

use std::fmt;
use std::sync::Arc;

use rowhouse_core::{
    AppName, Base, Observed, Operation, Outcome, Plan, Platform, Repository, Resolution, Settings,
    SettingsDigest, Unreachable, Version,
};

use crate::git_error::GitError;
use crate::instance::lock;
use crate::live::LiveStack;
use crate::machine::Machine;
use crate::mirror::Resolved;
use crate::operation;
use crate::stack::{Ongoing, StackRecord};
use crate::supply::Supply;

/// What instances are made from here, apart from the row. Change it when the way they are run changes.
const TEMPLATE: &str = "machine-1";

/// This machine, as the reactor sees it.
#[derive(Clone, Debug)]
pub(crate) struct MachinePlatform {
    machine: Arc<Machine>,
}

impl MachinePlatform {
    pub(crate) fn new(machine: Arc<Machine>) -> MachinePlatform {
        MachinePlatform { machine }
    }
}

impl Platform for MachinePlatform {
    fn settings(&self) -> Settings {
        settings(&self.machine.config)
    }

    async fn observe(&self, name: &AppName) -> Result<Observed, Unreachable> {
        Ok(self.machine.stack(name).observe(&self.machine).await)
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
        let stack = self.machine.stack(name);
        let _turn = stack.turn.lock().await;
        let record = stack.record().await;
        if record.as_ref().map(StackRecord::base) != base {
            return Outcome::Busy;
        }
        let performed = match operation {
            Operation::Create(plan) => self.create(&stack, record, plan).await,
            Operation::Update(plan) => self.update(&stack, record, plan).await,
            Operation::Cancel => self.cancel(&stack).await,
            Operation::Delete { retain: _ } => self.delete(&stack, record).await,
            // A rollback here cannot fail for good, so none is ever continued.
            Operation::ContinueRollback => Ok(Outcome::Busy),
        };
        performed.unwrap_or_else(|error| Outcome::Unreachable { reason: error.reason })
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        let mut stacks = Vec::new();
        for stack in self.machine.all_stacks() {
            let observed = stack.observe(&self.machine).await;
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
        let text = format!("{} with {}", plan.app.version.as_str(), instances(plan.app.scale));
        let ongoing = Ongoing::Create { plan, moved: false };
        stack.create(&self.machine, StackRecord::new(stack.name.clone(), id, ongoing)).await?;
        // Known from now on, though nobody answers yet.
        stack.publish(&self.machine);
        self.machine.journal.tell(&stack.name, "creating", text).await;
        operation::spawn(&self.machine, stack);
        Ok(Outcome::Started)
    }

    async fn update(
        &self,
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
        let text = format!("{} with {}", plan.app.version.as_str(), instances(plan.app.scale));
        let ongoing = Ongoing::Update { plan, moved: false };
        stack.change(&self.machine, |record| record.begin(ongoing)).await?;
        self.machine.journal.tell(&stack.name, "updating", text).await;
        operation::spawn(&self.machine, stack);
        Ok(Outcome::Started)
    }

    async fn cancel(&self, stack: &Arc<LiveStack>) -> Result<Outcome, Unreachable> {
        if !is_cancellable(stack.record().await.as_ref()) {
            return Ok(Outcome::Busy);
        }
        end_task(stack).await;
        // It may have come to its end, or past the point of return, in the meantime.
        if !is_cancellable(stack.record().await.as_ref()) {
            operation::spawn(&self.machine, stack);
            return Ok(Outcome::Busy);
        }
        // The serial stays, so that the rollback ends what this operation has begun.
        let written = stack
            .change(&self.machine, |record| {
                record.ongoing = Some(Ongoing::RollBack { failed: None });
            })
            .await;
        // Also where the journal cannot be written: then what was cancelled goes on.
        operation::spawn(&self.machine, stack);
        written?;
        self.machine
            .journal
            .tell(&stack.name, "cancelled", "a newer wish goes first".to_owned())
            .await;
        Ok(Outcome::Started)
    }

    async fn delete(
        &self,
        stack: &Arc<LiveStack>,
        record: Option<StackRecord>,
    ) -> Result<Outcome, Unreachable> {
        let Some(record) = record else { return Ok(Outcome::Busy) };
        end_task(stack).await;
        let written = stack.change(&self.machine, |record| record.begin(Ongoing::Delete)).await;
        operation::spawn(&self.machine, stack);
        written?;
        // What runs is deleted for one reason alone; what never came up also makes way for another try.
        let (kind, text) = if record.has_only_failed() {
            ("removing", "removing what failed before")
        } else {
            ("deleting", "its row is gone")
        };
        self.machine.journal.tell(&stack.name, kind, text.to_owned()).await;
        Ok(Outcome::Started)
    }
}

/// What instances are made from under this configuration, and the defaults and limits of rows.
pub(crate) fn settings(config: &crate::up::Config) -> Settings {
    Settings {
        digest: SettingsDigest::of(TEMPLATE),
        repository: config.repository.clone(),
        path: config.path.clone(),
        max_scale: config.max_scale,
        local_repositories: true,
    }
}

/// A number of instances, in words.
pub(crate) fn instances<N: fmt::Display + Copy + PartialEq + From<u8>>(count: N) -> String {
    if count == N::from(1) { "1 instance".to_owned() } else { format!("{count} instances") }
}

fn is_cancellable(record: Option<&StackRecord>) -> bool {
    match record.and_then(|record| record.ongoing.as_ref()) {
        Some(Ongoing::Create { moved, .. } | Ongoing::Update { moved, .. }) => !moved,
        Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => false,
    }
}

/// Ends the task of the stack's operation, wherever it is; the record says how to go on.
pub(crate) async fn end_task(stack: &LiveStack) {
    let task = lock(&stack.task).take();
    if let Some(task) = task {
        task.abort();
        // Cancelled is what it was meant to be.
        let _ = task.await;
    }
    // Nothing that it had started writes into what comes next.
    stack.jobs_ended().await;
}
