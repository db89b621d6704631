//! The table in memory passes the suite that the real ones pass; and the sweeps on it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rowhouse_core::testing::{
    MemoryPlatform, MemoryTable, TableUser as _, platform_contract, run_at_once, table_contract,
};
use rowhouse_core::{
    Again, AppName, AppTable, Attempt, Attribute, Base, Because, Commit, Deployment, Entry, Found,
    Generation, NoCommit, Observed, Operation, Outcome, Phase, Platform, Report, Repository,
    Resolution, Row, RowKey, Settings, SettingsDigest, Source, Stack, Status, Target, Unreachable,
    UserAttributes, Value, Version, Waking, Written, full_sweep, reconcile, short_sweep,
};

#[test]
fn the_table_in_memory_keeps_the_contract() {
    run_at_once(table_contract(&MemoryTable::default()));
}

#[test]
fn the_platform_in_memory_keeps_the_contract() {
    let platform = MemoryPlatform::default();
    run_at_once(platform_contract(&platform, &platform));
}

/// A platform that has stacks, and is asked for nothing but them.
struct Shelf {
    stacks: Mutex<Vec<(AppName, Observed)>>,
}

impl Platform for Shelf {
    fn settings(&self) -> Settings {
        Settings::for_tests()
    }

    async fn observe(&self, _: &AppName) -> Result<Observed, Unreachable> {
        Ok(Observed::Missing)
    }

    async fn resolve(&self, _: &Repository, _: &Version) -> Resolution {
        Resolution::Unreachable { reason: "nobody asks".to_owned() }
    }

    async fn perform(&self, _: &AppName, _: Operation, _: Option<Base>) -> Outcome {
        panic!("a sweep never performs anything")
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        Ok(self.stacks.lock().unwrap().clone())
    }
}

fn wish() -> UserAttributes {
    [(Attribute::Version, Value::Text("main".into())), (Attribute::Scale, Value::Whole(1))].into()
}

fn stack(settings: &str, phase: Phase, tried_now: bool) -> Observed {
    let commit = Commit::parse(&"a".repeat(40)).unwrap();
    let generation = Generation::of(&wish());
    let old = Settings { digest: SettingsDigest::of(settings), ..Settings::for_tests() };
    let running = Deployment {
        target: Target::of(&generation, &commit, &old.digest),
        generation: generation.clone(),
        source: Source::stored("v1-x"),
        commit: commit.clone(),
        settings: old.digest.clone(),
    };
    let tried = tried_now.then(|| Attempt {
        target: Target::of(&generation, &commit, &Settings::for_tests().digest),
        commit,
        reason: "it failed".to_owned(),
    });
    Observed::Ours(Box::new(Stack {
        base: Base::of("s", "1"),
        phase,
        running: Some(running),
        tried,
        url: None,
        healthy: 1,
        trouble: None,
    }))
}

fn house(rows: &[&str], stacks: &[(&str, Observed)]) -> (MemoryTable, Shelf) {
    let table = MemoryTable::default();
    for name in rows {
        table.replace(name, &wish());
    }
    let stacks = stacks
        .iter()
        .map(|(name, observed)| (AppName::parse(name).unwrap(), observed.clone()))
        .collect();
    (table, Shelf { stacks: Mutex::new(stacks) })
}

fn names_of(keys: &std::collections::BTreeSet<RowKey>) -> Vec<&str> {
    keys.iter().map(RowKey::as_str).collect()
}

#[test]
fn a_table_that_was_lost_costs_no_stack() {
    for names in [&["a"] as &[&str], &["a", "b"]] {
        let shelf = |phase: &Phase| -> Vec<(&str, Observed)> {
            names.iter().map(|name| (*name, stack("test", phase.clone(), false))).collect()
        };
        let (table, platform) = house(&[], &shelf(&Phase::Up));
        let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
        assert!(sweep.ring.is_empty() && sweep.catch_up.is_empty() && sweep.left.is_empty());
        assert_eq!(sweep.orphans.len(), names.len());
        let (table, platform) = house(&[], &shelf(&Phase::Deleting));
        assert!(run_at_once(short_sweep(&table, &platform)).unwrap().ring.is_empty());
    }
}

/// The stacks of rows that a user has removed.
fn removed(names: &[String], kept: &[&str]) -> (MemoryTable, Shelf) {
    let stacks: Vec<(&str, Observed)> =
        names.iter().map(|name| (name.as_str(), stack("test", Phase::Up, false))).collect();
    let (table, platform) = house(kept, &stacks);
    for name in names {
        if !kept.contains(&name.as_str()) {
            table.replace(name, &wish());
            table.delete(name);
        }
    }
    (table, platform)
}

