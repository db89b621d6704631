//! Recovery: whatever ends the platform, wherever it was, the next one comes to the same end.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod house;

use house::{House, wait_for};

/// What there is to see at the end, apart from what differs from run to run.
#[derive(Debug, PartialEq)]
struct EndState {
    status: String,
    revision: String,
    healthy: u32,
    instances: usize,
    answers: Option<String>,
}

fn end_state(house: &House) -> EndState {
    let row = house.row("shop");
    EndState {
        status: row.status,
        revision: row.revision,
        healthy: row.healthy,
        instances: house.pids("shop").len(),
        answers: house.page("shop").map(|page| page.split(' ').next().unwrap().to_owned()),
    }
}

/// Does `change` again and again, killing the platform at its first point, its second, and so on
/// until it ends without being killed; each time the next platform must come to the same end.
fn kill_at_every_point(
    prepare: impl Fn(&House),
    change: impl Fn(&House),
    wanted: &EndState,
    keeps: usize,
) {
    for point in 1.. {
        let mut house = House::start();
        prepare(&house);
        let before = house.pids("shop");
        house.end_up("-9");
        house.environment = vec![("ROWHOUSE_FAILPOINT".to_owned(), point.to_string())];
        house.up();
        change(&house);
        // Either it is killed on the way, or it comes to the end.
        let mut ended = false;
        wait_for("a kill or the end", || {
            ended = house.has_ended();
            (ended || end_state(&house) == *wanted && is_quiet(&house)).then_some(())
        });
        if !ended {
            println!("killed at {} points", point - 1);
            assert!(point > 3, "{point}");
            return;
        }
        house.environment.clear();
        house.up();
        wait_for("the same end", || {
            (end_state(&house) == *wanted && is_quiet(&house)).then_some(())
        });
        let after = house.pids("shop");
        let kept = before.iter().filter(|pid| after.contains(pid)).count();
        assert_eq!(kept, keeps.min(before.len()), "point {point}: {before:?} {after:?}");
        // Nobody is left over: the app's processes, each with its small parent.
        let processes = house.processes();
        let shims = processes.iter().filter(|(_, line)| line.contains(" shim ")).count();
        assert_eq!(shims, wanted.instances, "point {point}: {processes:?}");
        let apps = processes.len() - shims;
        assert_eq!(apps, wanted.instances, "point {point}: {processes:?}");
    }
}

/// Nothing is under way: the journal's stacks have no operation.
fn is_quiet(house: &House) -> bool {
    let output = std::process::Command::new("sqlite3")
        .args(["-readonly", "-cmd", ".timeout 5000"])
        .arg(house.data().join("state/journal.sqlite"))
        .arg("select count(*) from stacks where json_extract(record, '$.ongoing') is not null")
        .output()
        .unwrap();
    output.stdout.trim_ascii() == b"0"
}

fn running(revision: &str, version: &str, instances: usize) -> EndState {
    EndState {
        status: "deployed".to_owned(),
        revision: revision.to_owned(),
        healthy: u32::try_from(instances).unwrap(),
        instances,
        answers: (instances > 0).then(|| version.to_owned()),
    }
}

/// Repositories differ from house to house, but not in their commits: author and time are fixed.
fn commits(house: &House) -> (house::Repository, String, String) {
    let repository = house.repository("app");
    repository.git(&["config", "user.name", "Test"]);
    let fixed = |tag: &str| {
        let app = include_str!("apps/web.py");
        std::fs::write(repository.path.join("web.py"), app).unwrap();
        std::fs::write(repository.path.join("Procfile"), "web: exec python3 web.py\n").unwrap();
        std::fs::write(repository.path.join("tag"), tag).unwrap();
        repository.git(&["add", "--all"]);
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "-qm", tag])
            .env("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
            .current_dir(&repository.path)
            .output()
            .unwrap();
        assert!(output.status.success());
        repository.git(&["tag", tag]);
        repository.git(&["rev-parse", "HEAD"])
    };
    let one = fixed("v1");
    let two = fixed("v2");
    (repository, one, two)
}

fn two_commits() -> (String, String) {
    let house = House::new(&[]);
    let (_, one, two) = commits(&house);
    (one, two)
}

fn put(house: &House, version: &str, scale: u32) {
    house.put("shop", version, scale, &house::Repository { path: house.room().join("app") });
}

#[test]
fn a_kill_at_any_point_of_a_creation_changes_nothing_about_its_end() {
    let (one, _) = two_commits();
    kill_at_every_point(
        |house| {
            commits(house);
        },
        |house| put(house, "v1", 2),
        &running(&one, "v1", 2),
        0,
    );
}

#[test]
fn a_kill_at_any_point_of_an_update_changes_nothing_about_its_end() {
    let (one, two) = two_commits();
    kill_at_every_point(
        |house| {
            commits(house);
            put(house, "v1", 1);
            house.deployed("shop", &one, 1);
        },
        |house| house.set("shop", "version = 'v2'"),
        &running(&two, "v2", 1),
        0,
    );
}

