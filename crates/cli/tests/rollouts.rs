//! Rollouts on the real thing: nothing is lost, the newest wins, and what fails costs nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use house::load::{Client, Load};
use house::{House, kill, wait_for};

#[test]
fn twenty_rollouts_scaling_and_a_killed_instance_lose_no_request() {
    let house = House::start_with(&["--drain", "10s"]);
    let repository = house.repository("app");
    let versions: Vec<String> =
        (0..=20).map(|number| repository.web(&format!("v{number}"))).collect();
    house.put("shop", "v0", 2, &repository);
    house.deployed("shop", &versions[0], 2);
    let load = Load::start(house.port, "shop");
    for (number, commit) in versions.iter().enumerate().skip(1) {
        house.set("shop", &format!("version = 'v{number}'"));
        house.deployed("shop", commit, 2);
    }
    for scale in [1, 3, 1] {
        house.set("shop", &format!("scale = {scale}"));
        house.deployed("shop", &versions[20], scale);
    }
    let requests = load.end();
    println!("{requests} requests over 20 rollouts and 3 changes of scale, none lost");
}

#[test]
fn an_instance_that_is_killed_costs_no_request_that_can_be_sent_again() {
    let house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    house.put("shop", "v1", 3, &repository);
    house.deployed("shop", &commit, 3);
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let over = std::sync::Arc::clone(&over);
            let mut client = Client::new(house.port, "shop");
            std::thread::spawn(move || {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    let (status, _) = client.request("GET", "/", b"").expect("no request is cut");
                    assert_eq!(status, 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for _ in 0..5 {
        let pids = house.pids("shop");
        kill("-9", pids[0]);
        wait_for("another in its place", || {
            let now = house.pids("shop");
            (now.len() == 3 && !now.contains(&pids[0])).then_some(())
        });
        house.deployed("shop", &commit, 3);
    }
    over.store(true, Ordering::Relaxed);
    let requests: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(requests > 100);
}

#[test]
fn a_health_check_that_what_runs_does_not_pass_costs_nothing() {
    let house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    let sick = house.data_of("shop").join("sick");
    std::fs::write(&sick, "").unwrap();
    house.put("shop", "v1", 2, &repository);
    house.set("shop", &format!("env = '{{\"SICK\": \"{}\"}}'", sick.display()));
    house.deployed("shop", &commit, 2);
    wait_for("the environment", || {
        house.get("shop", "/health").ok().filter(|(code, _)| *code == 500)
    });
    let pids = house.pids("shop");
    house.set("shop", "health = '/health', health_timeout = 1");
    let row = house.failed("shop", "does not pass the new health check");
    assert!(row.reason.contains("GET /health answered 500"), "{row:?}");
    assert_eq!((row.healthy, house.pids("shop")), (2, pids.clone()));
    assert!(house.page("shop").is_some());
    // It is the same instances that pass it later.
    std::fs::remove_file(&sick).unwrap();
    house.set("shop", "redeploy = null, health_timeout = 2");
    house.deployed("shop", &commit, 2);
    assert_eq!(house.pids("shop"), pids);
}

#[test]
fn a_build_that_is_overtaken_has_ended_before_the_next_begins() {
    let house = House::start();
    let repository = house.repository("app");
    repository.web("base");
    let home = house.build_home_of("shop");
    let (begun, go) = (home.join("begun"), home.join("go"));
    let commit = repository.procfile(
        "v1",
        "build: trap '' TERM; echo $$ >> ~/begun; while [ ! -e ~/go ]; do sleep 0.05; done\n\
         web: exec python3 web.py\n",
    );
    house.put("shop", "v1", 1, &repository);
    let builds = || -> Vec<u32> {
        let text = std::fs::read_to_string(&begun).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    wait_for("the first build", || (builds().len() == 1).then_some(()));
    house.set("shop", "scale = 2");
    let both = wait_for("the second build", || Some(builds()).filter(|pids| pids.len() == 2));
    assert!(!house::lives(both[0]));
    std::fs::write(&go, "").unwrap();
    house.deployed("shop", &commit, 2);
}

#[test]
fn what_is_open_when_a_rollout_starts_ends_well_within_the_drain_time() {
    let house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    let port = house.port;
    let slow = std::thread::spawn(move || {
        let mut client = Client::new(port, "shop");
        client.request("GET", "/slow/20", b"")
    });
    // An upload that takes its time.
    let mut upload = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        upload,
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 100\r\nConnection: \
        close\r\n\r\n"
    )
    .unwrap();
    upload.write_all(&[b'x'; 50]).unwrap();
    let mut socket = WebSocket::open(port, "shop");
    assert_eq!(socket.echo("before"), "before");

    house.set("shop", "version = 'v2'");
    wait_for("the new version", || house.page("shop").filter(|page| page.starts_with("v2")));
    assert_eq!(socket.echo("during"), "during");
    upload.write_all(&[b'x'; 50]).unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("v1"), "{answer}");
    let (status, body) = slow.join().unwrap().unwrap();
    assert_eq!((status, body.len()), (200, 200));
    assert_eq!(socket.echo("after"), "after");
    socket.close();
    house.deployed("shop", &two, 1);
}

/// A WebSocket client of the few frames that the test needs, RFC 6455.
struct WebSocket(TcpStream);

impl WebSocket {
    fn open(port: u16, host: &str) -> WebSocket {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: {host}.localhost\r\nConnection: Upgrade\r\nUpgrade: \
             websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 101") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head}"
        );
        WebSocket(stream)
    }

    fn echo(&mut self, text: &str) -> String {
        let length = u8::try_from(text.len()).unwrap();
        self.0.write_all(&[0x81, 0x80 | length, 0, 0, 0, 0]).unwrap();
        self.0.write_all(text.as_bytes()).unwrap();
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut text = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn close(&mut self) {
        self.0.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    }
}

#[test]
fn a_version_that_fails_leaves_the_old_one_serving_and_says_why() {
    let house = House::start();
    let repository = house.repository("app");
    let good = repository.web("good");
    repository.procfile("exits", "web: echo out of luck; exit 3\n");
    repository.procfile("silent", "web: sleep 1000\n");
    repository.procfile("unbuildable", "web: true\nbuild: echo no compiler here; exit 7\n");
    repository.procfile("unreleasable", "web: true\nrelease: echo no migration; exit 9\n");
    let better = repository.web("better");
    house.put("shop", "good", 2, &repository);
    house.deployed("shop", &good, 2);
    let pids = house.pids("shop");
    let load = Load::start(house.port, "shop");
    let missing = "0".repeat(40);
    for (change, words) in [
        ("version = 'exits'", vec!["exited with status 3", "out of luck"]),
        ("version = 'silent', health_timeout = 1", vec!["not healthy within 1 s", "PORT"]),
        ("version = 'unbuildable', health_timeout = null", vec!["7", "no compiler here"]),
        ("version = 'unreleasable'", vec!["release", "9", "no migration"]),
        ("version = 'nonesuch'", vec!["nonesuch", "no branch or tag"]),
        (&format!("version = '{missing}'"), vec!["has no commit 0000000;"]),
    ] {
        let before = house.row("shop").generation;
        house.set("shop", change);
        let row =
            house.wait_row("shop", |row| row.status == "deploy_failed" && row.generation != before);
        for word in words {
            assert!(row.reason.contains(word), "{change}: {}", row.reason);
        }
        assert_eq!((row.revision.as_str(), row.healthy), (good.as_str(), 2), "{change}");
        assert_eq!(house.pids("shop"), pids, "{change}");
    }
    let history = house.sql("select count(*) from history where status = 'deploy_failed'");
    assert_eq!(history, "6");
    house.set("shop", "version = 'better'");
    house.deployed("shop", &better, 2);
    load.end();
}

#[test]
fn a_version_that_answers_500_is_told_by_its_probe() {
    let house = House::start();
    let repository = house.repository("app");
    let commit = repository.web("v1");
    let sick = house.data_of("shop").join("sick");
    std::fs::write(&sick, "").unwrap();
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &commit, 1);
    house.set(
        "shop",
        &format!(
            "health = '/health', health_timeout = 1, env = '{{\"SICK\": \"{}\"}}'",
            sick.display()
        ),
    );
    let row = house.failed("shop", "GET /health answered 500");
    assert_eq!((row.revision.as_str(), row.healthy), (commit.as_str(), 1));
}

#[test]
fn an_app_that_never_ran_fails_with_a_reason_and_comes_up_with_the_next_good_version() {
    let house = House::start();
    let repository = house.repository("app");
    repository.procfile("exits", "web: exit 3\n");
    let good = repository.web("good");
    house.put("shop", "exits", 1, &repository);
    let row = house.failed("shop", "exited with status 3");
    assert_eq!((row.revision.as_str(), row.healthy), ("", 0));
    // It is not tried again: a look at it starts nothing.
    let started = || house.sql("select count(*) from history");
    let before = started();
    house.sql("insert into changes (name) values ('shop')");
    house.put("other", "good", 1, &repository);
    house.deployed("other", &good, 1);
    assert_eq!(
        (started(), house.pids("shop").len()),
        ((before.parse::<u32>().unwrap() + 1).to_string(), 0)
    );
    house.set("shop", "version = 'good'");
    house.deployed("shop", &good, 1);
}

#[test]
fn ten_quick_versions_end_at_the_last_with_at_most_two_rollouts() {
    let house = House::start();
    let repository = house.repository("app");
    let first = repository.web("v0");
    repository.procfile("hangs", "web: sleep 1000\n");
    let commits: Vec<String> =
        (1..=10).map(|number| repository.web(&format!("v{number}"))).collect();
    house.put("shop", "v0", 1, &repository);
    house.deployed("shop", &first, 1);
    house.set("shop", "version = 'hangs'");
    house.wait_row("shop", |row| row.status == "deploying");
    for number in 1..=10 {
        house.set("shop", &format!("version = 'v{number}'"));
    }
    house.deployed("shop", &commits[9], 1);
    let rollouts: u32 =
        house.sql("select count(*) from history where status = 'deployed'").parse().unwrap();
    assert!(rollouts <= 1 + 2, "{rollouts}");
}

#[test]
fn a_rollout_that_hangs_gives_way_at_once_to_a_newer_row_and_to_a_deletion() {
    let house = House::start();
    let repository = house.repository("app");
    repository.procfile("hangs", "web: sleep 1000\n");
    repository.procfile("builds-forever", "web: true\nbuild: sleep 1000\n");
    let good = repository.web("good");
    for hanging in ["hangs", "builds-forever"] {
        house.put("shop", hanging, 1, &repository);
        house.wait_row("shop", |row| row.status == "deploying");
        let begun = Instant::now();
        house.set("shop", "version = 'good'");
        house.deployed("shop", &good, 1);
        house.set("shop", &format!("version = '{hanging}'"));
        house.wait_row("shop", |row| row.status == "deploying");
        house.sql("delete from apps where name = 'shop'");
        wait_for("everything to be gone", || house.processes().is_empty().then_some(()));
        // The time-out of a start is a minute.
        assert!(begun.elapsed() < Duration::from_secs(40), "{hanging}: {:?}", begun.elapsed());
    }
}

#[test]
fn there_and_back_again_and_a_row_replaced_as_a_whole_or_put_again() {
    let house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    house.set("shop", "version = 'v2'");
    house.set("shop", "version = 'v1'");
    house.deployed("shop", &one, 1);
    house.set("shop", "version = 'v2'");
    house.deployed("shop", &two, 1);
    let pids = house.pids("shop");
    // A whole-row replacement erases what the reactor has said.
    house.sql(&format!(
        "insert or replace into apps (name, version, scale, repo) values ('shop', 'v2', 1, '{}')",
        repository.path.display()
    ));
    house.deployed("shop", &two, 1);
    assert_eq!(house.pids("shop"), pids);
    house.sql("delete from apps where name = 'shop'");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    assert_eq!(house.page("shop").unwrap().split(' ').next(), Some("v1"));
}

#[test]
fn a_branch_that_moves_is_shipped_by_redeploy_and_by_follow_alone() {
    let mut house = House::start();
    let repository = house.repository("app");
    let old = repository.web("old");
    house.put("shop", "main", 1, &repository);
    house.deployed("shop", &old, 1);
    let new = repository.web("new");
    house.set("shop", "scale = 2");
    house.deployed("shop", &old, 2);
    house.set("shop", "env = '{\"GREETING\": \"hello\"}'");
    wait_for("the new environment", || {
        house.get("shop", "/env").ok().filter(|(_, body)| body.contains("GREETING=hello"))
    });
    house.deployed("shop", &old, 2);
    kill("-9", house.pids("shop")[0]);
    house.wait_row("shop", |row| row.healthy < 2);
    house.deployed("shop", &old, 2);
    house.end_up("-TERM");
    house.up();
    house.deployed("shop", &old, 2);
    house.set("shop", "redeploy = 1");
    house.deployed("shop", &new, 2);
    let newest = repository.web("newest");
    house.set("shop", "follow = 1");
    house.deployed("shop", &newest, 2);
    // The old commit is forced away, and can still be gone back to.
    repository.git(&["checkout", "--quiet", "--orphan", "other"]);
    let forced = repository.web("forced");
    repository.git(&["branch", "--force", "main"]);
    for tag in ["old", "new", "newest"] {
        repository.git(&["tag", "--delete", tag]);
    }
    repository.git(&["reflog", "expire", "--expire=now", "--all"]);
    repository.git(&["gc", "--quiet", "--prune=now"]);
    house.set("shop", &format!("follow = 0, version = '{old}'"));
    house.deployed("shop", &old, 2);
    assert_ne!(forced, old);
}

#[test]
fn draining_that_takes_its_time_is_told_while_it_lasts() {
    let house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    let two = repository.web("v2");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    let mut slow = TcpStream::connect(("127.0.0.1", house.port)).unwrap();
    slow.write_all(b"GET /slow/20 HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    slow.read_exact(&mut [0; 1]).unwrap();
    house.set("shop", "version = 'v2'");
    let said = |arguments: &[&str]| String::from_utf8(house.rowhouse(arguments).stdout).unwrap();
    wait_for("the event", || {
        Some(()).filter(|()| said(&["events", "shop"]).contains("draining 1 instance"))
    });
    let shown = said(&["show", "shop", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let states: Vec<&str> = shown["Instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|instance| instance["State"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["draining", "running"]);
    drop(slow);
    house.deployed("shop", &two, 1);
}

#[test]
fn a_first_version_that_is_tried_again_is_told_truthfully_and_in_its_own_words() {
    let house = House::start();
    let repository = house.repository("app");
    repository.procfile("v1", "web: echo out of luck; exit 3\n");
    house.put("shop", "v1", 1, &repository);
    house.failed("shop", "out of luck");
    for redeploy in 1..3 {
        let generation = house.row("shop").generation;
        house.set("shop", &format!("redeploy = {redeploy}"));
        let row = house
            .wait_row("shop", |row| row.status == "deploy_failed" && row.generation != generation);
        // Not those of the tries before.
        assert!(row.reason.ends_with("; last output: out of luck"), "{}", row.reason);
    }
    let events = house.rowhouse(&["events", "shop"]);
    let events = String::from_utf8_lossy(&events.stdout);
    assert!(events.contains("removed what failed before"), "{events}");
    assert!(!events.contains("row is gone") && !events.contains("deleted"), "{events}");
}

#[test]
fn a_build_that_is_tried_again_is_told_in_its_own_words() {
    let house = House::start();
    let repository = house.repository("app");
    repository.procfile("v1", "build: echo no compiler; exit 3\nweb: true\n");
    house.put("shop", "v1", 1, &repository);
    house.failed("shop", "no compiler");
    let generation = house.row("shop").generation;
    house.set("shop", "redeploy = 1");
    let row =
        house.wait_row("shop", |row| row.status == "deploy_failed" && row.generation != generation);
    assert!(row.reason.ends_with("; last output: no compiler"), "{}", row.reason);
}

#[test]
fn a_failure_is_told_by_the_lines_that_name_its_cause_however_much_follows() {
    let house = House::start();
    let repository = house.repository("app");
    let crash = "import os\nos.environ['DATABASE_URL']\n";
    let web = "web: python3 web.py; for n in 1 2 3 4 5 6 7 8 9; do echo bye $n; done; exit 3\n";
    repository.commit("v1", &[("Procfile", web), ("web.py", crash)]);
    house.put("shop", "v1", 1, &repository);
    let cause = "; it said: KeyError: 'DATABASE_URL' | web.py:2: os.environ['DATABASE_URL']";
    let row = house.failed("shop", "exited with status 3 before it was healthy");
    assert!(row.reason.contains(cause), "{}", row.reason);
    for (version, line) in [("v2", "build"), ("v3", "release")] {
        let procfile = web.replace("web: ", &format!("web: true\n{line}: "));
        repository.commit(version, &[("Procfile", &procfile), ("web.py", crash)]);
        house.set("shop", &format!("version = '{version}'"));
        let row = house.wait_row("shop", |row| {
            row.status == "deploy_failed" && row.reason.contains(&format!("`{line}`"))
        });
        assert!(row.reason.contains(cause), "{}", row.reason);
    }
}

#[test]
fn a_start_without_a_build_names_the_language_and_the_line_that_builds_it() {
    let house = House::start();
    let repository = house.repository("app");
    repository.commit("v1", &[("Procfile", "web: ./server\n"), ("pom.xml", "<project/>\n")]);
    house.put("shop", "v1", 1, &repository);
    let row = house.failed("shop", "it said: ");
    assert!(row.reason.contains("./server: not found"), "{}", row.reason);
    let advice = "nothing was built of `pom.xml` (Java): add a line such as \
                  `build: mvn --batch-mode package` to the `Procfile`, or type \
                  `rowhouse put shop --process build='mvn --batch-mode package'`";
    assert!(row.reason.ends_with(advice), "{}", row.reason);
}

#[test]
fn no_value_of_a_rows_variables_that_a_process_prints_gets_into_a_reason_or_an_event() {
    let house = House::start();
    let repository = house.repository("app");
    let crash =
        "import os\nraise ValueError(f\"input_value={os.environ['TOKEN']!r}, and {BUILT}\")\n";
    let crash = crash.replace("{BUILT}", "{os.environ.get('KEY', 'builders-secret')}");
    let files = |procfile: &str| [("Procfile", procfile.to_owned()), ("app.py", crash.clone())];
    let commit = |tag: &str, procfile: &str| {
        let files = files(procfile);
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        repository.commit(tag, &files);
    };
    commit("web", "web: python3 app.py\n");
    commit("release", "web: true\nrelease: python3 app.py\n");
    commit("build", "web: true\nbuild: python3 app.py\n");
    house.put("shop", "web", 1, &repository);
    house.set("shop", r#"env = '{"TOKEN": "hunter-two"}'"#);
    let build_env = r#"{"KEY": "builders-secret", "TOKEN": "hunter-two"}"#;
    house.set("shop", &format!("build_env = '{build_env}'"));
    for version in ["web", "release", "build"] {
        house.set("shop", &format!("version = '{version}'"));
        let words = if version == "web" { "before it was healthy" } else { version };
        let row = house.wait_row("shop", |row| {
            row.status == "deploy_failed"
                && row.reason.contains(words)
                && row.reason.contains("ValueError")
        });
        assert!(row.reason.contains("ValueError: input_value='***', and ***"), "{}", row.reason);
        assert!(!row.reason.contains("hunter-two"), "{}", row.reason);
    }
    for arguments in [&["events", "shop"] as &[&str], &["history", "shop", "--json"]] {
        let told = house.rowhouse(arguments);
        let told = String::from_utf8_lossy(&told.stdout);
        assert!(told.contains("***"), "{told}");
        assert!(!told.contains("hunter-two") && !told.contains("builders-secret"), "{told}");
    }
    // Its own log is the app's, and for who asks.
    let log = house.rowhouse(&["logs", "shop"]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("hunter-two"));
}

#[test]
fn no_value_of_a_rows_variables_gets_into_the_reason_of_what_served_and_ended() {
    let mut house = House::start();
    let repository = house.repository("app");
    let line = "web: echo $TOKEN; test -e \"$DATA_DIR/down\" && exit 3; \
                exec python3 -m http.server --bind $HOST $PORT\n";
    let revision = repository.procfile("v1", line);
    house.put("shop", "v1", 1, &repository);
    house.set("shop", r#"env = '{"TOKEN": "hunter-two"}'"#);
    house.deployed("shop", &revision, 1);
    // Also of what an earlier platform has started.
    house.end_up("-TERM");
    house.up();
    house.deployed("shop", &revision, 1);
    std::fs::write(house.data_of("shop").join("down"), "").unwrap();
    kill("-9", house.pids("shop")[0]);
    let row = house.wait_row("shop", |row| row.reason.contains("output: ***"));
    assert!(!row.reason.contains("hunter-two"), "{}", row.reason);
    let events = house.rowhouse(&["events", "shop"]);
    assert!(!String::from_utf8_lossy(&events.stdout).contains("hunter-two"));
}
