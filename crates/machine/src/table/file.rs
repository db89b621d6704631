//! The table's file as it was opened: whether its paths still lead to it, and how it is let go
//! where they do not.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::room::remove_now;
use crate::table::database::{Durability, open};
use crate::table::schema;
use crate::table::schema::FormatError;
use crate::table::sequence::mend;

/// The tables in the file whose ids count up.
pub(crate) const COUNTED: [&str; 2] = ["changes", "history"];

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    pub(crate) size: u64,
    modified: (i64, i64),
    pub(crate) is_folder: bool,
}

impl Stamp {
    /// Of what the path leads to; `None`: to nothing.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let about = fs::metadata(path).ok()?;
        Some(Stamp {
            inode: (about.dev(), about.ino()),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            is_folder: about.is_dir(),
        })
    }
}

/// Where the paths of a table lead: to its file, its write-ahead log, and the index of that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) file: Option<Stamp>,
    pub(crate) log: Option<Stamp>,
    index: Option<Stamp>,
}

impl Place {
    /// What is to be said of the way from here to there.
    pub(crate) fn changed_to(&self, now: &Place) -> Option<Change> {
        let inode = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.inode);
        match (inode(self.file), inode(now.file)) {
            (_, None) => Some(Change::Removed),
            (then, now) if then != now => Some(Change::Replaced),
            (_, _) if inode(self.log) != inode(now.log) => Some(Change::LogRemoved),
            (_, _) if inode(self.index) != inode(now.index) => Some(Change::LogRemoved),
            (_, _) => None,
        }
    }
}

/// What has become of the file that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Removed,
    Replaced,
    /// The file is still there, without the log or the index that belongs to it.
    LogRemoved,
    /// It is the same file with another content.
    Overwritten,
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Change::Removed => "it was removed",
            Change::Replaced => "another file took its place",
            Change::LogRemoved => "its `-wal` or `-shm` was removed",
            Change::Overwritten => "its content was written over",
        })
    }
}

/// A table's file with a connection to it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) connection: Connection,
    path: PathBuf,
    place: Place,
}

impl OpenFile {
    /// Opens the file, and makes it where it is missing. One of an earlier format stays as it is.
    pub(crate) fn open(path: &Path) -> Result<OpenFile, FormatError> {
        OpenFile::prepared(path, schema::make)
    }

    /// Opens the file, and makes what is missing in it. That is for who holds the folder's lock.
    pub(crate) fn migrate(path: &Path) -> Result<OpenFile, FormatError> {
        OpenFile::prepared(path, schema::migrate)
    }

    /// The same for a file that somebody has put there, of which everything is looked at first.
    pub(crate) fn migrate_unknown(path: &Path) -> Result<OpenFile, FormatError> {
        OpenFile::prepared(path, |connection| {
            check(connection)?;
            schema::migrate(connection)
        })
    }

    fn prepared(
        path: &Path,
        prepare: impl Fn(&mut Connection) -> Result<(), FormatError>,
    ) -> Result<OpenFile, FormatError> {
        loop {
            let before = Stamp::of(path);
            let mut connection = open(path, Durability::Full)?;
            prepare(&mut connection)?;
            mend(&mut connection, &COUNTED)?;
            let opened = OpenFile::new(connection, path);
            let is_the_same = before.is_none_or(|before| {
                opened.place.file.is_some_and(|now| now.inode == before.inode)
            });
            if is_the_same {
                return Ok(opened);
            }
        }
    }

    /// What is known of a connection that has read from the file at `path`.
    pub(crate) fn new(connection: Connection, path: &Path) -> OpenFile {
        let place = place(&connection, path);
        OpenFile { connection, path: path.to_owned(), place }
    }

    /// Where its paths led when it was opened.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What has become of it, as far as names tell.
    pub(crate) fn change(&self) -> Option<Change> {
        self.place.changed_to(&self.look())
    }

    /// Where its paths lead now.
    pub(crate) fn look(&self) -> Place {
        place(&self.connection, &self.path)
    }

    /// Where it is, as the file system has it: the log lies beside it, whatever leads here.
    pub(crate) fn resolved(&self) -> PathBuf {
        resolved(&self.connection, &self.path)
    }

    /// Lets the connection end without touching what its paths lead to: SQLite removes a log by its
    /// name when the last connection to a file ends, and the log of that name may be another's.
    pub(crate) fn leave_alone(&self) {
        // Of a connection that is there it cannot fail; and if it did, there is nothing to do.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.change().is_some() {
            self.leave_alone();
        }
    }
}

/// Whether all of a file can be read with the log that lies beside it.
pub(crate) fn is_whole(path: &Path) -> bool {
    open(path, Durability::Full).and_then(|connection| check(&connection)).is_ok()
}

/// <https://www.sqlite.org/pragma.html#pragma_quick_check>
fn check(connection: &Connection) -> rusqlite::Result<()> {
    let said: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" {
        return Ok(());
    }
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(corrupt, Some(said)))
}

fn resolved(connection: &Connection, path: &Path) -> PathBuf {
    let known = connection.path().filter(|path| !path.is_empty());
    known.map_or_else(|| path.to_owned(), PathBuf::from)
}

fn place(connection: &Connection, path: &Path) -> Place {
    let [log, index] = beside(&resolved(connection, path)).map(|path| Stamp::of(&path));
    Place { file: Stamp::of(path), log, index }
}

/// The log of a table's file, and its index.
fn beside(file: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|end| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}

/// Where the log of a table's file lies.
pub(crate) fn log_beside(file: &Path) -> PathBuf {
    let [log, _] = beside(file);
    log
}

/// Whether the log of a file that was replaced lies where that of the next one would.
pub(crate) fn is_in_the_way(file: &Path, held: &Place) -> bool {
    let [log, _] = beside(file);
    !is_held(file, held.file) && is_held(&log, held.log)
}

/// Moves the log of a file that another one has replaced out of the way of that, to `kept`, and
/// removes its index: with them, SQLite would read the one's pages as the other's. What is not what
/// was held is left alone.
pub(crate) fn set_aside(file: &Path, held: &Place, kept: &Path) -> io::Result<()> {
    let [log, index] = beside(file);
    if is_held(&log, held.log) {
        fs::rename(&log, kept)?;
    }
    if is_held(&index, held.index) {
        remove_now(&index)?;
    }
    Ok(())
}

/// Removes the index of a log that is gone.
pub(crate) fn remove_index(file: &Path, held: &Place) -> io::Result<()> {
    let [log, index] = beside(file);
    if !is_held(&log, held.log) && is_held(&index, held.index) {
        remove_now(&index)
    } else {
        Ok(())
    }
}

/// Whether this is still the file that was held.
pub(crate) fn is_held(path: &Path, held: Option<Stamp>) -> bool {
    Stamp::of(path).zip(held).is_some_and(|(now, held)| now.inode == held.inode)
}
