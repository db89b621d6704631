//! A journal whose file is damaged: what can be read of it goes into a new one, and the file is
//! kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rowhouse_core::Unreachable;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use rustix::fs::{FlockOperation, fcntl_lock};

use crate::folder::{DataFolder, database};
use crate::process::supervised::running_apps;
use crate::room::remove_now;
use crate::stack::journal::{self, CONTENT};
use crate::stack::records;
use crate::table::database::{BUSY_TIMEOUT, Durability, explain, open};
use crate::table::mark;
use crate::whole::Whole;

/// A journal that was damaged, and in whose place there is another one.
#[derive(Debug)]
pub(crate) struct Salvaged {
    /// Where it is kept.
    pub(crate) kept: PathBuf,
    /// What is wrong with it.
    pub(crate) fault: String,
    /// A lock on it, for as long as this is kept: a program that still reads it is not the last to
    /// close it, for that one would remove the log of the file in its place, by its name.
    _guard: Option<File>,
}

/// Makes sure that there is a journal that can be read and written. For who holds the folder.
///
/// # Errors
/// It cannot be looked at, or the new one cannot be written; then what there was is there.
pub(crate) fn begin(folder: &DataFolder) -> Result<Option<Salvaged>, Unreachable> {
    let path = folder.journal();
    let fault = journal::fault_of(&path)?;
    let new = folder.salvaged_journal();
    // One that is there is whole: a platform has ended before it was in its place.
    if new.exists() || fault.is_some() {
        let fault = fault.unwrap_or_else(|| "it was being replaced".to_owned());
        let replaced = (|| {
            if !new.exists() {
                Whole::new(&new).mode(0o600).make(|file| save(folder, file))?;
            }
            replace(&path, &new, fault)
        })();
        return replaced.map(Some).map_err(|error| Unreachable {
            reason: format!("journal: it is damaged, and no other one can be made: {error}"),
        });
    }
    let expected = expect_more(folder);
    expected.map_err(|error| Unreachable { reason: format!("journal: {}", explain(&error)) })?;
    Ok(None)
}

/// In a journal that no platform has written to yet, notes that it is not all that there was, where
/// apps run.
fn expect_more(folder: &DataFolder) -> rusqlite::Result<()> {
    let connection = open(&folder.journal(), Durability::Process)?;
    for table in ["stacks", "stacks_copies", "marks"] {
        if connection.table_exists(None, table)?
            && connection.prepare(&format!("select 1 from {table}"))?.exists([])?
        {
            return Ok(());
        }
    }
    if !running_apps(folder).is_empty() {
        journal::make(&connection)?;
        records::note_missing(&connection)?;
    }
    Ok(())
}

/// Writes what can be read of the folder's journal into another file.
fn save(folder: &DataFolder, file: &Path) -> io::Result<()> {
    let write = || -> rusqlite::Result<()> {
        let new = Connection::open(file)?;
        journal::make(&new)?;
        mark::make(&new)?;
        new.execute_batch("begin")?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let old = Connection::open_with_flags(folder.journal(), flags)?;
        // Nobody writes there who is not a reader: it may be waited for.
        old.busy_timeout(BUSY_TIMEOUT)?;
        for (table, columns) in CONTENT {
            copy(&old, &new, table, columns)?;
        }
        for name in running_apps(folder) {
            for table in records::TABLES {
                copy_where(&old, &new, table, CONTENT[0].1, "where name = ?1", &[name.as_str()])?;
            }
        }
        records::note_missing(&new)?;
        new.execute_batch("commit")
    };
    write().map_err(io::Error::other)
}

/// From both ends, up to what is damaged.
fn copy(old: &Connection, new: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<()> {
    for order in ["not indexed order by rowid", "not indexed order by rowid desc"] {
        copy_where(old, new, table, columns, order, &[])?;
    }
    Ok(())
}

fn copy_where(
    old: &Connection,
    new: &Connection,
    table: &str,
    columns: &[&str],
    which: &str,
    named: &[&str],
) -> rusqlite::Result<()> {
    let list = columns.join(", ");
    // What cannot be read is what this is about.
    let Ok(mut found) = old.prepare(&format!("select rowid, {list} from {table} {which}")) else {
        return Ok(());
    };
    let Ok(mut rows) = found.query(params_from_iter(named)) else { return Ok(()) };
    let places = vec!["?"; columns.len() + 1].join(", ");
    let mut into =
        new.prepare(&format!("insert or ignore into {table} (rowid, {list}) values ({places})"))?;
    while let Ok(Some(row)) = rows.next() {
        let values: rusqlite::Result<Vec<Value>> =
            (0..=columns.len()).map(|column| row.get(column)).collect();
        if let Ok(values) = values {
            into.execute(params_from_iter(values))?;
        }
    }
    Ok(())
}

/// Keeps the file under another name, and has the new one take its place. A platform that ends at
/// any point of this has the next one do it again.
fn replace(path: &Path, new: &Path, fault: String) -> io::Result<Salvaged> {
    let time = format!("{:.3}", Timestamp::now()).replace([':', '-'], "");
    let kept = path.with_file_name(format!("journal-damaged-{time}.sqlite"));
    let guard = File::open(path)?;
    let is_locked = fcntl_lock(&guard, FlockOperation::NonBlockingLockShared).is_ok();
    let [_, log, index] = database(path);
    let [_, kept_log, _] = database(&kept);
    match fs::rename(log, kept_log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    remove_now(&index)?;
    // Both names for a moment: at none is there no journal.
    fs::hard_link(path, &kept)?;
    fs::rename(new, path)?;
    Ok(Salvaged { kept, fault, _guard: is_locked.then_some(guard) })
}
