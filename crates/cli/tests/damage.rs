//! A journal that is damaged costs nobody else anything, and whose record it was as little as can
//! be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
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

fn damage_both_records_of_shop(house: &House) {
    for table in ["stacks", "stacks_copies"] {
        journal(house, &format!("update {table} set record = 'damaged' where name = 'shop'"));
    }
}

fn file_of(house: &House) -> PathBuf {
    house.data().join("state/journal.sqlite")
}

fn ask(house: &House, question: &str) -> String {
    let asked = Command::new("sqlite3").arg(file_of(house)).arg(question).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).unwrap().trim().to_owned()
}

/// Puts the log into the journal's file, and writes noise over the page with this number.
fn damage_page(house: &House, number: u64) {
    ask(house, "pragma wal_checkpoint(truncate)");
    let size: u64 = ask(house, "pragma page_size").parse().unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(file_of(house)).unwrap();
    file.seek(SeekFrom::Start((number - 1) * size)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(size).unwrap()]).unwrap();
}

/// The first page of a table or of an index.
fn root_page(house: &House, name: &str) -> u64 {
    ask(house, &format!("select rootpage from sqlite_master where name = '{name}'"))
        .parse()
        .unwrap()
}

/// The journals that were damaged, and are kept.
fn kept(house: &House) -> Vec<PathBuf> {
    let state = fs::read_dir(house.data().join("state")).unwrap().flatten();
    let is_kept = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("journal-damaged-") && name.ends_with(".sqlite")
    };
    state.map(|entry| entry.path()).filter(is_kept).collect()
}

fn events(house: &House, arguments: &[&str]) -> String {
    let output = house.rowhouse(&[&["events"], arguments].concat());
    String::from_utf8(output.stdout).unwrap()
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
        let events = String::from_utf8(house.rowhouse(&["events", "shop"]).stdout).unwrap();
        assert!(events.contains("its record was damaged, and was taken from its copy"), "{events}");
        house.end_up("-TERM");
    }
    // One damage hides no other; nothing is nothing to be kept.
    let kept = |end: &str| house.data().join(format!("state/damaged-shop{end}.json"));
    assert_eq!(fs::read(kept("")).unwrap(), b"{}");
    assert_eq!(fs::read(kept(".2")).unwrap(), b"\x00\xff");
    assert!(kept(".4").exists() && !kept(".5").exists());
    let doctor = house.rowhouse(&["doctor"]);
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("every record can be read"));
}

#[test]
fn an_app_whose_record_and_copy_are_damaged_costs_no_other_and_comes_back_by_its_users_word() {
    let (mut house, pids) = with_two_apps();
    damage_both_records_of_shop(&house);
    house.up();
    wait_for("the other app to answer", || house.page("blog"));
    let row = house.failed("shop", "record of `shop` is damaged or lost, and so is its copy");
    assert!(row.reason.contains("`rowhouse rm shop` ends it"), "{}", row.reason);
    // Nothing that runs is ended by a start, and nothing that it is made from goes.
    assert_eq!(house.pids("shop"), pids);
    house.end_up("-TERM");
    house.up();
    house.failed("shop", "is damaged");
    assert_eq!(house.pids("shop"), pids);
    // It is told once, not at each start.
    assert_eq!(events(&house, &["shop"]).matches("is damaged or lost").count(), 1);
    assert!(house.rowhouse(&["rm", "shop"]).status.success());
    wait_for("its processes to be gone", || {
        pids.iter().all(|pid| !house::lives(*pid)).then_some(())
    });
    let repository = house::Repository { path: house.room().join("app") };
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &repository.git(&["rev-parse", "v1"]), 1);
    assert_eq!(fs::read(house.data().join("state/damaged-shop.json")).unwrap(), b"damaged");
    assert!(!house.data().join("state/damaged-shop.2.json").exists());
}

/// What may stand in place of a name.
const NAMES: [&str; 5] = ["'shoq'", "x'ff00'", "''", "'no name'", "'SHOP'"];

#[test]
fn a_record_beside_a_damaged_name_is_known_by_what_it_says_of_itself() {
    let (mut house, pids) = with_two_apps();
    for name in NAMES {
        // One of the two, and both of them.
        for tables in [&["stacks"] as &[&str], &["stacks_copies"], &["stacks", "stacks_copies"]] {
            for table in tables {
                journal(&house, &format!("update {table} set name = {name} where name = 'shop'"));
            }
            house.up();
            wait_for("the app to answer", || house.page("shop"));
            assert_eq!(house.pids("shop"), pids, "{name} in {tables:?}");
            house.end_up("-TERM");
            assert_eq!(ask(&house, "select group_concat(name) from stacks"), "blog,shop");
            assert_eq!(ask(&house, "select group_concat(name) from stacks_copies"), "blog,shop");
        }
    }
}

#[test]
fn what_runs_is_held_where_neither_its_name_nor_its_record_can_be_read() {
    for name in NAMES {
        let (mut house, pids) = with_two_apps();
        for table in ["stacks", "stacks_copies"] {
            let change = format!("update {table} set name = {name}, record = 'noise'");
            journal(&house, &format!("{change} where name = 'shop'"));
        }
        house.up();
        wait_for("the other app to answer", || house.page("blog"));
        // Also when what was there is kept and gone.
        for _ in 0..2 {
            house.failed("shop", "record of `shop` is damaged or lost");
            assert_eq!(house.pids("shop"), pids, "{name}");
            house.end_up("-TERM");
            house.up();
        }
        assert_eq!(events(&house, &["shop"]).matches("is damaged or lost").count(), 1);
        let doctor = String::from_utf8(house.rowhouse(&["doctor"]).stdout).unwrap();
        assert!(doctor.contains("`rowhouse rm shop` ends it"), "{doctor}");
    }
}

