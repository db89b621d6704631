//! The platform at work: everything that `rowhouse up` runs, from the lock on the folder to the
//! last drain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use rowhouse_core::{AppName, AppTable, Found, Platform, Row, RowKey, Sweep, Unreachable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tracing::warn;

use crate::build::Builds;
use crate::config::Config;
use crate::folder::{DataFolder, FolderError, Hold, Holder};
use crate::git::mirror::Mirrors;
use crate::machine::Machine;
use crate::process::port::Ports;
use crate::process::supervised::{Adopted, Supervised};
use crate::proxy::{Limits, Proxy, Routes};
use crate::reactor;
use crate::stack::adoption::{adopt, is_settled};
use crate::stack::answer::Answers;
use crate::stack::journal::Journal;
use crate::stack::platform::MachinePlatform;
use crate::stack::stacks::Stacks;
use crate::stack::tidy;
use crate::table::SqliteTable;
use crate::table::feed;

/// How often a sign of life is left in the folder.
const BEAT: Duration = Duration::from_mins(1);
/// How long adopted instances may take to answer before the proxy starts without them.
const SETTLING: Duration = Duration::from_secs(2);

/// How the platform is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Instances are stopped; rows stay, and the next start brings them back.
    StopInstances,
    /// Instances go on running; the next start adopts them.
    LeaveInstances,
    /// As above, and a successor takes over the listening socket: who connects meanwhile waits in
    /// its queue.
    HandOver,
}

/// What is left of a platform that has ended.
#[derive(Debug)]
pub struct Ended {
    pub how: Shutdown,
    /// How many instances were stopped or left running.
    pub instances: usize,
    /// The listening socket, for a successor.
    pub listener: TcpListener,
}

/// A platform that could not start.
#[derive(Debug, Error)]
pub enum UpError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("cannot listen on {address}: {hint}")]
    Listen { address: SocketAddr, hint: String },
    #[error("cannot start")]
    Start { source: std::io::Error },
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// A platform that holds its folder and its address.
#[derive(Debug)]
pub struct House {
    machine: Arc<Machine>,
    stacks: Arc<Stacks>,
    table: Arc<SqliteTable>,
    orphans: Vec<AppName>,
    proxy: Proxy,
    listener: TcpListener,
    hold: Hold,
    doorbell: UnboundedReceiver<RowKey>,
    answered: UnboundedReceiver<Row>,
}

impl House {
    /// Takes the folder and the address, and adopts what runs. A predecessor's listening socket is
    /// used as it is.
    pub async fn open(config: Config, inherited: Option<TcpListener>) -> Result<House, UpError> {
        let start = |source| UpError::Start { source };
        let folder = DataFolder::open(&config.data)?;
        let mut hold = folder.hold()?;
        // The table before the address: who finds somebody listening finds the table, too.
        let (on_answer, answered) = unbounded_channel();
        let table =
            Arc::new(SqliteTable::open(&folder.table(), &folder.journal(), Some(on_answer))?);
        let listener = match inherited {
            Some(listener) => listener,
            None => Proxy::bind(config.listen).map_err(|error| listen_error(&config, &error))?,
        };
        let kept = listener.try_clone().map_err(start)?;
        let address = listener.local_addr().map_err(start)?;
        // Before anybody is answered: who finds the folder held is told by whom.
        hold.announce(&Holder {
            pid: std::process::id(),
            listen: address.to_string(),
            domain: config.domain.clone(),
            since: Timestamp::now(),
            repository: config.repository.clone(),
            path: config.path.clone(),
            max_scale: config.max_scale,
        })
        .map_err(start)?;
        let (ring, doorbell) = unbounded_channel();
        let machine = Arc::new(machine(config, folder, ring, address.port())?);
        let records = machine.journal.stacks().await?;
        let stacks = Arc::new(Stacks::new(Arc::clone(&machine), records));
        end_leftovers(&machine.folder, &stacks).await;
        for stack in stacks.all() {
            adopt(&stack).await;
        }
        let orphans = without_row(&stacks, &*table, &machine.doorbell).await?;
        settle(&stacks).await;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let connections_per_client = machine.config.connections_per_client;
        let limits = Limits { connections_per_client, ..Limits::default() };
        let proxy =
            Proxy::start(listener, Arc::clone(&machine.routes), limits, threads).map_err(start)?;
        let listener = kept;
        Ok(House { machine, stacks, table, orphans, proxy, listener, hold, doorbell, answered })
    }

