//! The command line: input, exit statuses, JSON, and what is said when no platform is at work.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use house::{House, PROGRAM};
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn ends(output: &Output, status: i32, words: &str) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(words), "no `{words}` in: {said}");
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn bad_input_is_exit_status_1_and_says_what_is_allowed_and_writes_nothing() {
    let house = House::new(&[]);
    let put = ["put", "shop", "--version", "main", "--repo", "https://example.com/a.git"];
    for (arguments, words) in [
        (vec!["frobnicate"], "unrecognized subcommand"),
        (vec!["put", "Shop", "--version", "main"], "`Name` is `Shop`"),
        ([&put[..], &["--scale", "two"]].concat(), "`Scale` is `two`"),
        ([&put[..], &["--scale", "-1"]].concat(), "`Scale` is -1"),
        ([&put[..], &["--version", "a;id"]].concat(), "cannot be used multiple times"),
        (vec!["put", "shop", "--version", "a..b", "--repo", "/"], "`Version` is"),
        (vec!["put", "shop", "--version", "main", "--repo", "ext::sh -c id"], "`Repo` is"),
        (vec!["put", "shop", "--version", "main", "--repo", "/no/such/folder"], "cannot be found"),
        (vec!["put", "shop"], "no repository is known"),
        ([&put[..], &["--env", "A"]].concat(), "--env KEY=VALUE"),
        ([&put[..], &["--env", "1A=x"]].concat(), "a name must be"),
        ([&put[..], &["--health", "health"]].concat(), "begins with `/`"),
        ([&put[..], &["--health-timeout", "1d"]].concat(), "`1d` is no time"),
        (vec!["scale", "nope", "1"], "no app is named `nope`"),
        (vec!["show", "nope"], "no app is named `nope`"),
        (vec!["logs", "nope"], "no app is named `nope`"),
        (vec!["history", "nope"], "no app is named `nope`"),
        (vec!["rm", "nope"], "no app is named `nope`"),
        (vec!["rollback", "nope"], "no app is named `nope`"),
    ] {
        ends(&house.rowhouse(&arguments), 1, words);
    }
    let listed = json(&house.rowhouse(&["ls", "--json"]));
    assert_eq!(listed["Apps"], serde_json::json!([]));
}

#[test]
fn a_put_without_a_platform_writes_the_row_and_says_how_to_start_one() {
    let house = House::new(&[]);
    let repository = house.repository("app");
    let commit = repository.commit("v1", &[("index.html", "hello")]);
    let path = repository.path.display().to_string();
    let output = house.rowhouse(&["put", "shop", "--repo", &path, "--env", "SECRET=hunter2"]);
    ends(&output, 2, "no platform is at work");
    ends(&output, 2, "rowhouse up");
    let shown = house.rowhouse(&["show", "shop", "--json"]);
    assert!(!text(&shown.stdout).contains("hunter2"));
    let shown = json(&shown);
    assert_eq!(shown["Version"], "main", "the repository's default branch");
    assert_eq!((&shown["Scale"], &shown["Env"]["SECRET"]), (&1.into(), &"***".into()));
    assert_eq!(
        (&shown["Instances"], &shown["Reactor"]["AtWork"]),
        (&serde_json::json!([]), &false.into())
    );
    ends(&house.rowhouse(&["show", "shop", "--reveal"]), 0, "hunter2");
    ends(&house.rowhouse(&["ls"]), 0, "no reactor is at work");
    // Only what is given changes.
    ends(
        &house.rowhouse(&["put", "shop", "--env", "OTHER=1", "--unset-env", "SECRET"]),
        2,
        "written",
    );
    let shown = json(&house.rowhouse(&["show", "shop", "--json"]));
    assert_eq!(shown["Env"], serde_json::json!({ "OTHER": "***" }));
    assert_eq!(shown["Repo"], path);
    // And what was written is deployed by the next platform.
    let mut house = house;
    house.up();
    house.deployed("shop", &commit, 1);
}

#[test]
fn a_value_may_come_from_stdin_or_a_file() {
    let house = House::new(&[]);
    let file = house.room().join("env");
    std::fs::write(&file, "# a comment\nexport A=1\nB=\"two words\"\n\n").unwrap();
    let mut child = Command::new(PROGRAM)
        .args([
            "put",
            "shop",
            "--version",
            "main",
            "--repo",
            "https://example.com/a",
            "--env",
            "KEY=-",
        ])
        .args(["--env-file", &file.display().to_string(), "--data"])
        .arg(house.data())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"from stdin\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "no platform is at work");
    let env = house.sql("select env from apps");
    let env: Value = serde_json::from_str(&env).unwrap();
    assert_eq!(env, serde_json::json!({ "A": "1", "B": "two words", "KEY": "from stdin" }));
}

