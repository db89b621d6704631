//! The table is a file: what becomes of it while the platform runs is noticed, costs no app, and
//! leaves every row as it stands in the file that is there then.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use house::{House, PROGRAM, Repository, wait_for};

const ENDS: [&str; 3] = ["", "-wal", "-shm"];

/// A platform with an app that runs, and its process.
fn running() -> (House, Repository, Vec<u32>) {
    let house = House::start();
    let repository = house.repository("app");
    let revision = repository.web("v1");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &revision, 1);
    let pids = house.pids("shop");
    (house, repository, pids)
}

fn file(house: &House, end: &str) -> PathBuf {
    house.data().join(format!("rowhouse.db{end}"))
}

fn backup(house: &House, name: &str) -> PathBuf {
    let path = house.room().join(name);
    house.sql(&format!(".backup '{}'", path.display()));
    path
}

/// A backup with fifty rows more, which run nothing.
fn fifty_rows(house: &House, repository: &Repository) -> PathBuf {
    let path = backup(house, "fifty.db");
    let statement = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50) \
         insert into apps (name, version, scale, repo) \
         select 'row-' || i, 'v1', 0, '{}' from n",
        repository.path.display()
    );
    sqlite3(&path, &statement);
    path
}

fn sqlite3(path: &std::path::Path, statement: &str) -> String {
    let output = Command::new("sqlite3")
        .args(["-cmd", ".timeout 10000"])
        .arg(path)
        .arg(statement)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn text(output: &std::process::Output) -> String {
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    of(&output.stdout) + &of(&output.stderr)
}

/// How often the platform has met another table.
fn opened(house: &House) -> usize {
    let is = |words| house.log().matches(words).count();
    is("the table is opened anew") + is("the content of another")
}

fn is_opened(house: &House, times: usize) {
    wait_for("the table to be opened anew", || (opened(house) >= times).then_some(()));
}

/// What users have written.
fn rows(path: &std::path::Path) -> String {
    sqlite3(path, "select name, version, scale, repo, env from apps order by name")
}

fn is_whole(house: &House) {
    assert_eq!(house.sql("pragma integrity_check"), "ok");
}

/// The app runs on as it did, and the table is heard.
fn goes_on(house: &House, repository: &Repository, pids: &[u32], name: &str) {
    assert_eq!(house.pids("shop"), pids);
    assert!(house.page("shop").is_some());
    house.put(name, "no-such-version", 0, repository);
    house.failed(name, "no-such-version");
    is_whole(house);
}

#[test]
fn a_table_that_is_removed_while_the_platform_runs_is_made_anew_and_costs_no_app() {
    let (house, repository, pids) = running();
    fs::remove_file(house.table()).unwrap();
    is_opened(&house, 1);
    goes_on(&house, &repository, &pids, "one");
    let listed = text(&house.rowhouse(&["ls"]));
    assert!(listed.contains("`shop` has no row"), "{listed}");
    let said = text(&house.rowhouse(&["events"]));
    assert!(said.contains("table_lost") && said.contains("table_opened"), "{said}");
    wait_for("the orphan", || {
        text(&house.rowhouse(&["events", "shop"])).contains(" orphan ").then_some(())
    });
    // What stood in it is kept.
    let kept: Vec<PathBuf> = fs::read_dir(house.data().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .collect();
    assert!(house.log().contains(&kept[0].display().to_string()), "{}", house.log());
    assert!(rows(&kept[0]).starts_with("shop|v1|1|"), "{kept:?}");
    // With all that belongs to it.
    for end in ENDS {
        // The platform may have been quicker, and have moved its log away.
        let removed = fs::remove_file(file(&house, end)).map_err(|error| error.kind());
        assert!(matches!(removed, Ok(()) | Err(ErrorKind::NotFound)), "{removed:?}");
    }
    is_opened(&house, 2);
    goes_on(&house, &repository, &pids, "two");
    let output = house.rowhouse(&["rm", "shop"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(house.pids("shop"), [0; 0]);
}

/// A `sqlite3` that reads a table with one row, and has not ended.
fn reader_of_one_row(house: &House) -> Child {
    let mut reader = Command::new("sqlite3")
        .arg(house.table())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(reader.stdin.as_mut().unwrap(), "begin; select count(*) from apps;").unwrap();
    // The count, and the end of its line.
    reader.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    reader
}

#[test]
fn a_backup_that_is_moved_over_the_table_is_what_is_read_and_nothing_of_the_log_before() {
    let (house, repository, pids) = running();
    let restored = fifty_rows(&house, &repository);
    let expected = rows(&restored);
    // A reader keeps what comes now in the log.
    let mut reader = reader_of_one_row(&house);
    house.sql(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200) \
         insert into apps (name, version, scale) select 'old-' || i, 'v1', 0 from n",
    );
    assert!(file(&house, "-wal").metadata().unwrap().len() > 0);
    fs::rename(&restored, house.table()).unwrap();
    is_opened(&house, 1);
    assert_eq!(rows(&house.table()), expected);
    for number in 1..=50 {
        house.wait_row(&format!("row-{number}"), |row| row.status == "deployed");
    }
    assert_eq!(rows(&house.table()), expected);
    // When the reader ends, it takes nothing with it.
    drop(reader.stdin.take());
    reader.wait().unwrap();
    goes_on(&house, &repository, &pids, "marker");
    assert_eq!(house.sql("select count(*) from apps"), "52");
}

#[test]
fn what_is_no_table_in_its_place_is_said_and_the_next_one_that_is_one_is_used() {
    let (house, repository, pids) = running();
    let good = fifty_rows(&house, &repository);
    let kinds: [(&str, &dyn Fn()); 3] = [
        ("is not a database", &|| {
            fs::write(house.room().join("garbage"), "garbage ".repeat(1000)).unwrap();
            fs::rename(house.room().join("garbage"), house.table()).unwrap();
        }),
        ("is a folder", &|| {
            fs::remove_file(house.table()).unwrap();
            fs::create_dir(house.table()).unwrap();
        }),
        ("malformed", &|| {
            let bytes = fs::read(&good).unwrap();
            fs::write(house.room().join("cut"), &bytes[..bytes.len() / 2]).unwrap();
            fs::rename(house.room().join("cut"), house.table()).unwrap();
        }),
    ];
    for (number, (says, break_it)) in kinds.iter().enumerate() {
        break_it();
        wait_for("the word", || house.log().contains(says).then_some(()));
        // Nobody waits for it, and everybody is told.
        for command in [&["ls"] as &[&str], &["put", "shop", "--scale", "1"], &["rm", "shop"]] {
            let output = house.rowhouse(command);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {}", text(&output));
        }
        let examined = text(&house.rowhouse(&["doctor"]));
        assert!(examined.contains("broken") && examined.contains("restore"), "{examined}");
        assert!(text(&house.rowhouse(&["events"])).contains(says));
        assert_eq!(house.pids("shop"), pids);
        if house.table().is_dir() {
            fs::remove_dir(house.table()).unwrap();
        }
        fs::copy(&good, house.room().join("copy")).unwrap();
        fs::rename(house.room().join("copy"), house.table()).unwrap();
        is_opened(&house, number + 1);
        goes_on(&house, &repository, &pids, &format!("marker-{number}"));
    }
    // Nothing in it is a table, too.
    fs::write(house.room().join("empty"), "").unwrap();
    fs::rename(house.room().join("empty"), house.table()).unwrap();
    is_opened(&house, 4);
    goes_on(&house, &repository, &pids, "last");
    assert!(house.log().contains("`shop` has no row"), "{}", house.log());
}

#[test]
fn a_log_that_is_removed_costs_no_row() {
    let (house, repository, pids) = running();
    let number = std::cell::Cell::new(0);
    for ends in [&["-wal"] as &[&str], &["-shm"], &["-wal", "-shm"]] {
        let name = format!("kept-{}", number.get());
        house.sql(&format!("insert into apps (name, version, scale) values ('{name}', 'v1', 0)"));
        for end in ends {
            fs::remove_file(file(&house, end)).unwrap();
        }
        number.set(number.get() + 1);
        is_opened(&house, number.get());
        goes_on(&house, &repository, &pids, &format!("marker-{}", number.get()));
    }
    assert_eq!(house.sql("select count(*) from apps where name like 'kept-%'"), "3");
}

#[test]
fn a_table_that_is_written_over_in_place_is_read_anew() {
    let (house, repository, pids) = running();
    let restored = fifty_rows(&house, &repository);
    let expected = rows(&restored);
    let is_quiet = || file(&house, "-wal").metadata().is_ok_and(|log| log.len() == 0);
    wait_for("the log to be in the file", || is_quiet().then_some(()));
    fs::copy(&restored, house.table()).unwrap();
    is_opened(&house, 1);
    for number in 1..=50 {
        house.wait_row(&format!("row-{number}"), |row| row.status == "deployed");
    }
    assert_eq!(rows(&house.table()), expected);
    goes_on(&house, &repository, &pids, "marker");
}

/// A table of an earlier format, as its program left it, with a row.
fn earlier(house: &House, script: &str, name: &str) -> PathBuf {
    let path = house.room().join(format!("{name}.db"));
    // What begins with a dash is an option of its command line.
    sqlite3(&path, &format!(" {script}"));
    let put = "insert into apps (name, version, scale) values";
    sqlite3(&path, &format!("{put} ('{name}', 'v1', 0), ('gone', 'v1', 0)"));
    sqlite3(&path, "delete from apps where name = 'gone'");
    path
}

#[test]
fn a_table_of_an_earlier_format_becomes_one_of_today_when_it_takes_the_place_of_another() {
    let (house, repository, pids) = running();
    let format = house.sql("pragma user_version");
    for (number, script) in [
        include_str!("../../machine/tests/formats/0.sql"),
        include_str!("../../machine/tests/formats/1.sql"),
    ]
    .into_iter()
    .enumerate()
    {
        let move_over = |from: &std::path::Path| fs::rename(from, house.table()).unwrap();
        let copy_over = |from: &std::path::Path| {
            let is_quiet = || file(&house, "-wal").metadata().is_ok_and(|log| log.len() == 0);
            wait_for("the log to be in the file", || is_quiet().then_some(()));
            fs::copy(from, house.table()).unwrap();
        };
        let restore = |from: &std::path::Path| {
            house.sql(&format!(".restore '{}'", from.display()));
        };
        let ways: [&dyn Fn(&std::path::Path); 3] = [&move_over, &copy_over, &restore];
        for (way, put_there) in ways.into_iter().enumerate() {
            let name = format!("format-{number}-{way}");
            let before = opened(&house);
            put_there(&earlier(&house, script, &name));
            is_opened(&house, before + 1);
            // Its rows are answered, and it has what today's have.
            house.set(&name, "memory = 64");
            house.wait_row(&name, |row| row.status == "invalid");
            assert_eq!(house.sql(&format!("select memory from apps where name = '{name}'")), "64");
            assert_eq!(house.sql("pragma user_version"), format, "{name}");
            goes_on(&house, &repository, &pids, &format!("marker-{number}-{way}"));
        }
    }
}

#[test]
fn a_table_that_only_a_newer_program_can_read_is_said_and_left_as_it_is() {
    let (house, repository, pids) = running();
    let good = fifty_rows(&house, &repository);
    let newer = house.room().join("newer.db");
    fs::copy(&good, &newer).unwrap();
    sqlite3(&newer, "pragma user_version = 1000; update apps set version = 'newer'");
    let expected = rows(&newer);
    let replace = || {
        fs::copy(&newer, house.room().join("copy")).unwrap();
        fs::rename(house.room().join("copy"), house.table()).unwrap();
    };
    let restore = || {
        house.sql(&format!(".restore '{}'", newer.display()));
    };
    let ways: [&dyn Fn(); 2] = [&replace, &restore];
    for (number, put_there) in ways.into_iter().enumerate() {
        let before = opened(&house);
        let told = house.log().matches("it has format 1000").count();
        put_there();
        wait_for("the word", || {
            (house.log().matches("it has format 1000").count() > told).then_some(())
        });
        assert_eq!(house.rowhouse(&["ls"]).status.code(), Some(2));
        assert_eq!(rows(&house.table()), expected);
        assert_eq!(house.sql("pragma user_version"), "1000");
        assert_eq!(house.pids("shop"), pids);
        fs::copy(&good, house.room().join("copy")).unwrap();
        fs::rename(house.room().join("copy"), house.table()).unwrap();
        is_opened(&house, before + 1);
        goes_on(&house, &repository, &pids, &format!("marker-{number}"));
    }
}

#[test]
fn a_folder_that_is_renamed_and_put_back_costs_nothing() {
    let (house, repository, pids) = running();
    let away = house.room().join("away");
    house.sql("insert into apps (name, version, scale) values ('kept', 'v1', 0)");
    fs::rename(house.data(), &away).unwrap();
    wait_for("the word", || house.log().contains("is not where it was").then_some(()));
    assert!(house.page("shop").is_some());
    fs::rename(&away, house.data()).unwrap();
    is_opened(&house, 1);
    goes_on(&house, &repository, &pids, "marker");
    assert_eq!(house.sql("select count(*) from apps where name in ('shop', 'kept')"), "2");
}

#[test]
fn who_waits_for_a_row_learns_that_the_table_is_another_one() {
    let (house, repository, pids) = running();
    repository.procfile("slow", "build: sleep 600\nweb: true\n");
    let restored = backup(&house, "backup.db");
    let path = repository.path.display().to_string();
    let put = Command::new(PROGRAM)
        .args(["put", "slow", "--version", "slow", "--repo", &path, "--data"])
        .arg(house.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    house.wait_row("slow", |row| row.status == "deploying");
    fs::rename(&restored, house.table()).unwrap();
    let output = put.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("superseded"), "{}", text(&output));
    is_opened(&house, 1);
    goes_on(&house, &repository, &pids, "marker");
}

/// Puts rows one after the other, half of them with Debian's `sqlite3` and half with ours; the
/// names of those that were acknowledged.
fn write(
    house: &House,
    repository: &Repository,
    names: impl Iterator<Item = String>,
) -> Vec<String> {
    let path = repository.path.display().to_string();
    let mut acknowledged = Vec::new();
    for (number, name) in names.enumerate() {
        let statement = format!(
            "insert into apps (name, version, scale, repo) values ('{name}', 'v1', 0, '{path}')"
        );
        let arguments =
            ["put", &name, "--version", "v1", "--scale", "0", "--repo", &path, "--no-wait"];
        let output = if number % 2 == 0 {
            let mut command = Command::new("sqlite3");
            command.args(["-cmd", ".timeout 10000"]).arg(house.table()).arg(statement);
            command.output().unwrap()
        } else {
            house.rowhouse(&arguments)
        };
        if output.status.success() {
            acknowledged.push(name);
        }
    }
    acknowledged
}

/// Who writes while a table is restored; what was acknowledged after that.
fn restore_under_load(
    house: &House,
    repository: &Repository,
    restore: impl FnOnce(),
) -> Vec<String> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let names = (0..20).map(move |row| format!("before-{writer}-{row}"));
                scope.spawn(move || write(house, repository, names))
            })
            .collect();
        wait_for("writers", || {
            let any = house.sql("select count(*) from apps where name like 'before-%'") != "0";
            any.then_some(())
        });
        restore();
        let later = write(house, repository, (0..20).map(|row| format!("after-{row}")));
        for writer in writers {
            writer.join().unwrap();
        }
        later
    })
}

