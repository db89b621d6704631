//! The change feed against other processes: Debian's own `sqlite3`, and a writer that keeps its
//! connection.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rowhouse_core::{AppTable, Report, RowKey, Status, Written};
use rowhouse_machine::table::feed;
use rowhouse_machine::table::replacement::FileNews;
use rowhouse_machine::table::{SqliteTable, TableFile};
use rusqlite::Connection;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const DEADLINE: Duration = Duration::from_secs(20);

fn sqlite3(table: &Path, statement: &str) {
    let output = Command::new("sqlite3")
        .args(["-cmd", ".timeout 5000"])
        .arg(table)
        .arg(statement)
        .output()
        .expect("Debian's `sqlite3` must be installed: `apt-get install sqlite3`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

struct House {
    _folder: tempfile::TempDir,
    table: std::path::PathBuf,
    sqlite: SqliteTable,
    rung: UnboundedReceiver<RowKey>,
    heard: UnboundedReceiver<FileNews>,
}

fn open(table: &Path) -> SqliteTable {
    SqliteTable::open(table, &table.with_file_name("journal.sqlite"), None).unwrap()
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rowhouse.db");
    let (doorbell, rung) = unbounded_channel();
    let (news, heard) = unbounded_channel();
    let sqlite = open(&table);
    feed::start(&sqlite, doorbell, news).unwrap();
    House { _folder: folder, table, sqlite, rung, heard }
}

impl House {
    async fn next(&mut self) -> RowKey {
        tokio::time::timeout(DEADLINE, self.rung.recv())
            .await
            .expect("a name must be rung")
            .unwrap()
    }

    /// Rings a name that nothing else uses, and tells what was rung before it.
    async fn rung_until_now(&mut self) -> Vec<String> {
        sqlite3(&self.table, "insert into changes (name) values ('the-end')");
        let mut names = Vec::new();
        loop {
            let name = self.next().await.0;
            if name == "the-end" {
                return names;
            }
            names.push(name);
        }
    }
}

#[tokio::test]
async fn an_insert_an_update_and_a_delete_by_debians_sqlite3_are_each_rung() {
    let mut house = house();
    for statement in [
        "insert into apps (name, version, scale) values ('shop', 'main', 1)",
        "update apps set version = 'v2' where name = 'shop'",
        "delete from apps where name = 'shop'",
    ] {
        sqlite3(&house.table, statement);
        assert_eq!(house.next().await.0, "shop", "{statement}");
    }
}

#[tokio::test]
async fn a_writer_that_keeps_its_connection_open_is_never_missed() {
    let mut house = house();
    let writer = Connection::open(&house.table).unwrap();
    writer.busy_timeout(DEADLINE).unwrap();
    let mut waits = Vec::new();
    for number in 0..300 {
        let name = format!("app-{number}");
        writer.execute("insert into apps (name) values (?1)", [&name]).unwrap();
        let committed = Instant::now();
        assert_eq!(house.next().await.0, name);
        waits.push(committed.elapsed());
    }
    waits.sort();
    println!("noticed after {:?} (median), {:?} (p95)", waits[150], waits[285]);
    // Were the watch blind, each would take up to the second of the fallback.
    assert!(waits[150] < Duration::from_millis(500), "median {:?}", waits[150]);
}

#[tokio::test]
async fn a_rename_rings_both_names_and_a_replacement_the_one() {
    let mut house = house();
    sqlite3(&house.table, "insert into apps (name) values ('old')");
    sqlite3(&house.table, "update apps set name = 'new' where name = 'old'");
    sqlite3(&house.table, "insert or replace into apps (name, version) values ('new', 'x')");
    let mut names = house.rung_until_now().await;
    names.sort();
    names.dedup();
    assert_eq!(names, ["new", "old"]);
}

#[tokio::test]
async fn a_name_that_is_no_text_keeps_no_other_from_being_rung() {
    let mut house = house();
    sqlite3(
        &house.table,
        "insert into apps (name) values ('before'), (x'ff'), (cast(x'ff' as text)), ('zoo')",
    );
    assert_eq!(house.rung_until_now().await, ["before", "zoo"]);
}

#[tokio::test]
async fn a_row_without_a_name_is_answered_in_itself() {
    let house = house();
    sqlite3(
        &house.table,
        "insert into apps (name) values (x'73686f70'), (cast(x'7aff' as text)), ('shop'), (12)",
    );
    let answers = "select name is 'shop', status, reason from apps where status is not null \
                   order by name";
    let raw = Connection::open(&house.table).unwrap();
    let read = || {
        let mut statement = raw.prepare(answers).unwrap();
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, bool>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap()
    };
    let deadline = Instant::now() + DEADLINE;
    while read().len() < 2 {
        assert!(Instant::now() < deadline, "nobody answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rows = read();
    assert!(rows.iter().all(|(is_named, status, _)| !is_named && status == "invalid"), "{rows:?}");
    // It says how the row is deleted, and only that one goes.
    for (_, _, reason) in rows {
        let statement = reason.split('`').nth(3).unwrap();
        assert!(statement.starts_with("delete from apps where name is "), "{reason}");
        assert_eq!(raw.execute(statement, []).unwrap(), 1, "{reason}");
    }
    // The others can be asked for.
    let rows = house.sqlite.list().await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(names, ["12", "shop"]);
}

#[tokio::test]
async fn the_largest_id_keeps_no_later_write_from_being_made_and_rung() {
    let mut house = house();
    for statement in [
        "insert into changes values (9223372036854775807, 'last')",
        "insert into history (id, name, at) values (9223372036854775807, 'last', '')",
        "update sqlite_sequence set seq = 9223372036854775807 where name = 'history'",
        "update sqlite_sequence set seq = 9223372036854775807 where name = 'changes'",
    ] {
        sqlite3(&house.table, statement);
        let raw = Connection::open(&house.table).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = raw.execute_batch(
            "begin immediate; insert into changes (name) values ('next'); insert into history \
             (name, at) values ('next', ''); commit",
        ) {
            let _ = raw.execute_batch("rollback");
            assert!(Instant::now() < deadline, "{statement}: {error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while house.next().await.0 != "next" {}
    }
    // What nobody minds is mended by whoever opens the file.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    drop(TableFile::open(&path).unwrap());
    sqlite3(&path, "insert into changes values (9223372036854775807, 'last')");
    let mut file = TableFile::open(&path).unwrap();
    file.edit(&RowKey("shop".into()), |_| Ok::<_, ()>(std::collections::BTreeMap::new()))
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_file_that_takes_the_tables_place_is_told_and_rung() {
    let mut house = house();
    sqlite3(&house.table, "insert into apps (name) values ('old')");
    assert_eq!(house.next().await.0, "old");
    let next = house.table.with_file_name("next");
    drop(TableFile::open(&next).unwrap());
    sqlite3(&next, "insert into apps (name) values ('new')");
    std::fs::rename(&next, &house.table).unwrap();
    let gone = tokio::time::timeout(DEADLINE, house.heard.recv()).await.unwrap();
    assert!(matches!(gone, Some(FileNews::Gone(_))), "{gone:?}");
    let opened = tokio::time::timeout(DEADLINE, house.heard.recv()).await.unwrap();
    assert!(matches!(opened, Some(FileNews::Opened(_))), "{opened:?}");
    assert_eq!(house.next().await.0, "new");
    assert!(house.sqlite.get(&RowKey("new".into())).await.unwrap().row().is_some());
    assert!(house.sqlite.get(&RowKey("old".into())).await.unwrap().row().is_none());
}

#[tokio::test]
async fn the_reactors_own_answer_does_not_echo_but_a_forged_one_does() {
    let mut house = house();
    let table = house.sqlite.clone();
    sqlite3(&house.table, "insert into apps (name, version, scale) values ('shop', 'main', 1)");
    assert_eq!(house.rung_until_now().await, ["shop"]);
    let row = table.get(&RowKey("shop".into())).await.unwrap().row().unwrap();
    let report = Report { status: Some(Status::Deploying), ..Report::default() };
    assert!(matches!(table.write(&row, &report, None).await.unwrap(), Written::Done(_)));
    assert_eq!(house.rung_until_now().await, Vec::<String>::new());
    sqlite3(&house.table, "update apps set status = 'deployed' where name = 'shop'");
    assert_eq!(house.rung_until_now().await, ["shop"]);
}

#[tokio::test]
async fn what_was_written_while_nobody_listened_is_rung_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rowhouse.db");
    TableFile::open(&table).unwrap();
    sqlite3(&table, "insert into apps (name) values ('early')");
    let (doorbell, mut rung) = unbounded_channel();
    feed::start(&open(&table), doorbell, unbounded_channel().0).unwrap();
    let name = tokio::time::timeout(DEADLINE, rung.recv()).await.unwrap();
    assert_eq!(name, Some(RowKey("early".into())));
}

#[tokio::test]
async fn rung_changes_do_not_pile_up_in_the_table() {
    let mut house = house();
    let writer = Connection::open(&house.table).unwrap();
    writer.busy_timeout(DEADLINE).unwrap();
    for number in 0..500 {
        writer.execute("insert into changes (name) values (?1)", [format!("a{number}")]).unwrap();
    }
    while house.next().await.0 != "a499" {}
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left: i64 =
            writer.query_row("select count(*) from changes", [], |row| row.get(0)).unwrap();
        if left == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{left} changes are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
