//! The mark of the table: what it calls removed counts while the journal knows it, and no longer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use rowhouse_core::{AppTable, Attribute, Found, Report, RowKey, Value, Written};
use rowhouse_machine::table::mark::Marks;
use rowhouse_machine::table::{SqliteTable, TableFile};
use rusqlite::Connection;

/// As the program of November 2026 made the table's file.
const FIRST_FORMAT: &str = include_str!("formats/0.sql");

struct Folder {
    _kept: tempfile::TempDir,
    table: PathBuf,
    journal: PathBuf,
}

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("rowhouse.db");
        let journal = folder.path().join("journal.sqlite");
        Folder { _kept: folder, table, journal }
    }

    /// The table as a platform opens it.
    fn open(&self) -> SqliteTable {
        SqliteTable::open(&self.table, &self.journal, None).unwrap()
    }

    fn sql(&self, statement: &str) {
        Connection::open(&self.table).unwrap().execute_batch(statement).unwrap();
    }

    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.table.with_file_name(name);
        self.sql(&format!("vacuum into '{}'", copy.display()));
        copy
    }

    fn replace(&self, by: &Path) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.table.display()));
        }
        std::fs::copy(by, &self.table).unwrap();
    }
}

fn key(name: &str) -> RowKey {
    RowKey(name.to_owned())
}

async fn answer(table: &SqliteTable, name: &str) {
    let row = table.get(&key(name)).await.unwrap().row().unwrap();
    let written = table.write(&row, &Report::default(), None).await.unwrap();
    assert!(matches!(written, Written::Done(_)));
}

#[tokio::test]
async fn a_table_of_the_first_format_keeps_its_rows_and_what_was_removed_from_it() {
    let folder = Folder::new();
    folder.sql(FIRST_FORMAT);
    folder.sql(
        "insert into apps (name, version) values ('shop', 'main'), ('gone', 'main');
         delete from apps where name = 'gone'",
    );
    let table = folder.open();
    let row = table.get(&key("shop")).await.unwrap().row().unwrap();
    assert_eq!(row.user[&Attribute::Version], Value::Text("main".to_owned()));
    assert_eq!(table.get(&key("gone")).await, Ok(Found::Removed));
    assert_eq!(table.get(&key("never")).await, Ok(Found::Absent));
    // A program of that time goes on writing: its own statements still do what they did.
    folder.sql(FIRST_FORMAT);
    folder.sql("delete from apps");
    assert_eq!(folder.open().get(&key("shop")).await, Ok(Found::Removed));
}

#[test]
fn a_format_that_only_a_newer_program_reads_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    folder.sql("create table things (thing text); pragma user_version = 1000");
    let before = std::fs::read(&folder.table).unwrap();
    let error = TableFile::open(&folder.table).unwrap_err();
    assert!(error.reason.contains("only a newer program can read"), "{error}");
    assert_eq!(std::fs::read(&folder.table).unwrap().len(), before.len());
    // One that is newer by additions alone is worked with, and keeps its number.
    let folder = Folder::new();
    folder.sql("pragma user_version = 7");
    TableFile::open(&folder.table).unwrap().list().unwrap();
    let raw = Connection::open(&folder.table).unwrap();
    let format: i64 = raw.query_row("pragma user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(format, 7);
}

#[tokio::test]
async fn what_a_copy_calls_removed_is_void_once_it_was_put_again_and_answered() {
    let folder = Folder::new();
    let table = folder.open();
    folder.sql("insert into apps (name) values ('shop'); delete from apps");
    let copy = folder.copy("copy.db");
    folder.sql("insert into apps (name) values ('shop')");
    answer(&table, "shop").await;
    drop(table);
    folder.replace(&copy);
    // As long as nobody has taken it for the folder's own, and after.
    let marks = Marks::open(&folder.journal).unwrap();
    let file = TableFile::open(&folder.table).unwrap();
    assert_eq!(file.find(&key("shop"), &marks), Ok(Found::Absent));
    let table = folder.open();
    assert_eq!(table.get(&key("shop")).await, Ok(Found::Absent));
    // What is removed from now on is a user's word.
    TableFile::open(&folder.table).unwrap().remove_orphan(&key("shop")).unwrap();
    assert_eq!(table.get(&key("shop")).await, Ok(Found::Removed));
    drop(table);
    assert_eq!(folder.open().get(&key("shop")).await, Ok(Found::Removed));
}

#[tokio::test]
async fn a_table_that_is_replaced_under_an_open_one_makes_nothing_removed_by_a_later_mark() {
    let folder = Folder::new();
    drop(folder.open());
    let other = Folder::new();
    let table = other.open();
    other.sql(
        "insert into apps (name) values ('shop'), ('fresh'); delete from apps where name = 'shop'",
    );
    assert_eq!(table.get(&key("shop")).await, Ok(Found::Removed));
    drop(table);
    folder.replace(&other.copy("copy.db"));
    let table = folder.open();
    answer(&table, "fresh").await;
    assert_eq!(table.get(&key("shop")).await, Ok(Found::Absent));
}

#[tokio::test]
async fn a_removal_outlives_marks_that_are_renewed_for_others_and_one_that_was_never_written() {
    let folder = Folder::new();
    let table = folder.open();
    folder.sql("insert into apps (name) values ('shop'); delete from apps");
    folder.sql("insert into apps (name) values ('other')");
    answer(&table, "other").await;
    assert_eq!(table.get(&key("shop")).await, Ok(Found::Removed));
    // The journal knows a mark that the table never got: its writer died in between.
    let journal = Connection::open(&folder.journal).unwrap();
    journal.execute("insert into marks (mark) values ('never written')", []).unwrap();
    drop(table);
    let table = folder.open();
    assert_eq!(table.get(&key("shop")).await, Ok(Found::Removed));
}
