//! The ways back: instances that are drained and stopped, rollbacks, deletions. Each can be begun
//! again at any point, and comes to the same end.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rowhouse_core::{Unreachable, counted};
use tokio::task::JoinSet;

use crate::instance::{Instance, InstanceId};
use crate::room::remove;
use crate::stack::Ongoing;
use crate::stack::live::LiveStack;

/// Draining that takes longer is told.
const MOMENT: Duration = Duration::from_secs(1);

/// Drains and stops every instance that is not kept, side by side, and forgets it. None of them may
/// be in the route.
pub(crate) async fn retire_others(
    stack: &Arc<LiveStack>,
    keep: &BTreeSet<InstanceId>,
) -> Result<(), Unreachable> {
    let mut others = stack.instances();
    others.retain(|instance| !keep.contains(instance.id()));
    let mut retiring = JoinSet::new();
    for instance in &others {
        let (stack, instance) = (Arc::clone(stack), Arc::clone(instance));
        retiring.spawn(async move {
            retire(&stack, &instance).await;
            instance.id().clone()
        });
    }
    let mut gone = BTreeSet::new();
    let mut moment = pin!(tokio::time::sleep(MOMENT));
    let mut is_long = false;
    loop {
        let retired = tokio::select! {
            retired = retiring.join_next() => retired,
            () = &mut moment, if !is_long => {
                is_long = true;
                tell_draining(stack, &others).await;
                continue;
            }
        };
        let Some(retired) = retired else { break };
        gone.extend(retired);
    }
    stack.machine.failpoint("retired");
    stack.change(|record| record.instances.retain(|known| keep.contains(&known.id))).await?;
    stack.change_scene(|scene| scene.instances.retain(|id, _| !gone.contains(id)));
    Ok(())
}

/// Ends an instance for good, and removes its folder.
async fn retire(stack: &LiveStack, instance: &Instance) {
    stack.let_alone(instance.id()).await;
    let drain = stack.machine.config.drain;
    let cut = instance.retire(drain, stack.machine.alone.cancelled()).await;
    if cut > 0 {
        let text = format!(
            "{} cut {} that had no end after {} s of draining",
            instance.id(),
            counted(cut, "request"),
            drain.as_secs()
        );
        stack.tell("cut", text).await;
    }
    // What is left of it is removed with the next tidying.
    let _ = remove(instance.folder().to_owned()).await;
}

/// Says what the end of an operation waits for, when it takes its time.
async fn tell_draining(stack: &LiveStack, retiring: &[Arc<Instance>]) {
    let busy = retiring.iter().filter(|instance| instance.upstream().in_flight() > 0).count();
    if busy > 0 {
        let limit = stack.machine.config.drain.as_secs();
        let text = format!(
            "draining {}: requests in flight may take up to {limit} s",
            counted(busy, "instance")
        );
        stack.tell("draining", text).await;
    }
}

/// Goes back to what ran before; what never ran is left without an instance.
pub(crate) async fn roll_back(stack: &Arc<LiveStack>) -> Result<(), Unreachable> {
    let Some(record) = stack.record().await else { return Ok(()) };
    let Some(Ongoing::RollBack { failed }) = record.ongoing.clone() else { return Ok(()) };
    let keep: BTreeSet<InstanceId> = record
        .instances
        .iter()
        .filter(|instance| instance.born != record.serial)
        .map(|instance| instance.id.clone())
        .collect();
    if stack.has_admitted(&record) {
        stack.change_scene(|scene| {
            let scale = record.running.as_ref().map(|plan| plan.app.scale);
            (scene.traffic, scene.scale) = (keep.clone(), scale);
        });
    }
    retire_others(stack, &keep).await?;
    if record.running.is_none() && failed.is_none() {
        // A creation that was cancelled leaves nothing, so that it counts as nothing.
        stack.forget().await?;
    } else {
        stack.change(|record| record.rolled_back(failed)).await?;
    }
    let text = match &record.running {
        Some(plan) => format!("{} serves on", plan.deployment.commit.short()),
        None => "nothing was running before".to_owned(),
    };
    stack.tell("rolled_back", text).await;
    Ok(())
}

/// Ends everything of the app but its data.
pub(crate) async fn delete(stack: &Arc<LiveStack>) -> Result<(), Unreachable> {
    let has_only_failed = stack.record().await.is_some_and(|record| record.has_only_failed());
    stack.change_scene(|scene| scene.is_known = false);
    retire_others(stack, &BTreeSet::new()).await?;
    stack.forget().await?;
    let _ = remove(stack.machine.folder.instances(&stack.name)).await;
    let (kind, text) = if has_only_failed {
        ("removed", "removed what failed before")
    } else {
        ("deleted", "its processes and routes are gone")
    };
    stack.tell(kind, text.to_owned()).await;
    Ok(())
}
