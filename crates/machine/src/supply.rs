//! The supply: what another program with more rights lays out for the platform of one machine's one
//! app, in a folder that the platform reads and cannot write. Who may enter the folder may read all
//! of it. Who fills it is not known here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rowhouse_core::Commit;
use serde::{Deserialize, Serialize};

use crate::whole::Whole;

const ORDER: &str = "order.json";
const TAKEN: &str = "taken";

/// The folder.
#[derive(Clone, Debug)]
pub struct Supply(PathBuf);

/// What is to be done with the one row, written before the row is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Order {
    /// What the row's version was resolved to. Nobody is asked again.
    pub commit: Commit,
    /// Whether others would like to have the build, if it is made here.
    pub wants_build: bool,
    /// Whether the Procfile's `release:` was run elsewhere for this commit and environment.
    pub is_released: bool,
}

impl Supply {
    /// The supply in `folder`.
    pub fn new(folder: &Path) -> Supply {
        Supply(folder.to_owned())
    }

    /// The order, if there is one that can be read.
    pub fn order(&self) -> Option<Order> {
        serde_json::from_slice(&fs::read(self.0.join(ORDER)).ok()?).ok()
    }

    /// Gives the order, whole or not at all.
    pub fn give(&self, order: &Order) -> io::Result<()> {
        self.write(ORDER, &serde_json::to_vec(order)?)
    }

    /// Where a repository's commit lies as a bundle of git, if this machine's own user may not
    /// fetch it. `mirror` is the name of the repository's mirror.
    pub fn bundle(&self, mirror: &str) -> PathBuf {
        self.0.join(format!("{mirror}.bundle"))
    }

    /// Where a file of this name lies.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whether the build that was offered has been taken.
    pub fn is_taken(&self) -> bool {
        self.0.join(TAKEN).exists()
    }

    /// Says so.
    pub fn take(&self) -> io::Result<()> {
        self.write(TAKEN, b"")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        Whole::new(&self.0.join(name)).mode(0o644).durable().write(bytes)
    }
}
