//! This program, as what other processes of it are started from.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What runs, whatever becomes of its file.
const RUNNING: &str = "/proc/self/exe";

/// A program's file. If it is the one of this process, and is replaced or removed later, what runs
/// is started all the same: the parts of one platform are of one version.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    is_own: bool,
}

impl Program {
    pub fn new(path: &Path) -> Program {
        Program { path: path.to_owned(), is_own: is_running(path) }
    }

    /// What is to be started now.
    pub(crate) fn path(&self) -> &Path {
        if self.is_own && !is_running(&self.path) { Path::new(RUNNING) } else { &self.path }
    }
}

/// Whether the file is that of this process.
fn is_running(path: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    place(path).is_some_and(|place_of_path| Some(place_of_path) == place(Path::new(RUNNING)))
}
