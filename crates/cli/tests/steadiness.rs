//! Steadiness: what comes up and does not stay up never replaces what serves, and is never called
//! deployed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::sync::atomic::Ordering;

use house::load::Load;
use house::{House, Repository, kill, wait_for};

/// Serves well until its second, or another, question, and then does what is asked of it.
const FICKLE: &str = r#"
import os, socket, sys
server = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])))
good, then = int(sys.argv[1]), sys.argv[2]
asked = 0
while True:
    connection, _ = server.accept()
    asked += 1
    if asked > good and then == "end":
        print("out of patience", flush=True)
        sys.exit(3)
    if not connection.recv(65536):
        continue
    status = "200 OK" if asked <= good else "500 Sick"
    head = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode())
    connection.close()
"#;

fn fickle(repository: &Repository, tag: &str, arguments: &str) -> String {
    let procfile = format!("web: exec python3 fickle.py {arguments}\n");
    let files = [("fickle.py", FICKLE), ("Procfile", procfile.as_str()), ("tag", tag)];
    repository.commit(tag, &files)
}

/// Waits until new instances are on trial for the `times`-th time.
#[track_caller]
fn on_trial(house: &House, times: usize) {
    wait_for("the trial", || {
        let output = house.rowhouse(&["events", "shop"]);
        let events = String::from_utf8_lossy(&output.stdout).into_owned();
        (events.matches("waiting ").count() >= times).then_some(())
    });
}

/// A platform on which `v1` serves, and whose new instances are on trial until they do wrong.
fn with_an_endless_trial(scale: u32) -> (House, Repository, String) {
    let mut house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    house.put("shop", "v1", scale, &repository);
    house.deployed("shop", &one, scale);
    house.end_up("-TERM");
    house.arguments = vec!["--steady".to_owned(), "24h".to_owned()];
    house.up();
    house.deployed("shop", &one, scale);
    (house, repository, one)
}

#[test]
fn what_ends_or_fails_after_its_first_answers_never_replaces_what_serves() {
    let house = House::start_with(&["--steady", "2"]);
    let repository = house.repository("app");
    let one = repository.web("v1");
    house.put("shop", "v1", 2, &repository);
    house.deployed("shop", &one, 2);
    let pids = house.pids("shop");
    let load = Load::start(house.port, "shop");
    let ended = ["exited with status 3 before it was steady", "last output: out of patience"];
    let sick = ["answered, but not until it was steady: GET /health answered 500"];
    for (tag, arguments, health, wanted) in [
        ("ends-soon", "1 end", "null", &ended[..]),
        ("ends-when-asked", "1 end", "'/health'", &ended),
        ("ends-later", "4 end", "'/health'", &ended),
        ("sick-soon", "1 fail", "'/health'", &sick),
        ("sick-later", "4 fail", "'/health'", &sick),
    ] {
        fickle(&repository, tag, arguments);
        let before = house.row("shop").generation;
        house.set("shop", &format!("version = '{tag}', health = {health}"));
        let row = house.wait_row("shop", |row| {
            assert!(row.status != "deployed" || row.revision == one, "{row:?}");
            row.status == "deploy_failed" && row.generation != before
        });
        for words in wanted {
            assert!(row.reason.contains(words), "{tag}: {}", row.reason);
        }
        assert_eq!((row.revision.as_str(), row.healthy), (one.as_str(), 2), "{tag}");
        assert_eq!(house.pids("shop"), pids, "{tag}");
    }
    load.end();
}

#[test]
fn what_ends_between_its_health_and_its_traffic_gets_none_even_without_a_steady_time() {
    let house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    fickle(&repository, "v2", "1 end");
    house.set("shop", "version = 'v2', health = '/health'");
    let row = house.failed("shop", "exited with status 3 before it was steady");
    assert_eq!((row.revision.as_str(), row.healthy), (one.as_str(), 1));
    assert!(house.page("shop").unwrap().starts_with("v1"));
}

#[test]
fn a_first_version_serves_at_once_and_is_deployed_when_it_is_steady() {
    let house = House::start_with(&["--steady", "24h"]);
    let repository = house.repository("app");
    repository.web("v1");
    house.put("shop", "v1", 2, &repository);
    on_trial(&house, 1);
    assert!(house.page("shop").unwrap().starts_with("v1"));
    let row = house.wait_row("shop", |row| row.healthy == 2);
    assert_eq!(row.status, "deploying", "{row:?}");
    // It does not stay: told at once, and nobody serves.
    kill("-9", house.pids("shop")[0]);
    let row = house.failed("shop", "was killed by signal 9 (SIGKILL) before it was steady");
    assert_eq!(row.healthy, 0, "{row:?}");
    assert_eq!(house.get("shop", "/").unwrap().0, 503);
    assert_eq!(house.pids("shop"), [0_u32; 0]);
    // And one that is removed meanwhile is gone at once.
    house.set("shop", "redeploy = 1");
    on_trial(&house, 2);
    house.sql("delete from apps");
    wait_for("its end", || {
        (house.get("shop", "/").unwrap().0 == 404 && house.pids("shop").is_empty()).then_some(())
    });
}