    /// The apps that run on though no row wants them and nobody removed one, as of the start.
    pub fn orphans(&self) -> &[AppName] {
        &self.orphans
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// The port to what runs apps here: for the suite that every platform must pass.
    pub fn platform(&self) -> impl Platform + use<> {
        MachinePlatform::new(Arc::clone(&self.machine), Arc::clone(&self.stacks))
    }

    /// Works until `shutdown` says how to end; `changed` is called with each row that the reactor
    /// has answered.
    pub async fn run(
        self,
        shutdown: impl Future<Output = Shutdown>,
        changed: impl Fn(&Row) + Send + 'static,
    ) -> Result<Ended, UpError> {
        let House {
            machine,
            stacks,
            table,
            orphans: _,
            proxy,
            listener,
            hold,
            doorbell,
            mut answered,
        } = self;
        feed::start(&machine.folder.table(), machine.doorbell.clone())?;
        let platform = Arc::new(MachinePlatform::new(Arc::clone(&machine), Arc::clone(&stacks)));
        let (swept, sweeps) = unbounded_channel();
        let after_full_sweep = move |sweep: &Sweep| {
            // Nobody tidies any more: the platform is ending.
            let _ = swept.send(sweep.clone());
        };
        let tidy = tidy::run(Arc::clone(&machine), Arc::clone(&stacks), Arc::clone(&table), sweeps);
        let tell = async {
            let mut answers = Answers::default();
            while let Some(row) = answered.recv().await {
                changed(&row);
                answers.tell(&machine, &stacks, &row).await;
            }
        };
        let beat = async {
            loop {
                if let Err(error) = hold.beat() {
                    warn!(reason = %error, "cannot leave a sign of life");
                }
                tokio::time::sleep(BEAT).await;
            }
        };
        let how = tokio::select! {
            how = shutdown => how,
            () = reactor::run(Arc::clone(&table), platform, doorbell, after_full_sweep) => {
                Shutdown::LeaveInstances
            }
            () = tell => Shutdown::LeaveInstances,
            () = tidy => Shutdown::LeaveInstances,
            () = beat => Shutdown::LeaveInstances,
        };
        let instances = end(&machine, &stacks, proxy, how).await;
        if how == Shutdown::StopInstances
            && let Err(error) = table.instances_stopped().await
        {
            warn!(reason = %error, "cannot say in the table that the instances were stopped");
        }
        // The last sign of life: since when nobody is at work.
        if let Err(error) = hold.beat() {
            warn!(reason = %error, "cannot leave a sign of life");
        }
        Ok(Ended { how, instances, listener })
    }
}

fn machine(
    config: Config,
    folder: DataFolder,
    doorbell: UnboundedSender<RowKey>,
    port: u16,
) -> Result<Machine, UpError> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let path = environment.get("PATH").cloned().unwrap_or_else(|| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
    });
    let mirrors = Arc::new(Mirrors::new(folder.mirrors()).with_supply(config.supply.clone()));
    let builds = Builds::new(folder.builds(), Arc::clone(&mirrors), environment)
        .with_supply(config.supply.clone());
    Ok(Machine {
        journal: Journal::open(&folder.journal())?,
        mirrors,
        builds,
        ports: Ports::of_this_machine(),
        routes: match &config.only {
            Some(app) => Routes::behind_balancer(&config.domain, app.as_str()),
            None => Routes::new(&config.domain),
        },
        doorbell,
        superfluous: Notify::new(),
        port,
        path,
        open_files: raise_open_files(),
        failpoints_left: AtomicI64::new(
            config.failpoint.map_or(0, |failpoint| i64::from(failpoint.count())),
        ),
        names: AtomicU64::new(1),
        folder,
        config,
    })
}

