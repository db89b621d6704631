//! The platform at work: everything that `rowhouse up` runs, from the lock on the folder to the
//! last drain.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rowhouse_core::{AppName, Platform, Row, RowKey, Sweep, Unreachable};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{Apartness, Config};
use crate::damage;
use crate::folder::{DataFolder, FolderError, Hold, Holder};
use crate::instance::State;
use crate::limits::means::Means;
use crate::limits::probe;
use crate::machine::{Machine, raise_open_files};
use crate::process::supervised::end_processes;
use crate::proxy::{Limits, Proxy};
use crate::reactor;
use crate::replaced::{self, without_row};
use crate::room::remove_now;
use crate::sandbox::layers::Layers;
use crate::sandbox::user::may_be_given;
use crate::stack::adoption::{self, is_settled};
use crate::stack::answer::Answers;
use crate::stack::journal;
use crate::stack::platform::MachinePlatform;
use crate::stack::records::Known as Recorded;
use crate::stack::salvage::{self, Salvaged};
use crate::stack::stacks::Stacks;
use crate::stack::tidy;
use crate::succession::{Inheritance, Known, Predecessor, Successor, SuccessorError};
use crate::table::feed;
use crate::table::replacement::FileNews;
use crate::table::{SqliteTable, TableFile};
use crate::users::{UidsError, Users};

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
}

/// What is left of a platform that has ended.
#[derive(Debug)]
pub struct Ended {
    pub how: Shutdown,
    /// How many instances were stopped or left running.
    pub instances: usize,
}

/// What is left of a platform that has a successor: the connections that it has.
#[derive(Debug)]
pub struct Leaving {
    proxy: Proxy,
    drain: Duration,
    alone: CancellationToken,
}

impl Leaving {
    /// Ends them as their requests end, in the time that a drain may take. Then waits for whoever
    /// came before this process, which has as much time from an earlier moment on: of a row of
    /// processes the first one goes first, so whoever sees the last but one gone is alone.
    pub async fn drained(self) {
        tokio::join!(self.proxy.leave(self.drain), self.alone.cancelled());
    }
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
    #[error("cannot take over from the process before this one")]
    Succeed { source: std::io::Error },
    #[error("apps cannot have the users that are asked for")]
    Uids(#[from] UidsError),
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
    /// What becomes of the table's file, once its changes ring.
    file_news: Option<UnboundedReceiver<FileNews>>,
    _salvaged: Option<Salvaged>,
}

impl House {
    /// Takes the folder and the address, from a predecessor if there is one, and adopts what runs.
    pub async fn open(config: Config, from: Option<Predecessor>) -> Result<House, UpError> {
        match from {
            None => House::begin(config).await,
            Some(predecessor) => House::succeed(config, predecessor).await,
        }
    }

    /// What keeps the apps apart; `None`: they are trusted.
    pub fn layers(&self) -> Option<&Layers> {
        self.machine.isolation.layers()
    }

    /// By what apps are held to their limits.
    pub fn means(&self) -> &Means {
        self.machine.allowance.means()
    }

    async fn begin(config: Config) -> Result<House, UpError> {
        let folder = DataFolder::open(&config.data)?;
        let mut hold = folder.hold()?;
        let salvaged = salvage::begin(&folder)?;
        // The table before the address: who finds somebody listening finds the table, too.
        let (table, answered) = open_table(&folder)?;
        let listener = Proxy::bind(config.listen).map_err(|error| listen_error(&config, &error))?;
        let address = listener.local_addr().map_err(start_error)?;
        // Before anybody is answered: who finds the folder held is told by whom.
        hold.announce(&holder(&config, address)).map_err(start_error)?;
        let open_files = raise_open_files();
        let users = users(&config, &folder)?;
        let (machine, doorbell) = Machine::open(config, folder, address.port(), open_files, users)?;
        machine.alone.cancel();
        let (stacks, recorded) = take_in_hand(&machine).await?;
        if let Some(salvaged) = &salvaged {
            damage::tell(&machine, salvaged, &recorded).await;
        }
        damage::mend(&machine, recorded, &stacks.held()).await?;
        end_leftovers(&machine, &stacks).await;
        carry_on(&stacks).await;
        settle(&stacks).await;
        let proxy = proxy(&listener, &machine)?;
        proxy.serve();
        let orphans = without_row(&stacks, &*table, &machine.doorbell).await?;
        Ok(House {
            machine,
            stacks,
            table,
            orphans,
            proxy,
            listener,
            hold,
            doorbell,
            answered,
            file_news: None,
            _salvaged: salvaged,
        })
    }

