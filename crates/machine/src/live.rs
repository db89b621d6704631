//! A stack that this platform has in hand: its record, its instances, and the task of its operation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rowhouse_core::{AppName, Observed, Plan, Target, Unreachable};
use tokio::task::JoinHandle;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::instance::{Instance, State};
use crate::machine::Machine;
use crate::proxy::{Upstream, Vacancy};
use crate::stack::{Condition, InstanceId, Ongoing, StackRecord, translate};

const FIRST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_mins(1);

/// An operation that failed for our own reasons, put off for a while.
#[derive(Clone, Debug)]
struct Hold {
    target: Target,
    until: Moment,
    pause: Duration,
    reason: String,
}

/// A stack in hand.
#[derive(Debug)]
pub(crate) struct LiveStack {
    pub(crate) name: AppName,
    /// Whoever performs an operation on the stack holds this while it begins.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// As the journal has it. `None`: there is no stack.
    record: tokio::sync::Mutex<Option<StackRecord>>,
    pub(crate) instances: Mutex<BTreeMap<InstanceId, Arc<Instance>>>,
    /// The instances that may receive requests when they are healthy.
    traffic: Mutex<BTreeSet<InstanceId>>,
    /// How many instances the plan that serves asks for. `None`: nothing has ever come up.
    scale: Mutex<Option<u32>>,
    pub(crate) task: Mutex<Option<JoinHandle<()>>>,
    /// Builds and releases: each ends what it has started before it ends, also when nobody waits for it.
    jobs: TaskTracker,
    hold: Mutex<Option<Hold>>,
    /// What a reader of `deployed` should know beside the instances.
    note: Mutex<Option<String>>,
}

impl LiveStack {
    pub(crate) fn new(name: AppName, record: Option<StackRecord>) -> LiveStack {
        LiveStack {
            name,
            turn: tokio::sync::Mutex::new(()),
            record: tokio::sync::Mutex::new(record),
            instances: Mutex::default(),
            traffic: Mutex::default(),
            scale: Mutex::default(),
            task: Mutex::default(),
            jobs: TaskTracker::new(),
            hold: Mutex::default(),
            note: Mutex::default(),
        }
    }

    /// The record as it is now.
    pub(crate) async fn record(&self) -> Option<StackRecord> {
        self.record.lock().await.clone()
    }