#[test]
fn the_data_folder_is_named_before_or_after_the_command_or_by_the_environment() {
    let house = House::new(&[]);
    std::fs::create_dir(house.data()).unwrap();
    let data = house.data().display().to_string();
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env_remove("ROWHOUSE_DATA")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        json(&output)["Data"].as_str().unwrap().to_owned()
    };
    assert_eq!(run(&["--data", &data, "doctor", "--json"], &[]), data);
    assert_eq!(run(&["doctor", "--json", "--data", &data], &[]), data);
    assert_eq!(run(&["doctor", "--json"], &[("ROWHOUSE_DATA", &data)]), data);
    let xdg = house.room().join("xdg").display().to_string();
    std::fs::create_dir_all(format!("{xdg}/rowhouse")).unwrap();
    assert_eq!(run(&["doctor", "--json"], &[("XDG_DATA_HOME", &xdg)]), format!("{xdg}/rowhouse"));
    let tops: Vec<String> = std::fs::read_dir(house.data())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "db"))
        .collect();
    assert!(tops.is_empty() || tops == ["rowhouse.db"], "{tops:?}");
}

#[test]
fn commands_wait_and_tell_the_truth_at_the_end() {
    let house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    let two = repository.web("v2");
    repository.procfile("broken", "web: echo out of luck; exit 3\n");
    repository.git(&["checkout", "--quiet", "-B", "main", "v1"]);
    let path = repository.path.display().to_string();
    ends(&house.rowhouse(&["put", "shop", "--repo", &path, "--scale", "2"]), 0, "deployed");
    ends(&house.rowhouse(&["put", "shop", "--scale", "2"]), 0, "already so");
    ends(&house.rowhouse(&["put", "shop", "--version", "main"]), 0, "already so");
    // Pushed, and deployed by saying so: nothing in the row changes but `Redeploy`.
    repository.git(&["checkout", "--quiet", "-B", "main", "v2"]);
    ends(&house.rowhouse(&["put", "shop", "--version", "main"]), 0, &two[..7]);
    ends(&house.rowhouse(&["put", "shop", "--version", "broken"]), 1, "out of luck");
    ends(&house.rowhouse(&["put", "shop", "--version", "broken"]), 1, "out of luck");
    ends(&house.rowhouse(&["redeploy", "shop"]), 1, "out of luck");
    ends(&house.rowhouse(&["scale", "shop", "9"]), 1, "from 0 to 3");
    // From what failed to what serves, and from there to what served before.
    ends(&house.rowhouse(&["rollback", "shop"]), 0, &two[..7]);
    let output = house.rowhouse(&["rollback", "shop"]);
    ends(&output, 0, &one[..7]);
    ends(&output, 0, "put shop --version main");
    let shown = json(&house.rowhouse(&["show", "shop", "--json"]));
    assert_eq!((&shown["Version"], &shown["Follow"]), (&one.clone().into(), &false.into()));
    ends(&house.rowhouse(&["rollback", "shop", &two[..8]]), 0, &two[..7]);
    ends(&house.rowhouse(&["rollback", "shop", "0000000"]), 1, "neither a release nor a revision");
    ends(&house.rowhouse(&["scale", "shop", "1"]), 0, "deployed");
    let shown = json(&house.rowhouse(&["show", "shop", "--json"]));
    let instances = shown["Instances"].as_array().unwrap();
    let pids: Vec<u32> =
        instances.iter().map(|one| u32::try_from(one["Pid"].as_u64().unwrap()).unwrap()).collect();
    assert_eq!(pids, house.pids("shop"));
    for name in ["Port", "State", "Revision", "StartedAt"] {
        assert!(!instances[0][name].is_null(), "{name}: {instances:?}");
    }
    let history = json(&house.rowhouse(&["history", "shop", "--json"]));
    assert!(history["History"].as_array().unwrap().len() >= 6);
    let events = json(&house.rowhouse(&["events", "shop", "--json"]));
    assert!(events["Events"].as_array().unwrap().len() > 10);
    ends(&house.rowhouse(&["logs", "shop"]), 0, "out of luck");
    ends(&house.rowhouse(&["open", "shop"]), 0, "http://shop.localhost");
    ends(&house.rowhouse(&["rm", "shop"]), 0, "shop  deleted");
    assert_eq!(house.processes(), vec![]);
}

