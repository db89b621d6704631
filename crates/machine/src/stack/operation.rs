//! Operations on stacks: each is carried on from wherever its record says, and comes to the same
//! end.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_core::{Attempt, Plan, Unreachable};
use tracing::warn;

use crate::pause::Pause;
use crate::stack::failure::Failure;
use crate::stack::live::LiveStack;
use crate::stack::retire::{delete, roll_back};
use crate::stack::rollout::Rollout;
use crate::stack::{Ongoing, StackRecord};

/// How long the journal is left alone when it cannot be written.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Carries the stack's operation on, from wherever its record says, to its end; then rings. The
/// task is the stack's.
pub(crate) fn spawn(stack: &Arc<LiveStack>) {
    let carried = Arc::clone(stack);
    stack.occupy(async move {
        // Many stacks may wait for the one journal.
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE).spread_by(&carried.name);
        while let Err(error) = carry_on(&carried).await {
            // The journal cannot be written: what is begun is neither given up nor believed to be
            // done.
            warn!(app = %carried.name, reason = %error, "an operation waits for the journal");
            tokio::time::sleep(pause.due()).await;
        }
        carried.machine.ring(&carried.name);
    });
}

async fn carry_on(stack: &Arc<LiveStack>) -> Result<(), Unreachable> {
    let Some(record) = stack.record().await else { return Ok(()) };
    match record.ongoing {
        None => Ok(()),
        Some(Ongoing::Create { plan, moved } | Ongoing::Update { plan, moved }) => {
            roll_out(stack, plan, moved).await
        }
        Some(Ongoing::RollBack { .. }) => roll_back(stack).await,
        Some(Ongoing::Delete) => delete(stack).await,
    }
}

async fn roll_out(stack: &Arc<LiveStack>, plan: Box<Plan>, moved: bool) -> Result<(), Unreachable> {
    let deployment = plan.deployment.clone();
    let rollout = Arc::new(Rollout::new(Arc::clone(stack), plan));
    let Err(failure) = rollout.run(moved).await else { return Ok(()) };
    // The old instances may be gone already: whatever went wrong, the new ones are what serves. So
    // they are where there were none, until it is their own fault.
    let serves = |record: &StackRecord| {
        let is_ours = matches!(failure, Failure::Ours(_));
        record.has_moved() || is_ours && stack.has_admitted(record)
    };
    if stack.record().await.as_ref().is_some_and(serves) {
        return Err(Unreachable { reason: failure.reason().to_owned() });
    }
    let failed = match failure {
        Failure::App(reason) => {
            stack.tell("failed", reason.clone()).await;
            Some(Attempt { target: deployment.target, commit: deployment.commit, reason })
        }
        Failure::Ours(reason) => {
            let pause = stack.put_off(&deployment.target, &reason);
            let text = format!("{reason}; trying again in {} s", pause.as_secs());
            stack.tell("put_off", text).await;
            None
        }
    };
    // The serial stays: what this operation has begun is what must be ended.
    stack.change(|record| record.ongoing = Some(Ongoing::RollBack { failed })).await?;
    roll_back(stack).await
}
