//! The table of rows in SQLite. The file is the API: whoever may write it may change apps.

mod column;
pub(crate) mod database;
pub mod feed;
mod history;
pub mod mark;
mod schema;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rowhouse_core::{
    AppTable, Attribute, Commit, Entry, Found, Generation, KEPT_DAYS, Releases, Report, Row,
    RowKey, Status, StoredEntry, StoredRow, Target, Unreachable, Value, Written,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::mpsc::UnboundedSender;

use crate::table::column::{COLUMNS, column, read_name, read_row, sql_value};
use crate::table::database::{
    Database, Durability, explain, open, open_of_another, open_read_only,
};
use crate::table::mark::{Mark, Marks};
use crate::table::schema::{FormatError, has_column};

/// The names whose rows went before a time. Whether one is there again is asked of the rows: any
/// program may have written it, also past the triggers.
const DELETED_BEFORE: &str = "select name from deletions where at < ?1 \
                              and not exists (select 1 from apps where apps.name = deletions.name) \
                              order by name";

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
    connection: Connection,
}

impl TableFile {
    /// Opens the file, and makes it where it is missing. One of an earlier format stays as it is.
    pub fn open(path: &Path) -> Result<TableFile, Unreachable> {
        TableFile::opened(path, schema::make)
    }

    /// Opens the file as the platform does: one of an earlier format becomes one of today's.
    /// Whoever calls this holds the folder's lock.
    pub fn migrate(path: &Path) -> Result<TableFile, Unreachable> {
        TableFile::opened(path, schema::migrate)
    }

    fn unusable(&self, error: &FormatError) -> Unreachable {
        unusable(self.path(), error)
    }

    fn opened(
        path: &Path,
        prepare: impl FnOnce(&mut Connection) -> Result<(), FormatError>,
    ) -> Result<TableFile, Unreachable> {
        let opened = (|| {
            let mut connection = open(path, Durability::Full)?;
            prepare(&mut connection)?;
            Ok(connection)
        })();
        let connection = opened.map_err(|error| unusable(path, &error))?;
        Ok(TableFile { connection })
    }

