//! What must be there before an instance starts: the build, the Procfile's `release:` for it, and
//! what its process is told.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rowhouse_core::Plan;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use crate::build::Built;
use crate::build::error::BuildError;
use crate::build::web::Web;
use crate::instance::Instance;
use crate::machine::Machine;
use crate::process::cause::secrets::Secrets;
use crate::process::end::End;
use crate::process::environment;
use crate::process::log::words;
use crate::process::shim::ShimSpec;
use crate::sandbox::Sandbox;
use crate::stack::failure::Failure;
use crate::stack::job::Job;
use crate::stack::live::LiveStack;
use crate::stack::{InstanceDigest, release_digest};
use crate::supply::Supply;

/// Bytes of log that one instance may keep.
const LOG_LIMIT: u64 = 50 << 20;
/// How many releases are remembered as done.
const KEPT_RELEASES: usize = 20;
/// How long the start waits for somebody to take a build that is offered.
const OFFERED: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What of its Procfile is not run, and what was done that nobody asked for, for a reader of
/// `deployed`.
pub(crate) fn not_run(built: &Built, plan: &Plan) -> Option<String> {
    let others = built.recipe.not_run(&plan.app.procfile);
    let others = (!others.is_empty())
        .then(|| format!("not run here, of its Procfile: {}", others.join(", ")));
    let lacking = built.recipe.unbuilt.iter().filter(|one| one.lacks.is_some());
    let notes = others.into_iter().chain(lacking.map(|one| one.told(&built.id.app)));
    let notes = notes.chain(built.recipe.notes.clone());
    let notes = notes.collect::<Vec<String>>().join("; ");
    (!notes.is_empty()).then_some(notes)
}

/// What nothing has built of an app whose process fails, as the end of a reason.
pub(crate) fn unbuilt(built: &Built) -> String {
    let told = built.recipe.unbuilt.iter().map(|one| format!("; {}", one.told(&built.id.app)));
    told.collect()
}