    /// Does work that starts processes. When the future is dropped, `stop` tells the work to end them.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        stop: CancellationToken,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let _stop = stop.drop_guard();
        let done = self.jobs.spawn(work).await;
        done.map_err(|error| Failure::Ours(format!("a job ended without an answer: {error}")))
    }

    /// Ends the task of the stack's operation, wherever it is; the record says how to go on.
    pub(crate) async fn end_task(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.abort();
            // Cancelled is what it was meant to be.
            let _ = task.await;
        }
        // Nothing that it had started writes into what comes next.
        self.jobs.close();
        self.jobs.wait().await;
        self.jobs.reopen();
    }

    /// What requests are sent to: the plan that traffic has moved to, else what runs.
    pub(crate) async fn serving_plan(&self) -> Option<Plan> {
        let record = self.record.lock().await;
        let record = record.as_ref()?;
        match &record.ongoing {
            Some(Ongoing::Create { plan, moved: true } | Ongoing::Update { plan, moved: true }) => {
                Some((**plan).clone())
            }
            Some(
                Ongoing::Create { .. }
                | Ongoing::Update { .. }
                | Ongoing::RollBack { .. }
                | Ongoing::Delete,
            )
            | None => record.running.as_deref().cloned(),
        }
    }

    /// Changes the record: first in the journal, then here.
    pub(crate) async fn change(
        &self,
        machine: &Machine,
        change: impl FnOnce(&mut StackRecord),
    ) -> Result<(), Unreachable> {
        let mut record = self.record.lock().await;
        let Some(mut changed) = record.clone() else { return Ok(()) };
        change(&mut changed);
        machine.failpoint("before journal");
        machine.failing_journal()?;
        machine.journal.write(&changed).await?;
        machine.failpoint("after journal");
        *record = Some(changed);
        Ok(())
    }

    /// Begins the record of a new stack.
    pub(crate) async fn create(
        &self,
        machine: &Machine,
        fresh: StackRecord,
    ) -> Result<(), Unreachable> {
        let mut record = self.record.lock().await;
        machine.failpoint("before journal");
        machine.failing_journal()?;
        machine.journal.write(&fresh).await?;
        machine.failpoint("after journal");
        *record = Some(fresh);
        Ok(())
    }

    /// Forgets the stack.
    pub(crate) async fn forget(&self, machine: &Machine) -> Result<(), Unreachable> {
        let mut record = self.record.lock().await;
        machine.failpoint("before journal");
        machine.failing_journal()?;
        machine.journal.remove(&self.name).await?;
        machine.failpoint("after journal");
        *record = None;
        self.traffic.lock().clear();
        *self.scale.lock() = None;
        *self.note.lock() = None;
        Ok(())
    }

    /// The stack in the reactor's words.
    pub(crate) async fn observe(&self, machine: &Machine) -> Observed {
        let record = self.record.lock().await;
        match &*record {
            None => Observed::Missing,
            Some(record) => {
                let wanted = record.running.as_ref().map_or(0, |plan| plan.app.scale);
                translate(record, self.condition(machine, wanted))
            }
        }
    }

    fn condition(&self, machine: &Machine, wanted: u32) -> Condition {
        let in_traffic = self.in_traffic();
        let healthy = in_traffic.iter().filter(|instance| instance.is_healthy()).count();
        let healthy = u32::try_from(healthy).unwrap_or(u32::MAX);
        let ailing = in_traffic.iter().find_map(|instance| match instance.state() {
            State::Unhealthy(why) | State::Down(why) => Some(why),
            State::Starting => Some(format!("{} is starting", instance.id())),
            State::Healthy => None,
        });
        let short = (healthy < wanted).then(|| {
            let why = ailing.map(|why| format!(": {why}")).unwrap_or_default();
            format!("{healthy} of {wanted} instances answer{why}")
        });
        let texts: Vec<String> = [short, self.note.lock().clone()].into_iter().flatten().collect();
        let trouble = (!texts.is_empty()).then(|| texts.join("; "));
        Condition { url: Some(machine.url(&self.name)), healthy, trouble }
    }

    fn in_traffic(&self) -> Vec<Arc<Instance>> {
        let traffic = self.traffic.lock();
        let instances = self.instances.lock();
        traffic.iter().filter_map(|id| instances.get(id)).cloned().collect()
    }

    pub(crate) fn instance(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.instances.lock().get(id).cloned()
    }

    pub(crate) fn set_note(&self, note: Option<String>) {
        *self.note.lock() = note;
    }

    /// Lets these instances, and no others, receive the requests of a plan that asks for `scale` of them.
    pub(crate) fn move_traffic(&self, machine: &Machine, ids: BTreeSet<InstanceId>, scale: u32) {
        *self.traffic.lock() = ids;
        *self.scale.lock() = Some(scale);
        self.publish(machine);
    }

    /// Tells the proxy where requests may go now.
    pub(crate) fn publish(&self, machine: &Machine) {
        let upstreams: Vec<Upstream> = self
            .in_traffic()
            .iter()
            .filter(|instance| instance.is_healthy())
            .map(|instance| instance.upstream())
            .collect();
        let name = self.name.as_str();
        let scale = *self.scale.lock();
        match scale {
            _ if !upstreams.is_empty() => machine.routes.set(name, upstreams),
            None => machine.routes.vacate(name, Vacancy::NeverUp),
            Some(0) => machine.routes.vacate(name, Vacancy::ScaledToZero),
            Some(_) => machine.routes.vacate(name, Vacancy::Unready),
        }
    }

    /// Puts the target off after a failure of our own, longer each time.
    pub(crate) fn hold(&self, target: &Target, reason: &str) -> Duration {
        let mut hold = self.hold.lock();
        let pause = match &*hold {
            Some(before) if before.target == *target => (before.pause * 2).min(LONGEST_HOLD),
            Some(_) | None => FIRST_HOLD,
        };
        *hold = Some(Hold {
            target: target.clone(),
            until: Moment::now() + pause,
            pause,
            reason: reason.to_owned(),
        });
        pause
    }

    /// Why this target must wait, if it must.
    pub(crate) fn held(&self, target: &Target) -> Option<String> {
        let hold = self.hold.lock();
        hold.as_ref()
            .filter(|hold| hold.target == *target && Moment::now() < hold.until)
            .map(|hold| hold.reason.clone())
    }

    /// Whether this is why an operation was put off last.
    pub(crate) fn is_put_off_for(&self, reason: &str) -> bool {
        self.hold.lock().as_ref().is_some_and(|hold| hold.reason == reason)
    }

    pub(crate) fn release_hold(&self) {
        *self.hold.lock() = None;
    }
}