#[test]
fn a_journal_that_fails_at_any_write_of_an_update_costs_no_request_and_changes_no_end() {
    let (one, two) = two_commits();
    let wanted = running(&two, "v2", 1);
    for write in 1.. {
        let mut house = House::start();
        commits(&house);
        put(&house, "v1", 1);
        house.deployed("shop", &one, 1);
        house.end_up("-TERM");
        house.environment = vec![("ROWHOUSE_FAILPOINT".to_owned(), format!("journal:{write}"))];
        house.up();
        house.deployed("shop", &one, 1);
        house.set("shop", "version = 'v2'");
        wait_for("the end", || {
            assert!(house.page("shop").is_some(), "write {write}: nobody answers");
            (end_state(&house) == wanted && is_quiet(&house)).then_some(())
        });
        if !house.log().contains("failpoint") {
            println!("{} writes of the journal", write - 1);
            assert!(write > 3, "{write}");
            return;
        }
    }
}

#[test]
fn a_kill_at_any_point_of_a_change_of_scale_keeps_the_other_instances() {
    let (one, _) = two_commits();
    for (from, to, keeps) in [(1, 2, 1), (2, 1, 1)] {
        kill_at_every_point(
            |house| {
                commits(house);
                put(house, "v1", from);
                house.deployed("shop", &one, from);
            },
            |house| house.set("shop", &format!("scale = {to}")),
            &running(&one, "v1", usize::try_from(to).unwrap()),
            keeps,
        );
    }
}

#[test]
fn a_kill_at_any_point_of_a_deletion_leaves_nothing() {
    let (one, _) = two_commits();
    let nothing = EndState {
        status: String::new(),
        revision: String::new(),
        healthy: 0,
        instances: 0,
        answers: None,
    };
    kill_at_every_point(
        |house| {
            commits(house);
            put(house, "v1", 1);
            house.deployed("shop", &one, 1);
        },
        |house| {
            // Asked about before the first look, which would find everything as it is wanted.
            house.sql("delete from apps");
        },
        &nothing,
        0,
    );
}

#[test]
fn a_platform_is_replaced_by_a_new_process_without_a_lost_connection() {
    let house = House::start();
    let (_, one, _) = commits(&house);
    put(&house, "v1", 2);
    house.deployed("shop", &one, 2);
    let pids = house.pids("shop");
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let port = house.port;
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (over, answered) = (std::sync::Arc::clone(&over), std::sync::Arc::clone(&answered));
            std::thread::spawn(move || {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    // A connection each, as a new client makes it.
                    let (status, _) =
                        house::load::Client::new(port, "shop").request("GET", "/", b"").unwrap();
                    assert_eq!(status, 200);
                    answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 1..=3 {
        house::kill("-HUP", house.up_pid());
        wait_for("the successor", || {
            (house.log().matches("rowhouse is at work").count() == number + 1).then_some(())
        });
        house.deployed("shop", &one, 2);
        // However slow the machine is, each successor gets some.
        let before = answered.load(std::sync::atomic::Ordering::Relaxed);
        wait_for("requests", || {
            (answered.load(std::sync::atomic::Ordering::Relaxed) > before + 20).then_some(())
        });
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(house.pids("shop"), pids);
}

#[test]
fn a_stop_in_the_middle_of_a_build_leaves_no_process_and_the_next_start_builds() {
    let mut house = House::start();
    let repository = house.repository("app");
    let go = house.build_home_of("shop").join("go");
    repository.web("base");
    let commit = repository.procfile(
        "v1",
        "build: setsid sh -c 'while [ ! -e ~/go ]; do sleep 0.05; done'\n\
         web: exec python3 web.py\n",
    );
    house.put("shop", "v1", 1, &repository);
    wait_for("the build", || {
        house.processes().iter().any(|(_, line)| line.contains("sleep 0.05")).then_some(())
    });
    house.end_up("-INT");
    assert_eq!(house.processes(), vec![]);
    std::fs::write(&go, "").unwrap();
    house.up();
    house.deployed("shop", &commit, 1);
}

#[test]
fn running_instances_are_adopted_and_a_stop_is_a_stop() {
    let mut house = House::start();
    let (_, one, _) = commits(&house);
    put(&house, "v1", 2);
    house.deployed("shop", &one, 2);
    let pids = house.pids("shop");
    for signal in ["-9", "-TERM"] {
        house.end_up(signal);
        assert_eq!(house.pids("shop"), pids, "{signal}");
        house.up();
        house.deployed("shop", &one, 2);
        assert!(house.page("shop").unwrap().starts_with("v1"));
        assert_eq!(house.pids("shop"), pids, "{signal}");
    }
    house.end_up("-INT");
    assert_eq!(house.processes(), vec![]);
    let row = house.row("shop");
    assert_eq!(
        (row.healthy, row.reason.contains("stopped with the platform")),
        (0, true),
        "{row:?}"
    );
    house.up();
    house.deployed("shop", &one, 2);
    // `down` works with a platform, and after a platform that was killed.
    let output = house.rowhouse(&["down"]);
    assert!(output.status.success(), "{output:?}");
    house.wait_up();
    assert_eq!(house.processes(), vec![]);
    house.up();
    house.deployed("shop", &one, 2);
    house.end_up("-9");
    assert_eq!(house.pids("shop").len(), 2);
    let output = house.rowhouse(&["down"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("stopped 2") && said.contains("rows stay"), "{said}");
    assert_eq!(house.processes(), vec![]);
    assert_eq!(house.sql("select count(*) from apps"), "1");
}
