//! The table in memory, and the suite that every table must pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::app::App;
use crate::attribute::{Attribute, UserAttributes, Value};
use crate::commit::NoCommit;
use crate::digest::{Generation, Target};
use crate::history::{Entry, KEPT_ENTRIES, entry};
use crate::name::RowKey;
use crate::outcome::Unreachable;
use crate::release::Release;
use crate::row::{Report, Row, Status};
use crate::settings::Settings;
use crate::table::{AppTable, Found, Written};
use crate::testing::lock::lock;

/// A table in memory.
#[derive(Debug, Default)]
pub struct MemoryTable {
    rows: Mutex<BTreeMap<RowKey, Row>>,
    removed: Mutex<BTreeSet<RowKey>>,
    history: Mutex<Vec<(RowKey, Entry)>>,
}

impl AppTable for MemoryTable {
    async fn get(&self, key: &RowKey) -> Result<Found, Unreachable> {
        Ok(match lock(&self.rows).get(key) {
            Some(row) => Found::Row(row.clone()),
            None if lock(&self.removed).contains(key) => Found::Removed,
            None => Found::Absent,
        })
    }

    async fn write(
        &self,
        seen: &Row,
        report: &Report,
        entry: Option<&Entry>,
    ) -> Result<Written, Unreachable> {
        let mut rows = lock(&self.rows);
        let Some(row) = rows.get_mut(&seen.key) else { return Ok(Written::Lost) };
        if row.seq != seen.seq || row.user != seen.user {
            return Ok(Written::Lost);
        }
        *row = row.reported(report.clone());
        if let Some(entry) = entry {
            let mut history = lock(&self.history);
            let last = history.iter().rev().find(|(key, _)| *key == seen.key);
            if last.is_none_or(|(_, last)| {
                (&last.target, last.status) != (&entry.target, entry.status)
            }) {
                history.push((seen.key.clone(), entry.clone()));
                let mine = history.iter().filter(|(key, _)| *key == seen.key).count();
                if mine > KEPT_ENTRIES
                    && let Some(first) = history.iter().position(|(key, _)| *key == seen.key)
                {
                    history.remove(first);
                }
            }
        }
        Ok(Written::Done(row.clone()))
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        Ok(lock(&self.rows).values().cloned().collect())
    }
}

/// What a user of a table does, for the suite.
pub trait TableUser {
    /// Writes the whole row, which erases the reactor's part.
    fn replace(&self, key: &str, user: &UserAttributes);
    /// Sets or clears one attribute of a row that is there.
    fn set(&self, key: &str, attribute: Attribute, value: Option<&Value>);
    fn delete(&self, key: &str);
    /// How many history entries there are.
    fn entries(&self, key: &str) -> usize;
    /// What is kept of a release.
    fn release(&self, key: &str, generation: &Generation) -> Option<Release>;
    /// Whether the table lets a user write a row of this key at all. One that it refuses is
    /// nobody's row.
    fn takes(&self, key: &str) -> bool {
        let _ = key;
        true
    }
}

impl MemoryTable {
    /// Loses everything that the table holds and remembers but the history: what a user sees who
    /// finds an empty file in its place.
    pub fn lose(&self) {
        lock(&self.rows).clear();
        lock(&self.removed).clear();
    }
}

impl TableUser for MemoryTable {
    fn replace(&self, key: &str, user: &UserAttributes) {
        let key = RowKey(key.to_owned());
        let row = Row { key: key.clone(), user: user.clone(), report: Report::default(), seq: 0 };
        lock(&self.removed).remove(&key);
        lock(&self.rows).insert(key, row);
    }

    fn set(&self, key: &str, attribute: Attribute, value: Option<&Value>) {
        if let Some(row) = lock(&self.rows).get_mut(&RowKey(key.to_owned())) {
            match value {
                Some(value) => row.user.insert(attribute, value.clone()),
                None => row.user.remove(&attribute),
            };
        }
    }

    fn delete(&self, key: &str) {
        let key = RowKey(key.to_owned());
        if lock(&self.rows).remove(&key).is_some() {
            lock(&self.removed).insert(key);
        }
    }

    fn entries(&self, key: &str) -> usize {
        lock(&self.history).iter().filter(|(of, _)| of.as_str() == key).count()
    }

    fn release(&self, key: &str, generation: &Generation) -> Option<Release> {
        let history = lock(&self.history);
        let mut mine = history.iter().filter(|(of, _)| of.as_str() == key);
        let (_, entry) = mine.find(|(_, entry)| entry.generation == *generation)?;
        Some(entry.release.clone())
    }
}