impl LiveStack {
    /// The build of a plan: at hand, or made now.
    pub(crate) async fn built(&self, plan: &Plan) -> Result<Built, Failure> {
        let machine = &self.machine;
        let request = machine.build_request(plan);
        if let Some(built) = machine.builds.finished(&request.id()) {
            // A line that the row had when it was built may be gone.
            return match built.recipe.web(&plan.app.procfile) {
                Ok(_) => Ok(built),
                Err(error) => Err(Failure::App(error.to_string())),
            };
        }
        let commit = plan.deployment.commit.short();
        self.tell("building", format!("building {commit}")).await;
        let log = machine.folder.logs(&self.name).join(format!("build-{commit}.log"));
        let sandbox = machine.isolation.of_build(machine.builds.writable(&request));
        let limit = Some(machine.config.build_timeout);
        let job = Arc::new(Job::new(machine, &self.name, log.clone(), limit, sandbox));
        let (builder, runner, stop) = (Arc::clone(machine), Arc::clone(&job), job.stop());
        let work = async move { builder.builds.build(&request, runner.as_ref()).await };
        match self.work(stop, work).await? {
            Ok(built) => {
                self.tell("built", format!("built {commit} ({})", built.recipe.kind)).await;
                offer(machine, &built).await;
                Ok(built)
            }
            Err(error) if error.is_refused() => {
                let words = match &error {
                    BuildError::Failed { folder, .. } => {
                        words(&log, job.began(), folder, &Secrets::of(&plan.app)).to_string()
                    }
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

/// Offers a build that was just made to other machines, before anything of it runs that could
/// change it.
async fn offer(machine: &Arc<Machine>, built: &Built) {
    let Some(supply) = &machine.config.supply else { return };
    let is_wanted = supply.order().is_some_and(|order| order.wants_build);
    if !is_wanted || supply.is_taken() {
        return;
    }
    let (owner, id) = (Arc::clone(machine), built.id.clone());
    let packed = spawn_blocking(move || owner.builds.pack(&id, &owner.folder.offer())).await;
    if let Err(error) = packed.map_err(std::io::Error::other).flatten() {
        // Others build it for themselves. Nothing is offered, and that is taken, too, so that the
        // app cannot offer anything later.
        warn!(reason = %error, "a build cannot be shared");
        let _ = std::fs::write(machine.folder.offer(), b"");
    }
    let began = Instant::now();
    while !supply.is_taken() && began.elapsed() < OFFERED {
        sleep(LOOK_EVERY).await;
    }
    // Nobody else looks for it; what is left is written over by the next one.
    let _ = std::fs::remove_file(machine.folder.offer());
}

/// What runs a line of a Procfile.
fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
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

impl LiveStack {
    /// Runs the Procfile's `release:` unless it has been run for this commit and environment.
    pub(crate) async fn release(
        &self,
        plan: &Plan,
        built: &Built,
        digest: &InstanceDigest,
    ) -> Result<(), Failure> {
        let Some(command) = built.recipe.release(&plan.app.procfile) else { return Ok(()) };
        let machine = &self.machine;
        let order = machine.config.supply.as_ref().and_then(Supply::order);
        if order.is_some_and(|order| order.is_released && order.commit == plan.deployment.commit) {
            return Ok(());
        }
        let wanted = release_digest(plan, &built.id.key);
        let is_plain = plan.app.procfile.line("release").is_none();
        let done = |released: &[String]| {
            released.contains(&wanted) || is_plain && released.contains(&digest.0)
        };
        if self.record().await.is_some_and(|record| done(&record.released)) {
            return Ok(());
        }
        let commit = plan.deployment.commit.short();
        self.tell("releasing", format!("releasing {commit}")).await;
        let log = machine.folder.logs(&self.name).join(format!("release-{commit}.log"));
        let sandbox = self.sandbox(built, None);
        let limit = Some(machine.config.build_timeout);
        let job = Job::new(machine, &self.name, log.clone(), limit, sandbox);
        let began = Timestamp::now();
        let environment = self
            .environment(plan, built, None, job.temporary())
            .map_err(|error| Failure::Ours(format!("cannot make the app's folders: {error}")))?;
        let shell = shell(command);
        let (folder, stop) = (built.folder.clone(), job.stop());
        let work = async move { job.run(&shell, &folder, &environment).await };
        let end = self
            .work(stop, work)
            .await?
            .map_err(|error| Failure::Ours(format!("cannot start a process: {error}")))?;
        match end {
            End::Exited(0) => {}
            End::Lost => return Err(Failure::Ours(format!("its `release` command {end}"))),
            End::Exited(_) | End::Signalled(_) | End::TimedOut | End::NotStarted(_) => {
                let said = words(&log, began, &built.folder, &Secrets::of(&plan.app));
                let reason = format!("its `release` command {end}{said}");
                return Err(Failure::of_app(reason, machine.folder.root()));
            }
        }
        self.change(|record| {
            record.released.insert(0, wanted.clone());
            record.released.truncate(KEPT_RELEASES);
        })
        .await?;
        Ok(())
    }

    /// What the small parent of an instance is told.
    pub(crate) fn instance_spec(
        &self,
        plan: &Plan,
        built: &Built,
        instance: &Instance,
    ) -> io::Result<ShimSpec> {
        let server = |kind: &str, folder: &Path| {
            let program = self.machine.program.path().display().to_string();
            vec![program, kind.to_owned(), built.folder.join(folder).display().to_string()]
        };
        let web = built.recipe.web(&plan.app.procfile).map_err(io::Error::other)?;
        let command = match &web {
            Web::Command(text) => shell(text),
            Web::Static(folder) => server("static", folder),
            Web::SinglePage(folder) => server("static-single", folder),
            Web::Made(_) | Web::Unknown(_) => {
                return Err(io::Error::other("its build does not say how it is started"));
            }
        };
        let temporary = instance.folder().join("tmp");
        Ok(ShimSpec {
            command,
            folder: built.folder.clone(),
            environment: self.environment(plan, built, Some(instance.port()), temporary)?,
            log: instance.log().to_owned(),
            log_limit: LOG_LIMIT,
            stop_grace_ms: u64::try_from(self.machine.config.stop_grace.as_millis())
                .unwrap_or(u64::MAX),
            time_limit_ms: None,
            open_files: self.machine.open_files,
            sandbox: self.sandbox(built, Some(instance.port())),
        })
    }

    /// What a process of the app may reach that runs in a build.
    fn sandbox(&self, built: &Built, port: Option<u16>) -> Option<Sandbox> {
        let machine = &self.machine;
        let folder = &machine.folder;
        let mut readable = vec![folder.build_home(&self.name)];
        if machine.builds.is_for_all(built) {
            readable.push(folder.shared_build_home());
        }
        let writable = vec![folder.app_home(&self.name), folder.app_data(&self.name)];
        let sandbox = machine.isolation.sandbox(readable, writable)?;
        Some(Sandbox { release: Some(built.checkout.clone()), port, ..sandbox })
    }

    /// The environment of a process of the app.
    fn environment(
        &self,
        plan: &Plan,
        built: &Built,
        port: Option<u16>,
        temporary: PathBuf,
    ) -> io::Result<BTreeMap<String, String>> {
        let machine = &self.machine;
        let (home, data) =
            (machine.folder.app_home(&self.name), machine.folder.app_data(&self.name));
        for folder in [&home, &data] {
            std::fs::create_dir_all(folder)?;
        }
        let first = built.recipe.path.iter().map(|folder| built.folder.join(folder)).collect();
        Ok(environment::of_instance(environment::Given {
            first_on_path: first,
            platform_path: machine.path.clone(),
            home,
            temporary,
            data,
            port,
            name: self.name.as_str().to_owned(),
            version: plan.app.version.as_str().to_owned(),
            revision: plan.deployment.commit.as_str().to_owned(),
            env: plan.app.env.revealed().clone(),
        }))
    }
}
