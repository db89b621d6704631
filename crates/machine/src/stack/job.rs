//! A one-off process of an app, such as a build step: run under the small parent to its end, or
//! ended with whoever waits for it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rowhouse_core::AppName;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::build::step::{Runner, Step};
use crate::limits::Limits;
use crate::machine::Machine;
use crate::ownership::{Owner, hand_over_once};
use crate::process::end::End;
use crate::process::log::LogWriter;
use crate::process::shim::ShimSpec;
use crate::process::supervised::Supervised;
use crate::room::remove;
use crate::sandbox::Sandbox;

/// Bytes of output that the steps of one build may leave in the log.
const LOG_LIMIT: u64 = 10 << 20;
const STOP_GRACE_MS: u64 = 2_000;

/// Runs processes of one app, one after the other.
#[derive(Debug)]
pub(crate) struct Job {
    program: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    limit: Option<Duration>,
    open_files: Option<u64>,
    sandbox: Option<Sandbox>,
    group: String,
    limits: Option<Limits>,
    stop: CancellationToken,
    /// Since when its processes are those that write the log.
    began: Mutex<Timestamp>,
}

impl Job {
    /// Output goes to `log`; each process may take `limit`, and reach what its sandbox has.
    pub(crate) fn new(
        machine: &Machine,
        name: &AppName,
        log: PathBuf,
        limit: Option<Duration>,
        sandbox: Option<Sandbox>,
    ) -> Job {
        let word = machine.unique_name("job");
        Job {
            program: machine.program.path().to_owned(),
            folder: machine.folder.instances(name).join(&word),
            log,
            limit,
            open_files: machine.open_files,
            sandbox,
            group: format!("{name}.{word}"),
            limits: None,
            stop: CancellationToken::new(),
            began: Mutex::new(Timestamp::now()),
        }
    }

    /// Under the limits of a build, whose own folders these are besides the job's.
    pub(crate) fn of_build(self, machine: &Machine, mut own: Vec<PathBuf>) -> Job {
        own.push(self.folder.clone());
        Job { limits: Some(machine.allowance.of_build(&self.group, own)), ..self }
    }

    /// Under the limits of an instance, whose own folders these are besides the job's.
    pub(crate) fn of_release(
        self,
        machine: &Machine,
        memory: Option<u32>,
        mut own: Vec<PathBuf>,
    ) -> Job {
        own.push(self.folder.clone());
        Job { limits: Some(machine.allowance.of_app(memory, &self.group, own)), ..self }
    }

    /// Cancelled, it ends whatever process runs, and the job with it.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Since when what stands in the log is its processes' own.
    pub(crate) fn began(&self) -> Timestamp {
        *self.began.lock()
    }

    /// The folder that its processes have as `TMPDIR`.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    fn user(&self) -> Option<u32> {
        Some(self.sandbox.as_ref()?.user.as_ref()?.id)
    }

    /// Runs one process to its end, or until it is told to stop: then to the end of all its
    /// descendants.
    pub(crate) async fn run(
        &self,
        command: &[String],
        folder: &Path,
        environment: &BTreeMap<String, String>,
    ) -> io::Result<End> {
        let limit_ms = self.limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let spec = ShimSpec {
            command: command.to_vec(),
            folder: folder.to_owned(),
            environment: environment.clone(),
            log: self.log.clone(),
            log_limit: LOG_LIMIT,
            stop_grace_ms: STOP_GRACE_MS,
            time_limit_ms: limit_ms,
            open_files: self.open_files,
            sandbox: self.sandbox.clone(),
            limits: self.limits.clone(),
        };
        let process = Supervised::start(&self.program, &self.folder, &spec)?;
        let end = tokio::select! {
            end = process.ended() => Ok(end),
            () = self.stop.cancelled() => {
                process.stop().await;
                Err(io::Error::other("it was given up"))
            }
        };
        let _ = remove(self.folder.clone()).await;
        end
    }
}

impl Runner for Job {
    fn tell(&self, lines: &[String]) {
        let mut log = LogWriter::open(&self.log, LOG_LIMIT);
        for line in lines {
            log.write(format!("{line}\n").as_bytes());
        }
        log.flush();
        // Times in logs are whole milliseconds.
        *self.began.lock() = Timestamp::now() + Duration::from_millis(1);
    }

    async fn run(
        &self,
        step: &Step,
        folder: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<End, io::Error> {
        match self.run(&step.command, folder, environment).await? {
            end @ (End::Exited(_) | End::Signalled(_) | End::TimedOut | End::Exceeded(_)) => {
                Ok(end)
            }
            // What a shell says of a command that cannot be run.
            End::NotStarted(_) => Ok(End::Exited(127)),
            End::Lost => Err(io::Error::other("the build's parent process was killed")),
        }
    }
    async fn lend(&self, folders: Vec<PathBuf>) -> io::Result<()> {
        let Some(user) = self.user() else { return Ok(()) };
        let give = move || {
            let mut there = folders.iter().filter(|folder| folder.exists());
            there.try_for_each(|folder| hand_over_once(folder, Owner::App(user)).map(|_| ()))
        };
        spawn_blocking(give).await.map_err(io::Error::other).flatten()
    }

    async fn take_back(&self, folder: PathBuf) -> io::Result<()> {
        let Some(user) = self.user() else { return Ok(()) };
        let take = move || hand_over_once(&folder, Owner::PlatformFor(user)).map(|_| ());
        spawn_blocking(take).await.map_err(io::Error::other).flatten()
    }
}
