//! A journal that is damaged costs nobody else anything, and whose record it was as little as can
//! be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::process::Command;

use house::{House, wait_for};

/// What may stand in place of a record.
const DAMAGE: [&str; 5] =
    ["''", "'{}'", "x'00ff'", "substr(record, 1, 100)", "replace(record, '\"running\"', '\"x\"')"];

fn journal(house: &House, statement: &str) {
    let file = house.data().join("state/journal.sqlite");
    let done = Command::new("sqlite3").arg(file).arg(statement).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A platform that has ended, and two apps of it that run.
fn with_two_apps() -> (House, Vec<u32>) {
    let mut house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    for name in ["shop", "blog"] {
        house.put(name, "v1", 2, &repository);
        house.deployed(name, &commit, 2);
    }
    let pids = house.pids("shop");
    house.end_up("-TERM");
    (house, pids)
}

#[test]
fn a_damaged_record_is_taken_from_its_copy_and_the_app_never_knows() {
    let (mut house, pids) = with_two_apps();
    for damage in DAMAGE {
        journal(&house, &format!("update stacks set record = {damage} where name = 'shop'"));
        let doctor = house.rowhouse(&["doctor"]);
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(said.contains("the record of `shop` is damaged"), "{said}");
        house.up();
        wait_for("the app to answer", || house.page("shop"));
        assert_eq!(house.pids("shop"), pids, "{damage}");
        assert!(house.data().join("state/damaged-shop.json").exists());
        let events = String::from_utf8(house.rowhouse(&["events", "shop"]).stdout).unwrap();
        assert!(events.contains("its record was damaged, and was taken from its copy"), "{events}");
        house.end_up("-TERM");
    }
    let doctor = house.rowhouse(&["doctor"]);
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("every record can be read"));
}

#[test]
fn an_app_whose_record_and_copy_are_damaged_costs_no_other_and_comes_back_by_its_users_word() {
    let (mut house, pids) = with_two_apps();
    for table in ["stacks", "stacks_copies"] {
        journal(&house, &format!("update {table} set record = 'damaged' where name = 'shop'"));
    }
    house.up();
    wait_for("the other app to answer", || house.page("blog"));
    let row = house.failed("shop", "record of `shop` is damaged, and so is its copy");
    assert!(row.reason.contains("`rowhouse rm shop` ends it"), "{}", row.reason);
    // Nothing that runs is ended by a start, and nothing that it is made from goes.
    assert_eq!(house.pids("shop"), pids);
    house.end_up("-TERM");
    house.up();
    house.failed("shop", "is damaged");
    assert_eq!(house.pids("shop"), pids);
    assert!(house.rowhouse(&["rm", "shop"]).status.success());
    wait_for("its processes to be gone", || {
        pids.iter().all(|pid| !house::lives(*pid)).then_some(())
    });
    let repository = house::Repository { path: house.room().join("app") };
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &repository.git(&["rev-parse", "v1"]), 1);
    assert_eq!(fs::read(house.data().join("state/damaged-shop.json")).unwrap(), b"damaged");
}
