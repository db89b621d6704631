//! The table in SQLite: what a writer may do to it, and what the reactor answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rowhouse_core::{App, AppTable, Attribute, Report, RowKey, Settings, Status, Value, Written};
use rowhouse_machine::table::{SqliteTable, TableFile};
use rusqlite::Connection;

struct House {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    raw: Connection,
    table: SqliteTable,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    let table = SqliteTable::open(&path, &path.with_file_name("journal.sqlite"), None).unwrap();
    let raw = Connection::open(&path).unwrap();
    House { _folder: folder, path, raw, table }
}

fn key(name: &str) -> RowKey {
    RowKey(name.to_owned())
}

#[tokio::test]
async fn whatever_somebody_writes_is_taken_and_can_be_answered() {
    let house = house();
    let long = "x".repeat(100_000);
    let rows: [(&str, &str); 14] = [
        ("'no-version'", "null, 1, null, null"),
        ("'negative'", "'main', -1, null, null"),
        ("'fraction'", "'main', 2.7, null, null"),
        ("'many'", "'main', 99, null, null"),
        ("'words'", "'main', 'two', null, null"),
        ("'under_score'", "'main', 1, null, null"),
        ("'Upper'", "'main', 1, null, null"),
        ("''", "'main', 1, null, null"),
        ("'ext'", "'main', 1, 'ext::sh -c id', null"),
        ("'option'", "'--upload-pack=id', 1, null, null"),
        ("'space'", "'a b', 1, null, null"),
        ("'dots'", "'a..b', 1, null, null"),
        ("'list'", "'main', 1, null, '[1]'"),
        ("'equals'", "'main', 1, null, '{\"A=B\":\"x\"}'"),
    ];
    for (name, values) in rows {
        house
            .raw
            .execute(
                &format!(
                    "insert into apps (name, version, scale, repo, env) values ({name}, {values})"
                ),
                [],
            )
            .unwrap();
    }
    house
        .raw
        .execute(
            "insert into apps (name, version, scale) values (?1, ?2, x'00ff')",
            [&"a".repeat(64), &long],
        )
        .unwrap();
    let rows = house.table.list().await.unwrap();
    assert_eq!(rows.len(), 15);
    for row in rows {
        let reason = App::parse(&row, &Settings::for_tests()).expect_err("each is bad").to_string();
        assert!(reason.starts_with('`') && reason.len() < 1000, "{reason}");
        let report =
            Report { status: Some(Status::Invalid), reason: Some(reason), ..Report::default() };
        let written = house.table.write(&row, &report, None).await.unwrap();
        assert!(matches!(written, Written::Done(_)), "{:?}", row.key);
    }
}

#[tokio::test]
async fn columns_of_the_users_own_are_left_alone() {
    let house = house();
    house.raw.execute_batch("alter table apps add column owner text").unwrap();
    house.raw.execute_batch("insert into apps (name, owner) values ('shop', 'me')").unwrap();
    let row = house.table.get(&key("shop")).await.unwrap().row().unwrap();
    house.table.write(&row, &Report::default(), None).await.unwrap();
    let owner: String =
        house.raw.query_row("select owner from apps", [], |row| row.get(0)).unwrap();
    assert_eq!(owner, "me");
}

#[tokio::test]
async fn numbers_in_text_are_numbers_and_an_environment_is_an_object() {
    let house = house();
    house
        .raw
        .execute_batch(
            "insert into apps (name, version, scale, env, follow) values \
             ('shop', 'main', '2', '{\"A\": \"1\"}', true)",
        )
        .unwrap();
    let row = house.table.get(&key("shop")).await.unwrap().row().unwrap();
    assert_eq!(row.user[&Attribute::Scale], Value::Whole(2));
    let app = App::parse(&row, &Settings::for_tests()).unwrap();
    assert_eq!((app.scale, app.follow), (2, true));
    assert_eq!(app.env.revealed()["A"], "1");
}

