//! A stack that this platform has in hand: its record, its scene, and the tasks of its operation
//! and of those who care for its instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rowhouse_core::{AppName, Observed, Plan, Target, Unreachable};
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::instance::{Instance, InstanceId, Place, State, StateListener};
use crate::machine::Machine;
use crate::pause::Pause;
use crate::process::port::Reservation;
use crate::stack::failure::Failure;
use crate::stack::scene::{Published, PutOff, Scene};
use crate::stack::{Condition, Ongoing, StackRecord, translate};

const FIRST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_mins(1);

/// A stack in hand.
#[derive(Debug)]
pub(crate) struct LiveStack {
    pub(crate) name: AppName,
    pub(crate) machine: Arc<Machine>,
    /// Whoever performs an operation on the stack holds this while it begins.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// As the journal has it. `None`: there is no stack.
    record: tokio::sync::Mutex<Option<StackRecord>>,
    scene: Published,
    /// The task of the operation that is under way.
    task: Mutex<Option<AbortOnDropHandle<()>>>,
    /// The tasks of those who care for instances.
    watches: Mutex<BTreeMap<InstanceId, AbortOnDropHandle<()>>>,
    /// Builds and releases: each ends what it has started before it ends, also when nobody waits
    /// for it.
    jobs: TaskTracker,
}

impl StateListener for LiveStack {
    fn state_changed(&self, instance: &Instance) {
        let (id, state) = (instance.id(), instance.state());
        tracing::debug!(app = %self.name, instance = %id, ?state, "an instance changed");
        self.change_scene(|_| ());
        self.machine.ring(&self.name);
    }
}

impl LiveStack {
    pub(crate) fn new(
        machine: Arc<Machine>,
        name: AppName,
        record: Option<StackRecord>,
    ) -> LiveStack {
        LiveStack {
            scene: Published::new(name.as_str().to_owned(), Arc::clone(&machine.routes)),
            name,
            machine,
            turn: tokio::sync::Mutex::new(()),
            record: tokio::sync::Mutex::new(record),
            task: Mutex::default(),
            watches: Mutex::default(),
            jobs: TaskTracker::new(),
        }
    }

    /// The record as it is now.
    pub(crate) async fn record(&self) -> Option<StackRecord> {
        self.record.lock().await.clone()
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
        change: impl FnOnce(&mut StackRecord),
    ) -> Result<(), Unreachable> {
        let mut record = self.record.lock().await;
        let Some(mut changed) = record.clone() else { return Ok(()) };
        change(&mut changed);
        self.write(&changed).await?;
        *record = Some(changed);
        Ok(())
    }

    /// Begins the record of a new stack, and lets the proxy know that there is one, though nobody
    /// answers yet.
    pub(crate) async fn create(&self, fresh: StackRecord) -> Result<(), Unreachable> {
        let mut record = self.record.lock().await;
        self.write(&fresh).await?;
        *record = Some(fresh);
        self.change_scene(|scene| scene.is_known = true);
        Ok(())
    }

    /// Forgets the stack, which the proxy does not know any more either.
    pub(crate) async fn forget(&self) -> Result<(), Unreachable> {
        let mut record = self.record.lock().await;
        self.machine.failpoint("before journal");
        self.machine.failing_journal()?;
        self.machine.journal.remove(&self.name).await?;
        self.machine.failpoint("after journal");
        *record = None;
        self.change_scene(Scene::clear);
        Ok(())
    }

    async fn write(&self, record: &StackRecord) -> Result<(), Unreachable> {
        self.machine.failpoint("before journal");
        self.machine.failing_journal()?;
        self.machine.journal.write(record).await?;
        self.machine.failpoint("after journal");
        Ok(())
    }

    /// Tells people what happened to the app.
    pub(crate) async fn tell(&self, kind: &'static str, text: String) {
        self.machine.journal.tell(&self.name, kind, text).await;
    }

    /// The stack in the reactor's words.
    pub(crate) async fn observe(&self) -> Observed {
        let record = self.record.lock().await;
        match &*record {
            None => Observed::Missing,
            Some(record) => {
                let wanted = record.running.as_ref().map_or(0, |plan| plan.app.scale);
                let url = self.machine.url(&self.name);
                let condition = self.look(|scene| scene.condition(url, wanted));
                let has_admitted = self.has_admitted(record);
                translate(record, Condition { has_admitted, ..condition })
            }
        }
    }

    /// An instance of this app, in the folder of its name. Who it is stands in the journal already.
    pub(crate) fn instance_at(self: &Arc<Self>, id: InstanceId, port: Reservation) -> Instance {
        let place = Place {
            folder: self.machine.folder.instances(&self.name).join(&id.0),
            log: self.machine.folder.logs(&self.name).join(format!("{id}.log")),
            host: self.machine.host(&self.name),
        };
        let listener: Weak<LiveStack> = Arc::downgrade(self);
        Instance::new(id, place, port, listener)
    }

    pub(crate) fn instance(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.look(|scene| scene.instances.get(id).cloned())
    }

