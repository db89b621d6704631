//! What all stacks of one platform share: folder, journal, builds, ports, routes, and the doorbell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rowhouse_core::{AppName, Plan, RowKey, Unreachable};
use tokio::sync::mpsc::UnboundedSender;

use crate::build::{BuildRequest, Builds, Built};
use crate::environment;
use crate::folder::DataFolder;
use crate::instance::lock;
use crate::journal::Journal;
use crate::live::LiveStack;
use crate::mirror::Mirrors;
use crate::operation::Failure;
use crate::port::Ports;
use crate::proxy::Routes;
use crate::recipe::Web;
use crate::room::is_full;
use crate::shim::ShimSpec;
use crate::stack::InstanceRecord;
use crate::up::{Config, Failpoint};

/// Bytes of log that one instance may keep.
const LOG_LIMIT: u64 = 50 << 20;
/// How long a process may take to end after SIGTERM, in milliseconds.
const STOP_GRACE_MS: u64 = 10_000;

/// One platform.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) config: Config,
    pub(crate) folder: DataFolder,
    pub(crate) journal: Journal,
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) builds: Builds,
    pub(crate) ports: Mutex<Ports>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) doorbell: UnboundedSender<RowKey>,
    pub(crate) stacks: Mutex<BTreeMap<AppName, Arc<LiveStack>>>,
    /// The port in URLs: where the proxy really listens.
    pub(crate) port: u16,
    pub(crate) path: String,
    /// How many files processes may have open, where the platform has raised its own limit.
    pub(crate) open_files: Option<u64>,
    /// How many failpoints are passed before one acts; for the tests of recovery.
    pub(crate) failpoints_left: AtomicI64,
    pub(crate) names: AtomicU64,
}

impl Machine {
    /// Asks the reactor to look at this app.
    pub(crate) fn ring(&self, name: &AppName) {
        // Nobody listens any more: the platform is ending.
        let _ = self.doorbell.send(name.key());
    }

    /// The app's host name.
    pub(crate) fn host(&self, name: &AppName) -> String {
        format!("{name}.{}", self.config.domain)
    }

    /// Where the app answers.
    pub(crate) fn url(&self, name: &AppName) -> String {
        let host = self.host(name);
        if self.port == 80 {
            format!("http://{host}")
        } else {
            format!("http://{host}:{}", self.port)
        }
    }

    /// The stack in hand, or a fresh, empty place for one.
    pub(crate) fn stack(&self, name: &AppName) -> Arc<LiveStack> {
        let mut stacks = lock(&self.stacks);
        Arc::clone(
            stacks
                .entry(name.clone())
                .or_insert_with(|| Arc::new(LiveStack::new(name.clone(), None))),
        )
    }

    /// Every stack in hand.
    pub(crate) fn all_stacks(&self) -> Vec<Arc<LiveStack>> {
        lock(&self.stacks).values().cloned().collect()
    }

    /// A port that nobody uses, ours or others.
    pub(crate) fn free_port(&self) -> Result<u16, String> {
        let mut reserved = BTreeSet::new();
        for stack in self.all_stacks() {
            for instance in lock(&stack.instances).values() {
                reserved.insert(instance.record().port);
            }
        }
        lock(&self.ports)
            .choose(&reserved)
            .ok_or_else(|| "no free port is left for instances; see `rowhouse doctor`".to_owned())
    }

    /// A word that no other thing of this process has, for folders of one-off processes.
    pub(crate) fn unique_name(&self, kind: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{kind}-{}-{number}", std::process::id())
    }

    /// What a plan is built from.
    pub(crate) fn build_request(&self, plan: &Plan) -> BuildRequest {
        BuildRequest {
            repository: plan.app.repository.clone(),
            path: plan.app.path.clone(),
            commit: plan.deployment.commit.clone(),
            build_env: plan.app.build_env.revealed().clone(),
            home: self.folder.build_home(),
        }
    }

    /// The environment of an app's process.
    pub(crate) fn environment(
        &self,
        name: &AppName,
        plan: &Plan,
        built: &Built,
        port: Option<u16>,
        temporary: PathBuf,
    ) -> std::io::Result<BTreeMap<String, String>> {
        let (home, data) = (self.folder.app_home(name), self.folder.app_data(name));
        for folder in [&home, &data] {
            std::fs::create_dir_all(folder)?;
        }
        let first = built.recipe.path.iter().map(|folder| built.folder.join(folder)).collect();
        Ok(environment::of_instance(environment::Given {
            first_on_path: first,
            platform_path: self.path.clone(),
            home,
            temporary,
            data,
            port,
            name: name.as_str().to_owned(),
            version: plan.app.version.as_str().to_owned(),
            revision: plan.deployment.commit.as_str().to_owned(),
            env: plan.app.env.revealed().clone(),
        }))
    }

    /// What the small parent of an instance is told.
    pub(crate) fn instance_spec(
        &self,
        name: &AppName,
        plan: &Plan,
        built: &Built,
        record: &InstanceRecord,
        log: PathBuf,
    ) -> std::io::Result<ShimSpec> {
        let temporary = self.folder.instances(name).join(&record.id.0).join("tmp");
        let command = match &built.recipe.web {
            Web::Command(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
            Web::Static(folder) => vec![
                self.config.program.display().to_string(),
                "static".to_owned(),
                built.folder.join(folder).display().to_string(),
            ],
        };
        Ok(ShimSpec {
            command,
            folder: built.folder.clone(),
            environment: self.environment(name, plan, built, Some(record.port), temporary)?,
            log,
            log_limit: LOG_LIMIT,
            stop_grace_ms: STOP_GRACE_MS,
            time_limit_ms: None,
            open_files: self.open_files,
        })
    }

    /// Ends this process at the n-th point that recovery must survive. Only tests ask for it.
    pub(crate) fn failpoint(&self, point: &str) {
        if matches!(self.config.failpoint, Some(Failpoint::Kill(_))) && self.is_due() {
            tracing::error!(point, "failpoint");
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }

    /// Fails in place of the n-th write of the journal. Only tests ask for it.
    pub(crate) fn failing_journal(&self) -> Result<(), Unreachable> {
        if matches!(self.config.failpoint, Some(Failpoint::FailJournal(_))) && self.is_due() {
            tracing::error!("failpoint of the journal");
            return Err(Unreachable { reason: "the journal cannot be written".to_owned() });
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        self.failpoints_left.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Whose fault it is that an app's process did not do what it should.
    pub(crate) fn blame(&self, reason: String) -> Failure {
        if is_full(self.folder.root()) {
            Failure::Ours(format!("the disk of `{}` is full", self.folder.root().display()))
        } else {
            Failure::App(reason)
        }
    }
}