#[test]
fn a_version_that_is_named_is_looked_up_whatever_else_is_changed() {
    let house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    let path = repository.path.display().to_string();
    ends(&house.rowhouse(&["put", "shop", "--repo", &path]), 0, &one[..7]);
    let two = repository.web("v2");
    // What names no version keeps the commit.
    ends(&house.rowhouse(&["scale", "shop", "2"]), 0, &one[..7]);
    ends(&house.rowhouse(&["put", "shop", "--scale", "1"]), 0, &one[..7]);
    ends(&house.rowhouse(&["put", "shop", "--version", "main", "--scale", "2"]), 0, &two[..7]);
    let pids = house.pids("shop");
    ends(&house.rowhouse(&["put", "shop", "--version", "main", "--scale", "3"]), 0, &two[..7]);
    assert!(pids.iter().all(|pid| house.pids("shop").contains(pid)), "it had not moved");
    // A repository that refuses is told with where to give another.
    let gone = house.room().join("gone");
    std::fs::rename(&repository.path, &gone).unwrap();
    let output = house.rowhouse(&["put", "shop", "--version", "v1"]);
    ends(&output, 1, "cannot read repository");
    ends(&output, 1, "put shop --repo URL");
    std::fs::rename(&gone, &repository.path).unwrap();
    // By hand, too, somebody may ask to follow a commit.
    house.set("shop", &format!("version = '{two}', follow = 1"));
    let row = house.wait_row("shop", |row| row.reason.contains("`Follow` is true"));
    assert_eq!((row.status.as_str(), &row.revision), ("deployed", &two));
}

#[test]
fn a_wait_that_another_edit_overtakes_ends_with_superseded() {
    let house = House::start();
    let repository = house.repository("app");
    repository.procfile("hangs", "web: sleep 1000\n");
    repository.web("v1");
    let path = repository.path.display().to_string();
    let waiting = Command::new(PROGRAM)
        .args(["put", "shop", "--version", "hangs", "--repo", &path, "--data"])
        .arg(house.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    house.wait_row("shop", |row| row.status == "deploying");
    ends(
        &house.rowhouse(&["put", "shop", "--timeout", "1s", "--scale", "2"]),
        2,
        "still deploying",
    );
    ends(&waiting.wait_with_output().unwrap(), 1, "superseded");
    ends(&house.rowhouse(&["rm", "shop"]), 0, "deleted");
}

#[test]
fn who_stops_waiting_is_told_that_it_goes_on_and_how_to_follow_it() {
    let house = House::start();
    let repository = house.repository("app");
    repository.procfile("hangs", "web: sleep 1000\n");
    let path = repository.path.display().to_string();
    let mut waiting = Command::new(PROGRAM)
        .args(["put", "shop", "--version", "hangs", "--repo", &path, "--data"])
        .arg(house.data())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("starting 1 instance")).unwrap();
    house::kill("-INT", waiting.id());
    let rest: Vec<String> = lines.collect();
    assert_eq!(waiting.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest[0].contains("goes on"), "{rest:?}");
    assert!(rest[1].contains("rowhouse events shop -f"), "{rest:?}");
    assert_eq!(house.row("shop").status, "deploying");
}

#[test]
fn where_nothing_was_printed_nobody_is_sent_to_the_logs() {
    let house = House::start();
    let repository = house.repository("app");
    repository.commit("empty", &[("README", "nothing to run")]);
    repository.procfile("loud", "web: echo out of luck; exit 3\n");
    let path = repository.path.display().to_string();
    let put = |version: &str| {
        let output =
            house.rowhouse(&["put", "shop", "--version", version, "--repo", &path, "--scale", "1"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        text(&output.stderr)
    };
    for version in ["no-such-branch", "empty"] {
        let said = put(version);
        assert!(!said.contains("logs shop"), "{said}");
    }
    assert!(put("loud").contains("rowhouse logs shop"));
}

#[test]
fn a_project_is_deployed_from_its_folder() {
    let house = House::start();
    let repository = house.repository("My Site");
    let commit = repository.commit("v1", &[("web/index.html", "hello from a folder")]);
    std::fs::write(repository.path.join("web/new.html"), "not committed").unwrap();
    let deploy = |folder: &str| {
        Command::new(PROGRAM)
            .args(["deploy", "--data"])
            .arg(house.data())
            .current_dir(repository.path.join(folder))
            .output()
            .unwrap()
    };
    let output = deploy("web");
    ends(&output, 0, "web  deployed");
    ends(&output, 0, "not committed");
    assert_eq!(house.page("web").unwrap(), "hello from a folder");
    house.deployed("web", &commit, 1);
    let outside = Command::new(PROGRAM)
        .args(["deploy", "--data"])
        .arg(house.data())
        .current_dir("/")
        .output()
        .unwrap();
    ends(&outside, 1, "git init");
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_pipe_gets_no_colours() {
    let house = House::new(&[]);
    let data = house.data().display().to_string();
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8; do {PROGRAM} put app-$i --version main --repo \
         https://example.com/a --data {data} \
         2>/dev/null; done; {PROGRAM} ls --data {data} | head -1; echo ${{PIPESTATUS[0]}}"
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let printed = text(&output.stdout);
    assert!(printed.starts_with("NAME") && printed.ends_with("\n0\n"), "{printed}");
    let listed = house.rowhouse(&["ls"]);
    assert!(!text(&listed.stdout).contains('\u{1b}') && !text(&listed.stderr).contains('\u{1b}'));
}