#[test]
fn what_was_removed_goes_with_the_sweeps_though_all_of_it_is_too_much_for_one() {
    // Somebody has protected three of them; the last row of the table went as well.
    let all: Vec<String> = (0..8).map(|number| format!("app-{number}")).collect();
    let is_protected = |name: &str| ["app-0", "app-1", "app-5"].contains(&name);
    let (table, platform) = removed(&all, &[]);
    for turn in 0..40 {
        let before = platform.stacks.lock().unwrap().len();
        let sweep = run_at_once(full_sweep(&table, &platform, turn)).unwrap();
        assert_eq!(sweep.ring.len(), 1, "a fifth of {before} at most");
        assert_eq!(sweep.left.len(), before - 1, "what it leaves is named");
        let mut stacks = platform.stacks.lock().unwrap();
        stacks.retain(|(name, _)| is_protected(name.as_str()) || !sweep.ring.contains(&name.key()));
    }
    let stacks = platform.stacks.lock().unwrap();
    assert_eq!(stacks.len(), 3, "{stacks:?}");
}

#[test]
fn what_is_going_already_or_is_not_ours_takes_nobodys_turn() {
    let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    let (table, platform) = removed(&names, &[]);
    let failed = Phase::DeletionFailed { failures: 3, left: "a thing".to_owned() };
    let mut stacks = platform.stacks.lock().unwrap();
    stacks[0].1 = stack("test", Phase::Deleting, false);
    stacks[1].1 = stack("test", failed, false);
    let foreign = Observed::Foreign("somebody else's".to_owned());
    stacks.push((AppName::parse("d").unwrap(), foreign));
    drop(stacks);
    let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
    assert_eq!(names_of(&sweep.ring), ["a", "b", "c"]);
    assert!(sweep.left.is_empty() && sweep.orphans.is_empty());
}

/// A repository that is closed, or open again, of an app that nothing runs yet.
struct Gate {
    is_open: AtomicBool,
    asked: AtomicUsize,
}

impl Platform for Gate {
    fn settings(&self) -> Settings {
        Settings::for_tests()
    }

    async fn observe(&self, _: &AppName) -> Result<Observed, Unreachable> {
        Ok(Observed::Missing)
    }

    async fn resolve(&self, _: &Repository, _: &Version) -> Resolution {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_open.load(Ordering::Relaxed) {
            Resolution::Known(Commit::parse(&"a".repeat(40)).unwrap())
        } else {
            Resolution::Denied { reason: "it is closed".to_owned() }
        }
    }

    async fn perform(&self, _: &AppName, _: Operation, _: Option<Base>) -> Outcome {
        Outcome::Started
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        Ok(Vec::new())
    }
}

#[test]
fn a_repository_that_denies_us_is_asked_again_by_each_full_sweep_alone() {
    let table = MemoryTable::default();
    table.replace("a", &wish());
    let gate = Gate { is_open: AtomicBool::new(false), asked: AtomicUsize::new(0) };
    let key = RowKey("a".to_owned());
    let look = |waking| run_at_once(reconcile(&key, waking, &table, &gate)).unwrap().again;
    let row = || run_at_once(table.get(&key)).unwrap().row().unwrap();
    assert_eq!(look(Waking::Change), Again::No);
    let said = row();
    assert_eq!(said.report.status, Some(Status::DeployFailed));
    assert_eq!(said.report.reason.as_deref(), Some("it is closed"));
    assert_eq!(said.report.no_commit(&gate.settings().digest), Some(NoCommit::Denied));
    // Nobody else's doorbell asks once more, and the short sweep has no business with it.
    assert_eq!((look(Waking::Change), look(Waking::CatchUp)), (Again::No, Again::No));
    assert!(run_at_once(short_sweep(&table, &gate)).unwrap().ring.is_empty());
    assert_eq!(gate.asked.load(Ordering::Relaxed), 1);
    let sweep = run_at_once(full_sweep(&table, &gate, 0)).unwrap();
    assert_eq!((names_of(&sweep.ask_again), names_of(&sweep.ring)), (vec!["a"], vec![]));
    assert_eq!(look(Waking::AskAgain), Again::No);
    assert_eq!(row(), said, "what is as it was is not written again");
    gate.is_open.store(true, Ordering::Relaxed);
    assert_eq!(look(Waking::AskAgain), Again::No);
    assert_eq!(row().report.status, Some(Status::Deploying), "it goes out by itself");
}

