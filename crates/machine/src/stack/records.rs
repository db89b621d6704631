//! The records of the journal as they stand in its file: each is there twice, and found by what it
//! says of itself where the column beside it is damaged.

use std::collections::{BTreeMap, BTreeSet};

use rowhouse_core::AppName;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::stack::StackRecord;

pub(crate) const SCHEMA: &str = "
create table if not exists stacks (name text not null primary key, record text not null);
create table if not exists stacks_copies (name text not null primary key, record text not null);
";

/// The tables that each record is in.
pub(crate) const TABLES: [&str; 2] = ["stacks", "stacks_copies"];

/// What stands in place of a record that nobody can read: it is known, and told already.
const HELD: &[u8] = b"held";

/// What the journal knows of every stack.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// By their records; where one is damaged, by its copy.
    pub records: Vec<StackRecord>,
    /// What stands there and is no record.
    pub damaged: Vec<Damaged>,
    /// Those of whom that is known already, and nothing else.
    pub held: BTreeSet<AppName>,
    /// The records that are not in both tables as they should be.
    unwritten: BTreeSet<AppName>,
}

impl Known {
    /// Whether anything is known of this app.
    pub fn names(&self, name: &str) -> bool {
        self.records.iter().any(|record| record.name.as_str() == name)
            || self.held.iter().any(|held| held.as_str() == name)
            || self.lost().any(|lost| lost.as_str() == name)
    }

    /// The apps of whom a record is damaged, and no copy can be read.
    pub fn lost(&self) -> impl Iterator<Item = &AppName> {
        let is_known = |name: &AppName| self.records.iter().any(|record| record.name == *name);
        let named = self.damaged.iter().filter(|damaged| damaged.is_of_its_column);
        named.filter_map(|damaged| damaged.app.as_ref()).filter(move |name| !is_known(name))
    }

    /// The record of this app, if it can be read.
    pub fn record(&self, name: &AppName) -> Option<&StackRecord> {
        self.records.iter().find(|record| record.name == *name)
    }
}

/// A record that is none, damaged on the disk or written by something else; or one beside another's
/// name.
#[derive(Clone, Debug)]
pub struct Damaged {
    table: &'static str,
    row: i64,
    /// Whose it was; `None`: nobody can tell.
    pub app: Option<AppName>,
    /// Whether that is told by the column alone, beside what is no record.
    is_of_its_column: bool,
    /// What stands there; nothing, where it is only known that there was something.
    pub bytes: Vec<u8>,
}

impl Damaged {
    /// Whether it is the second of the two that are written.
    pub(crate) fn is_copy(&self) -> bool {
        self.table == TABLES[1]
    }
}

/// One row of a table.
struct Line {
    table: &'static str,
    row: i64,
    column: String,
    bytes: Vec<u8>,
    record: Option<StackRecord>,
}

impl Line {
    /// Whether it is as it was written.
    fn is_whole(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.name.as_str() == self.column)
    }

    /// The app of whom it says that nobody can read its record any more.
    fn held(&self) -> Option<AppName> {
        (self.bytes == HELD).then(|| AppName::parse(&self.column).ok()).flatten()
    }
}

/// The stack of one app, where its record is as it was written.
pub(crate) fn one(
    connection: &Connection,
    name: &AppName,
) -> rusqlite::Result<Option<StackRecord>> {
    let found = connection
        .prepare_cached("select record from stacks where name = ?1")?
        .query_row(params![name.as_str()], |row| Ok(bytes(row.get_ref(0)?)))
        .optional()?;
    let record = found.and_then(|found| serde_json::from_slice::<StackRecord>(&found).ok());
    Ok(record.filter(|record| record.name == *name))
}

