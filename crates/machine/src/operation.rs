//! Operations on stacks: how a plan becomes what runs, and the ways back. Each can be begun again from its
//! record at any point, and comes to the same end.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rowhouse_core::{Attempt, Plan, Unreachable};
use tokio::task::JoinSet;
use tracing::warn;

use crate::build::Built;
use crate::instance::{Instance, StartFailure, State, lock};
use crate::live::LiveStack;
use crate::machine::Machine;
use crate::platform::instances;
use crate::preparation::{not_run, release};
use crate::stack::{InstanceDigest, InstanceId, InstanceRecord, Ongoing};
use crate::tidy;

/// How many builds of an app stay ready for a rollback, the running one included.
const KEPT_BUILDS: usize = 5;
/// Draining that takes longer is told.
const MOMENT: Duration = Duration::from_secs(1);

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The app's fault: this target was tried.
    App(String),
    /// Ours, the machine's or the network's: it was not tried, and will be.
    Ours(String),
}

impl Failure {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Failure::App(reason) | Failure::Ours(reason) => reason,
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Failure {
        Failure::Ours(error.reason)
    }
}

/// Carries the stack's operation on, from wherever its record says, to its end; then rings.
pub(crate) fn spawn(machine: &Arc<Machine>, stack: &Arc<LiveStack>) {
    let (for_task, in_task) = (Arc::clone(stack), Arc::clone(machine));
    let task = tokio::spawn(async move {
        let mut pause = Duration::from_millis(100);
        while let Err(error) = carry_on(&in_task, &for_task).await {
            // The journal cannot be written: what is begun is neither given up nor believed to be done.
            warn!(app = %for_task.name, reason = %error, "an operation waits for the journal");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
        in_task.ring(&for_task.name);
    });
    *lock(&stack.task) = Some(task);
}

async fn carry_on(machine: &Arc<Machine>, stack: &Arc<LiveStack>) -> Result<(), Unreachable> {
    let Some(record) = stack.record().await else { return Ok(()) };
    match record.ongoing {
        None => Ok(()),
        Some(Ongoing::Create { plan, moved } | Ongoing::Update { plan, moved }) => {
            let failure = match converge(machine, stack, &plan, moved).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // The old instances may be gone already: whatever went wrong, the new ones are what serves.
            if stack.record().await.is_some_and(|record| record.has_moved()) {
                return Err(Unreachable { reason: failure.reason().to_owned() });
            }
            match failure {
                Failure::App(reason) => {
                    machine.journal.tell(&stack.name, "failed", reason.clone()).await;
                    let failed = Some(Attempt {
                        target: plan.deployment.target.clone(),
                        commit: plan.deployment.commit.clone(),
                        reason,
                    });
                    // The serial stays: what this operation has begun is what must be ended.
                    stack
                        .change(machine, |record| {
                            record.ongoing = Some(Ongoing::RollBack { failed });
                        })
                        .await?;
                    roll_back(machine, stack).await
                }
                Failure::Ours(reason) => {
                    let pause = stack.hold(&plan.deployment.target, &reason);
                    let text = format!("{reason}; trying again in {} s", pause.as_secs());
                    machine.journal.tell(&stack.name, "put_off", text).await;
                    stack
                        .change(machine, |record| {
                            record.ongoing = Some(Ongoing::RollBack { failed: None });
                        })
                        .await?;
                    roll_back(machine, stack).await
                }
            }
        }
        Some(Ongoing::RollBack { .. }) => roll_back(machine, stack).await,
        Some(Ongoing::Delete) => delete(machine, stack).await,
    }
}

/// Makes the plan what runs: build, release, new instances, health, traffic, and the end of the old ones.
async fn converge(
    machine: &Arc<Machine>,
    stack: &Arc<LiveStack>,
    plan: &Plan,
    moved: bool,
) -> Result<(), Failure> {
    let key = machine.build_request(plan).key();
    let built = match (plan.app.scale, moved) {
        // At scale 0 nothing runs, so nothing needs to be built either.
        (0, _) => None,
        (_, false) => Some(machine.built(stack, plan).await?),
        // What serves was made from it.
        (_, true) => machine.builds.finished(&key),
    };
    let digest = InstanceDigest::of(plan, &key);
    if !moved {
        if let Some(built) = &built {
            release(machine, stack, plan, built, &digest).await?;
            start_missing(machine, stack, plan, built, &digest).await?;
            ask_the_others(machine, stack, plan, &digest).await?;
        }
        stack
            .change(machine, |record| match &mut record.ongoing {
                Some(Ongoing::Create { moved, .. } | Ongoing::Update { moved, .. }) => {
                    *moved = true;
                }
                Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => {}
            })
            .await?;
    }
    // From here on there is no way back but forward.
    let keep = kept(stack, plan, &digest).await;
    stack.set_note(built.as_ref().and_then(not_run));
    stack.move_traffic(machine, keep.clone(), plan.app.scale);
    for id in &keep {
        if let Some(instance) = stack.instance(id) {
            instance.watch(machine, stack);
        }
    }
    let commit = plan.deployment.commit.short();
    let (kind, text) = match plan.app.scale {
        0 => ("scaled", "scaled to 0".to_owned()),
        _ => ("serving", format!("{commit} serves")),
    };
    machine.journal.tell(&stack.name, kind, text).await;
    retire_others(machine, stack, &keep).await?;
    stack
        .change(machine, |record| {
            if built.is_some() {
                record.builds.retain(|build| build != key.as_str());
                record.builds.insert(0, key.as_str().to_owned());
                record.builds.truncate(KEPT_BUILDS);
            }
            record.succeed(Box::new(plan.clone()));
        })
        .await?;
    stack.release_hold();
    tidy::logs(machine, stack);
    let in_the_background = Arc::clone(machine);
    tokio::spawn(async move { tidy::builds(&in_the_background).await });
    let text = format!("{} at {commit}", plan.app.version.as_str());
    machine.journal.tell(&stack.name, "deployed", text).await;
    Ok(())
}

/// Starts as many instances as are missing, and waits until every new one is healthy.
async fn start_missing(
    machine: &Arc<Machine>,
    stack: &Arc<LiveStack>,
    plan: &Plan,
    built: &Built,
    digest: &InstanceDigest,
) -> Result<(), Failure> {
    let Some(record) = stack.record().await else { return Ok(()) };
    let alike = record.instances.iter().filter(|instance| instance.digest == *digest).count();
    let missing = usize::try_from(plan.app.scale).unwrap_or(0).saturating_sub(alike);
    if missing > 0 {
        add(machine, stack, plan, digest, missing).await?;
    }
    let Some(record) = stack.record().await else { return Ok(()) };
    let mut starts = JoinSet::new();
    for begun in record.instances.iter().filter(|instance| {
        // Those of an earlier operation run already, and are somebody else's care.
        instance.digest == *digest && instance.born == record.serial
    }) {
        let Some(instance) = stack.instance(&begun.id) else { continue };
        let (machine, stack) = (Arc::clone(machine), Arc::clone(stack));
        let (plan, built) = (plan.clone(), built.clone());
        starts.spawn(async move { instance.come_up(&machine, &stack, &plan, &built).await });
    }
    if !starts.is_empty() {
        let text = format!("starting {}", instances(starts.len()));
        machine.journal.tell(&stack.name, "starting", text).await;
    }
    while let Some(start) = starts.join_next().await {
        match start {
            Ok(Ok(())) => {}
            Ok(Err(StartFailure::App(reason))) => return Err(machine.blame(reason)),
            Ok(Err(StartFailure::Ours(reason))) => return Err(Failure::Ours(reason)),
            Ok(Err(StartFailure::PortTaken)) => {
                return Err(Failure::Ours("its port was taken by another program".to_owned()));
            }
            Err(error) => return Err(Failure::Ours(format!("a start ended: {error}"))),
        }
    }
    Ok(())
}

/// Asks the instances that run already and will go on as the plan says, if it asks something new of them: a check
/// that they do not pass must not become theirs.
async fn ask_the_others(
    machine: &Arc<Machine>,
    stack: &Arc<LiveStack>,
    plan: &Plan,
    digest: &InstanceDigest,
) -> Result<(), Failure> {
    let Some(record) = stack.record().await else { return Ok(()) };
    if record.running.is_none_or(|running| running.app.health == plan.app.health) {
        return Ok(());
    }
    let mut asked = JoinSet::new();
    for id in kept(stack, plan, digest).await {
        let Some(instance) = stack.instance(&id) else { continue };
        let (machine, stack, plan) = (Arc::clone(machine), Arc::clone(stack), plan.clone());
        asked.spawn(async move { instance.answers(&machine, &stack, &plan).await });
    }
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(())) => {}
            Ok(Err(StartFailure::App(reason))) => return Err(Failure::App(reason)),
            Ok(Err(StartFailure::Ours(reason))) => return Err(Failure::Ours(reason)),
            Ok(Err(StartFailure::PortTaken)) | Err(_) => {
                return Err(Failure::Ours("an instance could not be asked".to_owned()));
            }
        }
    }
    Ok(())
}