/// One value of each type that a user may write.
fn values() -> Vec<Value> {
    vec![
        Value::Text("main".to_owned()),
        Value::Text("x".repeat(100_000)),
        Value::Whole(2),
        Value::Whole(-1),
        Value::Real(2.5),
    ]
}

fn map(key: &str) -> Value {
    Value::Map([(key.to_owned(), Value::Text("value".to_owned()))].into())
}

/// Of an app that every platform runs.
fn valid() -> UserAttributes {
    [
        (Attribute::Version, Value::Text("main".to_owned())),
        (Attribute::Scale, Value::Whole(1)),
        (Attribute::Repo, Value::Text("/srv/a".to_owned())),
        (Attribute::Path, Value::Text("web".to_owned())),
        (Attribute::Env, map("A")),
        (Attribute::BuildEnv, map("B")),
        (Attribute::Health, Value::Text("/health".to_owned())),
        (Attribute::HealthTimeout, Value::Whole(5)),
        (Attribute::Follow, Value::Whole(1)),
        (Attribute::Redeploy, Value::Whole(3)),
    ]
    .into()
}

fn full() -> UserAttributes {
    let mut user = valid();
    user.extend([
        (Attribute::Procfile, map("web")),
        (Attribute::Workers, Value::Map([("worker".to_owned(), Value::Whole(1))].into())),
        (Attribute::Cron, map("tidy")),
        (Attribute::Domains, Value::List(vec![Value::Text("example.com".to_owned())])),
        (Attribute::Memory, Value::Whole(256)),
        (Attribute::Protocol, Value::Text("h2c".to_owned())),
        (Attribute::Hook, Value::Text("secret".to_owned())),
    ]);
    user
}

fn deploying() -> Report {
    Report { status: Some(Status::Deploying), ..Report::default() }
}

/// Checks every sentence of `AppTable`'s contract. Panics where one does not hold.
pub async fn table_contract(table: &(impl AppTable + TableUser)) {
    claims_need_the_row_as_it_was_read(table).await;
    nothing_is_written_for_a_row_that_is_gone(table).await;
    a_row_that_is_put_again_was_not_removed(table).await;
    odd_keys_and_values_can_be_answered(table).await;
    the_history_has_each_end_once(table).await;
    a_release_is_kept_as_long_as_an_entry_speaks_of_it(table).await;
}

async fn read(table: &impl AppTable, key: &str) -> Row {
    let found = table.get(&RowKey(key.to_owned())).await.expect("the table answers");
    found.row().expect("the row is there")
}

async fn claims_need_the_row_as_it_was_read(table: &(impl AppTable + TableUser)) {
    table.replace("claims", &full());
    let seen = read(table, "claims").await;
    assert_eq!((seen.seq, &seen.user, &seen.report), (0, &full(), &Report::default()));
    let written = table.write(&seen, &deploying(), None).await.expect("the table answers");
    let Written::Done(after) = written else { panic!("nobody changed the row") };
    assert_eq!((after.seq, &after.report, &after.user), (1, &deploying(), &full()));
    assert_eq!(read(table, "claims").await, after);
    // `Seq` is no longer as it was read.
    assert_eq!(table.write(&seen, &Report::default(), None).await, Ok(Written::Lost));
    // Nor is any one attribute: changed, and cleared.
    for attribute in Attribute::ALL {
        for change in [Some(Value::Text("77".to_owned())), None] {
            table.replace("claims", &full());
            let seen = read(table, "claims").await;
            table.set("claims", attribute, change.as_ref());
            let lost = table.write(&seen, &deploying(), None).await;
            assert_eq!(lost, Ok(Written::Lost), "{attribute:?} {change:?}");
            assert_eq!(read(table, "claims").await.report, Report::default());
        }
    }
    table.delete("claims");
}

async fn nothing_is_written_for_a_row_that_is_gone(table: &(impl AppTable + TableUser)) {
    table.replace("ghost", &full());
    let seen = read(table, "ghost").await;
    table.delete("ghost");
    assert_eq!(table.write(&seen, &deploying(), None).await, Ok(Written::Lost));
    assert_eq!(
        table.get(&seen.key).await,
        Ok(Found::Removed),
        "a deleted app came back as a ghost"
    );
    let rows = table.list().await.expect("the table answers");
    assert!(rows.iter().all(|row| row.key != seen.key));
}

async fn a_row_that_is_put_again_was_not_removed(table: &(impl AppTable + TableUser)) {
    let key = RowKey("again".to_owned());
    table.replace("again", &full());
    for _ in 0..2 {
        table.delete("again");
        assert_eq!(table.get(&key).await, Ok(Found::Removed));
        table.replace("again", &full());
        assert_eq!(read(table, "again").await.user, full());
    }
    table.delete("again");
}

