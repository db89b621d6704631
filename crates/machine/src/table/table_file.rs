//! The table for one thread: what the command line uses, with or without a platform at work.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rowhouse_core::{
    Attribute, Found, Releases, Row, RowKey, StoredEntry, StoredRow, Unreachable, Value,
};
use rusqlite::{TransactionBehavior, params};

use crate::table::database::{open_of_another, open_read_only};
use crate::table::file::{OpenFile, is_in_the_way, set_aside};
use crate::table::mark::Marks;
use crate::table::rows::{find, get, list, set, unreachable, unusable};
use crate::table::schema::FormatError;
use crate::table::{history, nameless, schema};

/// A row that was deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// As it was last.
    pub row: Row,
    /// The change by which the reactor is rung.
    pub change: i64,
}

/// The table for one thread: what the command line uses.
#[derive(Debug)]
pub struct TableFile {
    opened: OpenFile,
}

/// How long a platform may take with a file that was replaced.
const REPLACED_WITHIN: Duration = Duration::from_secs(5);

impl TableFile {
    /// Opens the file, and makes it where it is missing. One of an earlier format stays as it is.
    pub fn open(path: &Path) -> Result<TableFile, Unreachable> {
        TableFile::opened(path, OpenFile::open)
    }

    /// Opens the file as the platform does: one of an earlier format becomes one of today's.
    /// Whoever calls this holds the folder's lock.
    pub fn migrate(path: &Path) -> Result<TableFile, Unreachable> {
        TableFile::opened(path, OpenFile::migrate)
    }

    fn opened(
        path: &Path,
        open: impl FnOnce(&Path) -> Result<OpenFile, FormatError>,
    ) -> Result<TableFile, Unreachable> {
        match open(path) {
            Ok(opened) => Ok(TableFile { opened }),
            Err(error) => Err(unusable(path, &error)),
        }
    }

    /// The file as it was opened.
    pub(crate) fn into_opened(self) -> OpenFile {
        self.opened
    }

    /// Whether the path still leads to this file: another one may have taken its place.
    pub fn is_current(&self) -> bool {
        self.opened.change().is_none()
    }

