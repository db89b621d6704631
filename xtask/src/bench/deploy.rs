//! `cargo xtask bench deploy`: from a committed row to a started process and to the first answer,
//! for a build that is finished, one row at a time, and twenty at once; and until the row says
//! `deployed`, of a first version and of one after it, with and without the steady time.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::bench::figure::percentile;
use crate::bench::house::House;

const ROWS: usize = 50;
const AT_ONCE: usize = 20;
const ROLLOUTS: usize = 10;

/// Runs both.
pub fn run() -> anyhow::Result<()> {
    let house = House::start()?;
    insert(&house, &["warm-up".to_owned()])?;
    house.wait("the first answer", || house.answers("warm-up"))?;
    let mut started = Vec::new();
    let mut answered = Vec::new();
    for number in 0..ROWS {
        let name = format!("one-{number}");
        let committed = insert(&house, std::slice::from_ref(&name))?;
        house.wait("an answer", || house.answers(&name))?;
        answered.push(milliseconds(committed, SystemTime::now()));
        started.push(milliseconds(committed, process_started(&house, &name)?));
    }
    print(&format!("{ROWS} rows, one at a time"), &mut started, &mut answered);

    let names: Vec<String> = (0..AT_ONCE).map(|number| format!("all-{number}")).collect();
    let committed = insert(&house, &names)?;
    let mut answered = vec![0.0; AT_ONCE];
    house.wait("twenty answers", || false_until_all(&house, &names))?;
    let mut started = Vec::new();
    for (name, answered) in names.iter().zip(&mut answered) {
        let process = process_started(&house, name)?;
        started.push(milliseconds(committed, process));
        *answered = milliseconds(committed, SystemTime::now());
    }
    println!(
        "\n{AT_ONCE} rows in one commit: process started after {:.1} ms (median), {:.1} ms (last); \
         all answer after {:.1} ms",
        percentile(&mut started, 50.0),
        percentile(&mut started, 100.0),
        answered[0]
    );
    println!("\nuntil `deployed`: milliseconds after the commit");
    println!("{:34} {:>8} {:>8}", "", "p50", "p95");
    until_deployed(&house, "the default steady time")?;
    drop(house);
    until_deployed(&House::start_with(&["--steady", "0"])?, "no steady time")
}

/// Deploys a first version of an app, and one after it that takes its place, a few times.
fn until_deployed(house: &House, steady: &str) -> anyhow::Result<()> {
    let (mut first, mut next) = (Vec::new(), Vec::new());
    for number in 0..ROLLOUTS {
        let name = format!("steady-{number}");
        let committed = insert(house, std::slice::from_ref(&name))?;
        house.wait("a first version", || house.is_deployed(&name, &house.commit))?;
        first.push(milliseconds(committed, SystemTime::now()));
        let commit = house.next_commit()?;
        // The second app of a commit finds it built; what is measured is the rollout.
        let built = format!("built-{number}");
        insert_version(house, std::slice::from_ref(&built), &commit)?;
        house.wait("a build", || house.is_deployed(&built, &commit))?;
        let update = "update apps set version = ?2 where name = ?1";
        house.table()?.execute(update, [&name, &commit])?;
        let committed = SystemTime::now();
        house.wait("the next version", || house.is_deployed(&name, &commit))?;
        next.push(milliseconds(committed, SystemTime::now()));
    }
    for (what, figures) in [("a first version", &mut first), ("the next one", &mut next)] {
        println!(
            "{:34} {:>8.1} {:>8.1}",
            format!("{steady}, {what}"),
            percentile(figures, 50.0),
            percentile(figures, 95.0)
        );
    }
    Ok(())
}

fn false_until_all(house: &House, names: &[String]) -> bool {
    names.iter().all(|name| house.answers(name))
}

fn print(what: &str, started: &mut [f64], answered: &mut [f64]) {
    println!("\n{what}: milliseconds after the commit");
    println!("{:18} {:>8} {:>8}", "", "p50", "p95");
    for (label, figures) in [("process started", started), ("first 200", answered)] {
        println!(
            "{label:18} {:>8.1} {:>8.1}",
            percentile(figures, 50.0),
            percentile(figures, 95.0)
        );
    }
}

/// Inserts rows in one commit; returns when it was done.
fn insert(house: &House, names: &[String]) -> anyhow::Result<SystemTime> {
    insert_version(house, names, &house.commit)
}

fn insert_version(house: &House, names: &[String], commit: &str) -> anyhow::Result<SystemTime> {
    let mut table = house.table()?;
    let transaction = table.transaction()?;
    for name in names {
        transaction.execute(
            "insert into apps (name, version, scale, repo) values (?1, ?2, 1, ?3)",
            rusqlite::params![name, commit, house.repository.display().to_string()],
        )?;
    }
    transaction.commit()?;
    Ok(SystemTime::now())
}

/// The app's process is recorded just before its program is executed.
fn process_started(house: &House, name: &str) -> anyhow::Result<SystemTime> {
    let folder: PathBuf = house.data().join("instances").join(name);
    let mut earliest: Option<SystemTime> = None;
    for entry in std::fs::read_dir(&folder)? {
        let record = entry?.path().join("process.json");
        if let Ok(time) = record.metadata().and_then(|metadata| metadata.modified()) {
            earliest = Some(earliest.map_or(time, |before| before.min(time)));
        }
    }
    earliest.ok_or_else(|| anyhow::anyhow!("no process of `{name}` is recorded"))
}

fn milliseconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).unwrap_or_default().as_secs_f64() * 1000.0
}
