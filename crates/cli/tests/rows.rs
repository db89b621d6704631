//! Rows by `sqlite3`: what somebody writes happens, and what cannot happen is answered.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::time::{Duration, Instant, SystemTime};

use house::{House, wait_for};

#[test]
fn an_insert_deploys_an_update_rolls_out_and_a_delete_leaves_nothing() {
    let house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.put("shop", "v1", 2, &repository);
    let row = house.deployed("shop", &one, 2);
    assert_eq!(row.url, format!("http://shop.localhost:{}", house.port));
    let answers: std::collections::BTreeSet<String> =
        (0..10).map(|_| house.page("shop").unwrap()).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    house.set("shop", "version = 'v2'");
    house.deployed("shop", &two, 2);
    assert!(house.page("shop").unwrap().starts_with(&format!("v2 {two}")));
    house.sql("delete from apps");
    wait_for("the route to be gone", || {
        house.get("shop", "/").ok().filter(|(status, _)| *status == 404)
    });
    wait_for("the processes to be gone", || house.processes().is_empty().then_some(()));
    wait_for("the folders to be gone", || {
        (!house.data().join("instances/shop").exists()).then_some(())
    });
}

#[test]
fn an_environment_is_what_is_documented_and_the_rows_own() {
    let house = House::start_with(&["--max-scale", "1"]);
    let repository = house.repository("app");
    repository.web("v1");
    let commit =
        repository.procfile("v2", "web: env > $DATA_DIR/environment; exec python3 web.py\n");
    house.sql(&format!(
        "insert into apps (name, version, scale, repo, env) values ('shop', 'v2', 1, '{}', \
         '{{\"GREETING\": \"hello there\"}}')",
        repository.path.display()
    ));
    house.deployed("shop", &commit, 1);
    let body = std::fs::read_to_string(house.data().join("data/shop/environment")).unwrap();
    assert!(body.contains("GREETING=hello there\n"), "{body}");
    let mut names: Vec<&str> = body.lines().map(|line| line.split_once('=').unwrap().0).collect();
    names.sort_unstable();
    let own = ["PWD", "SHLVL", "_", "OLDPWD"];
    let given: Vec<&str> = names.into_iter().filter(|name| !own.contains(name)).collect();
    assert_eq!(
        given,
        [
            "APP_NAME",
            "APP_REVISION",
            "APP_VERSION",
            "DATA_DIR",
            "GREETING",
            "HOME",
            "HOST",
            "LANG",
            "NODE_ENV",
            "PATH",
            "PORT",
            "PYTHONUNBUFFERED",
            "RACK_ENV",
            "RAILS_ENV",
            "RAILS_LOG_TO_STDOUT",
            "RAILS_SERVE_STATIC_FILES",
            "TMPDIR",
        ]
    );
    // The platform itself has as many files open as it may: each of its clients is one.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", house.up_pid())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(files[0], files[1], "{limits}");
}

