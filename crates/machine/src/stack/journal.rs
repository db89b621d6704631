//! The journal: what every stack is and what is being done to it, written before it is done, and
//! the events that people read. It is what a platform remembers over its own end.

use std::path::Path;

use jiff::Timestamp;
use rowhouse_core::{AppName, Unreachable};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::stack::StackRecord;
use crate::table::database::{Database, Durability, explain, open, open_read_only};
use crate::table::sequence::mend;

const SCHEMA: &str = "
create table if not exists stacks (name text not null primary key, record text not null);
create table if not exists stacks_copies (name text not null primary key, record text not null);
create table if not exists events (
    id integer primary key autoincrement,
    at text not null, name text not null, kind text not null, text text not null
);
create index if not exists events_by_name on events (name, id);
";

/// The tables in it whose ids count up.
const COUNTED: [&str; 1] = ["events"];
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
                connection.execute_batch(&format!("begin immediate; {SCHEMA} commit;"))?;
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
        known(&self.connection, None).map_err(|error| unreachable(&error))
    }

    /// The stack of one app.
    pub fn stack(&self, name: &AppName) -> Result<Option<StackRecord>, Unreachable> {
        let known = known(&self.connection, Some(name)).map_err(|error| unreachable(&error))?;
        Ok(known.records.into_iter().next())
    }

    /// Writes a stack as it is now: for whoever holds the folder without a platform running.
    pub fn write(&self, record: &StackRecord) -> Result<(), Unreachable> {
        write(&self.connection, record).map_err(|error| unreachable(&error))
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
    Unreachable { reason: format!("journal: {}", explain(error)) }
}

/// Reads every stack of the file, and changes nothing: whether a program could work with it.
pub(crate) fn prove(path: &Path) -> Result<(), Unreachable> {
    let read = || known(&open_read_only(path)?, None);
    let known = read().map_err(|error| unreachable(&error))?;
    match known.damaged.iter().find(|damaged| damaged.copy.is_none()) {
        Some(damaged) => Err(Unreachable {
            reason: format!("journal: the record of `{}` cannot be read", damaged.name),
        }),
        None => Ok(()),
    }
}

/// What the journal knows of every stack.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// By their records; where one is damaged, by its copy.
    pub records: Vec<StackRecord>,
    pub damaged: Vec<Damaged>,
}

/// A record that is none: damaged on the disk, or written by something else.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// As it stands beside the record.
    pub name: String,
    /// What stands there in its place.
    pub bytes: Vec<u8>,
    /// What was written last, where its copy can be read: each record is written twice, in one
    /// transaction.
    pub copy: Option<StackRecord>,
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
        self.run(|connection| known(connection, None)).await
    }

    /// Writes a stack; returns when no end of this process can lose it.
    pub async fn write(&self, record: &StackRecord) -> Result<(), Unreachable> {
        let record = record.clone();
        self.run(move |connection| write(connection, &record)).await
    }

    /// Forgets a stack.
    pub async fn remove(&self, name: &AppName) -> Result<(), Unreachable> {
        let name = name.clone();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for table in ["stacks", "stacks_copies"] {
                let statement = format!("delete from {table} where name = ?1");
                transaction.prepare_cached(&statement)?.execute(params![name.as_str()])?;
            }
            transaction.commit()
        })
        .await
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

/// Every stack, or that of one app.
fn known(connection: &Connection, of: Option<&AppName>) -> rusqlite::Result<Known> {
    let mut known = Known::default();
    // A file of before copies were kept has none.
    let has_copies = connection.table_exists(None, "stacks_copies")?;
    let mut statement = connection
        .prepare("select name, record from stacks where ?1 is null or name = ?1 order by name")?;
    let mut rows = statement.query(params![of.map(AppName::as_str)])?;
    while let Some(row) = rows.next()? {
        let (name, bytes) = (bytes(row.get_ref(0)?), bytes(row.get_ref(1)?));
        let name = String::from_utf8_lossy(&name).into_owned();
        if let Some(record) = parse(&name, &bytes) {
            known.records.push(record);
            continue;
        }
        let copy = if has_copies { copy(connection, &name)? } else { None };
        known.records.extend(copy.clone());
        known.damaged.push(Damaged { name, bytes, copy });
    }
    Ok(known)
}

fn copy(connection: &Connection, name: &str) -> rusqlite::Result<Option<StackRecord>> {
    let found = connection
        .query_row("select record from stacks_copies where name = ?1", [name], |row| {
            Ok(bytes(row.get_ref(0)?))
        })
        .optional()?;
    Ok(found.and_then(|found| parse(name, &found)))
}

/// The record of this stack; `None`: it is none, or another's.
fn parse(name: &str, bytes: &[u8]) -> Option<StackRecord> {
    let record: StackRecord = serde_json::from_slice(bytes).ok()?;
    (record.name.as_str() == name).then_some(record)
}

/// Whatever stands in a column.
fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Null => Vec::new(),
        ValueRef::Integer(number) => number.to_string().into_bytes(),
        ValueRef::Real(number) => number.to_string().into_bytes(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
    }
}

fn write(connection: &Connection, record: &StackRecord) -> rusqlite::Result<()> {
    let text = serde_json::to_string(record).expect("a record is plain data");
    let transaction = connection.unchecked_transaction()?;
    for table in ["stacks", "stacks_copies"] {
        let statement = format!("insert or replace into {table} (name, record) values (?1, ?2)");
        transaction.prepare_cached(&statement)?.execute(params![record.name.as_str(), text])?;
    }
    transaction.commit()
}