#[test]
fn a_first_version_that_is_overtaken_while_it_is_on_trial_serves_until_the_next_one_does() {
    let house = House::start_with(&["--steady", "2"]);
    let repository = house.repository("app");
    repository.web("v1");
    let two = repository.web("v2");
    house.put("shop", "v1", 1, &repository);
    wait_for("the first answer", || house.page("shop"));
    let load = Load::start(house.port, "shop");
    house.set("shop", "version = 'v2'");
    house.deployed("shop", &two, 1);
    load.end();
}

#[test]
fn a_newer_row_ends_the_trial_of_what_does_not_serve_yet() {
    let (house, repository, one) = with_an_endless_trial(1);
    let pids = house.pids("shop");
    repository.web("v2");
    repository.web("v3");
    for (tag, times) in [("v2", 1), ("v3", 2)] {
        house.set("shop", &format!("version = '{tag}'"));
        on_trial(&house, times);
        assert!(house.page("shop").unwrap().starts_with("v1"));
        let row = house.row("shop");
        assert_eq!((row.status.as_str(), row.healthy), ("deploying", 1), "{row:?}");
    }
    house.set("shop", "version = 'v1'");
    house.deployed("shop", &one, 1);
    assert_eq!(house.pids("shop"), pids);
}

#[test]
fn a_platform_that_is_killed_while_an_instance_is_on_trial_goes_on_with_that_instance() {
    let (mut house, repository, _) = with_an_endless_trial(1);
    let before = house.pids("shop");
    let two = repository.web("v2");
    house.set("shop", "version = 'v2'");
    on_trial(&house, 1);
    let mut tried = house.pids("shop");
    tried.retain(|pid| !before.contains(pid));
    for signal in ["-9", "-TERM"] {
        house.end_up(signal);
        house.up();
        on_trial(&house, 2);
        assert!(house.page("shop").unwrap().starts_with("v1"));
    }
    house.end_up("-9");
    house.arguments.clear();
    house.up();
    house.deployed("shop", &two, 1);
    assert_eq!(house.pids("shop"), tried);
}

#[test]
fn an_upgrade_while_a_first_version_is_on_trial_loses_no_request() {
    let house = House::start_with(&["--steady", "24h"]);
    let repository = house.repository("app");
    repository.web("v1");
    house.put("shop", "v1", 2, &repository);
    on_trial(&house, 1);
    let pids = house.pids("shop");
    let load = Load::start(house.port, "shop");
    let before = house.platform_pid();
    kill("-HUP", house.up_pid());
    wait_for("the successor", || {
        (house.platform_pid() != before && house.log().matches("is at work").count() == 2)
            .then_some(())
    });
    on_trial(&house, 2);
    wait_for("requests", || (load.requests.load(Ordering::Relaxed) > 500).then_some(()));
    load.end();
    let row = house.row("shop");
    assert_eq!((row.status.as_str(), row.healthy), ("deploying", 2), "{row:?}");
    assert_eq!(house.pids("shop"), pids);
    kill("-9", house.platform_pid());
}

#[test]
fn more_instances_that_do_not_stay_are_told_and_touch_none_that_runs() {
    let house = House::start_with(&["--steady", "2"]);
    let repository = house.repository("app");
    let flag = house.data_of("shop").join("flag");
    let procfile = format!(
        "web: if [ -e {} ]; then exec python3 fickle.py 1 end; fi; exec python3 web.py\n",
        flag.display()
    );
    let app = include_str!("apps/web.py");
    let files = [("fickle.py", FICKLE), ("web.py", app), ("Procfile", procfile.as_str())];
    let commit = repository.commit("v1", &files);
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &commit, 1);
    let pids = house.pids("shop");
    fs::write(&flag, "").unwrap();
    let load = Load::start(house.port, "shop");
    house.set("shop", "scale = 3");
    let row = house.wait_row("shop", |row| {
        assert!(row.status != "deployed" || row.healthy == 1, "{row:?}");
        row.status == "deploy_failed"
    });
    assert!(row.reason.contains("exited with status 3 before it was steady"), "{}", row.reason);
    assert_eq!((row.healthy, house.pids("shop")), (1, pids));
    load.end();
}

