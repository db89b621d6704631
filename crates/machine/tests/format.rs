//! The format of the table's file: what an older one becomes, by whom, and what stays as it was.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use rowhouse_core::{
    App, AppTable, Attribute, Found, Report, RowKey, Settings, Status, StoredRow, Value, Written,
};
use rowhouse_machine::table::{SqliteTable, TableFile};
use rusqlite::Connection;

/// What makes a file of each earlier format, as its programs did.
const EARLIER: [(i64, &str); 2] =
    [(0, include_str!("formats/0.sql")), (1, include_str!("formats/1.sql"))];
const ROWS: &str = include_str!("formats/rows.sql");
/// The format of today.
const FORMAT: i64 = 2;

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

    /// One with a table of an earlier format, and the mark that its journal knows, if it bears one.
    fn of(script: &str) -> Folder {
        let folder = Folder::new();
        let raw = folder.raw();
        raw.pragma_update(None, "journal_mode", "wal").unwrap();
        raw.execute_batch(script).unwrap();
        raw.execute_batch(ROWS).unwrap();
        if let Ok(mark) =
            raw.query_row("select mark from apps_mark", [], |row| row.get::<_, String>(0))
        {
            drop(rowhouse_machine::table::mark::Marks::open(&folder.journal).unwrap());
            let journal = Connection::open(&folder.journal).unwrap();
            journal.execute("insert into marks (mark) values (?1)", [mark]).unwrap();
        }
        folder
    }

    fn raw(&self) -> Connection {
        Connection::open(&self.table).unwrap()
    }

    /// The table as a platform opens it, which holds the folder's lock.
    fn up(&self) -> SqliteTable {
        SqliteTable::open(&self.table, &self.journal, None).unwrap()
    }

    fn format(&self) -> i64 {
        self.raw().query_row("pragma user_version", [], |row| row.get(0)).unwrap()
    }

    /// Everything that stands in the schema, in order of the name.
    fn schema(&self) -> Vec<String> {
        let raw = self.raw();
        let mut statement =
            raw.prepare("select ifnull(sql, name) from sqlite_master order by name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The columns of each table, with their types, in order of the name.
    fn columns(&self) -> Vec<(String, String, String)> {
        let raw = self.raw();
        let mut statement = raw
            .prepare(
                "select m.name, c.name, c.type from sqlite_master m, pragma_table_xinfo(m.name) c \
                 where m.type = 'table' order by 1, 2",
            )
            .unwrap();
        let columns =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        columns.map(Result::unwrap).collect()
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let raw = self.raw();
        let mut statement =
            raw.prepare("select name from sqlite_master where type = ?1 order by name").unwrap();
        statement.query_map([kind], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// How often a name was rung since the last time.
    fn rung(&self) -> usize {
        self.raw().execute("delete from changes", []).unwrap()
    }
}

fn key(name: &str) -> RowKey {
    RowKey(name.to_owned())
}

fn rows(file: &TableFile) -> Vec<StoredRow> {
    file.list().unwrap()
}

#[tokio::test]
async fn a_table_of_each_earlier_format_becomes_what_a_new_one_is_and_keeps_what_it_holds() {
    let new = Folder::new();
    drop(new.up());
    assert_eq!(new.format(), FORMAT);
    for (format, script) in EARLIER {
        let folder = Folder::of(script);
        assert_eq!(folder.format(), format);
        let file = TableFile::open(&folder.table).unwrap();
        let (before, told) = (rows(&file), file.history(&key("full")).unwrap());
        assert_eq!((before.len(), told.len()), (2, 1));
        let table = folder.up();
        assert_eq!(folder.format(), FORMAT, "{format}");
        assert_eq!(folder.columns(), new.columns(), "{format}");
        for kind in ["table", "index", "trigger"] {
            assert_eq!(folder.names(kind), new.names(kind), "{format}");
        }
        // What is open sees the rows of today's format as they were.
        assert_eq!(rows(&file), before, "{format}");
        assert_eq!(file.history(&key("full")).unwrap(), told, "{format}");
        assert_eq!(table.get(&key("gone")).await, Ok(Found::Removed), "{format}");
        assert_eq!(table.get(&key("never")).await, Ok(Found::Absent), "{format}");
    }
}

#[tokio::test]
async fn what_was_brought_up_to_date_is_left_as_it_is_from_then_on() {
    for (format, script) in EARLIER {
        let folder = Folder::of(script);
        drop(folder.up());
        let (schema, raw) = (folder.schema(), folder.raw());
        let version = |raw: &Connection| -> i64 {
            raw.query_row("pragma schema_version", [], |row| row.get(0)).unwrap()
        };
        let before = version(&raw);
        drop(folder.up());
        drop(TableFile::open(&folder.table).unwrap());
        assert_eq!((folder.schema(), version(&raw)), (schema, before), "{format}");
    }
}

#[test]
fn a_command_works_with_a_table_of_an_earlier_format_and_changes_nothing_of_its_format() {
    for (format, script) in EARLIER {
        let folder = Folder::of(script);
        let schema = folder.schema();
        let mut file = TableFile::open(&folder.table).unwrap();
        let marks = rowhouse_machine::table::mark::Marks::open(&folder.journal).unwrap();
        assert_eq!(file.list().unwrap().len(), 2);
        assert_eq!(file.find(&key("gone"), &marks), Ok(Found::Removed));
        file.adopt(&marks).unwrap();
        assert!(file.remove(&key("bare")).unwrap().is_some());
        assert_eq!(file.find(&key("bare"), &marks), Ok(Found::Removed));
        file.remove_orphan(&key("orphan")).unwrap();
        assert_eq!(file.find(&key("orphan"), &marks), Ok(Found::Removed));
        assert_eq!((folder.format(), folder.schema()), (format, schema));
    }
}

#[test]
fn a_removal_that_the_next_platform_would_take_for_void_is_refused() {
    let folder = Folder::of(EARLIER[0].1);
    drop(rowhouse_machine::table::mark::Marks::open(&folder.journal).unwrap());
    let journal = Connection::open(&folder.journal).unwrap();
    journal.execute("insert into marks (mark) values ('of a newer table')", []).unwrap();
    let marks = rowhouse_machine::table::mark::Marks::open(&folder.journal).unwrap();
    let mut file = TableFile::open(&folder.table).unwrap();
    assert_eq!(file.find(&key("gone"), &marks), Ok(Found::Absent));
    let error = file.adopt(&marks).unwrap_err();
    assert!(error.reason.contains("start `rowhouse up` first"), "{error}");
    drop(folder.up());
    file.adopt(&marks).unwrap();
}

#[test]
fn a_migration_that_fails_leaves_the_table_as_it_was() {
    for (format, script) in EARLIER {
        // So many columns of a user's own that not all of today's fit beside them.
        let mut own = String::from("changed_at text");
        for number in 0..1975 {
            write!(own, ", own_{number}").unwrap();
        }
        let folder = Folder::of(&script.replace("changed_at text", &own));
        let schema = folder.schema();
        let error = SqliteTable::open(&folder.table, &folder.journal, None).unwrap_err();
        assert!(error.reason.contains("too many columns"), "{error}");
        assert_eq!((folder.format(), folder.schema()), (format, schema));
    }
}

#[test]
fn each_new_column_that_changes_rings_and_the_reactors_own_answer_does_not() {
    for (_, script) in EARLIER {
        let folder = Folder::of(script);
        drop(folder.up());
        let raw = folder.raw();
        folder.rung();
        for column in ["procfile", "workers", "cron", "domains", "memory", "protocol", "hook"] {
            // As a user writes it, and as one does who raises `seq` too.
            for also in ["", ", seq = ifnull(seq, 0) + 1"] {
                let sql =
                    format!("update apps set {column} = {column} || '1'{also} where name = 'full'");
                raw.execute(&format!("update apps set {column} = '1'"), []).unwrap();
                folder.rung();
                assert_eq!(raw.execute(&sql, []).unwrap(), 1);
                assert_eq!(folder.rung(), 1, "{column}{also}");
            }
        }
        raw.execute("update apps set seq = ifnull(seq, 0) + 1, status = 'deployed'", []).unwrap();
        assert_eq!(folder.rung(), 0);
    }
}

/// A program of an earlier format goes on with a table of this one.
#[tokio::test]
async fn a_program_of_an_earlier_format_opens_a_table_of_today_and_nothing_of_it_is_lost() {
    for (format, script) in EARLIER {
        let folder = Folder::new();
        drop(folder.up());
        let (schema, raw) = (folder.schema(), folder.raw());
        // What such a program runs as it opens the file, but for what says the format.
        let script: String = script
            .lines()
            .filter(|line| !line.starts_with("alter") && !line.starts_with("pragma"))
            .filter(|line| !line.starts_with("insert into apps_mark"))
            .collect::<Vec<_>>()
            .join("\n");
        raw.execute_batch(&script).unwrap();
        let names = |schema: &[String]| schema.len();
        assert_eq!(names(&folder.schema()), names(&schema), "{format}");
        raw.execute("insert into apps (name, memory) values ('shop', 256)", []).unwrap();
        folder.rung();
        raw.execute("update apps set memory = 512, seq = ifnull(seq, 0) + 1", []).unwrap();
        assert_eq!(folder.rung(), 1, "{format}");
        assert_eq!(folder.format(), FORMAT);
    }
}

#[tokio::test]
async fn columns_of_a_users_own_that_bear_a_name_of_today_survive_and_are_answered() {
    for (format, script) in EARLIER {
        let folder = Folder::of(script);
        let raw = folder.raw();
        // In another case, of another type, and one that SQLite makes itself.
        raw.execute_batch(
            "alter table apps add column Memory text; \
             alter table apps add column hook blob; \
             alter table apps add column workers as (json_object('w', 1)); \
             alter table apps add column owner text; \
             update apps set memory = 'lots', hook = x'00ff', owner = 'me' where name = 'full'",
        )
        .unwrap();
        let table = folder.up();
        assert_eq!(folder.format(), FORMAT, "{format}");
        let row = table.get(&key("full")).await.unwrap().row().unwrap();
        let reason = App::parse(&row, &Settings::for_tests()).unwrap_err().to_string();
        for said in ["`Memory` is `lots`", "`Hook` is a blob", "`Workers` is not offered yet"] {
            assert!(reason.contains(said), "{reason}");
        }
        let report =
            Report { status: Some(Status::Invalid), reason: Some(reason), ..Report::default() };
        let written = table.write(&row, &report, None).await.unwrap();
        assert!(matches!(written, Written::Done(_)), "{format}");
        let kept: (String, Vec<u8>, String) = raw
            .query_row("select memory, hook, owner from apps where name = 'full'", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(kept, ("lots".to_owned(), vec![0, 255], "me".to_owned()));
    }
}

#[tokio::test]
async fn each_attribute_is_read_as_it_was_written_in_its_column() {
    let folder = Folder::new();
    let table = folder.up();
    let object = |text: &str| format!("'{{{text}}}'");
    let of = |text: &str| Value::Text(text.to_owned());
    let map = |key: &str, value: Value| Value::Map([(key.to_owned(), value)].into());
    for (attribute, sql, expected) in [
        (Attribute::Procfile, object(r#""web": "a"#), of(r#"{"web": "a}"#)),
        (Attribute::Procfile, object(r#""web": "a""#), map("web", of("a"))),
        (Attribute::Workers, object(r#""worker": 2"#), map("worker", Value::Whole(2))),
        (Attribute::Workers, "'[1]'".to_owned(), of("[1]")),
        (Attribute::Cron, object(r#""a": "@daily b""#), map("a", of("@daily b"))),
        (Attribute::Domains, r#"'["b.example"]'"#.to_owned(), Value::List(vec![of("b.example")])),
        (Attribute::Domains, "'[[]]'".to_owned(), Value::List(vec![Value::Other("a list")])),
        (Attribute::Domains, "'{}'".to_owned(), of("{}")),
        (Attribute::Domains, "'b.example'".to_owned(), of("b.example")),
        (Attribute::Memory, "'256'".to_owned(), Value::Whole(256)),
        (Attribute::Memory, "'256M'".to_owned(), of("256M")),
        (Attribute::Protocol, "'h2c'".to_owned(), of("h2c")),
        (Attribute::Hook, "123".to_owned(), of("123")),
        (Attribute::Hook, "'[1]'".to_owned(), of("[1]")),
    ] {
        let raw = folder.raw();
        let column = attribute.name().to_lowercase();
        raw.execute_batch(&format!(
            "delete from apps; insert into apps (name, {column}) values ('shop', {sql})"
        ))
        .unwrap();
        let row = table.get(&key("shop")).await.unwrap().row().unwrap();
        assert!(row.user[&attribute] == expected, "{attribute:?} {sql}");
        // And as it was read, it is written.
        let mut file = TableFile::open(&folder.table).unwrap();
        let again = BTreeMap::from([(attribute, Some(expected.clone()))]);
        let row = file.edit(&key("shop"), |_| Ok::<_, ()>(again)).unwrap().unwrap();
        assert!(row.user[&attribute] == expected || sql == "'[[]]'", "{attribute:?} {sql}");
    }
}

#[test]
fn a_row_of_a_table_of_an_earlier_format_can_be_edited_but_for_what_it_has_no_column_for() {
    for (format, script) in EARLIER {
        let folder = Folder::of(script);
        let mut file = TableFile::open(&folder.table).unwrap();
        let edit = |changes: BTreeMap<Attribute, Option<Value>>| {
            move |_: Option<&rowhouse_core::Row>| Ok::<_, ()>(changes)
        };
        let every = Attribute::ALL.into_iter().map(|attribute| (attribute, None));
        let mut changes: BTreeMap<_, _> = every.collect();
        changes.insert(Attribute::Scale, Some(Value::Whole(3)));
        let row = file.edit(&key("full"), edit(changes)).unwrap().unwrap();
        assert_eq!(row.user, BTreeMap::from([(Attribute::Scale, Value::Whole(3))]), "{format}");
        let memory = BTreeMap::from([(Attribute::Memory, Some(Value::Whole(256)))]);
        let error = file.edit(&key("full"), edit(memory.clone())).unwrap_err();
        assert!(error.reason.contains("start `rowhouse up` first"), "{error}");
        // What is open sees the columns that another program has added in the meantime.
        drop(folder.up());
        let row = file.edit(&key("full"), edit(memory)).unwrap().unwrap();
        assert!(row.user[&Attribute::Memory] == Value::Whole(256));
    }
}
