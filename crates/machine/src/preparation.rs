//! What must be there before an instance starts: the build, and the Procfile's `release:` for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rowhouse_core::Plan;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use crate::build::{BuildError, Built};
use crate::instance::last_words;
use crate::job::Job;
use crate::live::LiveStack;
use crate::machine::Machine;
use crate::operation::Failure;
use crate::stack::InstanceDigest;
use crate::supervised::End;
use crate::supply::Supply;

/// How many releases are remembered as done.
const KEPT_RELEASES: usize = 20;
/// How long the start waits for somebody to take a build that is offered.
const OFFERED: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What of its Procfile is not run, for a reader of `deployed`.
pub(crate) fn not_run(built: &Built) -> Option<String> {
    let others = &built.recipe.not_run;
    (!others.is_empty()).then(|| format!("not run here, of its Procfile: {}", others.join(", ")))
}

impl Machine {
    /// The build of a plan: at hand, or made now.
    pub(crate) async fn built(
        self: &Arc<Self>,
        stack: &LiveStack,
        plan: &Plan,
    ) -> Result<Built, Failure> {
        let request = self.build_request(plan);
        if let Some(built) = self.builds.finished(&request.key()) {
            return Ok(built);
        }
        let commit = plan.deployment.commit.short();
        self.journal.tell(&stack.name, "building", format!("building {commit}")).await;
        let log = self.folder.logs(&stack.name).join(format!("build-{commit}.log"));
        let job = Job::new(self, &stack.name, log.clone(), Some(self.config.build_timeout));
        let began = Timestamp::now();
        let (machine, stop) = (Arc::clone(self), job.stop());
        let work = async move { machine.builds.build(&request, &job).await };
        match stack.work(stop, work).await? {
            Ok(built) => {
                let text = format!("built {commit} ({})", built.recipe.kind);
                self.journal.tell(&stack.name, "built", text).await;
                self.offer(&built).await;
                Ok(built)
            }
            Err(error) if error.is_refused() => {
                let words = match &error {
                    BuildError::Failed { .. } => last_words(&log, began),
                    BuildError::BadPath { .. }
                    | BuildError::NoWay(_)
                    | BuildError::Git(_)
                    | BuildError::DiskFull { .. }
                    | BuildError::Io { .. } => String::new(),
                };
                Err(Failure::App(format!("{}{words}", chain(&error))))
            }
            Err(error) => Err(Failure::Ours(chain(&error))),
        }
    }
}

impl Machine {
    /// Offers a build that was just made to other machines, before anything of it runs that could change it.
    async fn offer(self: &Arc<Self>, built: &Built) {
        let Some(supply) = &self.config.supply else { return };
        let is_wanted = supply.order().is_some_and(|order| order.wants_build);
        if !is_wanted || supply.is_taken() {
            return;
        }
        let (machine, key) = (Arc::clone(self), built.key.clone());
        let packed =
            spawn_blocking(move || machine.builds.pack(&key, &machine.folder.offer())).await;
        if let Err(error) = packed.map_err(std::io::Error::other).flatten() {
            // Others build it for themselves. Nothing is offered, and that is taken, too, so that the app cannot offer
            // anything later.
            warn!(reason = %error, "a build cannot be shared");
            let _ = std::fs::write(self.folder.offer(), b"");
        }
        let began = Instant::now();
        while !supply.is_taken() && began.elapsed() < OFFERED {
            sleep(LOOK_EVERY).await;
        }
        // Nobody else looks for it; what is left is written over by the next one.
        let _ = std::fs::remove_file(self.folder.offer());
    }
}

/// An error with its causes, once each.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Runs the Procfile's `release:` unless it has been run for this commit and environment.
pub(crate) async fn release(
    machine: &Arc<Machine>,
    stack: &LiveStack,
    plan: &Plan,
    built: &Built,
    digest: &InstanceDigest,
) -> Result<(), Failure> {
    let Some(command) = &built.recipe.release else { return Ok(()) };
    let order = machine.config.supply.as_ref().and_then(Supply::order);
    if order.is_some_and(|order| order.is_released && order.commit == plan.deployment.commit) {
        return Ok(());
    }
    let done = |released: &[String]| released.contains(&digest.0);
    if stack.record().await.is_some_and(|record| done(&record.released)) {
        return Ok(());
    }
    let commit = plan.deployment.commit.short();
    machine.journal.tell(&stack.name, "releasing", format!("releasing {commit}")).await;
    let log: PathBuf = machine.folder.logs(&stack.name).join(format!("release-{commit}.log"));
    let job = Job::new(machine, &stack.name, log.clone(), Some(machine.config.build_timeout));
    let began = Timestamp::now();
    let environment = machine
        .environment(&stack.name, plan, built, None, job.temporary())
        .map_err(|error| Failure::Ours(format!("cannot make the app's folders: {error}")))?;
    let shell = ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
    let (folder, stop) = (built.folder.clone(), job.stop());
    let work = async move { job.run(&shell, &folder, &environment).await };
    let end = stack
        .work(stop, work)
        .await?
        .map_err(|error| Failure::Ours(format!("cannot start a process: {error}")))?;
    match end {
        End::Exited(0) => {}
        End::Lost => return Err(Failure::Ours(format!("its `release` command {end}"))),
        End::Exited(_) | End::Signalled(_) | End::TimedOut | End::NotStarted { .. } => {
            let reason = format!("its `release` command {end}{}", last_words(&log, began));
            return Err(machine.blame(reason));
        }
    }
    stack
        .change(machine, |record| {
            record.released.insert(0, digest.0.clone());
            record.released.truncate(KEPT_RELEASES);
        })
        .await?;
    Ok(())
}