/// Every stack.
pub(crate) fn known(connection: &Connection) -> rusqlite::Result<Known> {
    let mut lines = Vec::new();
    for table in TABLES {
        // A file of before copies were kept has none.
        if connection.table_exists(None, table)? {
            lines.extend(read(connection, table)?);
        }
    }
    let mut records: BTreeMap<AppName, StackRecord> = BTreeMap::new();
    // What is beside its own name goes first, and the first table before its copy.
    for is_whole in [true, false] {
        for line in lines.iter().filter(|line| line.is_whole() == is_whole) {
            if let Some(record) = &line.record {
                records.entry(record.name.clone()).or_insert_with(|| record.clone());
            }
        }
    }
    let is_written = |record: &&StackRecord| {
        let whole = lines.iter().filter(|line| line.is_whole());
        whole.filter(|line| line.record.as_ref() == Some(record)).count() == TABLES.len()
    };
    let unwritten = records.values().filter(|record| !is_written(record));
    let unwritten = unwritten.map(|record| record.name.clone()).collect();
    let held = lines.iter().filter_map(Line::held);
    let held = held.filter(|name| !records.contains_key(name)).collect();
    let is_damaged = |line: &Line| !line.is_whole() && line.held().is_none();
    let damaged = lines.into_iter().filter(is_damaged).map(|line| {
        let of_column = AppName::parse(&line.column).ok();
        Damaged {
            table: line.table,
            row: line.row,
            is_of_its_column: line.record.is_none() && of_column.is_some(),
            app: line.record.map(|record| record.name).or(of_column),
            bytes: line.bytes,
        }
    });
    let damaged = damaged.collect();
    Ok(Known { records: records.into_values().collect(), damaged, held, unwritten })
}

fn read(connection: &Connection, table: &'static str) -> rusqlite::Result<Vec<Line>> {
    let mut statement =
        connection.prepare(&format!("select rowid, name, record from {table} order by rowid"))?;
    let lines = statement.query_map([], |row| {
        let (name, bytes) = (bytes(row.get_ref(1)?), bytes(row.get_ref(2)?));
        let record = serde_json::from_slice(&bytes).ok();
        let column = String::from_utf8_lossy(&name).into_owned();
        Ok(Line { table, row: row.get(0)?, column, bytes, record })
    })?;
    lines.collect()
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

/// Writes a record, and its copy.
pub(crate) fn write(connection: &Connection, record: &StackRecord) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    put(&transaction, record)?;
    transaction.commit()
}

fn put(connection: &Connection, record: &StackRecord) -> rusqlite::Result<()> {
    let text = serde_json::to_string(record).expect("a record is plain data");
    put_text(connection, &record.name, &text)
}

fn put_text(connection: &Connection, name: &AppName, text: &str) -> rusqlite::Result<()> {
    for table in TABLES {
        let statement = format!("insert or replace into {table} (name, record) values (?1, ?2)");
        connection.prepare_cached(&statement)?.execute(params![name.as_str(), text])?;
    }
    Ok(())
}

/// Forgets a stack.
pub(crate) fn remove(connection: &Connection, name: &AppName) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for table in TABLES {
        let statement = format!("delete from {table} where name = ?1");
        transaction.prepare_cached(&statement)?.execute(params![name.as_str()])?;
    }
    transaction.commit()
}

/// Notes that there were records which nobody has found: what stands for them is damaged, too.
pub(crate) fn note_missing(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("insert or replace into stacks (name, record) values ('', '')", [])?;
    Ok(())
}

/// Has everything stand as it is known, in one transaction: each record twice, nothing else but
/// those who are held from now on.
pub(crate) fn mend<'a>(
    connection: &Connection,
    known: &Known,
    held: impl IntoIterator<Item = &'a AppName>,
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for damaged in &known.damaged {
        let statement = format!("delete from {} where rowid = ?1", damaged.table);
        transaction.execute(&statement, params![damaged.row])?;
    }
    for record in known.records.iter().filter(|record| known.unwritten.contains(&record.name)) {
        put(&transaction, record)?;
    }
    let text = std::str::from_utf8(HELD).expect("it is a word");
    for name in held {
        put_text(&transaction, name, text)?;
    }
    transaction.commit()
}
