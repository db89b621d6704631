//! One instance of an app: a supervised process on a port of its own, watched, restarted with back-off, and
//! offered to the proxy while it is healthy.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rowhouse_core::Plan;
use tokio::task::JoinHandle;
use tokio::time::{Instant as Moment, sleep, timeout};

use crate::build::Built;
use crate::health::{self, Answer, Check, Outcome};
use crate::live::LiveStack;
use crate::log::last_words;
use crate::machine::Machine;
use crate::proxy::Upstream;
use crate::stack::{InstanceId, InstanceRecord};
use crate::supervised::{End, Supervised};

/// How often a healthy instance is asked.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// So many unanswered probes in a row take an instance out of the rotation …
const UNHEALTHY_AFTER: u32 = 3;
/// … and so many restart it.
const RESTARTED_AFTER: u32 = 12;
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// An instance that was up for this long has earned a fresh back-off.
const PROVEN_AFTER: Duration = Duration::from_mins(1);
/// How many ports are tried when somebody else listens on them.
const PORTS_TRIED: u32 = 5;

/// How an instance does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, and has not answered yet.
    Starting,
    Healthy,
    /// It runs, and does not answer any more.
    Unhealthy(String),
    /// It does not run; the text says why, and when it is started again.
    Down(String),
}

/// An instance of an app.
#[derive(Debug)]
pub(crate) struct Instance {
    id: InstanceId,
    folder: PathBuf,
    record: Mutex<InstanceRecord>,
    state: Mutex<State>,
    upstream: Mutex<Upstream>,
    process: Mutex<Option<Arc<Supervised>>>,
    /// The task that watches it; it ends with the instance.
    watch: Mutex<Option<JoinHandle<()>>>,
}

fn upstream(record: &InstanceRecord) -> Upstream {
    Upstream::new(record.id.0.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, record.port)))
}

/// Why an instance did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// The app's fault: the reason, with its last words.
    App(String),
    /// Ours, or the machine's: worth another try.
    Ours(String),
    /// Somebody else listens on the port.
    PortTaken,
}

impl Instance {
    pub(crate) fn new(machine: &Machine, stack: &LiveStack, record: InstanceRecord) -> Instance {
        Instance {
            id: record.id.clone(),
            folder: machine.folder.instances(&stack.name).join(&record.id.0),
            upstream: Mutex::new(upstream(&record)),
            record: Mutex::new(record),
            state: Mutex::new(State::Starting),
            process: Mutex::new(None),
            watch: Mutex::new(None),
        }
    }

    pub(crate) fn id(&self) -> &InstanceId {
        &self.id
    }

    pub(crate) fn record(&self) -> InstanceRecord {
        self.record.lock().clone()
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub(crate) fn is_healthy(&self) -> bool {
        *self.state.lock() == State::Healthy
    }

    /// What the proxy sends requests to.
    pub(crate) fn upstream(&self) -> Upstream {
        self.upstream.lock().clone()
    }

    /// Where its output goes; the same file over restarts.
    pub(crate) fn log(&self, machine: &Machine, stack: &LiveStack) -> PathBuf {
        machine.folder.logs(&stack.name).join(format!("{}.log", self.id))
    }

    /// Takes over a process that outlived the platform.
    pub(crate) fn adopt(&self, process: Supervised) {
        *self.process.lock() = Some(Arc::new(process));
    }

    /// Whether its process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process().is_some_and(|process| process.is_running())
    }

    fn process(&self) -> Option<Arc<Supervised>> {
        self.process.lock().clone()
    }

    /// Moves to another port, for whoever listens on this one is not ours.
    fn moved_to(&self, port: u16) {
        let mut record = self.record.lock();
        record.port = port;
        *self.upstream.lock() = upstream(&record);
    }

    fn set(&self, machine: &Machine, stack: &LiveStack, state: State) {
        let changed = {
            let mut now = self.state.lock();
            let changed = *now != state;
            *now = state;
            changed
        };
        if changed {
            stack.publish(machine);
            machine.ring(&stack.name);
        }
    }