#[test]
fn a_restore_by_sqlite3_under_load_leaves_every_row_of_the_backup_and_every_later_one() {
    let (house, repository, pids) = running();
    let restored = fifty_rows(&house, &repository);
    // Since the backup, the table has got another mark.
    house.put("another", "v1", 0, &repository);
    house.wait_row("another", |row| row.status == "deployed");
    let later = restore_under_load(&house, &repository, || {
        house.sql(&format!(".restore '{}'", restored.display()));
        is_opened(&house, 1);
    });
    assert_eq!(later.len(), 20);
    let expected = sqlite3(&restored, "select name from apps");
    for name in expected.lines().chain(later.iter().map(String::as_str)) {
        house.wait_row(name, |row| row.status == "deployed");
    }
    // What is removed from it is a user's word.
    goes_on(&house, &repository, &pids, "marker");
    house.sql("delete from apps where name = 'shop'");
    wait_for("its end", || house.pids("shop").is_empty().then_some(()));
}

#[test]
fn a_backup_that_is_moved_over_the_table_under_load_loses_nothing_that_is_written_later() {
    let (house, repository, pids) = running();
    let restored = fifty_rows(&house, &repository);
    let later = restore_under_load(&house, &repository, || {
        fs::rename(&restored, house.table()).unwrap();
        is_opened(&house, 1);
    });
    assert_eq!(later.len(), 20);
    for name in &later {
        house.wait_row(name, |row| row.status == "deployed");
    }
    goes_on(&house, &repository, &pids, "marker");
}