#[test]
fn an_edit_changes_only_what_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = TableFile::open(&folder.path().join("rowhouse.db")).unwrap();
    let set = |attribute, value| {
        move |_: Option<&rowhouse_core::Row>| Ok::<_, ()>(BTreeMap::from([(attribute, value)]))
    };
    let main = Value::Text("main".into());
    file.edit(&key("shop"), set(Attribute::Version, Some(main.clone()))).unwrap().unwrap();
    let row =
        file.edit(&key("shop"), set(Attribute::Scale, Some(Value::Whole(2)))).unwrap().unwrap();
    assert_eq!(
        row.user,
        BTreeMap::from([(Attribute::Version, main), (Attribute::Scale, Value::Whole(2))])
    );
    let row = file.edit(&key("shop"), set(Attribute::Scale, None)).unwrap().unwrap();
    assert!(!row.user.contains_key(&Attribute::Scale));
    let removed = file.remove(&key("shop")).unwrap().unwrap();
    assert_eq!(removed.row.user.len(), 1);
    assert!(!file.was_rung(removed.change).unwrap(), "nobody listens");
    assert_eq!(file.remove(&key("shop")).unwrap(), None);
}

#[test]
fn a_table_locked_by_another_process_is_said_to_be_so_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    let mut file = TableFile::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("begin exclusive; insert into apps (name) values ('theirs')").unwrap();
    assert_eq!(file.list().unwrap(), vec![]);
    let error = file.remove(&key("theirs")).unwrap_err();
    assert!(error.reason.contains("locked by another process"), "{error}");
    other.execute_batch("commit").unwrap();
    assert_eq!(file.list().unwrap().len(), 1);
}

#[test]
fn a_file_that_is_no_table_is_said_to_be_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    std::fs::write(&path, "not a database, but long enough to have had a header in it").unwrap();
    let error = TableFile::open(&path).unwrap_err();
    assert!(error.reason.contains("damaged"), "{error}");
}

#[test]
fn the_triggers_use_nothing_that_an_old_sqlite_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    TableFile::open(&path).unwrap();
    let raw = Connection::open(&path).unwrap();
    let mut statement =
        raw.prepare("select sql from sqlite_master where type = 'trigger'").unwrap();
    let triggers: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(triggers.len(), 8);
    // Newer than 3.31: `returning`, `strict`, `->`, `is distinct from`, `iif`, math functions.
    for word in ["returning", "->", "distinct", "iif", "unixepoch", "string_agg"] {
        assert!(!triggers.iter().any(|trigger| trigger.contains(word)), "{word}");
    }
}

#[tokio::test]
async fn the_table_is_opened_by_several_at_once() {
    let house = house();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = house.path.clone();
            std::thread::spawn(move || {
                TableFile::open(&path).map(|file| file.list().unwrap().len())
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap(), 0);
    }
}

/// Marks every deletion as one of a year ago.
fn age_deletions(raw: &Connection) {
    raw.execute("update deletions set at = '2020-01-01T00:00:00Z'", []).unwrap();
}

#[tokio::test]
async fn a_name_that_a_rename_brought_back_is_not_deleted_and_the_one_before_is() {
    let house = house();
    house
        .raw
        .execute_batch(
            "insert into apps (name) values ('shop'), ('web'); \
             insert into history (name, at, generation) values \
             ('shop', '2020', 'one'), ('web', '2020', 'one'); \
             insert into apps_releases values ('shop', 'one', '{}'), ('web', 'one', '{}'); \
             delete from apps where name = 'shop'",
        )
        .unwrap();
    age_deletions(&house.raw);
    assert_eq!(house.table.deleted_before(7).await.unwrap(), [key("shop")]);
    house.raw.execute_batch("update apps set name = 'shop' where name = 'web'").unwrap();
    assert_eq!(house.table.deleted_before(7).await.unwrap(), []);
    age_deletions(&house.raw);
    assert_eq!(house.table.deleted_before(7).await.unwrap(), [key("web")]);
    house.table.prune_history().await.unwrap();
    let kept: String =
        house.raw.query_row("select name from history", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "shop");
    let file = TableFile::open(&house.path).unwrap();
    let releases = |name| file.releases(&key(name)).unwrap().len();
    assert_eq!((releases("shop"), releases("web")), (1, 0), "a release goes with its entries");
}

