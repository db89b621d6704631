//! Removed is not absent: a lost table costs no app, and what a user removed goes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;

use house::{House, wait_for};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// A platform with three apps that run, and their processes.
fn three_apps() -> (House, String, Vec<Vec<u32>>) {
    let house = House::start();
    let repository = house.repository("app");
    let revision = repository.web("v1");
    for name in NAMES {
        house.put(name, "v1", 1, &repository);
    }
    for name in NAMES {
        house.deployed(name, &revision, 1);
    }
    let pids = all_pids(&house);
    (house, revision, pids)
}

fn all_pids(house: &House) -> Vec<Vec<u32>> {
    NAMES.iter().map(|name| house.pids(name)).collect()
}

/// The table's file with what belongs to it.
fn remove_table(house: &House) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(house.data().join(format!("rowhouse.db{end}")));
    }
}

fn backup(house: &House, name: &str) {
    house.sql(&format!(".backup '{}'", house.room().join(name).display()));
}

fn restore(house: &House, name: &str) {
    remove_table(house);
    fs::copy(house.room().join(name), house.table()).unwrap();
}

fn put_again(house: &House, name: &str) {
    let repository = house::Repository { path: house.room().join("app") };
    house.put(name, "v1", 1, &repository);
}

fn events(house: &House, name: &str) -> String {
    text(&house.rowhouse(&["events", name]))
}

fn text(output: &std::process::Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    of(&output.stdout) + &of(&output.stderr)
}

/// The names that `ls --json` calls orphans.
fn orphans(house: &House) -> Vec<String> {
    let output = house.rowhouse(&["ls", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = said["Orphans"].as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Everybody who asks is told which apps run on without a row.
fn are_named(house: &House, names: &[&str]) {
    assert_eq!(orphans(house), names);
    let listed = text(&house.rowhouse(&["ls"]));
    let examined = text(&house.rowhouse(&["doctor"]));
    for name in names {
        assert!(house.log().contains(&format!("`{name}` has no row")), "{}", house.log());
        assert!(listed.contains(&format!("`{name}` has no row")), "{listed}");
        assert!(examined.contains(name), "{examined}");
        wait_for("the event", || events(house, name).contains(" orphan ").then_some(()));
    }
}

/// After a lost table nothing has been deleted, nor is it: the apps are the same processes after
/// every name was looked at.
fn go_on(house: &House, pids: &[Vec<u32>]) {
    are_named(house, &NAMES);
    for name in NAMES {
        // A doorbell of that name, and the answer to a later one: it was looked at.
        house.sql(&format!("insert into changes (name) values ('{name}')"));
    }
    let repository = house::Repository { path: house.room().join("app") };
    house.put("marker", "no-such-version", 0, &repository);
    house.failed("marker", "no-such-version");
    assert_eq!(all_pids(house), pids);
    for name in NAMES {
        assert!(house.page(name).is_some());
        assert!(!events(house, name).contains("deleting"), "{}", events(house, name));
    }
}

#[test]
fn a_table_that_was_removed_while_no_platform_ran_costs_no_app() {
    let (mut house, _, pids) = three_apps();
    house.end_up("-TERM");
    remove_table(&house);
    house.up();
    go_on(&house, &pids);
    // Nor does it at the next start.
    house.end_up("-9");
    house.up();
    assert_eq!(orphans(&house), NAMES);
    assert_eq!(all_pids(&house), pids);
}

#[test]
fn a_table_that_was_emptied_while_no_platform_ran_costs_no_app() {
    let (mut house, _, pids) = three_apps();
    house.end_up("-TERM");
    remove_table(&house);
    fs::write(house.table(), "").unwrap();
    // Whoever looks first makes the table anew, and is told all the same.
    assert_eq!(orphans(&house), NAMES);
    house.up();
    go_on(&house, &pids);
}

#[test]
fn an_older_backup_deletes_nothing_that_was_put_or_put_again_since() {
    let mut house = House::start();
    let repository = house.repository("app");
    let revision = repository.web("v1");
    house.put("alpha", "v1", 1, &repository);
    house.put("beta", "v1", 1, &repository);
    house.deployed("alpha", &revision, 1);
    house.deployed("beta", &revision, 1);
    house.sql("delete from apps where name = 'alpha'");
    wait_for("its end", || house.pids("alpha").is_empty().then_some(()));
    // In the backup, alpha was removed and gamma never was; beta's row comes back.
    backup(&house, "backup.db");
    for name in ["alpha", "gamma"] {
        house.put(name, "v1", 1, &repository);
        house.deployed(name, &revision, 1);
    }
    let pids = all_pids(&house);
    house.end_up("-TERM");
    restore(&house, "backup.db");
    house.up();
    are_named(&house, &["alpha", "gamma"]);
    house.deployed("beta", &revision, 1);
    // A row that comes again for an orphan adopts what runs.
    put_again(&house, "alpha");
    house.deployed("alpha", &revision, 1);
    assert_eq!(orphans(&house), ["gamma"]);
    assert_eq!(all_pids(&house), pids, "nothing was restarted");
    // From here on, the table is the folder's own again.
    house.end_up("-TERM");
    house.sql("delete from apps where name = 'alpha'");
    house.up();
    wait_for("its end", || house.pids("alpha").is_empty().then_some(()));
    assert_eq!(orphans(&house), ["gamma"]);
}

#[test]
fn rows_that_are_deleted_by_sql_while_no_platform_runs_are_gone_with_the_next_one() {
    let (mut house, _, _) = three_apps();
    house.end_up("-TERM");
    house.sql("delete from apps");
    // Also where nothing rings for them any more.
    house.sql("delete from changes");
    assert_eq!(orphans(&house), [""; 0]);
    house.up();
    for name in NAMES {
        wait_for("its end", || house.pids(name).is_empty().then_some(()));
    }
    wait_for("the last process", || house.processes().is_empty().then_some(()));
}

#[test]
fn an_orphan_ends_by_rm_whether_a_platform_runs_or_not() {
    let (mut house, _, pids) = three_apps();
    house.end_up("-TERM");
    remove_table(&house);
    house.up();
    let output = house.rowhouse(&["rm", "alpha"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(house.pids("alpha"), [0; 0]);
    assert_eq!(orphans(&house), ["beta", "gamma"]);
    // The table is lost once more, and the next word comes before any platform has seen it.
    house.end_up("-TERM");
    remove_table(&house);
    let output = house.rowhouse(&["rm", "beta"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(orphans(&house), ["gamma"]);
    house.up();
    wait_for("its end", || house.pids("beta").is_empty().then_some(()));
    assert_eq!(house.pids("gamma"), pids[2]);
    assert_eq!(orphans(&house), ["gamma"]);
}
