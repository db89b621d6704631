//! Files that are written as a whole: whoever reads one sees all of it, or what was there before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::room::remove_now;

/// A file that is about to be written. One writer at a time may be at it: what it writes first lies
/// beside it under a name of its own, where the next one removes what was left half-written.
#[derive(Debug)]
pub struct Whole<'a> {
    path: &'a Path,
    mode: u32,
    is_durable: bool,
}

impl<'a> Whole<'a> {
    /// The file at `path`, in a folder that is there.
    pub fn new(path: &'a Path) -> Whole<'a> {
        Whole { path, mode: 0o666, is_durable: false }
    }

    /// Who may do what with it; the umask takes away from that.
    #[must_use]
    pub fn mode(self, mode: u32) -> Whole<'a> {
        Whole { mode, ..self }
    }

    /// On the disk when it is written, and under its name: it outlives the machine's power.
    #[must_use]
    pub fn durable(self) -> Whole<'a> {
        Whole { is_durable: true, ..self }
    }

    /// Writes it.
    ///
    /// # Errors
    /// What keeps it from being written; what was there before is still there.
    pub fn write(self, bytes: &[u8]) -> io::Result<()> {
        let mode = self.mode;
        self.make(|new| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(mode).open(new)?.write_all(bytes)
        })
    }

    /// Has `work` make the file at another path, and gives it its name when it is finished.
    ///
    /// # Errors
    /// As for [`Whole::write`], and those of `work`.
    pub fn make(self, work: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let new = self.beside()?;
        remove_now(&new)?;
        let made = work(&new).and_then(|()| self.keep(&new));
        if made.is_err() {
            // The next writer tries again.
            let _ = remove_now(&new);
        }
        made
    }

    fn keep(&self, new: &Path) -> io::Result<()> {
        if self.is_durable {
            File::open(new)?.sync_all()?;
        }
        fs::rename(new, self.path)?;
        if self.is_durable {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }

    fn beside(&self) -> io::Result<PathBuf> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        Ok(self.path.with_file_name(format!(".{}.new", name.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_there_as_a_whole_with_its_mode_and_nothing_beside_it() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("key");
        for bytes in [b"one".as_slice(), b"another"] {
            Whole::new(&path).mode(0o600).durable().write(bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(room.path()), ["key"]);
    }

    #[test]
    fn what_cannot_be_finished_leaves_what_was_there_before() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("archive");
        Whole::new(&path).write(b"before").unwrap();
        let failed = Whole::new(&path).make(|new| {
            fs::write(new, "half of")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(names(room.path()), ["archive"]);
    }

    #[test]
    fn what_a_killed_writer_has_left_is_in_nobodys_way() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("record");
        fs::write(room.path().join(".record.new"), "half of").unwrap();
        Whole::new(&path).write(b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(room.path()), ["record"]);
    }
}
