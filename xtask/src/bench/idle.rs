//! `cargo xtask bench idle`: what a platform costs that has nothing to do.

use std::time::Duration;

use crate::bench::figure::median;
use crate::bench::house::House;
use crate::bench::process::{children, cpu_seconds, memory, with_words};

const APPS: usize = 10;
const ROWS: i32 = 500;
const WATCHED: Duration = Duration::from_secs(30);

/// Ten running apps, then five hundred rows more at scale 0.
pub fn run() -> anyhow::Result<()> {
    let house = House::start()?;
    let repository = house.repository.display().to_string();
    let insert = |name: String, scale: u32| -> anyhow::Result<()> {
        house.table()?.execute(
            "insert into apps (name, version, scale, repo) values (?1, ?2, ?3, ?4)",
            rusqlite::params![name, house.commit, scale, repository],
        )?;
        Ok(())
    };
    for number in 0..APPS {
        insert(format!("app-{number}"), 1)?;
    }
    house
        .wait("ten answers", || (0..APPS).all(|number| house.answers(&format!("app-{number}"))))?;
    report(&house, &format!("{APPS} apps"));
    let shims = with_words(&["shim"], &house.data());
    let mut private: Vec<f64> = shims.iter().map(|pid| memory(*pid).1).collect();
    println!(
        "each instance's parent: {:.0} kB private (median of {})",
        median(&mut private),
        shims.len()
    );

    for number in 0..ROWS {
        insert(format!("zero-{number}"), 0)?;
    }
    house.wait("five hundred answers in the table", || {
        let deployed = house.table().and_then(|table| {
            Ok(table.query_row(
                "select count(*) from apps where status = 'deployed' and scale = 0",
                [],
                |row| row.get::<_, i64>(0),
            )?)
        });
        deployed.is_ok_and(|count| count == i64::from(ROWS))
    })?;
    report(&house, &format!("{APPS} apps and {ROWS} rows at scale 0"));
    Ok(())
}

fn report(house: &House, what: &str) {
    std::thread::sleep(Duration::from_secs(5));
    let before = own_cpu(house);
    std::thread::sleep(WATCHED);
    let used = (own_cpu(house) - before) / WATCHED.as_secs_f64() * 100.0;
    let (resident, private) = memory(house.pid());
    println!(
        "{what}: {:.1} MB resident, {:.1} MB private, {used:.2} % of one core over {} s",
        resident / 1024.0,
        private / 1024.0,
        WATCHED.as_secs()
    );
}

/// Without the instances, which are the platform's children where it started them.
fn own_cpu(house: &House) -> f64 {
    let all = cpu_seconds(house.pid());
    all - children(house.pid()).into_iter().map(cpu_seconds).sum::<f64>()
}