#[test]
fn a_history_of_an_earlier_format_is_read_before_and_after_it_was_brought_up_to_date() {
    for format in [include_str!("formats/0.sql"), include_str!("formats/1.sql")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rowhouse.db");
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(&format!("{format}{}", include_str!("formats/rows.sql"))).unwrap();
        let file = TableFile::open(&path).unwrap();
        let read = || {
            assert_eq!(file.releases(&key("full")).unwrap().len(), 0);
            let entries = file.history(&key("full")).unwrap();
            assert_eq!((entries[0].number, entries[0].path.as_deref()), (None, None));
            entries
        };
        let before = read();
        TableFile::migrate(&path).unwrap();
        assert_eq!(read(), before);
    }
}

#[tokio::test]
async fn what_was_deleted_of_a_history_gives_its_numbers_to_no_other_entry() {
    let house = house();
    house
        .raw
        .execute_batch(
            "insert into apps (name, version, scale) values ('shop', 'main', 1); \
             insert into history (name, at, number) values ('shop', '2020', 6), \
             ('shop', '2020', 7), ('shop', '2020', 'many'), ('web', '2020', 9)",
        )
        .unwrap();
    let row = house.table.get(&key("shop")).await.unwrap().row().unwrap();
    let settings = Settings::for_tests();
    let app = App::parse(&row, &settings).unwrap();
    let target = rowhouse_core::Target::stored("v1-t");
    let report = Report {
        status: Some(Status::Deployed),
        generation: Some(row.generation()),
        target: Some(target),
        ..Report::default()
    };
    let entry = rowhouse_core::entry(&row, &app, &report);
    let written = house.table.write(&row, &report, entry.as_ref()).await.unwrap();
    assert!(matches!(written, Written::Done(_)));
    let file = TableFile::open(&house.path).unwrap();
    let entries = file.history(&key("shop")).unwrap();
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [Some(8), None, Some(7), Some(6)]);
    assert_eq!(entries[0].path.as_deref(), Some("apps"), "the platform's own");
}

#[tokio::test]
async fn a_row_that_is_there_is_not_deleted_whatever_was_noted_of_it() {
    let house = house();
    house
        .raw
        .execute_batch(
            "insert into apps (name) values ('shop'); \
             insert into history (name, at) values ('shop', '2020'); \
             insert into deletions (name, at) values ('shop', '2020')",
        )
        .unwrap();
    assert_eq!(house.table.deleted_before(7).await.unwrap(), []);
    house.table.prune_history().await.unwrap();
    let kept: i64 =
        house.raw.query_row("select count(*) from history", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn a_name_that_is_no_text_keeps_no_other_from_being_read() {
    let house = house();
    house
        .raw
        .execute_batch(
            "insert into apps (name, version) values \
             (x'ff', 'v1'), (cast(x'ff' as text), 'v1'), ('shop', 'v1'), (x'73686f70', 'v2')",
        )
        .unwrap();
    let names: Vec<String> =
        house.table.list().await.unwrap().into_iter().map(|row| row.key.0).collect();
    assert_eq!(names, ["shop"]);
    let shown: Vec<String> = TableFile::open(&house.path)
        .unwrap()
        .list()
        .unwrap()
        .into_iter()
        .map(|row| row.row.key.0)
        .collect();
    assert_eq!(shown, ["shop", "cast(x'ff' as text)", "x'73686f70'", "x'ff'"]);
    house.raw.execute_batch("delete from apps").unwrap();
    age_deletions(&house.raw);
    assert_eq!(house.table.deleted_before(7).await.unwrap(), [key("shop")]);
}

#[test]
fn the_table_of_another_user_is_neither_made_nor_reached_through_a_link() {
    let room = tempfile::tempdir().unwrap();
    let (table, link) = (room.path().join("rowhouse.db"), room.path().join("link.db"));
    assert!(TableFile::open_of_another(&table).is_err());
    assert!(!table.exists());
    drop(TableFile::open(&table).unwrap());
    let mut own = TableFile::open_of_another(&table).unwrap();
    let key = RowKey("shop".to_owned());
    let wanted = |_: Option<&rowhouse_core::Row>| {
        Ok::<_, std::convert::Infallible>(
            [(Attribute::Scale, Some(Value::Whole(1)))].into_iter().collect(),
        )
    };
    let Ok(row) = own.edit(&key, wanted).unwrap();
    assert_eq!(own.get(&key).unwrap().unwrap().row, row);
    std::os::unix::fs::symlink(room.path().join("elsewhere"), &link).unwrap();
    assert!(TableFile::open_of_another(&link).is_err());
    assert!(!room.path().join("elsewhere").exists());
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&table, &link).unwrap();
    assert!(TableFile::open_of_another(&link).is_err());
}

#[test]
fn a_table_of_an_earlier_version_gets_the_trigger_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    TableFile::open(&path).unwrap();
    let raw = Connection::open(&path).unwrap();
    let trigger = "select sql from sqlite_master where name = 'apps_renamed'";
    let of = |raw: &Connection| -> String { raw.query_row(trigger, [], |row| row.get(0)).unwrap() };
    let new = of(&raw);
    raw.execute_batch(
        "drop trigger apps_renamed; create trigger apps_renamed after update on apps \
         when old.name is not new.name begin insert into changes (name) values (old.name); end",
    )
    .unwrap();
    TableFile::migrate(&path).unwrap();
    assert_eq!(of(&raw), new);
}