/// Writes new instances into the journal, which reserves their ports, and takes them in hand.
async fn add(
    machine: &Arc<Machine>,
    stack: &Arc<LiveStack>,
    plan: &Plan,
    digest: &InstanceDigest,
    count: usize,
) -> Result<(), Failure> {
    for _ in 0..count {
        let port = machine.free_port().map_err(Failure::Ours)?;
        let mut added = None;
        stack
            .change(machine, |record| {
                record.started += 1;
                let commit = plan.deployment.commit.clone();
                let fresh = InstanceRecord {
                    id: InstanceId(format!("{}-{}", commit.short(), record.started)),
                    port,
                    digest: digest.clone(),
                    commit,
                    born: record.serial,
                };
                record.instances.push(fresh.clone());
                added = Some(fresh);
            })
            .await?;
        if let Some(fresh) = added {
            let instance = Arc::new(Instance::new(machine, stack, fresh));
            lock(&stack.instances).insert(instance.id().clone(), instance);
        }
    }
    Ok(())
}

/// Which instances the plan keeps: those alike, at most `Scale`, the healthy and the oldest first.
async fn kept(stack: &LiveStack, plan: &Plan, digest: &InstanceDigest) -> BTreeSet<InstanceId> {
    let Some(record) = stack.record().await else { return BTreeSet::new() };
    let mut alike: Vec<(bool, usize, InstanceId)> = record
        .instances
        .iter()
        .enumerate()
        .filter(|(_, instance)| instance.digest == *digest)
        .map(|(age, instance)| {
            let healthy = stack.instance(&instance.id).is_some_and(|known| known.is_healthy());
            (!healthy, age, instance.id.clone())
        })
        .collect();
    alike.sort();
    let scale = usize::try_from(plan.app.scale).unwrap_or(0);
    alike.into_iter().take(scale).map(|(_, _, id)| id).collect()
}