    /// Opens the file that is at `path` now in the place of this one. A platform that is at work
    /// moves the log of this one out of the way of that, and makes a file where none is; the log is
    /// moved here where nobody does.
    ///
    /// # Errors
    /// There is no file, or it cannot be opened.
    pub fn reopen(self, path: &Path) -> Result<TableFile, Unreachable> {
        let TableFile { opened } = self;
        let (file, held) = (opened.resolved(), opened.place());
        drop(opened);
        let unreachable = |why: String| Unreachable {
            reason: format!("table `{}`: another file takes its place: {why}", path.display()),
        };
        let deadline = Instant::now() + REPLACED_WITHIN;
        while !path.exists() || is_in_the_way(&file, &held) {
            if Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            } else if path.exists() {
                let aside = path.with_extension(format!("replaced-{}", std::process::id()));
                set_aside(&file, &held, &aside).map_err(|error| unreachable(error.to_string()))?;
            } else {
                return Err(unreachable("it was removed".to_owned()));
            }
        }
        TableFile::open(path)
    }

    /// Opens a table that another user has made, without following a link and without making
    /// anything.
    ///
    /// # Errors
    /// It is not there, is a link, or cannot be opened.
    pub fn open_of_another(path: &Path) -> Result<TableFile, Unreachable> {
        match open_of_another(path) {
            Ok(connection) => Ok(TableFile { opened: OpenFile::new(connection, path) }),
            Err(error) => Err(unreachable(path, &error)),
        }
    }

    /// Reads every row of the table in this file, and changes nothing: whether a program could work
    /// with it.
    pub(crate) fn prove(path: &Path) -> Result<(), Unreachable> {
        let read = || {
            let connection = open_read_only(path)?;
            schema::prove(&connection)?;
            Ok(list(&connection).map(drop)?)
        };
        read().map_err(|error: FormatError| unusable(path, &error))
    }

    /// Reads one row.
    pub fn get(&self, key: &RowKey) -> Result<Option<StoredRow>, Unreachable> {
        get(&self.opened.connection, key).map_err(|error| self.unreachable(&error))
    }

    /// Reads every row, in order of the key.
    pub fn list(&self) -> Result<Vec<StoredRow>, Unreachable> {
        list(&self.opened.connection).map_err(|error| self.unreachable(&error))
    }

    /// Writes user attributes of a row, which is made where it is missing; `None` clears one. The
    /// others stay. `edit` sees the row as it stands and nobody writes in between.
    pub fn edit<E>(
        &mut self,
        key: &RowKey,
        edit: impl FnOnce(Option<&Row>) -> Result<BTreeMap<Attribute, Option<Value>>, E>,
    ) -> Result<Result<Row, E>, Unreachable> {
        let edited = (|| {
            let transaction =
                self.opened.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let before = get(&transaction, key)?.map(|stored| stored.row);
            let changes = match edit(before.as_ref()) {
                Ok(changes) => changes,
                Err(error) => return Ok(Err(error)),
            };
            if before.is_none() {
                transaction
                    .execute("insert into apps (name) values (?1)", params![key.as_str()])?;
            }
            for (attribute, value) in &changes {
                set(&transaction, key, *attribute, value.as_ref())?;
            }
            let after = get(&transaction, key)?.expect("it was written just now").row;
            transaction.commit()?;
            Ok(Ok(after))
        })();
        edited.map_err(|error: FormatError| self.unusable(&error))
    }

    /// Deletes a row; `None`: there was none.
    pub fn remove(&mut self, key: &RowKey) -> Result<Option<Removed>, Unreachable> {
        let removed = (|| {
            let transaction =
                self.opened.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let Some(StoredRow { row, .. }) = get(&transaction, key)? else { return Ok(None) };
            transaction.execute("delete from apps where name = ?1", params![key.as_str()])?;
            let change =
                transaction.query_row("select max(id) from changes", [], |row| row.get(0))?;
            transaction.commit()?;
            Ok(Some(Removed { row, change }))
        })();
        removed.map_err(|error: rusqlite::Error| self.unreachable(&error))
    }

    /// Whether the reactor was rung for a change, a second ago or longer.
    pub fn was_rung(&self, change: i64) -> Result<bool, Unreachable> {
        self.opened
            .connection
            .prepare_cached("select not exists (select 1 from changes where id = ?1)")
            .and_then(|mut statement| statement.query_row(params![change], |row| row.get(0)))
            .map_err(|error| self.unreachable(&error))
    }

    /// Takes this table for its folder's own, as the platform does when it starts: what is removed
    /// from now on is a user's word, whatever stood here before.
    ///
    /// # Errors
    /// It does not answer; or it is of a format that bears no mark, and another one than the
    /// folder's own, so that what is removed from it now would be void once it bears one.
    pub fn adopt(&mut self, marks: &Marks) -> Result<(), Unreachable> {
        let adopted = (|| {
            if schema::bears_marks(&self.opened.connection)? {
                marks.adopt(&mut self.opened.connection)?;
                return Ok(true);
            }
            marks.know(None)
        })();
        match adopted {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.unusable(&FormatError::Older)),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Writes down that a user has removed a name that has no row, and rings it.
    pub fn remove_orphan(&mut self, key: &RowKey) -> Result<(), Unreachable> {
        let removed = (|| {
            let transaction =
                self.opened.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if get(&transaction, key)?.is_none() {
                transaction.execute(
                    "insert or replace into deletions (name, at) \
                     values (?1, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
                    params![key.as_str()],
                )?;
            }
            transaction.execute("insert into changes (name) values (?1)", params![key.as_str()])?;
            transaction.commit()
        })();
        removed.map_err(|error| self.unreachable(&error))
    }

    /// Reads one row, or why there is none.
    pub fn find(&self, key: &RowKey, marks: &Marks) -> Result<Found, Unreachable> {
        find(&self.opened.connection, key, marks).map_err(|error| self.unreachable(&error))
    }

    /// Reads an app's history, newest first; it outlives the row.
    pub fn history(&self, key: &RowKey) -> Result<Vec<StoredEntry>, Unreachable> {
        history::entries(&self.opened.connection, key).map_err(|error| self.unreachable(&error))
    }

    /// Reads the releases that an app's history speaks of, as far as there are any.
    pub fn releases(&self, key: &RowKey) -> Result<Releases, Unreachable> {
        history::releases(&self.opened.connection, key).map_err(|error| self.unreachable(&error))
    }

    /// The names of rows that no name leads to, as SQL writes them.
    pub fn nameless(&self) -> Result<Vec<String>, Unreachable> {
        nameless::list(&self.opened.connection).map_err(|error| self.unreachable(&error))
    }

    /// Changes whenever another process or thread has committed something.
    pub fn data_version(&self) -> Result<i64, Unreachable> {
        self.opened
            .connection
            .query_row("pragma data_version", [], |row| row.get(0))
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &rusqlite::Error) -> Unreachable {
        unreachable(self.path(), error)
    }

    fn unusable(&self, error: &FormatError) -> Unreachable {
        unusable(self.path(), error)
    }

    fn path(&self) -> &Path {
        Path::new(self.opened.connection.path().unwrap_or("rowhouse.db"))
    }
}
