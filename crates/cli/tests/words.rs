//! The command line where no platform is at work: words, exit statuses, JSON, and what is written
//! into the table.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use house::{House, PROGRAM};
use rowhouse_machine::folder::DataFolder;
use rowhouse_machine::stack::journal::JournalFile;
use rowhouse_machine::stack::{Ongoing, StackRecord};

/// What the program said: exit status, stdout, stderr.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program with no environment but what a test gives.
fn program(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .stdin(Stdio::null());
    command
}

fn run(house: &House, arguments: &[&str]) -> Said {
    program(house.room()).args(arguments).arg("--data").arg(house.data()).output().unwrap().into()
}

#[track_caller]
fn refused(house: &House, arguments: &[&str], words: &str) {
    let said = run(house, arguments);
    assert_eq!(said.status, Some(1), "{arguments:?}: {}", said.err);
    assert!(said.out.is_empty(), "{}", said.out);
    assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
}

/// A folder with a table of no rows.
fn empty() -> House {
    let house = House::new(&[]);
    std::fs::DirBuilder::new().mode(0o700).create(house.data()).unwrap();
    assert_eq!(run(&house, &["ls"]).status, Some(0));
    house
}

/// A folder with the app `shop`, as a reactor has left it.
fn shop() -> House {
    let house = empty();
    let [one, two] = commits();
    house.sql(&format!(
        "insert into apps (name, version, scale, repo, env, build_env, status, load_balancer, \
         revision, healthy, seq) \
         values ('shop', 'main', 2, '/srv/shop.git', '{{\"SECRET\": \"hunter2\"}}', \
         '{{\"TOKEN\": \"hunter2\"}}', \
         'deployed', 'http://shop.localhost:8080', '{two}', 2, 4); \
         insert into history (name, at, version, repo, revision, scale, status) values \
         ('shop', '2026-01-01T10:00:00.000Z', 'main', '/srv/shop.git', '{one}', 2, 'deployed'), \
         ('shop', '2026-01-02T10:00:00.000Z', 'v3', '/srv/shop.git', '{one}', 2, 'deploy_failed'), \
         ('shop', '2026-01-03T10:00:00.000Z', 'main', '/srv/shop.git', '{two}', 2, 'deployed')"
    ));
    house
}