#[test]
fn bad_rows_are_answered_with_a_sentence_and_cost_nothing_else() {
    let house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("main-version");
    house.put("good", "main", 1, &repository);
    house.deployed("good", &commit, 1);
    let proof = house.room().join("proof");
    let touch = format!("touch {}", proof.display());
    let long_name = "a".repeat(64);
    let long_text = "x".repeat(100_000);
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let cases: Vec<(String, String, &str)> = vec![
        ("no-version".into(), "null, 1, null, null".into(), "`Version` is missing"),
        ("negative".into(), "'main', -1, null, null".into(), "`Scale` is -1"),
        ("fraction".into(), "'main', 2.7, null, null".into(), "`Scale` is 2.7"),
        ("many".into(), "'main', 99, null, null".into(), "`Scale` is 99"),
        ("words".into(), "'main', 'two', null, null".into(), "`Scale` is `two`"),
        ("nothing".into(), "null, null, null, null".into(), "`Scale` is missing"),
        ("under_score".into(), "'main', 1, null, null".into(), "`Name` is `under_score`"),
        ("Upper".into(), "'main', 1, null, null".into(), "`Name` is `Upper`"),
        (long_name, "'main', 1, null, null".into(), "`Name` is `aaaa"),
        (String::new(), "'main', 1, null, null".into(), "`Name` is ``"),
        (
            "ext".into(),
            format!("'main', 1, {}, null", quote(&format!("ext::sh -c {touch}"))),
            "`Repo` is",
        ),
        (
            "option".into(),
            format!("{}, 1, null, null", quote(&format!("--upload-pack={touch}"))),
            "`Version` is",
        ),
        (
            "semicolon".into(),
            format!("{}, 1, null, null", quote(&format!("a;{touch}"))),
            "`Version` is",
        ),
        (
            "substitution".into(),
            format!("{}, 1, null, null", quote(&format!("$({touch})"))),
            "`Version` is",
        ),
        ("list".into(), "'main', 1, null, '[1]'".into(), "`Env` is"),
        (
            "equals".into(),
            "'main', 1, null, '{\"A=B\": \"x\"}'".into(),
            "`Env` has a variable named `A=B`",
        ),
        (
            "long".into(),
            format!("'{long_text}', 1, null, null"),
            "`Version` is a text of 100000 bytes",
        ),
    ];
    let default = repository.path.display();
    for (name, values, _) in &cases {
        house.sql(&format!(
            "insert into apps (name, version, scale, repo, env) values ({}, {values}); \
             update apps set repo = ifnull(repo, '{default}') where name = {}",
            quote(name),
            quote(name)
        ));
    }
    for (name, _, words) in &cases {
        let row = house.wait_row(name, |row| row.status == "invalid");
        assert!(row.reason.contains(words), "{name}: {}", row.reason);
        assert!(row.reason.contains("must be"), "{name}: {}", row.reason);
        assert!(row.reason.len() < 1000, "{name}: {}", row.reason);
    }
    assert!(!proof.exists(), "something of a row was executed");
    // A running app that becomes invalid is left alone.
    let pids = house.pids("good");
    house.set("good", "scale = 99");
    let row = house.wait_row("good", |row| row.status == "invalid");
    assert_eq!((row.revision, row.healthy), (commit.clone(), 1));
    assert_eq!(house.pids("good"), pids);
    house.set("good", "scale = 1");
    house.deployed("good", &commit, 1);
    assert_eq!(house.pids("good"), pids);
}

#[test]
fn a_name_that_is_no_text_costs_nothing_else() {
    let mut house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.sql(&format!(
        "insert into apps (name, version, scale, repo) values ('shop', 'v1', 1, '{0}'), \
         (x'ff', 'v1', 1, '{0}'), (cast(x'ff' as text), 'v1', 1, '{0}'), ('web', 'v1', 1, '{0}')",
        repository.path.display()
    ));
    house.deployed("shop", &one, 1);
    house.deployed("web", &one, 1);
    // Also by the sweep with which each start begins, and while such a name was deleted.
    house.sql("delete from apps where name = x'ff'; insert into apps (name) values (x'ff00')");
    let expired = house.data().join("data/zoo");
    std::fs::create_dir_all(&expired).unwrap();
    house.sql(
        "insert into deletions (name, at) values ('zoo', ''); update deletions set at = '2020'",
    );
    house.end_up("-TERM");
    house.set("web", "version = 'v2'");
    house.up();
    house.deployed("web", &two, 1);
    wait_for("the expired folder to be gone", || (!expired.exists()).then_some(()));
    let list = String::from_utf8(house.rowhouse(&["ls"]).stdout).unwrap();
    assert!(list.contains("x'ff00'") && list.contains("shop"), "{list}");
    assert_eq!(house.rowhouse(&["doctor"]).status.code(), Some(0));
}