    /// Starts its process, unless one runs, and waits until it is healthy. An end before that is an answer.
    pub(crate) async fn come_up(
        &self,
        machine: &Machine,
        stack: &LiveStack,
        plan: &Plan,
        built: &Built,
    ) -> Result<(), StartFailure> {
        for _ in 0..PORTS_TRIED {
            match self.try_to_come_up(machine, stack, plan, built).await {
                Err(StartFailure::PortTaken) => {
                    let old = self.record().port;
                    self.end_process().await;
                    let port = machine.free_port().map_err(StartFailure::Ours)?;
                    machine
                        .journal
                        .tell(
                            &stack.name,
                            "port",
                            format!("port {old} is taken, {} moves to {port}", self.id),
                        )
                        .await;
                    stack
                        .change(machine, |record| {
                            for known in &mut record.instances {
                                if known.id == self.id {
                                    known.port = port;
                                }
                            }
                        })
                        .await
                        .map_err(|error| StartFailure::Ours(error.reason))?;
                    self.moved_to(port);
                }
                answer => return answer,
            }
        }
        Err(StartFailure::Ours(format!("{PORTS_TRIED} ports were taken by other programs")))
    }

    async fn try_to_come_up(
        &self,
        machine: &Machine,
        stack: &LiveStack,
        plan: &Plan,
        built: &Built,
    ) -> Result<(), StartFailure> {
        let record = self.record();
        let process = match self.process() {
            Some(process) if process.is_running() => process,
            Some(_) | None => {
                let spec = machine
                    .instance_spec(&stack.name, plan, built, &record, self.log(machine, stack))
                    .map_err(|error| StartFailure::Ours(error.to_string()))?;
                let process = Supervised::start(&machine.config.program, &self.folder, &spec)
                    .map_err(|error| {
                        StartFailure::Ours(format!("cannot start a process: {error}"))
                    })?;
                let process = Arc::new(process);
                *self.process.lock() = Some(Arc::clone(&process));
                machine.failpoint("spawned");
                process
            }
        };
        let limit = Duration::from_secs(u64::from(plan.app.health_timeout));
        let check = check(plan);
        let host = machine.host(&stack.name);
        match health::wait_healthy(&process, record.port, &check, &host, limit).await {
            Outcome::Healthy => {
                self.set(machine, stack, State::Healthy);
                Ok(())
            }
            Outcome::PortTaken => Err(StartFailure::PortTaken),
            Outcome::Ended(end @ End::Lost) => {
                Err(StartFailure::Ours(format!("{} {end}", self.id)))
            }
            Outcome::Ended(End::NotStarted { reason }) => {
                Err(StartFailure::App(format!("{} could not be started: {reason}", self.id)))
            }
            Outcome::Ended(end) => {
                let words = self.last_words(machine, stack, &process);
                Err(StartFailure::App(format!("{} {end} before it was healthy{words}", self.id)))
            }
            Outcome::Deadline { last } => {
                let words = self.last_words(machine, stack, &process);
                let seconds = limit.as_secs();
                Err(StartFailure::App(format!(
                    "{} was not healthy within {seconds} s: {last}{words}",
                    self.id
                )))
            }
        }
    }

    /// Waits until it answers what the plan asks, while it serves; an instance that is down is not asked.
    pub(crate) async fn answers(
        &self,
        machine: &Machine,
        stack: &LiveStack,
        plan: &Plan,
    ) -> Result<(), StartFailure> {
        let Some(process) = self.process().filter(|_| self.is_healthy()) else { return Ok(()) };
        let limit = Duration::from_secs(u64::from(plan.app.health_timeout));
        let host = machine.host(&stack.name);
        let port = self.record().port;
        match health::wait_healthy(&process, port, &check(plan), &host, limit).await {
            Outcome::Healthy => Ok(()),
            Outcome::PortTaken => Err(StartFailure::PortTaken),
            Outcome::Ended(end) => Err(StartFailure::Ours(format!("{} {end}", self.id))),
            Outcome::Deadline { last } => Err(StartFailure::App(format!(
                "{} serves, but does not pass the new health check within {} s: {last}",
                self.id,
                limit.as_secs()
            ))),
        }
    }

    fn last_words(&self, machine: &Machine, stack: &LiveStack, process: &Supervised) -> String {
        let words = |since| last_words(&self.log(machine, stack), since);
        process.began().map(words).unwrap_or_default()
    }

    /// Watches it from now on: out of the rotation when it does not answer, started again when it ends.
    pub(crate) fn watch(self: &Arc<Self>, machine: &Arc<Machine>, stack: &Arc<LiveStack>) {
        let mut watch = self.watch.lock();
        if watch.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (instance, machine, stack) = (Arc::clone(self), Arc::clone(machine), Arc::clone(stack));
        *watch = Some(tokio::spawn(async move { instance.keep_up(&machine, &stack).await }));
    }

