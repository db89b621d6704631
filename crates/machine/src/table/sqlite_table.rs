//! The table for the reactor: the port, on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rowhouse_core::{AppTable, Entry, Found, KEPT_DAYS, Report, Row, RowKey, Unreachable, Written};
use rusqlite::{Connection, params};
use tokio::sync::mpsc::UnboundedSender;

use crate::table::column::read_name;
use crate::table::database::Database;
use crate::table::file::OpenFile;
use crate::table::mark::Marks;
use crate::table::rows::{find, named, unreachable, write};
use crate::table::table_file::TableFile;

/// The names whose rows went before a time. Whether one is there again is asked of the rows: any
/// program may have written it, also past the triggers.
const DELETED_BEFORE: &str = "select name from deletions where at < ?1 \
                              and not exists (select 1 from apps where apps.name = deletions.name) \
                              order by name";

/// The table for the reactor: the port, on a thread of its own.
#[derive(Clone, Debug)]
pub struct SqliteTable {
    /// The file, or why it is not in use.
    database: Database<Result<OpenFile, Unreachable>>,
    marks: Arc<Marks>,
    path: PathBuf,
    /// Where what stood in an earlier file is kept.
    kept: PathBuf,
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
        let database = Database::new(Ok(file.into_opened()), "table")
            .map_err(|error| Unreachable { reason: format!("cannot start a thread: {error}") })?;
        let kept = journal.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(SqliteTable { database, marks, path: path.to_owned(), kept, answered })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn kept(&self) -> &Path {
        &self.kept
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Closes the file, whose paths may lead elsewhere; whoever asks is told why.
    pub(crate) fn let_go(&self, why: Unreachable) {
        self.database.run_here(move |opened| {
            if let Ok(opened) = opened {
                opened.leave_alone();
            }
            *opened = Err(why);
        });
    }

    /// Takes another file into use.
    pub(crate) fn resume(&self, file: OpenFile) {
        self.database.run_here(move |opened| *opened = Ok(file));
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
        let path = self.path.clone();
        self.database
            .run(move |opened| {
                let opened = opened.as_mut().map_err(|why| why.clone())?;
                if let Some(change) = opened.change() {
                    // Whoever watches the file opens it anew.
                    return Err(Unreachable { reason: format!("the table's file: {change}") });
                }
                job(&mut opened.connection).map_err(|error| unreachable(&path, &error))
            })
            .await
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
        // What has no name is answered where it is found, and cannot be asked for.
        let rows = self.run(|connection| named(connection)).await?;
        Ok(rows.into_iter().map(|stored| stored.row).collect())
    }
}

fn days_ago(days: u32) -> String {
    format!("{:.0}", Timestamp::now() - SignedDuration::from_hours(24 * i64::from(days)))
}