#[test]
fn two_names_are_never_confused() {
    let house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.put("foo", "v1", 1, &repository);
    house.put("foobar", "v2", 1, &repository);
    house.deployed("foo", &one, 1);
    house.deployed("foobar", &two, 1);
    let pids = house.pids("foobar");
    assert!(house.page("foo").unwrap().starts_with("v1"));
    assert!(house.page("foobar").unwrap().starts_with("v2"));
    house.sql("delete from apps where name = 'foo'");
    wait_for("foo to be gone", || house.get("foo", "/").ok().filter(|(status, _)| *status == 404));
    assert!(house.page("foobar").unwrap().starts_with("v2"));
    assert_eq!(house.pids("foobar"), pids);
}

#[test]
fn five_hundred_rows_at_scale_0_and_twenty_apps_are_listed_at_once() {
    let house = House::start();
    let repository = house.repository("app");
    repository.commit("main", &[("index.html", "hello")]);
    let path = repository.path.display();
    house.sql(&format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 500) \
         insert into apps (name, version, scale, repo) select 'zero-' || i, 'main', 0, '{path}' \
         from n; \
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 20) \
         insert into apps (name, version, scale, repo) select 'one-' || i, 'main', 1, '{path}' \
         from n;"
    ));
    wait_for("all to be deployed", || {
        (house.sql("select count(*) from apps where status = 'deployed'") == "520").then_some(())
    });
    let begun = Instant::now();
    let output = house.rowhouse(&["ls", "--json"]);
    let took = begun.elapsed();
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["Apps"].as_array().unwrap().len(), 520);
    println!("listed in {took:?}");
    // At once: two orders of magnitude of room for a busy machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn the_folders_of_a_name_that_a_rename_brought_back_stay_and_those_of_a_deleted_one_go() {
    let mut house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    house.put("web", "v1", 1, &repository);
    house.deployed("web", &commit, 1);
    house.sql(
        "insert into deletions (name, at) values ('shop', '2020-01-01T00:00:00Z'), \
         ('zoo', '2020-01-01T00:00:00Z'); update apps set name = 'shop' where name = 'web'",
    );
    wait_for("the app to answer by its new name", || house.page("shop"));
    let kept = house.data().join("data/shop/kept");
    std::fs::write(&kept, "").unwrap();
    let expired = house.data().join("data/zoo");
    std::fs::create_dir_all(&expired).unwrap();
    // Even where the note of the deletion is back, by a restored table, say.
    house
        .sql("insert or replace into deletions (name, at) values ('shop', '2020-01-01T00:00:00Z')");
    house.end_up("-TERM");
    // Each start begins with a full sweep, and names are tidied in their order.
    house.up();
    wait_for("the expired folder to be gone", || (!expired.exists()).then_some(()));
    assert!(kept.exists());
}

