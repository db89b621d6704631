//! The journal: what every stack is and what is being done to it, written before it is done, and
//! the events that people read. It is what a platform remembers over its own end.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use rowhouse_core::{AppName, Unreachable};
use rusqlite::{Connection, ErrorCode, params};
use serde::{Deserialize, Serialize};

use crate::stack::StackRecord;
use crate::stack::records::{self, Known};
use crate::table::database::{Database, Durability, explain, open, open_read_only};
use crate::table::sequence::mend;

const SCHEMA: &str = "
create table if not exists events (
    id integer primary key autoincrement,
    at text not null, name text not null, kind text not null, text text not null
);
create index if not exists events_by_name on events (name, id);
";

/// The tables in it whose ids count up.
const COUNTED: [&str; 1] = ["events"];
/// Everything that is in it, by table and column, but the ids.
pub(crate) const CONTENT: [(&str, &[&str]); 4] = [
    ("stacks", &["name", "record"]),
    ("stacks_copies", &["name", "record"]),
    ("marks", &["mark"]),
    ("events", &["at", "name", "kind", "text"]),
];
/// How many events are kept in all.
const KEPT_EVENTS: i64 = 20_000;

/// Something that happened to an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    pub id: i64,
    pub at: String,
    pub name: String,
    /// One word for programs, such as `started` or `unhealthy`.
    pub kind: String,
    /// One sentence for people.
    pub text: String,
}

/// The journal for one thread: what the command line reads.
#[derive(Debug)]
pub struct JournalFile {
    connection: Connection,
}

impl JournalFile {
    /// Opens the file, and makes it where it is missing.
    pub fn open(path: &Path) -> Result<JournalFile, Unreachable> {
        let opened = (|| {
            let connection = open(path, Durability::Process)?;
            let made: bool = connection.query_row(
                "select count(*) = 4 from sqlite_master where name in ('stacks', 'stacks_copies', \
                 'events', 'events_by_name')",
                [],
                |found| found.get(0),
            )?;
            if !made {
                make(&connection)?;
            }
            Ok(connection)
        })();
        let connection = opened.map_err(|error| unreachable(&error))?;
        Ok(JournalFile { connection })
    }

    /// Every stack that can be read.
    pub fn stacks(&self) -> Result<Vec<StackRecord>, Unreachable> {
        Ok(self.known()?.records)
    }

    /// What the journal knows of every stack.
    pub fn known(&self) -> Result<Known, Unreachable> {
        records::known(&self.connection).map_err(|error| unreachable(&error))
    }

    /// The stack of one app.
    pub fn stack(&self, name: &AppName) -> Result<Option<StackRecord>, Unreachable> {
        let read = || -> rusqlite::Result<Option<StackRecord>> {
            match records::one(&self.connection, name)? {
                Some(record) => Ok(Some(record)),
                None => Ok(records::known(&self.connection)?.record(name).cloned()),
            }
        };
        read().map_err(|error| unreachable(&error))
    }

    /// Writes a stack as it is now: for whoever holds the folder without a platform running.
    pub fn write(&self, record: &StackRecord) -> Result<(), Unreachable> {
        records::write(&self.connection, record).map_err(|error| unreachable(&error))
    }

    /// The events after `after` (an `id`), oldest first, of one app or of all; at most the last
    /// `limit`.
    pub fn events(
        &self,
        name: Option<&str>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Event>, Unreachable> {
        let read = || -> rusqlite::Result<Vec<Event>> {
            let mut statement = self.connection.prepare_cached(
                "select id, at, name, kind, text from (select * from events where id > ?1 and \
                 (?2 is null or name = ?2) order by id desc limit ?3) order by id",
            )?;
            let events = statement.query_map(params![after, name, limit], |row| {
                Ok(Event {
                    id: row.get(0)?,
                    at: row.get(1)?,
                    name: row.get(2)?,
                    kind: row.get(3)?,
                    text: row.get(4)?,
                })
            })?;
            events.collect()
        };
        read().map_err(|error| unreachable(&error))
    }
}

fn unreachable(error: &rusqlite::Error) -> Unreachable {
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damage(&error.to_string()),
        Some(_) | None => explain(error),
    };
    Unreachable { reason: format!("journal: {what}") }
}

/// What is wrong with the file, and the cure.
pub fn damage(fault: &str) -> String {
    format!(
        "the file `state/journal.sqlite` is damaged ({fault}): `rowhouse up`, when it starts, keeps \
         it under another name, and goes on with what can be read of it; what runs runs on"
    )
}

/// What is wrong with the file at `path` as a whole, which is made where it is missing.
///
/// # Errors
/// It cannot be looked at, which says nothing of what is in it.
pub fn fault_of(path: &Path) -> Result<Option<String>, Unreachable> {
    match open(path, Durability::Process).and_then(|connection| fault(&connection)) {
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        found => found.map_err(|error| unreachable(&error)),
    }
}

