//! The means that all stacks of one platform share: folder, journal, builds, ports, routes, and the
//! doorbell. Which stacks there are is not known here.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rowhouse_core::{AppName, Plan, RowKey, Settings, Unreachable, counted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::build::request::BuildRequest;
use crate::build::{Builds, toolchain};
use crate::config::{Config, Failpoint};
use crate::folder::DataFolder;
use crate::git::mirror::Mirrors;
use crate::limits::allowance::{Allowance, beginning};
use crate::limits::probe::{self, Asks};
use crate::process::port::{Ports, Reservation};
use crate::process::program::Program;
use crate::proxy::Routes;
use crate::sandbox::isolation::{Isolation, Outside};
use crate::stack::journal::Journal;
use crate::users::Users;

/// One platform.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) config: Config,
    /// What small parents are started from.
    pub(crate) program: Program,
    pub(crate) folder: DataFolder,
    pub(crate) journal: Journal,
    /// What keeps the apps' processes apart.
    pub(crate) isolation: Isolation,
    /// Who the apps are, where each has a user of its own.
    pub(crate) users: Option<Users>,
    /// What they may take.
    pub(crate) allowance: Allowance,
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) builds: Builds,
    pub(crate) ports: Ports,
    pub(crate) routes: Arc<Routes>,
    pub(crate) doorbell: UnboundedSender<RowKey>,
    /// Told when no predecessor passes requests to the instances any more.
    pub(crate) alone: CancellationToken,
    /// Rung when builds may have become superfluous.
    pub(crate) superfluous: Notify,
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
    /// The means of a platform on this folder, and who hears its doorbell.
    pub(crate) fn open(
        config: Config,
        folder: DataFolder,
        port: u16,
        open_files: Option<u64>,
        users: Option<Users>,
    ) -> Result<(Arc<Machine>, UnboundedReceiver<RowKey>), Unreachable> {
        let (ring, doorbell) = unbounded_channel();
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let path = environment.get("PATH").cloned().unwrap_or_else(|| {
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
        });
        let isolation = Isolation::new(
            config.apart.layers(
                &config.program,
                &folder.root().join("state/probe"),
                users.as_ref().map(Users::any),
            ),
            Outside {
                data: folder.root(),
                program: &config.program,
                path: &path,
                home: environment.get("HOME").map(Path::new),
                settings: &toolchain::settings(&environment),
                shared: &config.shared,
            },
        );
        let users = users.filter(|_| isolation.has_users());
        if users.is_none() {
            Users::distrust(&folder);
        }
        let means = probe::means(config.limited_by, Asks::ThePlatform, &beginning(folder.root()));
        let allowance =
            Allowance::new(means, &config.allowed, folder.root(), config.only.is_some());
        let mirrors = Arc::new(Mirrors::new(folder.mirrors()).with_supply(config.supply.clone()));
        let builds = Builds::new(folder.builds(), Arc::clone(&mirrors), environment)
            .with_supply(config.supply.clone());
        let machine = Machine {
            isolation,
            users,
            allowance,
            journal: Journal::open(&folder.journal())?,
            mirrors,
            builds,
            ports: Ports::of_this_machine(),
            routes: match &config.only {
                Some(app) => Routes::behind_balancer(&config.domain, app.as_str()),
                None => Routes::new(&config.domain),
            },
            doorbell: ring,
            alone: CancellationToken::new(),
            superfluous: Notify::new(),
            port,
            path,
            open_files,
            failpoints_left: AtomicI64::new(
                config.failpoint.map_or(0, |failpoint| i64::from(failpoint.count())),
            ),
            names: AtomicU64::new(1),
            folder,
            program: Program::new(&config.program),
            config,
        };
        Ok((Arc::new(machine), doorbell))
    }

    /// What instances are made from here, and the defaults and limits of rows.
    pub(crate) fn settings(&self) -> Settings {
        self.config.settings(self.isolation.layers(), &self.allowance)
    }

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

    /// Reserves a port that nobody uses, ours or others.
    pub(crate) fn free_port(&self) -> Result<Reservation, String> {
        self.ports
            .choose()
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
            app: plan.app.name.clone(),
            procfile: plan.app.procfile.clone(),
            home: self.folder.build_home(&plan.app.name),
        }
    }

    /// Who the app's processes are, with the app's own folders made that user's; `None`: who the
    /// platform is.
    pub(crate) async fn user(self: &Arc<Machine>, name: &AppName) -> io::Result<Option<u32>> {
        let (machine, app) = (Arc::clone(self), name.clone());
        let settled = spawn_blocking(move || {
            machine.users.as_ref().map(|users| users.settle(&app)).transpose()
        });
        let settled = settled.await.map_err(io::Error::other).flatten();
        let settled = settled.map_err(|error| {
            io::Error::other(format!("cannot make its folders its own user's: {error}"))
        })?;
        let Some((id, left)) = settled else { return Ok(None) };
        if left > 0 {
            let text = format!(
                "{} in its folders kept their owner, for they have more than one name or lie on \
                 another device: it may be unable to write them",
                counted(usize::try_from(left).unwrap_or(usize::MAX), "file")
            );
            self.journal.tell(name, "owners", text).await;
        }
        Ok(Some(id))
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
}

/// Lets this process have as many files open as it may: each connection of a client is one, and one
/// more to an instance. The usual limit of 1,024 is kept for apps, some of which cannot do with
/// more (`select(2)`); it is returned where it was another.
pub(crate) fn raise_open_files() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.current.filter(|_| before.current != before.maximum),
        Err(error) => {
            warn!(reason = %error, "cannot have more files open; connections above the limit wait");
            None
        }
    }
}