#[test]
fn an_app_that_is_held_is_handed_over_as_one_that_is_held() {
    let (mut house, pids) = with_two_apps();
    damage_both_records_of_shop(&house);
    house.up();
    house.failed("shop", "is damaged");
    for _ in 0..2 {
        let before = house.platform_pid();
        house::kill("-HUP", house.up_pid());
        wait_for("the successor", || (house.platform_pid() != before).then_some(()));
    }
    assert!(!house.log().contains("no new process takes over"), "{}", house.log());
    wait_for("the other app to answer", || house.page("blog"));
    house.set("shop", "scale = 1");
    house.failed("shop", "is damaged");
    assert_eq!(house.pids("shop"), pids);
    assert_eq!(events(&house, &["shop"]).matches("is damaged or lost").count(), 1);
    assert!(house.rowhouse(&["rm", "shop"]).status.success());
    wait_for("its processes to be gone", || {
        pids.iter().all(|pid| !house::lives(*pid)).then_some(())
    });
}

#[test]
fn a_damaged_page_of_the_journal_costs_no_app_whose_record_or_copy_is_elsewhere() {
    let (mut house, pids) = with_two_apps();
    let tables = ["stacks", "sqlite_autoindex_stacks_1", "stacks_copies", "events", "marks"];
    for (number, table) in tables.into_iter().enumerate() {
        let page = root_page(&house, table);
        damage_page(&house, page);
        let damaged = fs::read(file_of(&house)).unwrap();
        let doctor = String::from_utf8(house.rowhouse(&["doctor"]).stdout).unwrap();
        assert!(doctor.contains("its file is damaged"), "{table}: {doctor}");
        house.up();
        wait_for("both apps to answer", || house.page("shop").and(house.page("blog")));
        assert_eq!(house.pids("shop"), pids, "{table}");
        let kept = kept(&house);
        assert_eq!(kept.len(), number + 1, "{table}: {kept:?}");
        let told = kept.iter().filter(|kept| house.log().contains(&kept.display().to_string()));
        assert_eq!(told.count(), number + 1, "{}", house.log());
        assert!(kept.iter().any(|kept| fs::read(kept).unwrap() == damaged), "{table}");
        assert!(events(&house, &[]).contains("journal_damaged"), "{table}");
        house.end_up("-TERM");
        assert_eq!(ask(&house, "pragma integrity_check"), "ok");
        assert_eq!(ask(&house, "select group_concat(name) from stacks"), "blog,shop");
    }
    let doctor = String::from_utf8(house.rowhouse(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("every record can be read"), "{doctor}");
}

/// What may become of the journal's file, so that nothing of it can be read.
const LOSS: [fn(&Path); 4] = [
    |file| fs::remove_file(file).unwrap(),
    |file| fs::write(file, "").unwrap(),
    |file| fs::write(file, vec![0xa5; 50_000]).unwrap(),
    |file| {
        let whole = fs::read(file).unwrap();
        fs::write(file, &whole[..5000]).unwrap();
    },
];

#[test]
fn a_journal_that_is_lost_ends_nothing_that_runs_and_every_app_comes_back_by_its_users_word() {
    for lose in LOSS {
        let (mut house, pids) = with_two_apps();
        ask(&house, "pragma wal_checkpoint(truncate)");
        lose(&file_of(&house));
        house.up();
        // Also at the next start but one, when the new journal is whole.
        for _ in 0..2 {
            house.failed("shop", "record of `shop` is damaged or lost");
            house.failed("blog", "record of `blog` is damaged or lost");
            assert_eq!(house.pids("shop"), pids);
            house.end_up("-TERM");
            house.up();
        }
        assert!(house.rowhouse(&["rm", "shop"]).status.success());
        wait_for("its processes to be gone", || {
            pids.iter().all(|pid| !house::lives(*pid)).then_some(())
        });
        let repository = house::Repository { path: house.room().join("app") };
        house.put("shop", "v1", 1, &repository);
        house.deployed("shop", &repository.git(&["rev-parse", "v1"]), 1);
        assert_eq!(house.pids("blog").len(), 2);
    }
}

#[test]
fn an_interrupted_change_of_journals_is_brought_to_its_end_by_the_next_platform() {
    let (mut house, pids) = with_two_apps();
    ask(&house, "pragma wal_checkpoint(truncate)");
    // As where a platform was killed before the new one was in its place.
    fs::copy(file_of(&house), house.data().join("state/journal.salvaged")).unwrap();
    fs::write(file_of(&house), "").unwrap();
    house.up();
    wait_for("the app to answer", || house.page("shop"));
    assert_eq!(house.pids("shop"), pids);
    assert!(!house.data().join("state/journal.salvaged").exists());
    assert_eq!(kept(&house).len(), 1);
}

#[test]
fn a_reader_of_the_damaged_journal_takes_nothing_of_the_new_one_with_it() {
    let (mut house, _) = with_two_apps();
    let mut reader = Command::new("sqlite3")
        .arg(file_of(&house))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = reader.stdin.take().unwrap();
    writeln!(lines, "select count(*) from stacks;").unwrap();
    reader.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    damage_page(&house, root_page(&house, "stacks"));
    house.up();
    wait_for("the app to answer", || house.page("shop"));
    let log = house.data().join("state/journal.sqlite-wal");
    assert!(log.exists());
    drop(lines);
    reader.wait().unwrap();
    assert!(log.exists());
}