#[test]
fn a_sweep_deletes_at_most_a_fifth_of_the_stacks_and_names_the_others() {
    let all: Vec<String> = (0..10).map(|number| format!("app-{number}")).collect();
    for (gone, left) in [(0, 0), (1, 0), (2, 0), (3, 1), (9, 7), (10, 8)] {
        let kept: Vec<&str> = all.iter().skip(gone).map(String::as_str).collect();
        let (table, platform) = removed(&all, &kept);
        let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
        assert_eq!(sweep.left.len(), left, "{gone} removed");
        assert_eq!(sweep.ring.len(), 10 - left, "{gone} removed");
    }
    let (table, platform) = house(&["a", "b"], &[("b", stack("test", Phase::Up, false))]);
    table.delete("b");
    let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
    assert_eq!(names_of(&sweep.ring), ["a", "b"], "one is always allowed");
}

#[test]
fn a_stack_whose_row_nobody_removed_is_named_and_never_rung() {
    let stacks = ["a", "b", "c"].map(|name| (name, stack("test", Phase::Up, false)));
    let (table, platform) = house(&["a", "b", "c"], &stacks);
    table.lose();
    table.replace("a", &wish());
    table.delete("a");
    table.replace("b", &wish());
    let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
    assert_eq!(names_of(&sweep.ring), ["a", "b"]);
    assert_eq!(sweep.orphans, [AppName::parse("c").unwrap()]);
    let busy = ["a", "b", "c"].map(|name| (name, stack("test", Phase::Deleting, false)));
    let (_, platform) = house(&[], &busy);
    assert_eq!(names_of(&run_at_once(short_sweep(&table, &platform)).unwrap().ring), ["a", "b"]);
}

/// A table that is lost between two reads of a look.
struct Lost {
    table: MemoryTable,
    reads_left: AtomicUsize,
}

impl AppTable for Lost {
    async fn get(&self, key: &RowKey) -> Result<Found, Unreachable> {
        if self.reads_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.table.lose();
        }
        self.table.get(key).await
    }

    async fn write(&self, _: &Row, _: &Report, _: Option<&Entry>) -> Result<Written, Unreachable> {
        panic!("there is no row")
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        self.table.list().await
    }
}

#[test]
fn a_table_that_is_lost_in_the_midst_of_a_look_costs_no_stack() {
    let platform = MemoryPlatform::default();
    let table = Lost { table: MemoryTable::default(), reads_left: AtomicUsize::new(usize::MAX) };
    let key = RowKey("shop".to_owned());
    let version = Value::Text("a".repeat(40));
    let wish = [(Attribute::Version, version), (Attribute::Scale, Value::Whole(1))].into();
    table.table.replace("shop", &wish);
    let _ = run_at_once(reconcile(&key, Waking::Change, &table.table, &platform)).unwrap();
    platform.step();
    table.table.delete("shop");
    table.reads_left.store(1, Ordering::Relaxed);
    let looked = run_at_once(reconcile(&key, Waking::Change, &table, &platform)).unwrap();
    assert_eq!(looked.again, Again::Now);
    let again = run_at_once(reconcile(&key, Waking::Change, &table.table, &platform)).unwrap();
    assert_eq!(again.decision.unwrap().because, Because::Orphan);
    platform.step();
    let name = AppName::parse("shop").unwrap();
    assert!(run_at_once(platform.observe(&name)).unwrap().running().is_some());
}

#[test]
fn settings_roll_out_two_at_a_time_and_stop_at_the_first_failure() {
    let lagging = ["a", "b", "c", "d"].map(|name| (name, stack("older", Phase::Up, false)));
    let (table, platform) = house(&["a", "b", "c", "d"], &lagging);
    let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
    assert_eq!(names_of(&sweep.catch_up), ["a", "b"]);
    assert_eq!(names_of(&sweep.ring), ["c", "d"]);
    let mut failed = lagging.clone();
    failed[3].1 = stack("older", Phase::Up, true);
    let (table, platform) = house(&["a", "b", "c", "d"], &failed);
    let sweep = run_at_once(full_sweep(&table, &platform, 0)).unwrap();
    assert!(sweep.catch_up.is_empty());
    assert_eq!(sweep.ring.len(), 4);
}