fn commits() -> [String; 2] {
    ["0123456789abcdef0123456789abcdef01234567".to_owned(), "fedcba98".repeat(5)]
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn help_names_every_command_and_fits_the_terminal() {
    let house = empty();
    let said = run(&house, &["--help"]);
    assert_eq!((said.status, said.err.as_str()), (Some(0), ""));
    for command in [
        "up", "down", "demo", "deploy", "put", "scale", "redeploy", "rollback", "rm", "ls", "show",
        "history", "events", "logs", "open", "doctor",
    ] {
        assert!(said.out.contains(&format!("\n  {command} ")), "{command}");
        let help = run(&house, &[command, "--help"]);
        assert_eq!(help.status, Some(0), "{command}");
        assert!(help.out.lines().all(|line| line.chars().count() <= 100), "{}", help.out);
    }
    assert!(!said.out.contains("shim"), "what is not for people is not shown");
    assert!(run(&house, &["--version"]).out.starts_with("rowhouse "));
}

#[test]
fn a_mistyped_command_line_is_the_users_and_ends_with_1() {
    let house = empty();
    for arguments in [
        &["nonsense"] as &[&str],
        &["put"],
        &["put", "shop", "--nonsense"],
        &["logs", "shop", "-n", "two"],
        &["put", "shop", "--timeout", "soon"],
        &["put", "shop", "--follow", "perhaps"],
        &["up", "--listen", "nowhere"],
        &["up", "--listen", "127.0.0.1"],
        &["up", "--max-scale", "many"],
        &["up", "--max-scale", "0"],
    ] {
        refused(&house, arguments, "error:");
    }
    assert_eq!(program(house.room()).output().unwrap().status.code(), Some(1));
}

#[test]
fn rows_on_aws_are_asked_for_by_an_option_or_a_variable() {
    let room = House::new(&[]);
    let folder = room.room().join("bin");
    std::fs::create_dir(&folder).unwrap();
    // In place of `rowhouse-aws`, a program that tells what it was called with.
    let other = folder.join("rowhouse-aws");
    std::fs::write(&other, "#!/bin/sh\necho \"$@\"\n").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    let itself = folder.join("rowhouse");
    std::fs::copy(PROGRAM, &itself).unwrap();
    let said = |platform: &str, arguments: &[&str]| -> Said {
        let mut command = Command::new(&itself);
        let home = room.room();
        let command = command.env_clear().env("HOME", home).env("ROWHOUSE_PLATFORM", platform);
        command.env("PATH", "/usr/bin:/bin").args(arguments).output().unwrap().into()
    };
    for (platform, arguments, told) in [
        ("", &["--aws", "ls"][..], "--aws ls\n"),
        (
            "",
            &["rm", "shop", "--aws", "--region", "eu-west-1"],
            "rm shop --aws --region eu-west-1\n",
        ),
        ("aws", &["put", "shop", "--env", "A=b c"], "put shop --env A=b c\n"),
        ("aws", &["doctor"], "doctor\n"),
        (
            "",
            &["aws", "--profile", "work", "install", "--repo", "x"],
            "--profile work install --repo x\n",
        ),
        ("", &["--region", "eu-west-1", "aws", "--help"], "--region eu-west-1 --help\n"),
    ] {
        let said = said(platform, arguments);
        assert_eq!(
            (said.out.as_str(), said.status),
            (told, Some(0)),
            "{arguments:?}: {}",
            said.err
        );
    }
    for (platform, arguments, words) in [
        ("", &["--aws", "up"][..], "this one is about this machine"),
        ("", &["--aws", "deploy"], "push it"),
        ("aws", &["deploy"], "push it"),
        ("", &["--region", "eu-west-1", "ls"], "put `--aws` before it"),
        ("azure", &["ls"], "it may be `machine` or `aws`"),
        ("", &["--aws", "ls", "--data", "x"], "are two platforms"),
    ] {
        let said = said(platform, arguments);
        assert_eq!(said.status, Some(1), "{arguments:?}: {}", said.out);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn what_could_never_run_is_refused_before_it_is_written() {
    let house = empty();
    let repo = house.repository("app");
    let commit = repo.web("v1");
    let repo = repo.path.display().to_string();
    let put = |name: &str, option: &str, value: &str, words: &str| {
        refused(&house, &["put", name, "--repo", &repo, "--version", "v1", option, value], words);
    };
    for scale in ["-1", "2.7", "two", ""] {
        put("shop", "--scale", scale, "a whole number from 0 to the platform's maximum");
    }
    for name in ["Shop", "my_shop", "", "1shop", "shop-", &"x".repeat(64)] {
        put(name, "--scale", "1", "`Name` is");
    }
    put("My_shop-", "--scale", "1", "hint: such as `my-shop`\n");
    put("shop", "--path", "../etc", "`Path` is");
    put("shop", "--health", "health", "`Health` is");
    put("shop", "--health-timeout", "2h", "`HealthTimeout` is");
    put("shop", "--memory", "0", "`Memory` is");
    put("shop", "--memory", "-1", "`Memory` is");
    put("shop", "--memory", "1G", "`Memory` is");
    put("shop", "--env", "1A=x", "a name must be letters");
    put("shop", "--env", "PORT=8080", "`Env` has `PORT`, which the platform gives");
    put("shop", "--env", "hunter2", "`--env` got a text without `=`");
    put("shop", "--env-file", "/nowhere", "cannot read the file `/nowhere`");
    refused(
        &house,
        &["put", "shop", "--repo", &repo, "--version=--upload-pack=id"],
        "`Version` is",
    );
    refused(&house, &["put", "shop", "--repo", "ext::sh -c id", "--version", "v1"], "`Repo` is");
    refused(&house, &["put", "shop", "--repo", "./nowhere"], "cannot be found");
    refused(&house, &["put", "shop"], "no repository is known");
    refused(
        &house,
        &["put", "shop", "--repo", "/"],
        "hint: look at the address: `git ls-remote /`",
    );
    let empty = house.repository("empty").path.display().to_string();
    refused(&house, &["put", "shop", "--repo", &empty], "--version REF");
    assert_eq!(house.sql("select count(*) from apps"), "0");
    assert!(!commit.is_empty());
}

#[test]
fn without_a_platform_put_writes_the_row_says_how_to_start_one_and_is_not_done() {
    let house = empty();
    let repository = house.repository("app");
    repository.web("v1");
    let said = program(house.room())
        .args(["put", "shop", "--repo", "app", "--data", "data"])
        .current_dir(house.room())
        .output()
        .map(Said::from)
        .unwrap();
    assert_eq!((said.status, said.out.as_str()), (Some(2), ""));
    let data = house.data().canonicalize().unwrap();
    assert_eq!(
        said.err,
        format!(
            "the row `shop` is written, and waits: no platform is at work\n\
             hint: `rowhouse up --data {}` starts one\n",
            data.display()
        )
    );
    assert_eq!(
        house.sql("select name, version, scale, repo, env from apps"),
        format!("shop|main|1|{}|", repository.path.canonicalize().unwrap().display())
    );
}

#[test]
fn put_on_a_row_changes_only_what_is_given() {
    let house = shop();
    assert_eq!(run(&house, &["put", "shop", "--scale", "3"]).status, Some(2));
    let rest = "select version, scale, env, build_env, health, health_timeout, follow from apps";
    assert_eq!(house.sql(rest), "main|3|{\"SECRET\": \"hunter2\"}|{\"TOKEN\": \"hunter2\"}|||");
    let said = run(
        &house,
        &[
            "put",
            "shop",
            "--env",
            "A=1",
            "--env",
            "B=x=y",
            "--unset-env",
            "SECRET",
            "--health",
            "/health",
            "--health-timeout",
            "90s",
            "--memory",
            "512",
            "--follow",
            "true",
            "--path",
            "web",
        ],
    );
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert_eq!(
        house.sql(rest),
        "main|3|{\"A\":\"1\",\"B\":\"x=y\"}|{\"TOKEN\": \"hunter2\"}|/health|90|1"
    );
    assert_eq!(house.sql("select memory from apps"), "512");
    let cleared = run(&house, &["put", "shop", "--health", "", "--path=", "--memory", ""]);
    assert_eq!(cleared.status, Some(2), "{}", cleared.err);
    let gone = "select health is null, path is null, memory is null from apps";
    assert_eq!(house.sql(gone), "1|1|1");
}

#[test]
fn variables_come_from_options_a_file_and_stdin() {
    let house = shop();
    let file = house.room().join("variables");
    std::fs::write(&file, "# no secrets\nexport A='from the file'\nB=2\n").unwrap();
    let mut child = program(house.room())
        .args(["put", "shop", "--env-file", file.to_str().unwrap(), "--env", "B=3", "--env", "C=-"])
        .arg("--data")
        .arg(house.data())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert_eq!(
        json(&house.sql("select env from apps")),
        serde_json::json!({ "A": "from the file", "B": "3", "C": "from \
            stdin", "SECRET": "hunter2" })
    );
    refused(&house, &["put", "shop", "--env", "A=-", "--env", "B=-"], "only one value");
    house.set("shop", "env = '[hunter2'");
    refused(&house, &["put", "shop", "--env", "A=1"], "`Env` is no map");
}

#[test]
fn a_bad_attribute_of_somebody_else_does_not_stop_a_good_change() {
    let house = shop();
    house.set("shop", "follow = 'perhaps', scale = 'two'");
    assert_eq!(run(&house, &["scale", "shop", "1"]).status, Some(2));
    assert_eq!(house.sql("select scale, follow from apps"), "1|perhaps");
}

#[test]
fn an_unknown_name_says_which_apps_there_are() {
    let house = shop();
    for arguments in [
        &["show", "shpo"] as &[&str],
        &["scale", "shpo", "2"],
        &["redeploy", "shpo"],
        &["rollback", "shpo"],
        &["rm", "shop", "shpo"],
        &["history", "shpo"],
        &["logs", "shpo"],
        &["events", "shpo"],
        &["open", "shpo"],
    ] {
        refused(
            &house,
            arguments,
            "error: no app is named `shpo`\nhint: did you mean `shop`? there are: shop\n",
        );
    }
    assert_eq!(house.sql("select count(*) from apps"), "1", "nothing is deleted if one is wrong");
    let none = empty();
    refused(&none, &["show", "shop"], "hint: there is no app yet: `rowhouse put NAME --repo URL");
}

#[test]
fn a_list_says_first_that_nobody_keeps_it_true() {
    let house = shop();
    let said = run(&house, &["ls"]);
    assert_eq!(
        said.err.lines().next().unwrap(),
        "warning: no reactor is at work (there has never been one here): nothing changes until one \
         is"
    );
    // The row was never answered in this form, so its word is not taken for an answer.
    assert_eq!(
        said.out,
        "NAME  STATUS   HEALTHY  VERSION  REVISION  URL                         NOBODY AT WORK \
         SINCE\n\
         shop  pending  2/2      main     fedcba9   http://shop.localhost:8080  ever\n"
    );
    let list = json(&run(&house, &["ls", "--json"]).out);
    assert_eq!(list["Reactor"], serde_json::json!({ "AtWork": false, "Since": null }));
    assert_eq!(list["Apps"][0]["Name"], "shop");
    assert_eq!(list["Apps"][0]["status"], "deployed");
    assert_eq!(list["Apps"][0]["Answered"], false);
    // One that is gone has written its lock last when it was there.
    let lock = house.data().join("state/lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    let gone = run(&house, &["ls"]).err;
    assert!(gone.starts_with("warning: no reactor is at work (last seen at 20"), "{gone}");
    // Also to who reads stdout alone.
    let since = json(&run(&house, &["ls", "--json"]).out)["Reactor"]["Since"].to_string();
    let second = &since[1..20];
    let listed = run(&house, &["ls"]).out;
    assert!(listed.lines().nth(1).unwrap().ends_with(&format!("  {second}Z")), "{listed}");
    let shown = run(&house, &["show", "shop"]).out;
    let told = format!("\nPlatform       nobody is at work since {second}Z: ");
    assert!(shown.contains(&told), "{shown}");
}

#[test]
fn what_keeps_an_app_from_coming_up_is_said_wherever_somebody_looks() {
    let house = shop();
    house.sql("delete from history");
    house.set("shop", "status = 'deploying', reason = 'retrying: cannot reach repository `x`'");
    for arguments in [&["ls"] as &[&str], &["logs", "shop"], &["history", "shop"]] {
        let said = run(&house, arguments);
        assert_eq!(said.status, Some(0));
        let why = "\nshop: retrying: cannot reach repository `x`\n";
        assert!(said.err.contains(why), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn show_as_json_tells_of_instances_and_who_is_at_work_as_it_always_has_to_the_byte() {
    let house = shop();
    run(&house, &["events"]);
    let folder = DataFolder::open(&house.data()).unwrap();
    let instance =
        format!(r#"{{"id":"1-1","port":4711,"digest":"d","commit":"{}","born":1}}"#, commits()[1]);
    let nothing = r#""running":null,"tried":null,"ongoing":null,"builds":[],"released":[]"#;
    let record = format!(
        r#"{{"name":"shop","id":"1","serial":1,"started":1,"instances":[{instance}],{nothing}}}"#
    );
    let journal = rusqlite::Connection::open(folder.journal()).unwrap();
    journal.execute("insert into stacks values ('shop', ?1)", [&record]).unwrap();
    let _hold = folder.hold().unwrap();
    let holder = concat!(
        r#"{"Pid":7,"Listen":"127.0.0.1:8080","Domain":"localhost","Path":null,"MaxScale":3,"#,
        r#""Since":"2026-01-01T10:00:00Z","Repository":"https://me:hunter2@example.com/a.git"}"#
    );
    std::fs::write(house.data().join("state/lock"), holder).unwrap();
    let shown = run(&house, &["show", "shop", "--json"]).out;
    let expected = r#"{
  "Answered": false,
  "BuildEnv": {
    "TOKEN": "***"
  },
  "Env": {
    "SECRET": "***"
  },
  "Healthy": 2,
  "Instances": [
    {
      "Id": "1-1",
      "Pid": null,
      "Port": 4711,
      "Revision": "fedcba98fedcba98fedcba98fedcba98fedcba98",
      "StartedAt": null,
      "State": "not running"
    }
  ],
  "LoadBalancer": "http://shop.localhost:8080",
  "Name": "shop",
  "Reactor": {
    "AtWork": true,
    "Holder": {
      "Domain": "localhost",
      "Listen": "127.0.0.1:8080",
      "MaxScale": 3,
      "Path": null,
      "Pid": 7,
      "Repository": "https://me:***@example.com/a.git",
      "Since": "2026-01-01T10:00:00Z"
    }
  },
  "Repo": "/srv/shop.git",
  "Revision": "fedcba98fedcba98fedcba98fedcba98fedcba98",
  "Scale": 2,
  "Seq": 4,
  "Version": "main",
  "status": "deployed"
}
"#;
    assert_eq!(shown, expected);
    let people = run(&house, &["show", "shop"]).out;
    let table = "\n\nINSTANCE  PID  PORT  STATE        REVISION  STARTED\n\
                 1-1       -    4711  not running  fedcba9   -\n";
    assert!(people.ends_with(table), "{people}");
}

#[test]
fn show_as_json_has_the_attributes_of_the_table_and_masks_secrets() {
    let house = shop();
    let text = run(&house, &["show", "shop", "--json"]).out;
    assert!(!text.contains("hunter2"), "{text}");
    let shown = json(&text);
    assert_eq!(
        shown,
        serde_json::json!({
            "Name": "shop", "Version": "main", "Scale": 2, "Repo": "/srv/shop.git",
            "Env": { "SECRET": "***" }, "BuildEnv": { "TOKEN": "***" },
            "status": "deployed", "LoadBalancer": "http://shop.localhost:8080",
            "Revision": commits()[1], "Healthy": 2, "Seq": 4, "Answered": false,
            "Instances": [], "Reactor": { "AtWork": false, "Since": null },
        })
    );
    let revealed = json(&run(&house, &["show", "shop", "--json", "--reveal"]).out);
    assert_eq!(revealed["Env"]["SECRET"], "hunter2");
    // For people too, and where it is no object at all.
    assert!(run(&house, &["show", "shop"]).out.contains("\nEnv            SECRET=***\n"));
    house.set("shop", "env = '[hunter2', repo = 'https://user:hunter2@example.com/a.git'");
    for arguments in [&["show", "shop"] as &[&str], &["ls", "--json"], &["show", "shop", "--json"]]
    {
        let said = run(&house, arguments).out;
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_password_of_a_repository_that_is_refused_is_not_repeated() {
    let house = shop();
    for repo in ["http://bot:hunter2@example.com/a.git", "bot:hunter2@example.com/a.git"] {
        house.set("shop", &format!("repo = '{repo}'"));
        house.sql(&format!("update history set repo = '{repo}'"));
        for arguments in [
            &["show", "shop"] as &[&str],
            &["show", "shop", "--json"],
            &["ls", "--json"],
            &["history", "shop", "--json"],
            &["put", "shop", "--repo", repo],
            &["put", "shop", "--repo", repo, "--version", "v1"],
            &["put", "new", "--repo", repo],
        ] {
            let Said { out, err, .. } = run(&house, arguments);
            assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{out}{err}");
        }
        let revealed = json(&run(&house, &["show", "shop", "--json", "--reveal"]).out);
        assert_eq!(revealed["Repo"], repo);
    }
}

#[test]
fn hostile_text_in_a_row_cannot_drive_a_terminal() {
    let house = shop();
    house.set(
        "shop",
        "reason = 'a' || char(27) || '[2Jb' || char(10) || 'error: c', version = \
        char(27) || ']0;x' || char(7), load_balancer = '--help' || char(8238)",
    );
    for arguments in [&["ls"] as &[&str], &["show", "shop"], &["history", "shop"]] {
        let said = run(&house, arguments);
        let all = format!("{}{}", said.out, said.err);
        assert!(!all.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{all:?}");
        assert!(!all.contains("\nerror: c"), "{all:?}");
    }
    refused(&house, &["open", "shop"], "has no URL yet");
}

#[test]
fn history_is_newest_first_and_outlives_the_row() {
    let house = shop();
    house.sql("delete from apps");
    let text = run(&house, &["history", "shop"]).out;
    assert_eq!(
        text,
        "RELEASE  AT                    STATUS         VERSION  REVISION  SCALE  REASON\n\
         -        2026-01-03T10:00:00Z  deployed       main     fedcba9   2\n\
         -        2026-01-02T10:00:00Z  deploy_failed  v3       0123456   2\n\
         -        2026-01-01T10:00:00Z  deployed       main     0123456   2\n"
    );
    let document = json(&run(&house, &["history", "shop", "--json"]).out);
    assert_eq!(document["Name"], "shop");
    assert_eq!(document["History"].as_array().unwrap().len(), 3);
    assert_eq!(document["History"][0]["Revision"], commits()[1].as_str());
    assert_eq!(document["History"][1]["status"], "deploy_failed");
}

#[test]
fn rollback_to_what_was_told_before_releases_were_kept_writes_the_commit_alone_and_says_so() {
    let house = shop();
    house.set("shop", "follow = 1");
    let rest = "select scale, repo, env from apps";
    let before = house.sql(rest);
    let said = run(&house, &["rollback", "shop"]);
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert!(said.err.starts_with("shop: rolling back to 0123456\n"), "{}", said.err);
    assert!(said.err.contains("the history has the commit alone"), "{}", said.err);
    assert!(said.err.contains("shop: Version: `main` → 0123456\n"), "{}", said.err);
    assert!(said.err.contains("shop: Follow: true → false\n"), "{}", said.err);
    let back = "to return to the branch: rowhouse put shop --version main --follow true --data";
    assert!(said.err.contains(back), "{}", said.err);
    let written = house.sql("select version, follow, redeploy from apps");
    assert_eq!(written, format!("{}|0|1", commits()[0]));
    assert_eq!(house.sql(rest), before);
}

/// As a reactor tells of a rollout.
fn told(house: &House, number: u32, revision: &str, generation: &str, attributes: &str) {
    house.sql(&format!(
        "insert into history (name, at, version, repo, path, revision, scale, status, generation, \
         number) values ('shop', '2026-02-0{number}T10:00:00.000Z', 'main', '/srv/shop.git', '', \
         '{revision}', 2, 'deployed', '{generation}', {number}); \
         insert into apps_releases values ('shop', '{generation}', '{attributes}')"
    ));
}

#[test]
fn rollback_shows_what_changes_and_no_secret_and_writes_it_all() {
    let house = shop();
    let [one, two] = commits();
    let then = r#"{"Version":"main","Scale":1,"Env":{"SECRET":"hunter3","B":"x"},"Follow":1}"#;
    told(&house, 1, &one, "g1", then);
    let repo = r#"{"Version":"main","Scale":1,"Repo":"https://bot:hunter2@git/a"}"#;
    told(&house, 2, &two, "g2", repo);
    let said = run(&house, &["rollback", "shop", "1"]);
    for line in [
        "shop: rolling back to 0123456, release 1 of 2026-02-01T10:00:00Z\n",
        "shop: Version: `main` → 0123456\n",
        "shop: Env: B=(none) → ***, SECRET=*** → ***\n",
        "shop: BuildEnv: TOKEN=*** → (none)\n",
        "shop: Redeploy: (none) → 1\n",
    ] {
        assert!(said.err.contains(line), "{line}: {}", said.err);
    }
    assert!(!said.err.contains("hunter"), "{}", said.err);
    assert_eq!(
        house.sql("select version, scale, repo, path, env, build_env, follow, redeploy from apps"),
        format!(r#"{one}|2|/srv/shop.git||{{"B":"x","SECRET":"hunter3"}}||0|1"#),
        "the repository of the platform of then is named, for nobody knows today's"
    );
    let said = run(&house, &["rollback", "shop", "2"]);
    assert!(said.err.contains("Repo: `/srv/shop.git` → `https://bot:***@git/a`\n"), "{}", said.err);
    assert!(!said.err.contains("hunter"), "{}", said.err);
    assert_eq!(house.sql("select repo from apps"), "https://bot:hunter2@git/a");
}

#[test]
fn a_release_that_was_cut_or_lost_offers_its_commit() {
    for damage in [
        "update apps_releases set attributes = '{\"Env'",
        "update apps_releases set attributes = x'00'",
        "delete from apps_releases",
    ] {
        let house = shop();
        told(&house, 1, &commits()[0], "g1", r#"{"Version":"main","Env":{}}"#);
        house.sql(damage);
        let said = run(&house, &["rollback", "shop", "1"]);
        assert!(said.err.contains("the history has the commit alone"), "{damage}: {}", said.err);
        assert!(house.sql("select env from apps").contains("hunter2"), "{damage}");
    }
}

#[test]
fn a_release_that_could_not_run_is_refused_before_anything_is_written() {
    let house = shop();
    told(&house, 1, &commits()[0], "g1", r#"{"Version":"main","Repo":"http://git/a"}"#);
    let before = house.sql("select * from apps");
    refused(&house, &["rollback", "shop", "1"], "`Repo` is `http://git/a`");
    assert_eq!(house.sql("select * from apps"), before);
    house.sql("update history set status = 'deploy_failed'");
    refused(&house, &["rollback", "shop", "1"], "release `1` failed: it never served");
    refused(
        &house,
        &["rollback", "shop", "7"],
        "the history of `shop` has neither a release nor a revision `7`",
    );
}

/// What another program writes just before the rollback does.
#[test]
fn a_row_that_is_another_than_was_shown_is_not_rolled_back() {
    let house = shop();
    let writer = "begin immediate; update apps set scale = 3; ";
    let mut other = Command::new("sqlite3");
    let other = other.arg(house.table()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut other = other.spawn().unwrap();
    let mut statements = other.stdin.take().unwrap();
    // It holds the table until the rollback has read the row and waits to write it.
    writeln!(statements, "{writer} select 'held';").unwrap();
    let mut answers = BufReader::new(other.stdout.take().unwrap()).lines();
    assert_eq!(answers.next().unwrap().unwrap(), "held");
    let mut command = program(house.room());
    command.args(["rollback", "shop", "--data"]).arg(house.data());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(told.next().unwrap().unwrap().contains("rolling back to 0123456"));
    writeln!(statements, "commit;").unwrap();
    drop(statements);
    other.wait().unwrap();
    let rest: Vec<String> = told.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("superseded: `shop`")), "{rest:?}");
    assert_eq!(house.sql("select version, scale from apps"), "main|3");
}

#[test]
fn rollback_names_no_branch_that_was_never_deployed() {
    let house = shop();
    let [one, _] = commits();
    house.sql(&format!("update history set version = '{one}' where status = 'deployed'"));
    house.set("shop", "version = 'no-such-branch'");
    let said = run(&house, &["rollback", "shop", &one]);
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert!(!said.err.contains("to return to the branch"), "{}", said.err);
}

#[test]
fn rollback_takes_a_revision_by_its_first_digits_if_that_is_clear() {
    let house = shop();
    let two = &commits()[1];
    assert_eq!(run(&house, &["rollback", "shop", "FEDCBA9"]).status, Some(2));
    assert_eq!(house.sql("select version from apps"), *two);
    for bad in ["fedcba", "main", "fedcba98x"] {
        refused(&house, &["rollback", "shop", bad], "is no revision of the history");
    }
    refused(&house, &["rollback", "shop", "1234567"], "has neither a release nor a revision");
    house.sql(&format!(
        "insert into history (name, at, version, revision, status) values \
         ('shop', '2026-01-04T10:00:00Z', 'x', '{}{}', 'deployed')",
        &two[..10],
        "0".repeat(30)
    ));
    refused(&house, &["rollback", "shop", "fedcba9"], "begins more than one revision");
    let other = "abcdef01".repeat(5);
    house.sql(&format!(
        "insert into history (name, at, version, repo, revision, status) values \
         ('shop', '2026-01-05T10:00:00Z', 'x', '/srv/another.git', '{other}', 'deployed')"
    ));
    run(&house, &["rollback", "shop"]);
    assert_ne!(house.sql("select version from apps"), other, "it is in another repository");
    house.sql("delete from history");
    refused(&house, &["rollback", "shop"], "has no earlier release to go back to");
}

#[test]
fn rm_without_a_platform_deletes_the_row_and_says_what_remains_to_be_done() {
    let house = shop();
    let said = run(&house, &["rm", "shop"]);
    assert_eq!(said.status, Some(0));
    assert!(said.err.contains("no platform is at work"), "{}", said.err);
    assert_eq!(house.sql("select count(*) from apps"), "0");
}

#[test]
fn the_data_folder_is_named_before_or_after_the_command_by_the_variable_or_by_xdg() {
    let house = shop();
    let data = house.data();
    let data = data.to_str().unwrap();
    let names = |command: &mut Command| -> String {
        let said = Said::from(command.output().unwrap());
        assert_eq!(said.status, Some(0), "{}", said.err);
        json(&said.out)["Apps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|app| app["Name"].to_string())
            .collect()
    };
    let program = || program(house.room());
    assert_eq!(names(program().args(["--data", data, "ls", "--json"])), "\"shop\"");
    assert_eq!(names(program().args(["ls", "--data", data, "--json"])), "\"shop\"");
    assert_eq!(names(program().args(["ls", "--json"]).env("ROWHOUSE_DATA", data)), "\"shop\"");
    // The option goes over the variable, and an empty variable is none.
    let elsewhere = house.room().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let elsewhere = elsewhere.to_str().unwrap();
    assert_eq!(
        names(program().args(["ls", "--json", "--data", elsewhere]).env("ROWHOUSE_DATA", data)),
        ""
    );
    assert_eq!(names(program().args(["ls", "--json"]).env("ROWHOUSE_DATA", "")), "");
    let empty = program().args(["ls", "--data", ""]).output().unwrap();
    assert_eq!(empty.status.code(), Some(1), "a variable of a script that is not set");
    assert!(house.room().join(".local/share/rowhouse/rowhouse.db").is_file());
    let xdg = house.room().join("xdg");
    assert_eq!(names(program().args(["ls", "--json"]).env("XDG_DATA_HOME", &xdg)), "");
    assert!(xdg.join("rowhouse/rowhouse.db").is_file());
    let databases = std::fs::read_dir(xdg.join("rowhouse"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "db"));
    assert_eq!(databases.count(), 1);
}

#[test]
fn hints_name_the_folder_only_where_they_must() {
    let house = empty();
    let hint = |command: &mut Command| {
        let said = Said::from(command.arg("ls").output().unwrap());
        said.err.lines().nth(1).unwrap().to_owned()
    };
    let program = || program(house.room());
    assert_eq!(hint(&mut program()), "hint: `rowhouse up` starts one");
    let spaced = house.room().join("my data");
    std::fs::create_dir(&spaced).unwrap();
    assert_eq!(hint(program().env("ROWHOUSE_DATA", &spaced)), "hint: `rowhouse up` starts one");
    assert_eq!(
        hint(program().arg("--data").arg(&spaced)),
        format!("hint: `rowhouse up --data '{}'` starts one", spaced.display())
    );
}

#[test]
fn a_mistyped_folder_is_not_made_by_those_who_only_read() {
    let house = House::new(&[]);
    for arguments in
        [&["ls"] as &[&str], &["show", "shop"], &["rm", "shop"], &["down"], &["doctor"]]
    {
        refused(&house, arguments, "there is no data folder");
    }
    assert!(!house.data().exists());
}

#[test]
fn a_mistake_makes_no_data_folder() {
    let house = House::new(&[]);
    let outside = house.room().join("outside");
    std::fs::create_dir(&outside).unwrap();
    refused(&house, &["put", "shop"], "no repository is known for a new app");
    refused(&house, &["put", "Shop", "--version", "main"], "`Name` is");
    refused(&house, &["put", "shop", "--repo", "./nowhere"], "cannot be found");
    let deploy = program(house.room())
        .args(["deploy", "--data"])
        .arg(house.data())
        .current_dir(outside)
        .output()
        .map(Said::from)
        .unwrap();
    assert_eq!(deploy.status, Some(1), "{}", deploy.err);
    assert!(!house.data().exists());
}

#[test]
fn a_file_in_place_of_the_data_folder_is_said_to_be_one() {
    let house = House::new(&[]);
    std::fs::write(house.data(), "").unwrap();
    let said = run(&house, &["up"]);
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains("hint: that is a file: name a folder"), "{}", said.err);
}

#[test]
fn a_usage_asks_for_no_option_that_a_variable_gives() {
    let house = shop();
    let said = program(house.room())
        .arg("put")
        .env("ROWHOUSE_DATA", house.data())
        .output()
        .map(Said::from)
        .unwrap();
    assert!(said.err.contains("Usage: rowhouse put"), "{}", said.err);
    assert!(!said.err.contains("--data"), "{}", said.err);
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error_that_is_told() {
    let house = shop();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let said = program(house.room())
        .args(["history", "shop", "--data"])
        .arg(house.data())
        .stdout(full)
        .output()
        .map(Said::from)
        .unwrap();
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains("error: cannot write the answer: No space left"), "{}", said.err);
}

#[test]
fn the_browser_that_somebody_names_is_opened() {
    let house = shop();
    let browser = house.room().join("browser");
    std::fs::write(
        &browser,
        format!("#!/bin/sh\necho \"$@\" > {}/opened\n", house.room().display()),
    )
    .unwrap();
    std::fs::set_permissions(&browser, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let bin = house.room().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let said = program(house.room())
        .args(["open", "shop", "--data"])
        .arg(house.data())
        // No other opener is there.
        .env("PATH", bin)
        .env("BROWSER", format!("nowhere:{} --new", browser.display()))
        .output()
        .map(Said::from)
        .unwrap();
    assert!(!said.err.contains("no browser"), "{}", said.err);
    let opened = std::fs::read_to_string(house.room().join("opened")).unwrap();
    assert_eq!(opened, "--new http://shop.localhost:8080\n");
}

#[test]
fn colour_goes_to_terminals_only_and_a_gone_reader_is_no_error() {
    let house = shop();
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "1")] {
        let said = program(house.room())
            .args(["show", "shpo", "--data"])
            .arg(house.data())
            .env(name, value)
            .env("TERM", "xterm")
            .output()
            .map(Said::from)
            .unwrap();
        assert!(!said.err.contains('\u{1b}'), "{:?}", said.err);
    }
    for arguments in [&["--help"] as &[&str], &["ls"], &["show", "shop", "--json"], &["doctor"]] {
        let mut child = program(house.room())
            .args(arguments)
            .arg("--data")
            .arg(house.data())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn on_a_terminal_labels_have_colour_unless_no_color_is_set() {
    let house = shop();
    let on_terminal = |no_color: &str| {
        let line = format!("{PROGRAM} show shpo --data {}", house.data().display());
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output();
        output.ok().filter(|output| !output.stdout.is_empty())
    };
    let Some(coloured) = on_terminal("") else {
        println!("skipped: there is no `script` to make a terminal");
        return;
    };
    assert!(String::from_utf8_lossy(&coloured.stdout).contains("\u{1b}[1;31merror\u{1b}[0m: "));
    let plain = on_terminal("1").unwrap();
    assert!(!String::from_utf8_lossy(&plain.stdout).contains('\u{1b}'));
}

#[test]
fn on_a_narrow_terminal_no_word_is_broken() {
    let house = shop();
    house.set("shop", "version = 'a-branch-of-thirty-five-letters-long'");
    let said = |columns: u32, arguments: &str| {
        let line = format!(
            "stty cols {columns}; {PROGRAM} {arguments} --data {} 2>/dev/null",
            house.data().display()
        );
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(Stdio::null())
            .output();
        let output = output.ok().filter(|output| !output.stdout.is_empty())?;
        Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
    };
    let Some(list) = said(60, "ls") else {
        println!("skipped: there is no `script` to make a terminal");
        return;
    };
    assert!(list.contains("\n    fedcba9 http://shop.localhost:8080 ever\n"), "{list}");
    let history = said(60, "history shop").unwrap();
    assert!(history.contains("2026-01-02T10:00:00Z  deploy_failed"), "{history}");
    for text in [list, history, said(80, "ls").unwrap()] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn doctor_checks_everything_and_names_the_cures() {
    let house = shop();
    let said = run(&house, &["doctor"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    for check in ["folder", "disk", "table", "reactor", "orphans", "git", "cargo", "kernel"] {
        assert!(said.out.lines().any(|line| line.contains(check)), "{check}: {}", said.out);
    }
    let document = json(&run(&house, &["doctor", "--json"]).out);
    let checks = document["Checks"].as_array().unwrap();
    let reactor = checks.iter().find(|check| check["Check"] == "reactor").unwrap();
    assert_eq!(reactor["State"], "warning");
    assert!(reactor["Cure"].as_str().unwrap().contains("rowhouse up"), "{reactor}");
    // Without git nothing can be deployed.
    let bare = house.room().join("bin");
    std::fs::create_dir(&bare).unwrap();
    let broken = program(house.room())
        .args(["doctor", "--data"])
        .arg(house.data())
        .env("PATH", &bare)
        .output()
        .map(Said::from)
        .unwrap();
    assert_eq!(broken.status, Some(1));
    assert!(broken.out.contains("broken   git          not found\n"), "{}", broken.out);
    assert!(broken.out.contains("→ install it: on Debian `apt install git`\n"), "{}", broken.out);
}

#[test]
fn doctor_says_what_is_wrong_with_the_folder_itself() {
    let house = House::new(&[]);
    let file = house.room().join("file");
    std::fs::write(&file, "").unwrap();
    let said = program(house.room()).args(["doctor", "--data"]).arg(&file).output();
    let said = said.map(Said::from).unwrap();
    assert_eq!(said.status, Some(1));
    assert!(said.out.contains("broken   folder"), "{}{}", said.out, said.err);
    let damaged = empty();
    std::fs::write(damaged.table(), "this is no database, and long enough to be looked at")
        .unwrap();
    let said = run(&damaged, &["doctor"]);
    assert_eq!(said.status, Some(1));
    assert!(said.out.contains("broken   table"), "{}{}", said.out, said.err);
}

#[test]
fn down_with_nothing_to_stop_says_so_and_succeeds() {
    let house = shop();
    let said = run(&house, &["down"]);
    assert_eq!((said.status, said.out.as_str()), (Some(0), "nothing was running; rows stay\n"));
    assert_eq!(house.sql("select count(*) from apps"), "1");
}

#[test]
fn deploy_takes_the_project_in_the_folder_and_warns_of_what_is_left_out() {
    let house = empty();
    let deploy = |folder: &Path| -> Said {
        program(house.room())
            .args(["deploy", "--data"])
            .arg(house.data())
            .current_dir(folder)
            .output()
            .unwrap()
            .into()
    };
    let outside = house.room().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let said = deploy(&outside);
    assert_eq!(said.status, Some(1));
    assert!(said.err.contains("is in no git repository\nhint: `git init"), "{}", said.err);

    let repository = house.repository("My_Shop");
    let said = deploy(&repository.path);
    assert!(said.err.contains("has no commit yet\nhint: `git add"), "{}", said.err);
    let commit = repository.web("v1");
    let said = deploy(&repository.path);
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert!(said.err.contains("it has no remote `origin`"), "{}", said.err);
    assert!(!said.err.contains("warning"), "{}", said.err);
    let root = repository.path.canonicalize().unwrap();
    let row = "select name, version, scale, repo, path from apps where name = ";
    assert_eq!(
        house.sql(&format!("{row} 'my-shop'")),
        format!("my-shop|{commit}|1|{}|", root.display())
    );

    // A folder in it, with files that nobody has committed, and a remote that has the commit.
    let part = repository.path.join("part");
    std::fs::create_dir(&part).unwrap();
    std::fs::write(part.join("new"), "").unwrap();
    repository.git(&["remote", "add", "origin", "https://example.com/shop.git"]);
    let said = deploy(&part);
    assert!(said.err.contains("warning: 1 file is not committed"), "{}", said.err);
    assert!(said.err.contains("not pushed to `origin`"), "{}", said.err);
    repository.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let said = deploy(&part);
    assert!(said.err.contains("the remote `origin`, which has this commit"), "{}", said.err);
    assert_eq!(
        house.sql(&format!("{row} 'part'")),
        format!("part|{commit}|1|https://example.com/shop.git|part")
    );
    // A password has no place in a row.
    repository.git(&["remote", "set-url", "origin", "https://me:hunter2@example.com/shop.git"]);
    let said = deploy(&part);
    assert!(said.err.contains("has a password in it") && !said.err.contains("hunter2"));
    assert!(house.sql(&format!("{row} 'part'")).contains(&root.display().to_string()));
}

#[test]
fn the_demo_removes_nothing_but_what_an_earlier_demo_has_made() {
    let house = House::new(&[]);
    let (data, thesis) = (house.data(), house.data().join("thesis.txt"));
    std::fs::create_dir_all(data.join("hello-repository")).unwrap();
    std::fs::write(&thesis, "years of work").unwrap();
    refused(&house, &["demo"], "holds something that is no demo");
    assert!(thesis.exists() && data.join("hello-repository").exists());
    // A demo's folder, into which somebody has put something since.
    std::fs::remove_dir(data.join("hello-repository")).unwrap();
    std::fs::remove_file(&thesis).unwrap();
    let demo = || {
        let listen = format!("127.0.0.1:{}", house.port);
        let mut child = Command::new(PROGRAM)
            .args(["demo", "--listen", &listen, "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let before: Vec<String> =
            told.by_ref().take_while(|line| !line.starts_with("hello: ")).collect();
        let second = run(&house, &["demo"]);
        assert!(second.err.contains("a demo is running already"), "{}", second.err);
        house::kill("-INT", child.id());
        told.for_each(drop);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        before.concat()
    };
    assert!(!demo().contains("starting clean"));
    std::fs::write(&thesis, "years of work").unwrap();
    let old = data.join("logs/old");
    std::fs::create_dir(&old).unwrap();
    assert!(demo().contains("starting clean"));
    assert_eq!(std::fs::read_to_string(&thesis).unwrap(), "years of work");
    assert!(!old.exists());
}

#[test]
fn a_folder_that_is_open_to_others_is_closed_before_a_row_is_written() {
    let house = House::new(&[]);
    let data = house.data();
    let open = |mode| {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |name: &str| data.join(name).metadata().unwrap().mode() & 0o7777;
    std::fs::create_dir(&data).unwrap();
    open(0o755);
    let put = ["put", "shop", "--repo", "https://example.com/a", "--version", "v1"];
    let said = run(&house, &put);
    assert_eq!(said.status, Some(2), "{}", said.err);
    assert!(said.err.starts_with("warning: the data folder `"), "{}", said.err);
    assert!(said.err.contains("was open to others (mode 755), and is closed now"), "{}", said.err);
    assert_eq!(
        (mode(""), mode("rowhouse.db"), mode("state/journal.sqlite")),
        (0o700, 0o600, 0o600)
    );
    // Opened to the group once there is a table: on purpose, and told by those whose part it is.
    open(0o770);
    assert!(!run(&house, &put).err.contains("open to others"));
    assert_eq!(mode(""), 0o770);
    let doctor = run(&house, &["doctor"]).out;
    assert!(doctor.contains("the data folder is open to others (mode 770)"), "{doctor}");
    assert!(doctor.contains("`chmod 700 "), "{doctor}");
    open(0o700);
    assert!(run(&house, &["doctor"]).out.contains("only its owner may enter the data folder"));
}

#[test]
fn rm_waits_for_a_stack_that_the_reactor_is_just_making() {
    let house = shop();
    house.set("shop", "status = 'deploying'");
    // A platform at work that has claimed the row, and not yet journalled what it makes.
    let folder = DataFolder::open(&house.data()).unwrap();
    let _hold = folder.hold().unwrap();
    let mut child = program(house.room())
        .args(["rm", "shop", "--data"])
        .arg(house.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    house::wait_for("the row to be deleted", || {
        (house.sql("select count(*) from apps") == "0").then_some(())
    });
    let journal = rusqlite::Connection::open(folder.journal()).unwrap();
    let name = rowhouse_core::AppName::parse("shop").unwrap();
    let record = StackRecord::new(name, "1".to_owned(), Ongoing::RollBack { failed: None });
    JournalFile::open(&folder.journal()).unwrap().write(&record).unwrap();
    house.sql("delete from changes");
    let event = "insert into events (at, name, kind, text) values ('', 'shop', 'cancelled', 'now')";
    journal.execute_batch(event).unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(told.next().as_deref(), Some("shop: cancelled: now"));
    journal.execute_batch("delete from stacks; delete from stacks_copies").unwrap();
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!((said.status, said.out.as_str()), (Some(0), "shop  deleted\n"));
}

#[test]
fn who_does_not_wait_is_done_where_no_platform_is_at_work_and_nobody_else_is() {
    let house = shop();
    for arguments in [
        &["put", "shop", "--health", "/a"] as &[&str],
        &["scale", "shop", "1"],
        &["redeploy", "shop"],
        &["rollback", "shop"],
    ] {
        let said = run(&house, arguments);
        assert_eq!(said.status, Some(2), "{arguments:?}: {}", said.err);
        assert!(said.err.contains("is written, and waits: no platform is at work"), "{}", said.err);
        let left = run(&house, &[arguments, &["--no-wait"]].concat());
        assert_eq!(left.status, Some(0), "{arguments:?}: {}", left.err);
    }
}

#[test]
fn no_text_of_an_env_file_and_no_value_is_printed_where_it_is_wrong() {
    let house = shop();
    let file = house.room().join(".env");
    let env_file = file.to_str().unwrap();
    for (text, words) in [
        ("A=1\nDATABASE_URL: postgres://u:hunter2@h?a=b\n", "error: line 2 of the file `"),
        ("hunter2\n", "` has no `=`"),
        ("A=\"hunter2\n", "opens a quote that is never closed"),
        ("A='x' hunter2\n", "goes on behind the quote"),
        ("A\0B=hunter2\n", "no name of a variable"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = run(&house, &["put", "shop", "--env-file", env_file]);
        assert_eq!(said.status, Some(1), "{text}");
        assert!(said.err.contains(words) && !said.err.contains("hunter2"), "{}", said.err);
    }
    std::fs::write(&file, b"\xff\xfeA\0").unwrap();
    refused(&house, &["put", "shop", "--env-file", env_file], "is no text in UTF-8");
    for option in ["--env", "--build-env"] {
        for given in ["A:hunter2", "hunter2", "postgres://u:hunter2@h?a=b", "hunter 2=x"] {
            let said = run(&house, &["put", "shop", option, given]);
            assert_eq!(said.status, Some(1), "{given}");
            assert!(!said.err.contains("hunter"), "{}", said.err);
        }
    }
    assert_eq!(house.sql("select env from apps"), "{\"SECRET\": \"hunter2\"}");
}

#[test]
fn deploy_never_takes_the_name_of_another_app() {
    let house = empty();
    let said = |folder: &Path, arguments: &[&str]| -> Said {
        let mut command = program(house.room());
        command.args(arguments).arg("--data").arg(house.data()).current_dir(folder);
        command.output().unwrap().into()
    };
    let (one, other) = (house.repository("a/sub"), house.repository("b/sub"));
    one.web("v1");
    let commit = other.web("v1");
    assert_eq!(said(&one.path, &["deploy", "--no-wait"]).status, Some(0));
    let row = house.sql("select repo, version, path from apps");
    let refused = said(&other.path, &["deploy", "--no-wait"]);
    assert_eq!(refused.status, Some(1), "{}", refused.err);
    let real = |path: &Path| path.canonicalize().unwrap().display().to_string();
    let (theirs, ours) = (real(&one.path), real(&other.path));
    let words = format!("error: the app `sub` comes from `{theirs}`, and this is `{ours}`\n");
    assert!(refused.err.starts_with(&words), "{}", refused.err);
    assert!(refused.err.contains("`rowhouse deploy --name NAME --data "), "{}", refused.err);
    assert_eq!(house.sql("select repo, version, path from apps"), row);
    // Both ways on, as they are shown.
    assert_eq!(said(&other.path, &["deploy", "--name", "mine", "--no-wait"]).status, Some(0));
    let put = refused.err.split_once("rowhouse put ").unwrap().1.split_once(" --data").unwrap().0;
    let put = put.replace("''", "");
    let words: Vec<&str> = put.split(' ').collect();
    let put = said(house.room(), &[&["put"], words.as_slice(), &["--no-wait"]].concat());
    assert_eq!(put.status, Some(0), "{}", put.err);
    let of = |name: &str| {
        house.sql(&format!("select repo, version, path from apps where name = '{name}'"))
    };
    assert_eq!((of("sub"), of("mine")), (format!("{ours}|{commit}|"), format!("{ours}|{commit}|")));
    assert_eq!(said(&other.path, &["deploy", "--no-wait"]).status, Some(0));
    // A folder of the repository is another app than the whole of it.
    let inner = other.path.join("sub");
    std::fs::create_dir(&inner).unwrap();
    let refused = said(&inner, &["deploy"]).err;
    assert!(refused.contains(&format!("this is the folder `sub` of `{ours}`")), "{refused}");
    // A row without a repository is the platform's.
    house.set("sub", "repo = null");
    let refused = said(&other.path, &["deploy"]).err;
    assert!(refused.contains("`sub` comes from the platform's repository"), "{refused}");
}

#[test]
fn deploy_makes_up_no_name() {
    let house = empty();
    let long = "x".repeat(80);
    for (folder, example) in [("日本", "shop"), ("123", "shop"), (&long, &long[..63])] {
        let repository = house.repository(folder);
        repository.web("v1");
        let said = program(house.room())
            .args(["deploy", "--data"])
            .arg(house.data())
            .current_dir(&repository.path)
            .output()
            .map(Said::from)
            .unwrap();
        assert_eq!(said.status, Some(1), "{}", said.err);
        let hint = format!("hint: give it one, such as `rowhouse deploy --name {example}`\n");
        assert!(said.err.ends_with(&hint), "{}", said.err);
    }
    assert_eq!(house.sql("select count(*) from apps"), "0");
}

#[test]
fn a_commit_is_not_followed_and_what_was_followed_is_said() {
    let house = shop();
    let [one, _] = commits();
    refused(
        &house,
        &["put", "new", "--repo", "https://example.com/a", "--version", &one, "--follow", "yes"],
        "there is nothing to follow: the version is the commit 0123456\nhint: name a branch: \
         `rowhouse put new",
    );
    house.set("shop", "follow = 1");
    let said = run(&house, &["put", "shop", "--version", &one, "--no-wait"]);
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.err.contains("it no longer follows `main`"), "{}", said.err);
    assert!(said.err.contains("put shop --version main --follow true"), "{}", said.err);
    assert_eq!(house.sql("select version, follow from apps"), format!("{one}|0"));
    refused(&house, &["put", "shop", "--follow", "true"], "there is nothing to follow");
    // A row by hand that has both already can still be changed.
    house.set("shop", "follow = 1");
    assert_eq!(run(&house, &["scale", "shop", "1", "--no-wait"]).status, Some(0));
    for (word, flag) in [("yes", "1"), ("off", "0"), ("true", "1")] {
        run(&house, &["put", "shop", "--version", "main", "--follow", word, "--no-wait"]);
        assert_eq!(house.sql("select follow from apps"), flag, "{word}");
    }
}

#[test]
fn a_version_that_is_named_is_looked_up_by_the_next_platform_where_none_is_at_work() {
    let house = shop();
    let written = |arguments: &[&str]| {
        let said = run(&house, &[arguments, &["--no-wait"]].concat());
        assert_eq!(said.status, Some(0), "{arguments:?}: {}", said.err);
        house.sql("select version, scale, redeploy from apps")
    };
    assert_eq!(written(&["scale", "shop", "1"]), "main|1|");
    assert_eq!(written(&["put", "shop", "--scale", "2"]), "main|2|");
    assert_eq!(written(&["put", "shop", "--version", "main"]), "main|2|1");
    assert_eq!(written(&["put", "shop", "--version", "main", "--scale", "3"]), "main|3|2");
    // Another version is another source, and a commit never moves.
    assert_eq!(written(&["put", "shop", "--version", "v2"]), "v2|3|2");
    let commit = &commits()[0];
    assert_eq!(written(&["put", "shop", "--version", commit]), format!("{commit}|3|2"));
    let again = ["put", "shop", "--version", commit, "--scale", "1"];
    assert_eq!(written(&again), format!("{commit}|1|2"));
}

#[test]
fn a_value_of_several_lines_is_shown_as_such_and_drives_no_terminal() {
    let house = shop();
    let value = r#"{"KEY": "-----BEGIN\u001b[2J\r\nPORT=1\n-----END", "Z": "plain"}"#;
    house.set("shop", &format!("env = '{value}'"));
    let said = run(&house, &["show", "shop", "--reveal"]);
    let expected = "Env            KEY=-----BEGIN\n                   PORT=1\n\
                    \x20                  -----END\n               Z=plain\n";
    assert!(said.out.contains(expected), "{}", said.out);
    assert!(!said.out.contains('\u{1b}') && !said.out.contains('\r'), "{:?}", said.out);
    let document = json(&run(&house, &["show", "shop", "--reveal", "--json"]).out);
    assert_eq!(document["Env"]["KEY"], "-----BEGIN\u{1b}[2J\r\nPORT=1\n-----END");
}

#[test]
fn no_command_or_option_that_is_hidden_is_suggested() {
    let house = empty();
    for arguments in [
        &["instanc"] as &[&str],
        &["instances"],
        &["shims"],
        &["up", "--onl", "shop"],
        &["up", "--suply", "x"],
        &["--supplyy", "up"],
        &["--onlyy", "up"],
    ] {
        let said = run(&house, arguments);
        assert_eq!(said.status, Some(1), "{arguments:?}");
        for hidden in ["'instance'", "--only'", "--supply'", "--only <", "--supply <", "'shim'"] {
            assert!(!said.err.contains(hidden), "{arguments:?}: {}", said.err);
        }
    }
    // What is for people is.
    for (arguments, suggested) in [
        (&["deploi"] as &[&str], "'deploy'"),
        (&["up", "--listne", "127.0.0.1:1"], "'--listen"),
        (&["--listne", "up"], "'up --listen' exists"),
    ] {
        refused(&house, arguments, suggested);
    }
}

#[test]
fn on_a_narrow_terminal_sentences_end_between_words() {
    let house = shop();
    house.set("shop", "reason = 'no such thing as a free lunch was found, however hard we looked'");
    let said = |arguments: &str| {
        let line = format!(
            "stty cols 60; export NO_COLOR=1; {PROGRAM} {arguments} --data {} 2>&1",
            house.data().display()
        );
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(Stdio::null())
            .output();
        let output = output.ok().filter(|output| !output.stdout.is_empty())?;
        Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
    };
    if said("ls").is_none() {
        println!("skipped: there is no `script` to make a terminal");
        return;
    }
    let mut texts = Vec::new();
    for arguments in ["ls", "show shop", "doctor", "history shop"] {
        let text = said(arguments).unwrap();
        for line in text.lines().filter(|line| line.chars().count() > 60) {
            // The folder of this test is a word that has no room.
            assert!(line.contains(house.data().to_str().unwrap()), "{arguments}: {line}\n{text}");
        }
        texts.push(text);
    }
    let access = "only its owner may enter the data\n                      folder\n";
    assert!(texts[2].contains(access), "{}", texts[2]);
}

#[test]
fn doctor_says_what_takes_room_and_how_to_get_it_back() {
    let house = shop();
    std::fs::write(house.build_home_of("shop").join("wheel"), vec![1; 5 << 20]).unwrap();
    std::fs::write(house.build_home_of("blog").join("wheel"), vec![1; 3 << 20]).unwrap();
    let said = run(&house, &["doctor"]);
    assert_eq!(said.status, Some(0), "{}{}", said.out, said.err);
    let line = said.out.lines().find(|line| line.starts_with("ok       room")).unwrap();
    assert!(line.contains("taken: "), "{line}");
    assert!(line.contains("build caches "), "{line}");
    let (shop, blog) = (line.find("(shop ").unwrap(), line.find(", blog ").unwrap());
    assert!(shop < blog, "the largest first: {line}");
    let cure = format!("→ `rm -r {}/build-homes/*/.cache` empties", house.data().display());
    assert!(said.out.contains(&cure), "{}", said.out);
    // What the demo's hint says that it checks.
    for needed in ["git", "cargo", "cc"] {
        let is_checked =
            said.out.lines().any(|line| line.split_whitespace().nth(1) == Some(needed));
        assert!(is_checked, "{needed}: {}", said.out);
    }
}

#[test]
fn what_the_platform_warns_of_is_a_sentence_as_all_that_it_tells_and_in_its_order() {
    let mut house = House::new(&[]);
    std::fs::DirBuilder::new().mode(0o755).create(house.data()).unwrap();
    std::fs::write(house.data().join("somebody-elses"), "").unwrap();
    house.up();
    let repository = house.repository("app");
    let web = "import os, socket\n\
               server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n\
               while True:\n\
               \x20   client, _ = server.accept()\n\
               \x20   client.sendall(b'what?\\r\\n\\r\\n')\n\
               \x20   client.close()\n";
    let revision =
        repository.commit("v1", &[("web.py", web), ("Procfile", "web: exec python3 web.py\n")]);
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &revision, 1);
    let said = "the app sent an answer that is no HTTP";
    let log = house::wait_for("a warning", || {
        let _ = house.get("shop", "/");
        Some(house.log()).filter(|log| log.contains(said))
    });
    let line = log.lines().find(|line| line.contains(said)).unwrap();
    assert!(line.starts_with(&format!("warning: shop: {said} (")), "{line}");
    assert!(!line.contains('='), "{line}");
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("no `{words}` in:\n{log}"));
    assert!(at("warning: the data folder") < at("rowhouse is at work"), "{log}");
    // An operator who asks gets what the libraries tell.
    house.end_up("-TERM");
    house.environment.push(("RUST_LOG".to_owned(), "warn".to_owned()));
    house.up();
    house.deployed("shop", &revision, 1);
    house::wait_for("a raw line", || {
        // What is adopted may not be in its place yet.
        let _ = house.get("shop", "/");
        house.log().contains("app=\"shop\"").then_some(())
    });
}