#[test]
fn debians_sqlite3_and_ours_write_side_by_side_and_the_log_stays_short() {
    let (house, repository, pids) = running();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (acknowledged, longest) = std::thread::scope(|scope| {
        let (house, repository, stop) = (&house, &repository, &stop);
        let longest = scope.spawn(move || {
            let mut longest = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                longest = file(house, "-wal").metadata().unwrap().len().max(longest);
                std::thread::yield_now();
            }
            longest
        });
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    write(house, repository, (0..30).map(|row| format!("row-{writer}-{row}")))
                })
            })
            .collect();
        let names: Vec<String> =
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (names, longest.join().unwrap())
    });
    assert_eq!(acknowledged.len(), 60);
    for name in &acknowledged {
        house.wait_row(name, |row| row.status == "deployed");
    }
    // At a thousand pages, others would put it into the file.
    assert!(longest < 1_000 * 4_096, "{longest}");
    goes_on(&house, &repository, &pids, "marker");
    assert_eq!(opened(&house), 0, "{}", house.log());
    wait_for("the file to be whole", || {
        (file(&house, "-wal").metadata().unwrap().len() == 0).then_some(())
    });
}

#[test]
fn doctor_names_whoever_keeps_the_log_of_the_table_from_being_emptied() {
    let house = House::start();
    house.sql("insert into apps (name) values ('shop')");
    let doctor = || String::from_utf8(house.rowhouse(&["doctor"]).stdout).unwrap();
    let mut reader = reader_of_one_row(&house);
    let mut lines = reader.stdin.take().unwrap();
    // One change that it does not see.
    house.sql("insert into apps (name) values ('blog')");
    let said = doctor().split_whitespace().collect::<Vec<_>>().join(" ");
    let named = format!("process {} (`sqlite3 {}", reader.id(), house.table().display());
    assert!(said.contains("cannot be emptied"), "{said}");
    assert!(said.contains(&named[..named.len().min(60)]), "{named}: {said}");
    writeln!(lines, "commit;").unwrap();
    wait_for("nobody to hold it", || {
        doctor().contains("nobody holds the table's log").then_some(())
    });
    drop(lines);
    reader.wait().unwrap();
}

#[test]
fn doctor_warns_of_a_sqlite3_that_may_lose_pages() {
    let house = House::new(&[]);
    fs::create_dir_all(house.data()).unwrap();
    let bin = house.room().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let warns = |version: &str| {
        let program = bin.join("sqlite3");
        house::replace(&program, format!("#!/bin/sh\necho '{version} 2026-01-01'\n").as_bytes());
        let said = Command::new(PROGRAM)
            .args(["doctor", "--data"])
            .arg(house.data())
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .output()
            .unwrap();
        String::from_utf8(said.stdout).unwrap().contains("before 3.51.3")
    };
    for version in ["3.40.1", "3.51.2", "2.8.17", "3.9.0"] {
        assert!(warns(version), "{version}");
    }
    for version in ["3.51.3", "3.51.10", "3.100.0", "4.0.0"] {
        assert!(!warns(version), "{version}");
    }
}