/// Drains and stops every instance that is not kept, side by side, and forgets it.
async fn retire_others(
    machine: &Arc<Machine>,
    stack: &Arc<LiveStack>,
    keep: &BTreeSet<InstanceId>,
) -> Result<(), Unreachable> {
    let others: Vec<Arc<Instance>> = lock(&stack.instances)
        .values()
        .filter(|instance| !keep.contains(instance.id()))
        .cloned()
        .collect();
    let mut retiring = JoinSet::new();
    for instance in others.iter().cloned() {
        let drain = machine.config.drain;
        retiring.spawn(async move {
            let cut = instance.retire(drain).await;
            (instance, cut)
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
                tell_draining(machine, stack, &others).await;
                continue;
            }
        };
        let Some(retired) = retired else { break };
        let Ok((instance, cut)) = retired else { continue };
        if cut > 0 {
            let text = format!(
                "{} had {cut} requests in flight after {} s of draining; they were cut",
                instance.id(),
                machine.config.drain.as_secs()
            );
            machine.journal.tell(&stack.name, "cut", text).await;
        }
        gone.insert(instance.id().clone());
        let folder = instance.folder().to_owned();
        // What is left of it is removed with the next tidying.
        let _ = tokio::fs::remove_dir_all(folder).await;
    }
    machine.failpoint("retired");
    stack
        .change(machine, |record| record.instances.retain(|known| keep.contains(&known.id)))
        .await?;
    lock(&stack.instances).retain(|id, _| !gone.contains(id));
    Ok(())
}

/// Says what the end of an operation waits for, when it takes its time.
async fn tell_draining(machine: &Arc<Machine>, stack: &LiveStack, retiring: &[Arc<Instance>]) {
    let busy = retiring.iter().filter(|instance| instance.upstream().in_flight() > 0).count();
    if busy > 0 {
        let limit = machine.config.drain.as_secs();
        let text =
            format!("draining {}: requests in flight may take up to {limit} s", instances(busy));
        machine.journal.tell(&stack.name, "draining", text).await;
    }
}

