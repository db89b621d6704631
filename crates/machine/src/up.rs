//! The platform at work: everything that `rowhouse up` runs, from the lock on the folder to the last drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rowhouse_core::{Row, Unreachable};
use thiserror::Error;

use crate::folder::FolderError;

/// How a platform is to run.
#[derive(Clone, Debug)]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    /// Apps answer at `<name>.<domain>`.
    pub domain: String,
    /// The repository of rows without `Repo`.
    pub repository: Option<String>,
    /// The folder of rows without `Repo` and `Path`.
    pub path: Option<String>,
    pub max_scale: u32,
    pub build_timeout: Duration,
    /// How long requests in flight may take when their instance must go.
    pub drain: Duration,
    /// This program's own file, started again as the small parent of each process.
    pub program: PathBuf,
}

/// How the platform is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Instances are stopped; rows stay, and the next start brings them back.
    StopInstances,
    /// Instances go on running; the next start adopts them.
    LeaveInstances,
}

/// A platform that could not start.
#[derive(Debug, Error)]
pub enum UpError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("cannot listen on {address}: {hint}")]
    Listen { address: SocketAddr, hint: String, source: std::io::Error },
    #[error("cannot start")]
    Start { source: std::io::Error },
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// A platform that holds its folder and its address.
#[derive(Debug)]
pub struct House {}

impl House {
    /// Takes the folder and the address, and adopts what runs.
    pub async fn open(config: Config) -> Result<House, UpError> {
        let _ = config;
        Ok(House {})
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    /// Works until `shutdown` says how to end; `changed` is called with each row that the reactor has answered.
    /// Returns how many instances were stopped or left running.
    pub async fn run(
        self,
        shutdown: impl Future<Output = Shutdown>,
        changed: impl Fn(&Row) + Send + 'static,
    ) -> usize {
        let _ = changed;
        shutdown.await;
        0
    }
}
