//! Adoption: what an earlier platform has left running is taken in hand again by its record,
//! without a restart.

use std::collections::BTreeSet;
use std::sync::Arc;

use rowhouse_core::{Plan, counted};
use tracing::warn;

use crate::instance::{InstanceId, State};
use crate::process::supervised::{Adopted, Supervised};
use crate::stack::live::LiveStack;
use crate::stack::operation;
use crate::stack::preparation::not_run;
use crate::stack::{InstanceRecord, Ongoing, StackRecord};

/// Takes the instances of a record in hand again, and sends requests where they went. Nothing is
/// begun, written or started: whoever cares for them does that later.
pub(crate) async fn adopt(stack: &Arc<LiveStack>) {
    let Some(record) = stack.record().await else { return };
    take_in_hand(stack, &record).await;
    if !matches!(record.ongoing, Some(Ongoing::Delete)) {
        // Also an app that never came up is known, and not ready.
        stack.change_scene(|scene| scene.is_known = true);
        if let Some(plan) = &record.running {
            serve(stack, &record, plan);
        }
    }
}

/// Has everybody who serves looked after, and the operation that is under way carried on.
pub(crate) async fn carry_on(stack: &Arc<LiveStack>) {
    let Some(record) = stack.record().await else { return };
    let traffic = stack.look(|scene| scene.traffic.clone());
    // Who is on trial is the operation's to look after.
    let is_settled =
        |known: &&InstanceRecord| traffic.contains(&known.id) && !record.is_on_trial(known);
    for instance in record.instances.iter().filter(is_settled) {
        if let Some(instance) = stack.instance(&instance.id) {
            stack.watch(&instance);
        }
    }
    if record.ongoing.is_some() {
        operation::spawn(stack);
    }
}

/// Tells people how many instances were taken in hand again.
pub(crate) async fn tell(stack: &LiveStack) {
    let adopted = stack.instances().iter().filter(|instance| instance.is_running()).count();
    if adopted > 0 {
        stack.tell("adopted", format!("adopted {}", counted(adopted, "running instance"))).await;
    }
}

/// Takes every instance in hand, on the port that the journal says.
async fn take_in_hand(stack: &Arc<LiveStack>, record: &StackRecord) {
    for known in &record.instances {
        let port = stack.machine.ports.keep(known.port);
        let instance = Arc::new(stack.instance_at(known.id.clone(), port));
        match Supervised::adopt(instance.folder()).await {
            Ok(Adopted::Running(process)) => {
                instance.adopt(process);
            }
            Ok(Adopted::Ended(_) | Adopted::NeverStarted) => {}
            Err(error) => warn!(app = %stack.name, reason = %error, "cannot look at an instance"),
        }
        stack.change_scene(|scene| scene.instances.insert(known.id.clone(), instance));
    }
}

/// Until an operation moves traffic, it goes where it went: to what ran.
fn serve(stack: &Arc<LiveStack>, record: &StackRecord, plan: &Plan) {
    let serving: BTreeSet<InstanceId> = record
        .instances
        .iter()
        .filter(|known| !record.is_on_trial(known))
        .map(|known| known.id.clone())
        .collect();
    let id = stack.machine.build_request(plan).id();
    let built = stack.machine.builds.finished(&id);
    let note = built.as_ref().and_then(|built| not_run(built, plan));
    stack.move_traffic(serving, plan.app.scale, note);
}

/// Whether every instance that serves has been asked at least once since it was adopted.
pub(crate) fn is_settled(stack: &LiveStack) -> bool {
    stack.instances().iter().all(|instance| instance.state() != State::Starting)
}
