//! What is seen of a platform beside its rows: its reactor, the stacks of its apps, what happens
//! and what is printed.

use std::fmt;

use jiff::Timestamp;
use rowhouse_core::{App, AppName, Commit, Repository, RowKey};

/// What can be seen of a platform.
#[expect(async_fn_in_trait, reason = "a command is one thread")]
pub trait Sight {
    type Events: News<Item = Event>;
    type Lines: News<Item = PrintedLine>;

    /// Who keeps the rows true.
    fn reactor(&self) -> Reactor;

    /// What there is of an app.
    async fn left(&self, key: &RowKey) -> anyhow::Result<Left>;

    /// The apps that run on without a row, as far as that can be told.
    async fn without_row(&self) -> anyhow::Result<WithoutRow>;

    /// The commit that is under way, if one is.
    async fn aim(&self, name: &AppName) -> anyhow::Result<Option<Commit>>;

    /// The instances of an app; none where nothing runs.
    async fn instances(&self, name: &AppName) -> anyhow::Result<Vec<ListedInstance>>;

    /// What happens, to one app or to any, beginning with the `last` events.
    async fn events(&self, name: Option<&str>, last: usize) -> anyhow::Result<Self::Events>;

    /// What an app prints, beginning with the `last` lines; `None`: nothing of it was ever kept.
    async fn lines(&self, name: &AppName, last: usize) -> anyhow::Result<Option<Self::Lines>>;

    /// The commit that an app's version names now; `None` where only the reactor can tell.
    async fn resolve(&self, app: &App) -> Option<Commit>;

    /// The branch that a repository itself takes for its main one.
    async fn default_branch(&self, repository: &str) -> anyhow::Result<String>;
}

/// News that come in turns.
#[expect(async_fn_in_trait, reason = "a command is one thread")]
pub trait News {
    type Item;

    /// What has come since the last time, the oldest first; the first time, what it was told to
    /// begin with.
    async fn news(&mut self) -> anyhow::Result<Vec<Self::Item>>;
}

/// Who keeps the rows true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reactor {
    /// A process of this machine; who, once it has said so.
    Process(Option<Process>),
    /// A process of this machine that is not there; when it was last seen, if ever.
    Absent(Option<Timestamp>),
    /// A function on AWS: at work whenever something rings, and its schedules always do.
    Function(Function),
}

impl Reactor {
    /// Whether a row that is written now is answered.
    pub fn is_at_work(&self) -> bool {
        match self {
            Reactor::Process(_) | Reactor::Function(_) => true,
            Reactor::Absent(_) => false,
        }
    }
}

/// The process that runs a platform on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// Address and port of the proxy.
    pub listen: String,
    pub domain: String,
    pub since: Timestamp,
    /// The default repository of rows without `Repo`.
    pub repository: Option<Repository>,
    pub path: Option<String>,
    pub max_scale: u32,
}

/// The function that is a platform's reactor on AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub account: String,
    pub region: String,
    pub hearing: Hearing,
}

/// How a function hears of changes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// By the table's stream.
    Stream,
    /// By its schedules alone.
    Schedules,
    /// Whoever asks may not know.
    Unknown,
}

/// Apps that run on without a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithoutRow {
    /// Nobody removed their rows.
    pub orphans: Vec<AppName>,
    /// Their rows were removed, and nothing ends them yet.
    pub removed: Vec<AppName>,
}

/// What there is of an app, with or without a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// It runs, or goes.
    Something,
    /// It cannot be deleted, and why.
    Stuck(String),
    /// Whoever asks may not know.
    Unknown,
}

/// One running copy of an app, as a list shows it: what its platform does not know is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedInstance {
    pub id: String,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    pub state: InstanceState,
    pub revision: Option<Commit>,
    pub started_at: Option<Timestamp>,
}

/// How an instance does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    Running,
    /// It finishes its last requests.
    Draining,
    /// There is no process, and nobody knows how it ended.
    NotRunning,
    /// As the platform itself calls it: how its process ended, or what its group does with it.
    Other(String),
}

impl fmt::Display for InstanceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            InstanceState::Running => "running",
            InstanceState::Draining => "draining",
            InstanceState::NotRunning => "not running",
            InstanceState::Other(words) => words,
        })
    }
}

/// What happened to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub at: String,
    /// The app's name.
    pub name: String,
    /// One word, such as `building`.
    pub kind: String,
    pub text: String,
}

/// By which a platform knows an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventId {
    Number(i64),
    Text(String),
}

/// A line that an app has printed, or a build of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrintedLine {
    /// RFC 3339, to the millisecond; it sorts as text.
    pub at: String,
    /// Which process has printed it.
    pub source: String,
    pub text: String,
}
