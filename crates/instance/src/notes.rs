//! What this half keeps over a restart, in a folder of its own: manifest, certificate, and whether
//! the signal was sent. What it has in hand lies there, too, where nobody else may look.

use rowhouse_core::ObjectDigest;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rowhouse_machine::whole::Whole;

use crate::signal::Signal;

/// The folder.
#[derive(Debug)]
pub(crate) struct Notes(PathBuf);

impl Notes {
    /// Opens it, and makes it where it is missing; nobody else may enter.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Notes> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        Ok(Notes(folder.to_owned()))
    }

    /// Where a file or folder of this name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.0.join(name)).ok()
    }

    /// Writes a file that only its owner reads, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let file = self.0.join(name);
        Whole::new(&file).mode(0o600).durable().write(bytes)?;
        Ok(file)
    }

    /// An empty file that only its owner reads, for another program to write.
    pub(crate) fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let file = self.0.join(name);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        Ok(file)
    }

    /// Gives a file its name.
    pub(crate) fn keep(&self, file: &Path, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::rename(file, &path)?;
        Ok(path)
    }

    /// What was signalled of this manifest.
    pub(crate) fn said(&self, manifest: &ObjectDigest) -> Option<Signal> {
        let word = self.read(&said_of(manifest))?;
        [Signal::Success, Signal::Failure]
            .into_iter()
            .find(|signal| word.trim_ascii() == signal.as_str().as_bytes())
    }

    /// It was signalled, and is not again.
    pub(crate) fn has_said(&self, manifest: &ObjectDigest, signal: Signal) -> io::Result<()> {
        self.write(&said_of(manifest), signal.as_str().as_bytes()).map(drop)
    }
}

fn said_of(manifest: &ObjectDigest) -> String {
    format!("{manifest}.signal")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_signal_is_remembered_for_its_manifest_alone() {
        let room = tempfile::tempdir().unwrap();
        let notes = Notes::open(&room.path().join("notes")).unwrap();
        assert_eq!(notes.said(&ObjectDigest::of(b"a")), None);
        notes.has_said(&ObjectDigest::of(b"a"), Signal::Failure).unwrap();
        notes.has_said(&ObjectDigest::of(b"b"), Signal::Success).unwrap();
        assert_eq!(notes.said(&ObjectDigest::of(b"a")), Some(Signal::Failure));
        assert_eq!(notes.said(&ObjectDigest::of(b"b")), Some(Signal::Success));
    }

    #[test]
    fn nobody_else_reads_notes() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("notes");
        let notes = Notes::open(&folder).unwrap();
        let file = notes.write("key", b"secret").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    }
}
