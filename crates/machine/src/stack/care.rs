//! The care for instances: brought up on a port that is theirs, watched, taken out of the rotation
//! when they do not answer, and started again with back-off. An instance knows none of this.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_core::{App, Plan};
use tokio::time::{Instant as Moment, sleep, timeout};

use crate::build::Built;
use crate::instance::health::Check;
use crate::instance::{Instance, StartFailure, State};
use crate::pause::Pause;
use crate::process::cause::Words;
use crate::process::cause::secrets::Secrets;
use crate::process::supervised::Supervised;
use crate::stack::live::LiveStack;
use crate::stack::preparation::unbuilt;

/// How often a healthy instance is asked.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How often a new one is asked until it is steady.
const TRIED_EVERY: Duration = Duration::from_millis(250);
/// So many unanswered probes in a row take an instance out of the rotation …
const UNHEALTHY_AFTER: u32 = 3;
/// … and so many restart it.
const RESTARTED_AFTER: u32 = 12;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// An instance that was up for this long has earned a fresh back-off.
const PROVEN_AFTER: Duration = Duration::from_mins(1);
/// How many ports are tried when somebody else listens on them.
const PORTS_TRIED: u32 = 5;

impl LiveStack {
    /// Starts an instance, unless its process runs, and waits until it is healthy. An end before
    /// that is an answer.
    pub(crate) async fn come_up(
        &self,
        instance: &Instance,
        plan: &Plan,
        built: &Built,
    ) -> Result<(), StartFailure> {
        for tried in 0..PORTS_TRIED {
            // Whoever held the port may be gone before anybody looks. An app that says so of every
            // port means another address than the one that it was given.
            match self.try_to_come_up(instance, plan, built, tried == 0).await {
                Err(StartFailure::PortTaken) => self.move_port(instance).await?,
                Err(StartFailure::App(reason)) => {
                    return Err(StartFailure::App(format!("{reason}{}", unbuilt(built))));
                }
                answer @ (Ok(()) | Err(StartFailure::Ours(_))) => return answer,
            }
        }
        Err(StartFailure::Ours(format!("{PORTS_TRIED} ports were taken by other programs")))
    }

    async fn try_to_come_up(
        &self,
        instance: &Instance,
        plan: &Plan,
        built: &Built,
        trust_its_word: bool,
    ) -> Result<(), StartFailure> {
        let process = match instance.process() {
            Some(process) if process.is_running() => process,
            Some(_) | None => {
                let spec = self
                    .instance_spec(plan, built, instance)
                    .await
                    .map_err(|error| StartFailure::Ours(error.to_string()))?;
                let program = self.machine.program.path();
                let process = instance.start(program, &spec).map_err(|error| {
                    StartFailure::Ours(format!("cannot start a process: {error}"))
                })?;
                self.machine.failpoint("spawned");
                process
            }
        };
        let (app, secrets) = (&plan.app, Secrets::of(&plan.app));
        let limit = health_timeout(app);
        instance.become_healthy(&process, &check(app), limit, &secrets, trust_its_word).await
    }

    /// Gives an instance another port, for whoever listens on this one is not ours: in the journal
    /// first.
    async fn move_port(&self, instance: &Instance) -> Result<(), StartFailure> {
        let old = instance.port();
        instance.end_process().await;
        let port = self.machine.free_port().map_err(StartFailure::Ours)?;
        let number = port.port();
        let text = format!("port {old} is taken, {} moves to {number}", instance.id());
        self.tell("port", text).await;
        self.change(|record| {
            for known in &mut record.instances {
                if known.id == *instance.id() {
                    known.port = number;
                }
            }
        })
        .await
        .map_err(|error| StartFailure::Ours(error.reason))?;
        instance.move_to(port);
        Ok(())
    }

    /// Asks a new instance once more whether it is as healthy as the plan wants it.
    pub(crate) async fn is_still_healthy(
        &self,
        instance: &Instance,
        plan: &Plan,
    ) -> Result<(), StartFailure> {
        let Some(process) = instance.process() else {
            return Err(StartFailure::Ours(format!("{} was ended", instance.id())));
        };
        let secrets = Secrets::of(&plan.app);
        instance.is_still_healthy(&process, &check(&plan.app), &secrets).await
    }