/// What is wrong with a journal's file as a whole, by everything that SQLite can tell.
///
/// # Errors
/// It cannot be looked at, which says nothing of what is in it.
fn fault(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let look = || -> rusqlite::Result<Option<String>> {
        let said: String =
            connection.query_row("pragma integrity_check(1)", [], |row| row.get(0))?;
        if said != "ok" {
            return Ok(Some(said));
        }
        for (table, columns) in CONTENT {
            if connection.table_exists(None, table)? {
                connection.prepare(&format!("select {} from {table}", columns.join(", ")))?;
            }
        }
        Ok(None)
    };
    look().or_else(|error| if is_damage(&error) { Ok(Some(error.to_string())) } else { Err(error) })
}

/// Whether it is the file's content that an error speaks of.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            // A statement that the schema does not fit.
            | ErrorCode::Unknown,
        )
        // A value of another type.
        | None => true,
        Some(_) => false,
    }
}

/// Reads every stack of the file, and changes nothing: whether a program could work with it. Those
/// whom the platform at work holds, because nobody can read their records, another one holds, too.
pub(crate) fn prove(path: &Path) -> Result<(), Unreachable> {
    let read = || {
        let connection = open_read_only(path)?;
        Ok((fault(&connection)?, records::known(&connection)?))
    };
    let (fault, known) = read().map_err(|error| unreachable(&error))?;
    let lost = known.lost().next().map(|name| format!("the record of `{name}`"));
    let missing = known.damaged.iter().any(|damaged| damaged.app.is_none());
    let what = lost.or_else(|| missing.then(|| "the record of an app".to_owned()));
    match (fault, what) {
        (Some(fault), _) => Err(Unreachable { reason: format!("journal: {}", damage(&fault)) }),
        (None, Some(what)) => {
            let cure = "a platform that is started anew holds what runs of it";
            Err(Unreachable { reason: format!("journal: {what} cannot be read; {cure}") })
        }
        (None, None) => Ok(()),
    }
}

/// Makes what is missing in the file.
pub(crate) fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("begin immediate; {} {SCHEMA} commit;", records::SCHEMA))
}

/// The journal for the platform: on a thread of its own.
#[derive(Clone, Debug)]
pub struct Journal {
    database: Database,
}

impl Journal {
    /// Opens the file as `JournalFile::open` does.
    pub fn open(path: &Path) -> Result<Journal, Unreachable> {
        let JournalFile { connection } = JournalFile::open(path)?;
        let database = Database::new(connection, "journal")
            .map_err(|error| Unreachable { reason: format!("cannot start a thread: {error}") })?;
        Ok(Journal { database })
    }

    /// Every stack, as it was written last.
    pub async fn known(&self) -> Result<Known, Unreachable> {
        self.run(|connection| records::known(connection)).await
    }

    /// Writes a stack; returns when no end of this process can lose it.
    pub async fn write(&self, record: &StackRecord) -> Result<(), Unreachable> {
        let record = record.clone();
        self.run(move |connection| records::write(connection, &record)).await
    }

    /// Forgets a stack.
    pub async fn remove(&self, name: &AppName) -> Result<(), Unreachable> {
        let name = name.clone();
        self.run(move |connection| records::remove(connection, &name)).await
    }

    /// Has everything stand there as it is known, and these apps as those of whom nothing is.
    pub(crate) async fn mend(
        &self,
        known: Known,
        held: BTreeSet<AppName>,
    ) -> Result<(), Unreachable> {
        self.run(move |connection| records::mend(connection, &known, &held)).await
    }

    /// Tells what happened. Events are for people: a full disk loses one rather than an operation.
    pub async fn tell(&self, name: &AppName, kind: &'static str, text: String) {
        tracing::info!(app = %name, kind, text, "event");
        self.append(name.as_str().to_owned(), kind, text).await;
    }

    /// Tells what happened to the platform itself: an event of no app.
    pub async fn tell_of_platform(&self, kind: &'static str, text: String) {
        self.append(String::new(), kind, text).await;
    }

    async fn append(&self, name: String, kind: &'static str, text: String) {
        let at = format!("{:.3}", Timestamp::now());
        let told = self
            .run(move |connection| {
                mend(connection, &COUNTED)?;
                connection
                    .prepare_cached(
                        "insert into events (at, name, kind, text) values (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![at, name, kind, text])?;
                let newest = connection.last_insert_rowid();
                if newest % 100 == 0 {
                    connection.execute(
                        "delete from events where id <= ?1",
                        params![newest - KEPT_EVENTS],
                    )?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = told {
            tracing::warn!(reason = %error, "cannot write an event");
        }
    }

    async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, Unreachable> {
        self.database.run(job).await.map_err(|error| unreachable(&error))
    }
}