    /// Opens a table that another user has made, without following a link and without making
    /// anything.
    ///
    /// # Errors
    /// It is not there, is a link, or cannot be opened.
    pub fn open_of_another(path: &Path) -> Result<TableFile, Unreachable> {
        match open_of_another(path) {
            Ok(connection) => Ok(TableFile { connection }),
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
        get(&self.connection, key).map_err(|error| self.unreachable(&error))
    }

    /// Reads every row, in order of the key.
    pub fn list(&self) -> Result<Vec<StoredRow>, Unreachable> {
        list(&self.connection).map_err(|error| self.unreachable(&error))
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
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
        self.connection
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
            if schema::bears_marks(&self.connection)? {
                marks.adopt(&mut self.connection)?;
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
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
        find(&self.connection, key, marks).map_err(|error| self.unreachable(&error))
    }

    /// Reads an app's history, newest first; it outlives the row.
    pub fn history(&self, key: &RowKey) -> Result<Vec<StoredEntry>, Unreachable> {
        history::entries(&self.connection, key).map_err(|error| self.unreachable(&error))
    }

    /// Reads the releases that an app's history speaks of, as far as there are any.
    pub fn releases(&self, key: &RowKey) -> Result<Releases, Unreachable> {
        history::releases(&self.connection, key).map_err(|error| self.unreachable(&error))
    }

    /// Changes whenever another process or thread has committed something.
    pub fn data_version(&self) -> Result<i64, Unreachable> {
        self.connection
            .query_row("pragma data_version", [], |row| row.get(0))
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &rusqlite::Error) -> Unreachable {
        unreachable(self.path(), error)
    }

    fn path(&self) -> &Path {
        Path::new(self.connection.path().unwrap_or("rowhouse.db"))
    }
}

fn unusable(path: &Path, error: &FormatError) -> Unreachable {
    Unreachable { reason: format!("table `{}`: {error}", path.display()) }
}

fn unreachable(path: &Path, error: &rusqlite::Error) -> Unreachable {
    Unreachable { reason: format!("table `{}`: {}", path.display(), explain(error)) }
}

/// The table for the reactor: the port, on a thread of its own.
#[derive(Clone, Debug)]
pub struct SqliteTable {
    database: Database,
    marks: Arc<Marks>,
    path: std::path::PathBuf,
    answered: Option<UnboundedSender<Row>>,
}

impl SqliteTable {
    /// Opens the file as `TableFile::migrate` does, and takes it for that of the folder whose
    /// journal this is. Each row that is written is also sent to `answered`.
    pub fn open(
        path: &Path,
        journal: &Path,
        answered: Option<UnboundedSender<Row>>,
    ) -> Result<SqliteTable, Unreachable> {
        let marks = Arc::new(Marks::open(journal)?);
        let mut file = TableFile::migrate(path)?;
        file.adopt(&marks)?;
        let TableFile { connection } = file;
        let database = Database::new(connection, "table")
            .map_err(|error| Unreachable { reason: format!("cannot start a thread: {error}") })?;
        Ok(SqliteTable { database, marks, path: path.to_owned(), answered })
    }

    /// Names whose rows were deleted longer ago than `days`, and are still gone.
    pub async fn deleted_before(&self, days: u32) -> Result<Vec<RowKey>, Unreachable> {
        let limit = days_ago(days);
        self.run(move |connection| {
            let mut statement = connection.prepare(DELETED_BEFORE)?;
            let names =
                statement.query_map(params![limit], |row| Ok(read_name(row.get_ref(0)?)))?;
            names.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Says of every app that its instances were stopped with the platform, so that a reader of the
    /// bare table is not told of instances that are gone.
    pub async fn instances_stopped(&self) -> Result<(), Unreachable> {
        self.run(|connection| {
            connection.execute(
                "update apps set healthy = 0, seq = ifnull(seq, 0) + 1, \
                 reason = 'stopped with the platform; `rowhouse up` brings it back' \
                 where healthy > 0",
                [],
            )?;
            Ok(())
        })
        .await
    }

    /// Puts everything into the one file, so that a copy of it is whole. Another program that has
    /// the table open may keep that from being so, and nothing is lost by it.
    ///
    /// <https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>
    pub async fn checkpoint(&self) -> Result<(), Unreachable> {
        self.run(|connection| {
            connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
        })
        .await
    }

    /// Forgets the history, and with it the releases, of apps whose rows are gone for longer than
    /// it is kept.
    pub async fn prune_history(&self) -> Result<(), Unreachable> {
        let limit = days_ago(KEPT_DAYS);
        self.run(move |connection| {
            connection.execute(
                &format!("delete from history where name in ({DELETED_BEFORE})"),
                params![limit],
            )?;
            Ok(())
        })
        .await
    }

    async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, Unreachable> {
        self.database.run(job).await.map_err(|error| unreachable(&self.path, &error))
    }
}

impl AppTable for SqliteTable {
    async fn get(&self, key: &RowKey) -> Result<Found, Unreachable> {
        let (key, marks) = (key.clone(), Arc::clone(&self.marks));
        self.run(move |connection| find(connection, &key, &marks)).await
    }

    async fn write(
        &self,
        seen: &Row,
        report: &Report,
        entry: Option<&Entry>,
    ) -> Result<Written, Unreachable> {
        let (seen, report, entry) = (seen.clone(), report.clone(), entry.cloned());
        let marks = Arc::clone(&self.marks);
        let written = self
            .run(move |connection| write(connection, &marks, &seen, report, entry.as_ref()))
            .await?;
        if let (Written::Done(row), Some(answered)) = (&written, &self.answered) {
            // Nobody listens any more: the platform is ending.
            let _ = answered.send(row.clone());
        }
        Ok(written)
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        let rows = self.run(|connection| list(connection)).await?;
        Ok(rows.into_iter().map(|stored| stored.row).collect())
    }
}

fn now() -> String {
    // To the millisecond, which people can read and which sorts as text.
    format!("{:.3}", Timestamp::now())
}

fn days_ago(days: u32) -> String {
    format!("{:.0}", Timestamp::now() - SignedDuration::from_hours(24 * i64::from(days)))
}

fn get(connection: &Connection, key: &RowKey) -> rusqlite::Result<Option<StoredRow>> {
    connection
        .prepare_cached(&format!("select {COLUMNS} from apps where name = ?1"))?
        .query_row(params![key.as_str()], read_row)
        .optional()
}

/// Row, tombstone and mark are read at one moment, and the journal is asked after it.
fn find(connection: &Connection, key: &RowKey, marks: &Marks) -> rusqlite::Result<Found> {
    let mut unknown = None;
    loop {
        let moment = connection.unchecked_transaction()?;
        if let Some(stored) = get(&moment, key)? {
            return Ok(Found::Row(stored.row));
        }
        let removed = if schema::bears_marks(&moment)? {
            "select 1 from deletions where name = ?1 and void is null"
        } else {
            "select 1 from deletions where name = ?1"
        };
        let is_removed = moment.prepare_cached(removed)?.exists(params![key.as_str()])?;
        let mark = Mark::read(&moment)?;
        moment.finish()?;
        if !is_removed || unknown.as_ref() == Some(&mark) {
            return Ok(Found::Absent);
        }
        if marks.know(mark.as_ref())? {
            return Ok(Found::Removed);
        }
        // It may have been renewed in between; then the table has another one by now.
        unknown = Some(mark);
    }
}

/// Sets a user attribute, or clears it. A table of an earlier format says nothing in a column that
/// it does not have.
fn set(
    connection: &Connection,
    key: &RowKey,
    attribute: Attribute,
    value: Option<&Value>,
) -> Result<(), FormatError> {
    let column = column(attribute);
    if !has_column(connection, "apps", column)? {
        return value.map_or(Ok(()), |_| Err(FormatError::Older));
    }
    let statement = format!("update apps set {column} = ?2 where name = ?1");
    connection.execute(&statement, params![key.as_str(), value.map(sql_value)])?;
    Ok(())
}

fn list(connection: &Connection) -> rusqlite::Result<Vec<StoredRow>> {
    connection
        .prepare_cached(&format!("select {COLUMNS} from apps order by name"))?
        .query_map([], read_row)?
        .collect()
}

fn write(
    connection: &mut Connection,
    marks: &Marks,
    seen: &Row,
    report: Report,
    entry: Option<&Entry>,
) -> rusqlite::Result<Written> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let row = get(&transaction, &seen.key)?.map(|stored| stored.row);
    let Some(row) = row.filter(|row| row.seq == seen.seq && row.user == seen.user) else {
        return Ok(Written::Lost);
    };
    let is_unmarked = transaction
        .prepare_cached("delete from apps_unmarked where name = ?1")?
        .execute(params![seen.key.as_str()])?;
    let renewed = (is_unmarked > 0).then(|| marks.renew(&transaction)).transpose()?;
    let at = now();
    let changed_at = (row.report.status != report.status).then_some(&at);
    transaction
        .prepare_cached(
            "update apps set status = ?2, load_balancer = ?3, reason = ?4, revision = ?5, \
             healthy = ?6, generation = ?7, target = ?8, seq = ?9, \
             changed_at = ifnull(?10, changed_at) where name = ?1",
        )?
        .execute(params![
            seen.key.as_str(),
            report.status.map(Status::as_str),
            report.url,
            report.reason,
            report.revision.as_ref().map(Commit::as_str),
            report.healthy,
            report.generation.as_ref().map(Generation::as_str),
            report.target.as_ref().map(Target::as_str),
            i64::try_from(seen.seq + 1).unwrap_or(i64::MAX),
            changed_at,
        ])?;
    if let Some(entry) = entry {
        history::append(&transaction, &seen.key, entry, &at)?;
    }
    transaction.commit()?;
    if let Some(renewed) = renewed {
        marks.forget_before(&renewed)?;
    }
    Ok(Written::Done(row.reported(report)))
}