    /// As [`House::begin`], but nothing is changed before the predecessor says that the platform is
    /// this process's; it goes on with it otherwise.
    async fn succeed(config: Config, mut from: Predecessor) -> Result<House, UpError> {
        let lost = |source| UpError::Succeed { source };
        let folder = DataFolder::open(&config.data)?;
        journal::prove(&folder.journal())?;
        TableFile::prove(&folder.table())?;
        let Inheritance { lock, listener, known } = from.inherit().await.map_err(lost)?;
        let mut hold = folder.take_over(lock)?;
        let address = listener.local_addr().map_err(start_error)?;
        let holder = holder(&config, address);
        let users = users(&config, &folder)?;
        let (machine, doorbell) =
            Machine::open(config, folder, address.port(), known.open_files, users)?;
        let (stacks, recorded) = take_in_hand(&machine).await?;
        for instance in stacks.all().iter().flat_map(|stack| stack.instances()) {
            if instance.is_running() && known.healthy.iter().any(|it| it == instance.folder()) {
                instance.set(State::Healthy);
            }
        }
        for stack in stacks.all() {
            stack.admit().await;
        }
        let proxy = proxy(&listener, &machine)?;
        from.take_over().await.map_err(lost)?;
        proxy.serve();
        // From here on there is no way back.
        if let Err(error) = hold.announce(&holder) {
            warn!(reason = %error, "cannot say in the folder who holds it");
        }
        from.announced().await;
        let alone = machine.alone.clone();
        tokio::spawn(async move {
            from.gone().await;
            alone.cancel();
        });
        let (table, answered) = open_table(&machine.folder)?;
        damage::mend(&machine, recorded, &stacks.held()).await?;
        end_leftovers(&machine, &stacks).await;
        carry_on(&stacks).await;
        let orphans = without_row(&stacks, &*table, &machine.doorbell).await?;
        Ok(House {
            machine,
            stacks,
            table,
            orphans,
            proxy,
            listener,
            hold,
            doorbell,
            answered,
            file_news: None,
            _salvaged: None,
        })
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

    /// Works until `until` is over, and tells what it gave; `None`: the platform cannot work on.
    /// `changed` is called with each row that the reactor has answered.
    pub async fn work<T>(
        &mut self,
        until: impl Future<Output = T>,
        changed: impl Fn(&Row),
    ) -> Result<Option<T>, UpError> {
        let House { machine, stacks, table, hold, doorbell, answered, file_news, .. } = self;
        let file_news = if let Some(news) = file_news {
            news
        } else {
            let (news, heard) = unbounded_channel();
            feed::start(table, machine.doorbell.clone(), news)?;
            file_news.insert(heard)
        };
        let sweep = Notify::new();
        let platform = Arc::new(MachinePlatform::new(Arc::clone(machine), Arc::clone(stacks)));
        let (swept, sweeps) = unbounded_channel();
        let after_full_sweep = move |sweep: &Sweep| {
            // Nobody tidies any more: the platform is ending.
            let _ = swept.send(sweep.clone());
        };
        let tidy = tidy::run(Arc::clone(machine), Arc::clone(stacks), Arc::clone(table), sweeps);
        let tell = async {
            let mut answers = Answers::default();
            while let Some(row) = answered.recv().await {
                changed(&row);
                answers.tell(machine, stacks, &row).await;
            }
        };
        let beat = async {
            loop {
                beat(hold);
                tokio::time::sleep(BEAT).await;
            }
        };
        let reactor = reactor::run(Arc::clone(table), platform, doorbell, &sweep, after_full_sweep);
        Ok(tokio::select! {
            over = until => Some(over),
            () = reactor => None,
            () = replaced::tell(machine, stacks, table, file_news, &sweep) => None,
            () = tell => None,
            () = tidy => None,
            () = beat => None,
        })
    }

    /// Hands the folder and the listening socket over, and stops nothing that runs. If the
    /// successor is of no use, everything here is as it was, and [`House::work`] goes on.
    pub async fn hand_over(&mut self, successor: &mut Successor) -> Result<(), SuccessorError> {
        rest(&self.stacks).await;
        let instances = self.stacks.all().into_iter().flat_map(|stack| stack.instances());
        let healthy = instances
            .filter(|instance| instance.is_healthy())
            .map(|instance| instance.folder().to_owned())
            .collect();
        let known = Known { healthy, open_files: self.machine.open_files };
        let taken_over = successor.take_over(self.hold.lock(), &self.listener, &known).await;
        if taken_over.is_err() {
            carry_on(&self.stacks).await;
        }
        taken_over
    }

    /// Lets the successor have everything but the connections that there are.
    pub async fn leave(self, successor: &mut Successor) -> Leaving {
        let House { machine, proxy, .. } = self;
        proxy.retreat();
        successor.go().await;
        Leaving { proxy, drain: machine.config.drain, alone: machine.alone.clone() }
    }

    /// Ends everything here, and what runs, if that is asked for.
    pub async fn end(self, how: Shutdown) -> Ended {
        let House { machine, stacks, table, proxy, hold, .. } = self;
        let instances = end(&machine, &stacks, proxy, how).await;
        if how == Shutdown::StopInstances
            && let Err(error) = table.instances_stopped().await
        {
            warn!(reason = %error, "cannot say in the table that the instances were stopped");
        }
        if let Err(error) = table.checkpoint().await {
            warn!(reason = %error, "the table's file is not whole without its `-wal` beside it");
        }
        // The last sign of life: since when nobody is at work.
        beat(&hold);
        Ended { how, instances }
    }
}

fn beat(hold: &Hold) {
    if let Err(error) = hold.beat() {
        warn!(reason = %error, "cannot leave a sign of life");
    }
}

fn start_error(source: std::io::Error) -> UpError {
    UpError::Start { source }
}

/// Who the apps are to be, where this is a platform of root's that keeps them apart.
fn users(config: &Config, folder: &DataFolder) -> Result<Option<Users>, UidsError> {
    let is_meant = config.apart == Apartness::Enforced && may_be_given();
    if is_meant { Users::open(folder, config.uids) } else { Ok(None) }
}

fn open_table(folder: &DataFolder) -> Result<(Arc<SqliteTable>, UnboundedReceiver<Row>), UpError> {
    let (on_answer, answered) = unbounded_channel();
    let table = SqliteTable::open(&folder.table(), &folder.journal(), Some(on_answer))?;
    Ok((Arc::new(table), answered))
}

fn proxy(listener: &TcpListener, machine: &Machine) -> Result<Proxy, UpError> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let listener = listener.try_clone().map_err(start_error)?;
    let connections_per_client = machine.config.connections_per_client;
    let limits = Limits { connections_per_client, ..Limits::default() };
    Proxy::prepare(listener, Arc::clone(&machine.routes), limits, threads).map_err(start_error)
}

fn holder(config: &Config, address: SocketAddr) -> Holder {
    Holder {
        pid: std::process::id(),
        listen: address.to_string(),
        domain: config.domain.clone(),
        since: Timestamp::now(),
        repository: config.repository.clone(),
        path: config.path.clone(),
        max_scale: config.max_scale,
    }
}

/// Takes in hand what the journal knows, and begins nothing.
async fn take_in_hand(machine: &Arc<Machine>) -> Result<(Arc<Stacks>, Recorded), UpError> {
    let known = machine.journal.known().await?;
    let held = damage::held(&known, &machine.folder);
    let stacks = Arc::new(Stacks::new(Arc::clone(machine), known.records.clone(), held));
    for stack in stacks.all() {
        adoption::adopt(&stack).await;
    }
    Ok((stacks, known))
}

async fn carry_on(stacks: &Stacks) {
    for stack in stacks.all() {
        adoption::tell(&stack).await;
        adoption::carry_on(&stack).await;
    }
}

/// Ends every task of the stacks, and touches nothing that runs. What is under way is in the
/// journal, and is carried on from there.
async fn rest(stacks: &Stacks) {
    let mut resting = JoinSet::new();
    for stack in stacks.all() {
        resting.spawn(async move {
            stack.end_task().await;
            stack.let_all_alone().await;
        });
    }
    resting.join_all().await;
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
async fn end_leftovers(machine: &Machine, stacks: &Stacks) {
    let (data, allowance) = (&machine.folder, &machine.allowance);
    let mut known = BTreeSet::new();
    for stack in stacks.all() {
        if let Some(record) = stack.record().await {
            let folder = data.instances(&stack.name);
            known.extend(record.instances.iter().map(|instance| folder.join(&instance.id.0)));
        }
    }
    let held: Vec<_> = stacks.held().keys().map(|name| data.instances(name)).collect();
    let is_left = |folder: &Path| {
        !known.contains(folder) && !held.iter().any(|held| folder.starts_with(held))
    };
    end_processes(data, is_left).await;
    for folder in data.process_folders() {
        if is_left(&folder) {
            let _ = remove_now(&folder);
        }
    }
    probe::remove_leftovers(allowance.means(), allowance.beginning());
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
                stopping.spawn(async move {
                    instance.retire(Duration::ZERO, std::future::ready(())).await
                });
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