#[test]
fn the_full_sweep_rings_what_its_lists_do_not_show_settled_and_nothing_else() {
    let (table, platform) = (MemoryTable::default(), MemoryPlatform::default());
    let version = |digit: &str| Value::Text(digit.repeat(40));
    let wish = |digit: &str| {
        UserAttributes::from([
            (Attribute::Version, version(digit)),
            (Attribute::Scale, Value::Whole(1)),
        ])
    };
    for (name, digit) in [("broken", "0"), ("changed", "a"), ("quiet", "a"), ("Bad_name", "a")] {
        table.replace(name, &wish(digit));
    }
    let sweep = || run_at_once(full_sweep(&table, &platform, 0)).unwrap().ring;
    assert_eq!(names_of(&sweep()), ["Bad_name", "broken", "changed", "quiet"]);
    for _ in 0..3 {
        for key in sweep() {
            let _ = run_at_once(reconcile(&key, Waking::Change, &table, &platform)).unwrap();
        }
        platform.step();
    }
    // Each has come to rest, well or not, and its row says so.
    assert_eq!(names_of(&sweep()), [""; 0]);

    table.set("changed", Attribute::Scale, Some(&Value::Whole(2)));
    table.set("quiet", Attribute::Follow, Some(&Value::Boolean(true)));
    table.replace("broken", &wish("0"));
    table.replace("new", &wish("a"));
    assert_eq!(names_of(&sweep()), ["broken", "changed", "new", "quiet"]);
    table.delete("changed");
    assert!(names_of(&sweep()).contains(&"changed"), "it was removed");
}

#[test]
fn the_short_sweep_rings_what_is_restless_and_nothing_else() {
    let (table, platform) = house(
        &["busy", "follows", "new"],
        &[
            ("busy", stack("test", Phase::Deleting, false)),
            ("quiet", stack("test", Phase::Up, false)),
        ],
    );
    let sweep = run_at_once(short_sweep(&table, &platform)).unwrap();
    assert_eq!(names_of(&sweep.ring), ["busy", "follows", "new"]);
    assert!(sweep.left.is_empty() && sweep.orphans.is_empty());
}

#[test]
fn a_forged_report_is_found_by_the_next_short_sweep_however_well_it_is_forged() {
    let (table, platform) = (MemoryTable::default(), MemoryPlatform::default());
    let version = Value::Text("a".repeat(40));
    table.replace(
        "shop",
        &UserAttributes::from([(Attribute::Version, version), (Attribute::Scale, Value::Whole(1))]),
    );
    let key = RowKey("shop".to_owned());
    let row = || run_at_once(table.get(&key)).unwrap().row().unwrap();
    let sweep = || run_at_once(short_sweep(&table, &platform)).unwrap().ring;
    let look = || drop(run_at_once(reconcile(&key, Waking::Change, &table, &platform)).unwrap());
    for _ in 0..3 {
        look();
        platform.step();
    }
    let truth = row().report;
    assert_eq!((truth.status, names_of(&sweep())), (Some(Status::Deployed), vec![]));
    let forgeries: [fn(&mut Report); 5] = [
        |report| report.status = Some(Status::DeployFailed),
        |report| report.reason = Some("call this number".to_owned()),
        |report| report.revision = Commit::parse(&"b".repeat(40)),
        |report| report.url = Some("https://elsewhere.example.com".to_owned()),
        |report| report.healthy = 7,
    ];
    for forge in forgeries {
        let mut forged = truth.clone();
        forge(&mut forged);
        // As the reactor writes: `Seq` is one more.
        let _ = run_at_once(table.write(&row(), &forged, None)).unwrap();
        assert_eq!(names_of(&sweep()), ["shop"], "{forged:?}");
        look();
        assert_eq!(row().report, truth);
        assert_eq!(names_of(&sweep()), [""; 0]);
    }
}

/// A platform that takes nothing, and counts how often it was asked to.
#[derive(Default)]
struct Refusing {
    asked: AtomicUsize,
}

impl Platform for Refusing {
    fn settings(&self) -> Settings {
        Settings::for_tests()
    }

    async fn observe(&self, _: &AppName) -> Result<Observed, Unreachable> {
        Ok(Observed::Missing)
    }

    async fn resolve(&self, _: &Repository, _: &Version) -> Resolution {
        Resolution::Known(Commit::parse(&"a".repeat(40)).unwrap())
    }

    async fn perform(&self, _: &AppName, _: Operation, _: Option<Base>) -> Outcome {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Outcome::Refused { reason: "the quota is used up".to_owned() }
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        Ok(Vec::new())
    }
}

#[test]
fn a_refused_operation_is_told_in_the_row_and_asked_for_once() {
    let (table, _) = house(&["shop"], &[]);
    let (platform, key) = (Refusing::default(), RowKey("shop".to_owned()));
    for _ in 0..3 {
        let _ = run_at_once(reconcile(&key, Waking::Change, &table, &platform)).unwrap();
        let row = run_at_once(table.get(&key)).unwrap().row().unwrap();
        assert_eq!(row.report.status, Some(Status::DeployFailed));
        assert_eq!(row.report.reason.as_deref(), Some("the quota is used up"));
    }
    assert_eq!(platform.asked.load(Ordering::Relaxed), 1);
}
