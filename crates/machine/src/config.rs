//! How a platform is to run: what `rowhouse up` was asked for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_core::{AppName, Repository, Settings, SettingsDigest};

use crate::limits::allowance::{Allowance, Allowed};
use crate::limits::probe::Offered;
use crate::sandbox::layers::Layers;
use crate::sandbox::probe;
use crate::supply::Supply;
use crate::users::Uids;

/// What instances are made from here, apart from the row. Change it when the way they are run
/// changes.
const TEMPLATE: &str = "machine-2";

/// How a platform is to run.
#[derive(Clone, Debug)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// Apps answer at `<name>.<domain>`.
    pub domain: String,
    /// The one app of a machine behind a load balancer: every request is for it, whatever host it
    /// names.
    pub only: Option<AppName>,
    /// What another program lays out for that app.
    pub supply: Option<Supply>,
    /// The repository of rows without `Repo`.
    pub repository: Option<Repository>,
    /// The folder of rows without `Repo` and `Path`.
    pub path: Option<String>,
    pub max_scale: u32,
    pub build_timeout: Duration,
    /// How long requests in flight may take when their instance must go.
    pub drain: Duration,
    /// How long the processes of an instance may take to end when they are asked to.
    pub stop_grace: Duration,
    /// How long new instances must stay healthy before a rollout counts.
    pub steady: Duration,
    /// Connections of clients from one address; `None`: half of all that there may be.
    pub connections_per_client: Option<usize>,
    /// This program's own file, started again as the small parent of each process.
    pub program: PathBuf,
    /// Whether apps are kept apart.
    pub apart: Apartness,
    /// The users of the machine that apps may be, on a platform of root's; `None`: some that nobody
    /// is.
    pub uids: Option<Uids>,
    /// What apps and builds may take of the machine.
    pub allowed: Allowed,
    /// By what they may be held to it.
    pub limited_by: Offered,
    /// Files and folders of this machine that every app may read, sockets in them included.
    pub shared: Vec<PathBuf>,
    /// What goes wrong on purpose; only tests ask for it.
    pub failpoint: Option<Failpoint>,
}

impl Config {
    /// What instances are made from under this configuration, and the defaults and limits of rows.
    pub(crate) fn settings(&self, layers: Option<&Layers>, allowance: &Allowance) -> Settings {
        Settings {
            digest: SettingsDigest::of(&format!(
                "{TEMPLATE}, {layers:?}, {}",
                allowance.of_settings()
            )),
            repository: self.repository.clone(),
            path: self.path.clone(),
            max_scale: self.max_scale,
            local_repositories: true,
            domain: Some(self.domain.clone()),
        }
    }
}

/// Whether apps are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Apartness {
    /// By all that this machine has for it.
    #[default]
    Enforced,
    /// They are all trusted with each other and with this machine.
    Trusted,
}

impl Apartness {
    /// What is put on each process; see [`probe::layers`].
    pub(crate) fn layers(self, program: &Path, folder: &Path, user: Option<u32>) -> Option<Layers> {
        match self {
            Apartness::Enforced => Some(probe::layers(program, folder, user)),
            Apartness::Trusted => None,
        }
    }
}

/// Trouble that recovery must survive, at the n-th point where it could strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// The platform is killed.
    Kill(u32),
    /// A write of the journal fails.
    FailJournal(u32),
}

impl Failpoint {
    /// `3`: killed at the third point; `journal:3`: the third write fails.
    pub fn parse(text: &str) -> Option<Failpoint> {
        match text.strip_prefix("journal:") {
            Some(count) => count.parse().ok().map(Failpoint::FailJournal),
            None => text.parse().ok().map(Failpoint::Kill),
        }
    }

    pub(crate) fn count(self) -> u32 {
        match self {
            Failpoint::Kill(count) | Failpoint::FailJournal(count) => count,
        }
    }
}