/// Goes back to what ran before; what never ran is left without an instance.
async fn roll_back(machine: &Arc<Machine>, stack: &Arc<LiveStack>) -> Result<(), Unreachable> {
    let Some(record) = stack.record().await else { return Ok(()) };
    let Some(Ongoing::RollBack { failed }) = record.ongoing.clone() else { return Ok(()) };
    let keep: BTreeSet<InstanceId> = record
        .instances
        .iter()
        .filter(|instance| instance.born != record.serial)
        .map(|instance| instance.id.clone())
        .collect();
    retire_others(machine, stack, &keep).await?;
    if record.running.is_none() && failed.is_none() {
        // A creation that was cancelled leaves nothing, so that it counts as nothing.
        stack.forget(machine).await?;
        machine.routes.remove(stack.name.as_str());
    } else {
        let kept_failure = failed.clone();
        stack.change(machine, |record| record.rolled_back(kept_failure)).await?;
        stack.publish(machine);
    }
    let text = match &record.running {
        Some(plan) => format!("{} serves on", plan.deployment.commit.short()),
        None => "nothing was running before".to_owned(),
    };
    machine.journal.tell(&stack.name, "rolled_back", text).await;
    Ok(())
}

/// Ends everything of the app but its data.
async fn delete(machine: &Arc<Machine>, stack: &Arc<LiveStack>) -> Result<(), Unreachable> {
    let has_only_failed = stack.record().await.is_some_and(|record| record.has_only_failed());
    machine.routes.remove(stack.name.as_str());
    retire_others(machine, stack, &BTreeSet::new()).await?;
    stack.forget(machine).await?;
    machine.routes.remove(stack.name.as_str());
    let _ = tokio::fs::remove_dir_all(machine.folder.instances(&stack.name)).await;
    let (kind, text) = if has_only_failed {
        ("removed", "removed what failed before")
    } else {
        ("deleted", "its processes and routes are gone")
    };
    machine.journal.tell(&stack.name, kind, text.to_owned()).await;
    Ok(())
}

/// Takes the instances of a record in hand again: those that run are adopted, the others are started again by
/// whoever cares for them.
pub(crate) async fn adopt(machine: &Arc<Machine>, stack: &Arc<LiveStack>) {
    let Some(record) = stack.record().await else { return };
    let mut adopted = 0;
    for known in &record.instances {
        let instance = Arc::new(Instance::new(machine, stack, known.clone()));
        match crate::supervised::Supervised::adopt(instance.folder()).await {
            Ok(crate::supervised::Adopted::Running(process)) => {
                instance.adopt(process);
                adopted += 1;
            }
            Ok(crate::supervised::Adopted::Ended(_) | crate::supervised::Adopted::NeverStarted) => {
            }
            Err(error) => warn!(app = %stack.name, reason = %error, "cannot look at an instance"),
        }
        lock(&stack.instances).insert(instance.id().clone(), instance);
    }
    if adopted > 0 {
        machine
            .journal
            .tell(&stack.name, "adopted", format!("adopted {adopted} running instances"))
            .await;
    }
    // Until an operation moves traffic, it goes where it went: to what ran.
    let moved = record.has_moved();
    let in_operation =
        |known: &&InstanceRecord| record.ongoing.is_some() && !moved && known.born == record.serial;
    let serving: BTreeSet<InstanceId> = record
        .instances
        .iter()
        .filter(|known| !in_operation(known))
        .map(|known| known.id.clone())
        .collect();
    let deleting = matches!(record.ongoing, Some(Ongoing::Delete));
    if !deleting {
        // Also an app that never came up is known, and not ready.
        stack.publish(machine);
    }
    if let Some(plan) = &record.running
        && !deleting
    {
        let key = machine.build_request(plan).key();
        stack.set_note(machine.builds.finished(&key).as_ref().and_then(not_run));
        stack.move_traffic(machine, serving.clone(), plan.app.scale);
        for id in &serving {
            if let Some(instance) = stack.instance(id) {
                instance.watch(machine, stack);
            }
        }
    }
    if record.ongoing.is_some() {
        spawn(machine, stack);
    }
}

/// Whether every instance that serves has been asked at least once since it was adopted.
pub(crate) fn is_settled(stack: &LiveStack) -> bool {
    lock(&stack.instances).values().all(|instance| instance.state() != State::Starting)
}
