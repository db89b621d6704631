//! The mark of the table: by it a folder tells its table from another one, and from an older copy
//! of its own, in which names may be called removed that were put again since.

use std::path::Path;

use parking_lot::Mutex;
use rowhouse_core::Unreachable;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::table::database::{Durability, explain, open};
use crate::table::schema;
use crate::table::sequence::mend;

/// A random text that stands in the table. It is renewed with the reactor's first answer to a row
/// that was put, which the claim of each creation is: what is called removed in a copy of before is
/// void from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    /// Reads the one that the table bears; `None`: it has none yet. What is no text is the mark of
    /// another table.
    pub(crate) fn read(table: &Connection) -> rusqlite::Result<Option<Mark>> {
        if !schema::bears_marks(table)? {
            return Ok(None);
        }
        table
            .prepare_cached("select mark from apps_mark")?
            .query_row([], |row| Ok(Mark(row.get_ref(0)?.as_str().unwrap_or_default().to_owned())))
            .optional()
    }
}

/// A mark that the journal knows and the table bears as soon as a transaction is committed.
#[must_use]
#[derive(Debug)]
pub(crate) struct Renewed {
    id: i64,
}

/// Makes the place for marks in a journal.
pub(crate) fn make(journal: &Connection) -> rusqlite::Result<()> {
    journal.execute_batch(
        "create table if not exists marks \
         (id integer primary key autoincrement, mark text not null)",
    )
}

/// The marks that the journal knows: that of the table and, while it is being renewed, the next.
#[derive(Debug)]
pub struct Marks {
    connection: Mutex<Connection>,
}

impl Marks {
    /// Opens the journal's file a second time: a mark must be on the disk before the table has it.
    pub fn open(journal: &Path) -> Result<Marks, Unreachable> {
        let opened = (|| {
            let connection = open(journal, Durability::Full)?;
            let made: bool = connection.query_row(
                "select count(*) from sqlite_master where name = 'marks'",
                [],
                |found| found.get(0),
            )?;
            if !made {
                make(&connection)?;
            }
            Ok(connection)
        })();
        let connection = opened.map_err(|error: rusqlite::Error| Unreachable {
            reason: format!("journal: {}", explain(&error)),
        })?;
        Ok(Marks { connection: Mutex::new(connection) })
    }

    /// Whether a table with this mark is the folder's own, and as new as the journal. One without a
    /// mark is, as long as the journal knows none: both were made before there were any.
    pub(crate) fn know(&self, mark: Option<&Mark>) -> rusqlite::Result<bool> {
        let text = mark.map(|Mark(text)| text);
        self.connection
            .lock()
            .prepare_cached(
                "select case when ?1 is null then not exists (select 1 from marks) \
                 else exists (select 1 from marks where mark = ?1) end",
            )?
            .query_row(params![text], |row| row.get(0))
    }

    /// Takes the table for the folder's own from now on. Where it is another or an older one, it is
    /// forgotten what it calls removed.
    pub(crate) fn adopt(&self, table: &mut Connection) -> rusqlite::Result<()> {
        let transaction = table.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mark = Mark::read(&transaction)?;
        if mark.is_some() && self.know(mark.as_ref())? {
            return Ok(());
        }
        let renewed = self.renew(&transaction)?;
        transaction.commit()?;
        self.forget_before(&renewed)
    }

    /// Gives the table another mark, which the journal knows first.
    pub(crate) fn renew(&self, table: &Transaction<'_>) -> rusqlite::Result<Renewed> {
        if !self.know(Mark::read(table)?.as_ref())? {
            // They still tell when the data of what is gone expires, which begins anew.
            table.execute(
                "update deletions set void = 1, at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
                [],
            )?;
        }
        let Mark(mark) =
            table.query_row("select lower(hex(randomblob(16)))", [], |row| row.get(0).map(Mark))?;
        let id = {
            let mut journal = self.connection.lock();
            mend(&mut journal, &["marks"])?;
            journal.execute("insert into marks (mark) values (?1)", params![mark])?;
            journal.last_insert_rowid()
        };
        table.execute("delete from apps_mark", [])?;
        table.execute("insert into apps_mark (mark) values (?1)", params![mark])?;
        Ok(Renewed { id })
    }

    /// The table bears its new mark: a copy with an earlier one is an older one.
    pub(crate) fn forget_before(&self, renewed: &Renewed) -> rusqlite::Result<()> {
        self.connection.lock().execute("delete from marks where id < ?1", params![renewed.id])?;
        Ok(())
    }
}