    /// Every instance in hand.
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        self.look(|scene| scene.instances.values().cloned().collect())
    }

    /// Looks at the scene; see [`Published::look`].
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Scene) -> T) -> T {
        self.scene.look(look)
    }

    /// Changes the scene and the route with it; see [`Published::change`].
    pub(crate) fn change_scene<T>(&self, change: impl FnOnce(&mut Scene) -> T) -> T {
        self.scene.change(change)
    }

    /// Lets these instances, and no others, receive the requests of a plan that asks for `scale` of
    /// them. `note` is what a reader of `deployed` should know of it.
    pub(crate) fn move_traffic(&self, ids: BTreeSet<InstanceId>, scale: u32, note: Option<String>) {
        self.change_scene(|scene| {
            (scene.traffic, scene.scale, scene.note) = (ids, Some(scale), note);
        });
    }

    /// Lets instances on trial receive requests if they are all healthy and nobody else serves;
    /// says whether they do now.
    pub(crate) async fn admit(&self) -> bool {
        let record = self.record.lock().await;
        let Some(record) = record.as_ref() else { return false };
        if record.has_moved() {
            return false;
        }
        let scale = match &record.ongoing {
            Some(Ongoing::Create { plan, .. } | Ongoing::Update { plan, .. }) => plan.app.scale,
            Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => return false,
        };
        let fresh: BTreeSet<&InstanceId> = record
            .instances
            .iter()
            .filter(|known| record.is_on_trial(known))
            .map(|known| &known.id)
            .collect();
        let digest = record.instances.iter().find(|known| fresh.contains(&known.id));
        let alike: BTreeSet<InstanceId> = record
            .instances
            .iter()
            .filter(|known| digest.is_some_and(|fresh| fresh.digest == known.digest))
            .map(|known| known.id.clone())
            .collect();
        let is_whole = alike.len() >= usize::try_from(scale).unwrap_or(usize::MAX);
        self.change_scene(|scene| {
            let is_healthy =
                |id: &InstanceId| scene.instances.get(id).is_some_and(|it| it.is_healthy());
            // Who was adopted and not asked yet may well serve.
            let serves = |id: &InstanceId| {
                let state = scene.instances.get(id).map(|it| it.state());
                matches!(state, Some(State::Healthy | State::Starting))
            };
            let is_served = scene.traffic.iter().any(|id| !fresh.contains(id) && serves(id));
            let admits = is_whole && !is_served && fresh.iter().all(|id| is_healthy(id));
            if admits {
                (scene.traffic, scene.scale) = (alike, Some(scale));
            }
            admits
        })
    }

    /// Whether instances on trial receive requests.
    pub(crate) fn has_admitted(&self, record: &StackRecord) -> bool {
        self.look(|scene| {
            record
                .instances
                .iter()
                .any(|known| record.is_on_trial(known) && scene.traffic.contains(&known.id))
        })
    }

    /// Puts the target off after a failure of our own, longer each time.
    pub(crate) fn put_off(&self, target: &Target, reason: &str) -> Duration {
        self.look(|scene| {
            let mut pause = match scene.put_off.take() {
                Some(before) if before.target == *target => before.pause,
                Some(_) | None => Pause::new(FIRST_HOLD, LONGEST_HOLD),
            };
            let due = pause.due();
            scene.put_off = Some(PutOff {
                target: target.clone(),
                until: Moment::now() + due,
                reason: reason.to_owned(),
                pause,
            });
            due
        })
    }

    /// Why this target must wait, if it must.
    pub(crate) fn held(&self, target: &Target) -> Option<String> {
        self.look(|scene| {
            let put_off = scene.put_off.as_ref();
            put_off
                .filter(|put_off| put_off.target == *target && Moment::now() < put_off.until)
                .map(|put_off| put_off.reason.clone())
        })
    }

    /// Whether this is why an operation was put off last.
    pub(crate) fn is_put_off_for(&self, reason: &str) -> bool {
        self.look(|scene| scene.put_off.as_ref().is_some_and(|put_off| put_off.reason == reason))
    }

    /// Does work that starts processes. When the future is dropped, `stop` tells the work to end
    /// them.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        stop: CancellationToken,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let _stop = stop.drop_guard();
        let done = self.jobs.spawn(work).await;
        done.map_err(|error| Failure::Ours(format!("a job ended without an answer: {error}")))
    }

    /// Gives an operation the stack's one task, as soon as the one before it has told its end.
    pub(crate) fn occupy(&self, operation: impl Future<Output = ()> + Send + 'static) {
        let mut task = self.task.lock();
        let before = task.take();
        *task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(before) = before {
                // If it panicked, the record still says how to go on.
                let _ = before.await;
            }
            operation.await;
        })));
    }

    /// Ends the task of the stack's operation, wherever it is; the record says how to go on.
    pub(crate) async fn end_task(&self) {
        let task = self.task.lock().take();
        end(task).await;
        // Nothing that it had started writes into what comes next.
        self.jobs.close();
        self.jobs.wait().await;
        self.jobs.reopen();
    }

    /// Has an instance looked after by `care` from now on, unless somebody does already.
    pub(crate) fn look_after(
        &self,
        id: &InstanceId,
        care: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut watches = self.watches.lock();
        if watches.get(id).is_none_or(AbortOnDropHandle::is_finished) {
            watches.insert(id.clone(), AbortOnDropHandle::new(tokio::spawn(care)));
        }
    }

    /// From now on nobody looks after this instance, or starts it again.
    pub(crate) async fn let_alone(&self, id: &InstanceId) {
        let watch = self.watches.lock().remove(id);
        end(watch).await;
    }

    /// From now on nobody looks after any instance.
    pub(crate) async fn let_all_alone(&self) {
        let watches = std::mem::take(&mut *self.watches.lock());
        for watch in watches.into_values() {
            end(Some(watch)).await;
        }
    }
}

/// Ends a task, and waits until nothing of it is left.
async fn end(task: Option<AbortOnDropHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        // Cancelled is what it was meant to be.
        let _ = task.await;
    }
}