/// The suite's user writes with a connection of its own, as any program may.
struct Contract {
    table: SqliteTable,
    raw: std::sync::Mutex<TableFile>,
    path: std::path::PathBuf,
}

impl rowhouse_core::testing::TableUser for Contract {
    fn replace(&self, key: &str, user: &rowhouse_core::UserAttributes) {
        self.delete(key);
        let changes =
            user.iter().map(|(attribute, value)| (*attribute, Some(value.clone()))).collect();
        let edit = |_: Option<&rowhouse_core::Row>| Ok::<_, ()>(changes);
        self.raw.lock().unwrap().edit(&RowKey(key.to_owned()), edit).unwrap().unwrap();
    }

    fn set(&self, key: &str, attribute: Attribute, value: Option<&Value>) {
        let changes = BTreeMap::from([(attribute, value.cloned())]);
        let edit = |_: Option<&rowhouse_core::Row>| Ok::<_, ()>(changes);
        self.raw.lock().unwrap().edit(&RowKey(key.to_owned()), edit).unwrap().unwrap();
    }

    fn delete(&self, key: &str) {
        self.raw.lock().unwrap().remove(&RowKey(key.to_owned())).unwrap();
    }

    fn entries(&self, key: &str) -> usize {
        TableFile::open(&self.path).unwrap().history(&RowKey(key.to_owned())).unwrap().len()
    }

    fn release(
        &self,
        key: &str,
        generation: &rowhouse_core::Generation,
    ) -> Option<rowhouse_core::Release> {
        let file = TableFile::open(&self.path).unwrap();
        file.releases(&RowKey(key.to_owned())).unwrap().remove(generation)
    }
}

impl AppTable for Contract {
    async fn get(&self, key: &RowKey) -> Result<rowhouse_core::Found, rowhouse_core::Unreachable> {
        self.table.get(key).await
    }

    async fn write(
        &self,
        seen: &rowhouse_core::Row,
        report: &Report,
        entry: Option<&rowhouse_core::Entry>,
    ) -> Result<Written, rowhouse_core::Unreachable> {
        self.table.write(seen, report, entry).await
    }

    async fn list(&self) -> Result<Vec<rowhouse_core::Row>, rowhouse_core::Unreachable> {
        self.table.list().await
    }
}

#[tokio::test]
async fn the_table_in_sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rowhouse.db");
    let table = SqliteTable::open(&path, &path.with_file_name("journal.sqlite"), None).unwrap();
    let raw = std::sync::Mutex::new(TableFile::open(&path).unwrap());
    rowhouse_core::testing::table_contract(&Contract { table, raw, path }).await;
}