    /// Returns why a new instance is not healthy any more, as soon as it is not.
    pub(crate) async fn lapse(&self, instance: &Instance, plan: &Plan) -> StartFailure {
        loop {
            if let Some(process) = instance.process() {
                // How it ended is asked below.
                let _ = timeout(TRIED_EVERY, process.ended()).await;
            }
            if let Err(failure) = self.is_still_healthy(instance, plan).await {
                return failure;
            }
        }
    }

    /// Waits until an instance that serves answers what the plan asks.
    pub(crate) async fn passes(
        &self,
        instance: &Instance,
        plan: &Plan,
    ) -> Result<(), StartFailure> {
        instance.answers(&check(&plan.app), health_timeout(&plan.app)).await
    }

    /// Watches an instance from now on: out of the rotation when it does not answer, started again
    /// when it ends.
    pub(crate) fn watch(self: &Arc<Self>, instance: &Arc<Instance>) {
        let (stack, watched) = (Arc::clone(self), Arc::clone(instance));
        self.look_after(instance.id(), async move { stack.keep_up(&watched).await });
    }

    async fn keep_up(&self, instance: &Instance) {
        let mut pause = Pause::new(FIRST_BACK_OFF, LONGEST_BACK_OFF).starting_at_once();
        loop {
            let since = Moment::now();
            if let Some(process) = instance.process() {
                let why = self.watch_process(instance, &process).await;
                let plan = self.serving_plan().await;
                // Of an app that is being removed nobody asks why.
                let words = plan.map_or(Words::Nothing, |plan| {
                    instance.words(&process, &Secrets::of(&plan.app))
                });
                let text = format!("{} {why}{words}", instance.id());
                self.tell("down", text.clone()).await;
                if since.elapsed() >= PROVEN_AFTER {
                    pause.reset();
                }
                wait_down(instance, &text, pause.current()).await;
            }
            pause.grow();
            // The plan may have been updated in place; what runs is what is started again.
            let Some(plan) = self.serving_plan().await else { return };
            let up = match self.built(&plan).await {
                Ok(built) => self.come_up(instance, &plan, &built).await,
                Err(failure) => Err(StartFailure::Ours(failure.reason().to_owned())),
            };
            match up {
                Ok(()) => self.tell("restarted", format!("{} answers again", instance.id())).await,
                Err(StartFailure::App(reason) | StartFailure::Ours(reason)) => {
                    instance.end_process().await;
                    wait_down(instance, &reason, pause.current()).await;
                }
                Err(StartFailure::PortTaken) => {}
            }
        }
    }

    /// Returns when the process has ended, or was ended because it did not answer; says which.
    async fn watch_process(&self, instance: &Instance, process: &Supervised) -> String {
        let mut silent = 0;
        loop {
            // An adopted instance has not been asked yet.
            let is_known = instance.is_healthy() || silent > 0;
            let pause = if is_known { PROBE_EVERY } else { Duration::ZERO };
            if let Ok(end) = timeout(pause, process.ended()).await {
                return end.to_string();
            }
            let Some(plan) = self.serving_plan().await else { return "is not wanted".to_owned() };
            match instance.ask(process, &check(&plan.app)).await {
                Ok(()) => {
                    silent = 0;
                    instance.set(State::Healthy);
                }
                Err(unwell) => {
                    silent += 1;
                    if silent >= RESTARTED_AFTER {
                        let _ = process.stop().await;
                        return format!("did not answer for too long: {unwell}");
                    }
                    if silent >= UNHEALTHY_AFTER {
                        instance.set(State::Unhealthy(format!("{}: {unwell}", instance.id())));
                    }
                }
            }
        }
    }
}

async fn wait_down(instance: &Instance, why: &str, pause: Duration) {
    let when = if pause.is_zero() {
        "starting it again".to_owned()
    } else {
        format!("starting it again in {} s", pause.as_secs())
    };
    instance.set(State::Down(format!("{why}; {when}")));
    sleep(pause).await;
}

fn check(app: &App) -> Check {
    match &app.health {
        Some(path) => Check::Http(path.clone()),
        None => Check::Connect,
    }
}

fn health_timeout(app: &App) -> Duration {
    Duration::from_secs(u64::from(app.health_timeout))
}