async fn odd_keys_and_values_can_be_answered(table: &(impl AppTable + TableUser)) {
    let long = "a".repeat(100_000);
    for key in ["", "Upper", "under_score", "sp ace", "quote'", "ünïcödé", long.as_str()] {
        if !table.takes(key) {
            let found = table.get(&RowKey(key.to_owned())).await.expect("the table answers");
            assert_eq!(found.row(), None, "{}", key.len());
            continue;
        }
        table.replace(key, &full());
        let seen = read(table, key).await;
        let written = table.write(&seen, &deploying(), None).await;
        assert!(matches!(written, Ok(Written::Done(_))), "{}", seen.key.as_str().len());
        table.delete(key);
    }
    for value in values() {
        table.replace("odd", &UserAttributes::from([(Attribute::Scale, value)]));
        let seen = read(table, "odd").await;
        assert!(matches!(table.write(&seen, &deploying(), None).await, Ok(Written::Done(_))));
        table.delete("odd");
    }
    table.replace("nothing", &UserAttributes::new());
    assert_eq!(read(table, "nothing").await.user, UserAttributes::new());
    table.delete("nothing");
}

async fn the_history_has_each_end_once(table: &(impl AppTable + TableUser)) {
    let settings = Settings::for_tests();
    table.replace("told", &valid());
    let row = read(table, "told").await;
    let Ok(app) = App::parse(&row, &settings) else { panic!("the row is valid") };
    let generation = row.generation();
    let target = Target::without_commit(&generation, NoCommit::NoSuchVersion, &settings.digest);
    let said = |status| Report {
        status: Some(status),
        target: Some(target.clone()),
        generation: Some(generation.clone()),
        ..Report::default()
    };
    let mut expected = 0;
    for (status, adds) in [
        (Status::Deploying, 0),
        (Status::Deployed, 1),
        (Status::Deployed, 0),
        (Status::Deploying, 0),
        (Status::DeployFailed, 1),
    ] {
        let row = read(table, "told").await;
        let report = said(status);
        let entry = entry(&row, &app, &report);
        assert!(matches!(table.write(&row, &report, entry.as_ref()).await, Ok(Written::Done(_))));
        expected += adds;
        assert_eq!(table.entries("told"), expected, "{status}");
    }
    // A whole-row replacement erases what was said, and the same end is not told twice.
    table.replace("told", &valid());
    let row = read(table, "told").await;
    let report = said(Status::DeployFailed);
    let again = entry(&row, &app, &report);
    assert!(again.is_some());
    assert!(matches!(table.write(&row, &report, again.as_ref()).await, Ok(Written::Done(_))));
    assert_eq!(table.entries("told"), expected);
    // A lost write tells nothing.
    table.set("told", Attribute::Scale, Some(&Value::Whole(2)));
    let deployed = said(Status::Deployed);
    let lost = table.write(&row, &deployed, entry(&row, &app, &deployed).as_ref()).await;
    assert_eq!(lost, Ok(Written::Lost));
    assert_eq!(table.entries("told"), expected);
    table.delete("told");
    assert_eq!(table.entries("told"), expected, "the history outlives the row");
}

async fn a_release_is_kept_as_long_as_an_entry_speaks_of_it(table: &(impl AppTable + TableUser)) {
    let settings = Settings::for_tests();
    table.replace("kept", &valid());
    let first = read(table, "kept").await;
    let ends = async |status: Status| {
        let row = read(table, "kept").await;
        let Ok(app) = App::parse(&row, &settings) else { panic!("the row is valid") };
        let generation = row.generation();
        let target = Target::without_commit(&generation, NoCommit::Denied, &settings.digest);
        let report = Report {
            status: Some(status),
            generation: Some(generation),
            target: Some(target),
            ..Report::default()
        };
        let entry = entry(&row, &app, &report);
        assert!(entry.is_some());
        assert!(matches!(table.write(&row, &report, entry.as_ref()).await, Ok(Written::Done(_))));
    };
    ends(Status::Deployed).await;
    let release = |row: &Row| table.release("kept", &row.generation());
    assert_eq!(release(&first), Some(Release::of(&first)));
    table.set("kept", Attribute::Env, None);
    let second = read(table, "kept").await;
    assert_eq!(release(&second), None, "no rollout of it has ended");
    for count in 1..=KEPT_ENTRIES {
        assert_eq!(release(&first), Some(Release::of(&first)), "after {count}");
        ends(if count % 2 == 0 { Status::Deployed } else { Status::DeployFailed }).await;
    }
    assert_eq!((release(&first), release(&second)), (None, Some(Release::of(&second))));
    assert_eq!(table.entries("kept"), KEPT_ENTRIES);
    table.delete("kept");
    assert_eq!(release(&second), Some(Release::of(&second)), "it outlives the row");
}