    async fn keep_up(&self, machine: &Arc<Machine>, stack: &Arc<LiveStack>) {
        let mut pause = Duration::ZERO;
        loop {
            let since = Moment::now();
            if let Some(process) = self.process() {
                let why = self.watch_process(machine, stack, &process).await;
                let words = self.last_words(machine, stack, &process);
                machine
                    .journal
                    .tell(&stack.name, "down", format!("{} {why}{words}", self.id))
                    .await;
                if since.elapsed() >= PROVEN_AFTER {
                    pause = Duration::ZERO;
                }
                self.wait_down(machine, stack, &format!("{} {why}{words}", self.id), pause).await;
            }
            pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST_BACK_OFF);
            // The plan may have been updated in place; what runs is what is started again.
            let Some(plan) = stack.serving_plan().await else { return };
            let up = match machine.built(stack, &plan).await {
                Ok(built) => self.come_up(machine, stack, &plan, &built).await,
                Err(failure) => Err(StartFailure::Ours(failure.reason().to_owned())),
            };
            match up {
                Ok(()) => {
                    machine
                        .journal
                        .tell(&stack.name, "restarted", format!("{} answers again", self.id))
                        .await;
                }
                Err(StartFailure::App(reason) | StartFailure::Ours(reason)) => {
                    self.end_process().await;
                    self.wait_down(machine, stack, &reason, pause).await;
                }
                Err(StartFailure::PortTaken) => {}
            }
        }
    }

    async fn wait_down(&self, machine: &Machine, stack: &LiveStack, why: &str, pause: Duration) {
        let when = if pause.is_zero() {
            "starting it again".to_owned()
        } else {
            format!("starting it again in {} s", pause.as_secs())
        };
        self.set(machine, stack, State::Down(format!("{why}; {when}")));
        sleep(pause).await;
    }

    /// Returns when the process has ended, or was ended because it did not answer; says which.
    async fn watch_process(
        &self,
        machine: &Arc<Machine>,
        stack: &Arc<LiveStack>,
        process: &Supervised,
    ) -> String {
        let host = machine.host(&stack.name);
        let mut silent = 0;
        loop {
            // An adopted instance has not been asked yet.
            let pause = if self.is_healthy() || silent > 0 { PROBE_EVERY } else { Duration::ZERO };
            if let Ok(end) = timeout(pause, process.ended()).await {
                return end.to_string();
            }
            let Some(plan) = stack.serving_plan().await else { return "is not wanted".to_owned() };
            let port = self.record().port;
            match health::probe(port, &check(&plan), PROBE_LIMIT, &host).await {
                Answer::Healthy => {
                    silent = 0;
                    self.set(machine, stack, State::Healthy);
                }
                Answer::Unhealthy { said } => {
                    silent += 1;
                    if silent >= RESTARTED_AFTER {
                        let _ = process.stop().await;
                        return format!("did not answer for too long: {said}");
                    }
                    if silent >= UNHEALTHY_AFTER {
                        self.set(machine, stack, State::Unhealthy(format!("{}: {said}", self.id)));
                    }
                }
            }
        }
    }

    /// Ends it for good: no new requests, those in flight may take `drain`, then its process is stopped.
    pub(crate) async fn retire(&self, drain: Duration) -> usize {
        if let Some(watch) = self.watch.lock().take() {
            watch.abort();
        }
        // Whoever looks at it again half-way does not take it for one that serves.
        *self.state.lock() = State::Down(format!("{} is being stopped", self.id));
        let cut = self.upstream().drain(drain).await;
        self.end_process().await;
        cut
    }

    /// Ends its watch and leaves its process running.
    pub(crate) fn leave(&self) {
        if let Some(watch) = self.watch.lock().take() {
            watch.abort();
        }
    }

    async fn end_process(&self) {
        // It stays known until it has ended: whoever stops waiting half-way must find it again.
        if let Some(process) = self.process() {
            let _ = process.stop().await;
            *self.process.lock() = None;
        }
    }

    /// Its folder, for when it is gone.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }
}

fn check(plan: &Plan) -> Check {
    match &plan.app.health {
        Some(path) => Check::Http(path.clone()),
        None => Check::Connect,
    }
}

/// A number of instances, in words.
pub(crate) fn instances<N: fmt::Display + Copy + PartialEq + From<u8>>(count: N) -> String {
    if count == N::from(1) { "1 instance".to_owned() } else { format!("{count} instances") }
}