#[test]
fn a_password_in_a_repositorys_address_is_answered_and_told_without_it() {
    let house = House::start_with(&["--repo", "https://bot:hunter2@localhost:1/default.git"]);
    house.sql(
        "insert into apps (name, version, scale, repo) values \
         ('refused', 'main', 1, 'http://bot:hunter2@localhost:1/a.git'), \
         ('away', 'main', 1, 'https://bot:hunter2@localhost:1/a.git'), ('default', 'main', 1, \
         null)",
    );
    let refused = house.wait_row("refused", |row| row.status == "invalid").reason;
    let away = house.wait_row("away", |row| row.reason.contains("retrying")).reason;
    let default = house.wait_row("default", |row| row.reason.contains("retrying")).reason;
    let told = |arguments: &[&str]| {
        let output = house.rowhouse(arguments);
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
    };
    let list = told(&["ls", "--json"]);
    assert!(list.contains("https://bot:***@localhost:1/default.git"), "{list}");
    let events = told(&["events", "--json"]);
    for text in
        [refused, away, default, list, events, told(&["show", "away", "--json"]), house.log()]
    {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn what_nobody_has_fetched_from_for_long_is_removed_and_a_rollback_works_after_it() {
    let mut house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    house.set("shop", "version = 'v2'");
    house.deployed("shop", &two, 1);
    let mirrors = house.data().join("mirrors");
    let mirror = std::fs::read_dir(&mirrors).unwrap().next().unwrap().unwrap().path();
    let make_old = |path: std::path::PathBuf, hours| {
        let time = SystemTime::now() - Duration::from_hours(hours);
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    };
    make_old(mirror.join("rowhouse-used"), 24 * 40);
    let expired = mirrors.join("other.git");
    std::fs::create_dir(&expired).unwrap();
    make_old(expired.clone(), 24 * 40);
    house.end_up("-TERM");
    // Each start begins with a full sweep.
    house.up();
    wait_for("the expired mirror to be gone", || (!expired.exists()).then_some(()));
    wait_for("the other to be packed", || mirror.join("rowhouse-tidied").exists().then_some(()));
    assert!(house.page("shop").unwrap().starts_with("v2"));
    house.set("shop", &format!("version = '{one}'"));
    house.deployed("shop", &one, 1);
    house.set("shop", "version = 'v2', build_env = '{\"A\": \"1\"}'");
    house.deployed("shop", &two, 1);
}

#[test]
fn an_app_that_does_not_answer_says_which_of_the_reasons_it_is() {
    let house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    repository.procfile("bad", "web: exit 3\n");
    house.put("shop", "bad", 1, &repository);
    house.failed("shop", "exited with status 3");
    let (status, page) = house.get("shop", "/").unwrap();
    assert!(status == 503 && page.contains("`rowhouse show shop`"), "{status} {page}");
    let said = |arguments: &[&str]| {
        let output = house.rowhouse(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["open", "shop"]).contains("no instance answers now"));
    said(&["put", "shop", "--version", "v1"]);
    house.deployed("shop", &commit, 1);
    assert!(!said(&["open", "shop"]).contains("warning"));
    let progress = said(&["scale", "shop", "0"]);
    assert!(progress.contains("shop: scaled to 0\n"), "{progress}");
    assert!(!progress.contains("serves"), "{progress}");
    let (status, page) = house.get("shop", "/").unwrap();
    assert!(status == 503 && page.contains("scaled to 0"), "{status} {page}");
    assert!(said(&["open", "shop"]).contains("it is scaled to 0"));
    // And it is known again by the next platform.
    let mut house = house;
    house.end_up("-9");
    house.up();
    assert!(house.get("shop", "/").unwrap().1.contains("scaled to 0"));
}

#[test]
fn an_attribute_that_is_not_offered_yet_is_answered_and_costs_nothing_that_runs() {
    let house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &commit, 1);
    let (_, before) = house.get("shop", "/").unwrap();
    for (column, value, name) in [
        ("workers", r#"{"worker": 1}"#, "Workers"),
        ("cron", r#"{"tidy": "@daily ./tidy"}"#, "Cron"),
        ("domains", r#"["example.com"]"#, "Domains"),
        ("protocol", "h2c", "Protocol"),
        ("hook", "hunter2", "Hook"),
    ] {
        house.set("shop", &format!("{column} = '{value}'"));
        let said = format!("`{name}` is not offered yet: take it out of the row");
        wait_for("the row to be invalid", || {
            let row = house.row("shop");
            (row.status == "invalid" && row.reason.starts_with(&said)).then_some(())
        });
        assert_eq!(house.get("shop", "/").unwrap().1, before, "{column}");
        if name == "Hook" {
            let shown = house.rowhouse(&["show", "shop", "--json"]).stdout;
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.contains(r#""Hook": "***""#) && !shown.contains("hunter2"), "{shown}");
        }
        house.set("shop", &format!("{column} = null"));
        house.deployed("shop", &commit, 1);
    }
    assert_eq!(house.get("shop", "/").unwrap().1, before);
}