/// Lets this process have as many files open as it may: each connection of a client is one, and one
/// more to an instance. The usual limit of 1,024 is kept for apps, some of which cannot do with
/// more (`select(2)`); it is returned where it was another.
fn raise_open_files() -> Option<u64> {
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

fn listen_error(config: &Config, error: &std::io::Error) -> UpError {
    let address = config.listen;
    let next = SocketAddr::new(address.ip(), address.port().wrapping_add(1));
    let is = |kind| error.kind() == kind;
    let hint = if is(std::io::ErrorKind::AddrInUse) {
        format!(
            "another program, perhaps another `rowhouse up`, listens there; choose another with \
             `--listen {next}`"
        )
    } else if is(std::io::ErrorKind::PermissionDenied) {
        "ports below 1024 need a privilege; choose a higher one with `--listen`".to_owned()
    } else if is(std::io::ErrorKind::AddrNotAvailable) {
        "this machine has no such address; `ip address` lists its own".to_owned()
    } else {
        error.to_string()
    };
    UpError::Listen { address, hint }
}

/// Ends one-off processes, such as builds, of a platform that was killed: their operations begin
/// them again.
async fn end_leftovers(data: &DataFolder, stacks: &Stacks) {
    let mut known = BTreeSet::new();
    for stack in stacks.all() {
        if let Some(record) = stack.record().await {
            let folder = data.instances(&stack.name);
            known.extend(record.instances.iter().map(|instance| folder.join(&instance.id.0)));
        }
    }
    end_processes(data, |folder| !known.contains(folder)).await;
    for folder in data.process_folders() {
        if !known.contains(&folder) {
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

/// Ends the supervised processes of these folders, side by side, whoever started them; tells how
/// many ran.
pub async fn end_processes(folder: &DataFolder, is_meant: impl Fn(&Path) -> bool) -> usize {
    let mut stopping = JoinSet::new();
    for folder in folder.process_folders().into_iter().filter(|folder| is_meant(folder)) {
        if let Ok(Adopted::Running(process)) = Supervised::adopt(&folder).await {
            stopping.spawn(async move { process.stop().await });
        }
    }
    stopping.join_all().await.len()
}

/// The stacks without a row that nobody removed. Those that somebody did are rung, whatever has
/// become of the doorbell of that time.
async fn without_row(
    stacks: &Stacks,
    table: &impl AppTable,
    doorbell: &UnboundedSender<RowKey>,
) -> Result<Vec<AppName>, Unreachable> {
    let mut orphans = Vec::new();
    for stack in stacks.all() {
        match table.get(&stack.name.key()).await? {
            Found::Row(_) => {}
            Found::Removed => {
                // The platform has the other end until it ends.
                let _ = doorbell.send(stack.name.key());
            }
            Found::Absent => orphans.push(stack.name.clone()),
        }
    }
    Ok(orphans)
}

/// Gives what was adopted a moment to answer, so that the proxy has somewhere to send its first
/// request.
async fn settle(stacks: &Stacks) {
    let settled = async {
        while !stacks.all().iter().all(|stack| is_settled(stack)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // One that takes longer gets no requests until it answers.
    let _ = tokio::time::timeout(SETTLING, settled).await;
}

/// Ends every task of the stacks, then the proxy, then, if they are to end, the instances; tells
/// how many ran.
async fn end(machine: &Machine, stacks: &Stacks, proxy: Proxy, how: Shutdown) -> usize {
    let stacks = stacks.all();
    // What is under way is in the journal, and is carried on at the next start.
    let mut ending = JoinSet::new();
    for stack in stacks.clone() {
        ending.spawn(async move { stack.end_task().await });
    }
    ending.join_all().await;
    proxy.stop(machine.config.drain).await;
    let mut stopping = JoinSet::new();
    let mut running = 0;
    for stack in stacks {
        stack.let_all_alone().await;
        for instance in stack.instances() {
            running += usize::from(instance.is_running());
            if how == Shutdown::StopInstances {
                stopping.spawn(async move { instance.retire(Duration::ZERO).await });
            }
        }
    }
    while stopping.join_next().await.is_some() {}
    if how == Shutdown::StopInstances {
        // And what no instance is: a build that was under way is begun again at the next start.
        end_processes(&machine.folder, |_| true).await;
    }
    running
}