#[test]
fn a_version_whose_predecessor_is_down_serves_at_once() {
    let house = House::start();
    let repository = house.repository("app");
    let flag = house.data_of("shop").join("flag");
    let procfile =
        format!("web: if [ -e {} ]; then exit 7; fi; exec python3 web.py\n", flag.display());
    let app = include_str!("apps/web.py");
    let one = repository.commit("v1", &[("web.py", app), ("Procfile", &procfile)]);
    repository.web("v2");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    fs::write(&flag, "").unwrap();
    kill("-9", house.pids("shop")[0]);
    house.wait_row("shop", |row| row.healthy == 0);
    let mut house = house;
    house.end_up("-TERM");
    house.arguments = vec!["--steady".to_owned(), "24h".to_owned()];
    house.up();
    house.set("shop", "version = 'v2'");
    on_trial(&house, 1);
    assert!(house.page("shop").unwrap().starts_with("v2"));
    let row = house.wait_row("shop", |row| row.healthy == 1);
    assert_eq!((row.status.as_str(), row.revision.as_str()), ("deploying", one.as_str()));
}

#[test]
fn deploy_says_what_it_waits_for() {
    let house = House::start_with(&["--steady", "1"]);
    let repository = house.repository("shop");
    repository.web("v1");
    let deploy = || {
        let output = std::process::Command::new(house::PROGRAM)
            .args(["deploy", "--data"])
            .arg(house.data())
            .current_dir(&repository.path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let first = deploy();
    assert!(first.contains("waiting 1 s, whether what serves now stays healthy"), "{first}");
    repository.web("v2");
    let second = deploy();
    assert!(second.contains("waiting 1 s before traffic moves"), "{second}");
}

#[test]
fn an_app_that_listens_elsewhere_is_told_where() {
    let house = House::start_with(&["--trust-apps"]);
    let repository = house.repository("app");
    let listen = |family: &str, address: &str| {
        format!(
            "web: exec python3 -c 'import os, socket, time; own = int(os.environ[\"PORT\"]); \
             server = socket.socket(socket.{family}); server.bind({address}); server.listen(); \
             print(\"ready\", flush=True); time.sleep(1000)'\n"
        )
    };
    let socket = house.data_of("shop").join("a.sock").display().to_string();
    let [one, every, other] = [(); 3].map(|()| house::free_port());
    let child = format!("{} ", listen("AF_INET", &format!("(\"127.0.0.1\", {other})")).trim_end());
    let child = child.replace("web: exec ", "web: sh -c \"sleep 1000\" & ") + "& wait\n";
    let wanted = [
        (
            "port",
            listen("AF_INET", &format!("(\"127.0.0.1\", {one})")),
            format!("it listens on 127.0.0.1:{one}, and"),
        ),
        (
            "every",
            listen("AF_INET", &format!("(\"0.0.0.0\", {every})")),
            format!("it listens on 0.0.0.0:{every}, and"),
        ),
        ("six", listen("AF_INET6", "(\"::1\", own)"), "it listens on [::1]:".to_owned()),
        ("two", listen("AF_INET", "(\"127.0.0.2\", own)"), "it listens on 127.0.0.2:".to_owned()),
        (
            "unix",
            listen("AF_UNIX", &format!("\"{socket}\"")),
            format!("it listens on the Unix socket {socket}, and"),
        ),
        ("child", child, format!("it listens on 127.0.0.1:{other}, and")),
        (
            "nowhere",
            "web: sleep 1000\n".to_owned(),
            "it listens nowhere, and should on 127.0.0.1:".to_owned(),
        ),
    ];
    for (name, procfile, _) in &wanted {
        repository.procfile(name, procfile);
        house.put(name, name, 1, &repository);
        house.set(name, "health_timeout = 5");
    }
    for (name, _, words) in &wanted {
        let row = house.failed(name, "was not healthy within 5 s: ");
        let reason = &row.reason;
        assert!(reason.contains(words), "{name}: {reason}");
        let advice = match *name {
            "six" | "two" => "; let it listen on `HOST`",
            _ => "; let it listen on `PORT` of `HOST`",
        };
        assert!(reason.ends_with(advice), "{name}: {reason}");
        assert!(*name == "nowhere" || reason.contains("; last output: ready;"), "{name}: {reason}");
    }
}

#[test]
fn an_app_that_may_not_listen_where_it_tries_to_is_told_where_it_may() {
    let house = House::start();
    let repository = house.repository("app");
    let python = "web: exec python3 -c 'import socket; \
                  socket.create_server((\"127.0.0.1\", 20999))'\n";
    let node = "web: exec node -e 'require(\"net\").createServer().listen(20998)'\n";
    for (name, procfile, words) in
        [("python", python, "Permission denied"), ("node", node, "listen EACCES")]
    {
        repository.procfile(name, procfile);
        house.put(name, name, 1, &repository);
        let reason = house.failed(name, words).reason;
        let advice = "; an app may listen on the port in `PORT` alone";
        assert!(reason.contains(advice), "{name}: {reason}");
    }
}
