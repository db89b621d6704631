//! Trouble of the machine and the network: a clear error, and nothing lost.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use house::{House, PROGRAM, wait_for};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let house = House::new(&[]);
    let _squatter = std::net::TcpListener::bind(("127.0.0.1", house.port)).unwrap();
    let output = house.rowhouse(&["up", "--listen", &format!("127.0.0.1:{}", house.port)]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains(&house.port.to_string()) && said.contains("--listen"), "{said}");
    assert_eq!(said.matches("cannot listen on").count(), 1, "{said}");
    assert!(!said.contains("os error"), "{said}");
}

/// A stream whose reader has stopped: nothing more fits into it.
fn stalled() -> (UnixStream, Stdio) {
    let (reader, writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    while (&writer).write(&[b'.'; 1000]).is_ok() {}
    while (&writer).write(b".").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    (reader, OwnedFd::from(writer).into())
}

#[test]
fn a_platform_whose_output_nobody_reads_works_and_ends() {
    let mut house = House::new(&[]);
    house.environment = vec![("RUST_LOG".to_owned(), "trace".to_owned())];
    let ((_out, stdout), (_err, stderr)) = (stalled(), stalled());
    house.spawn_into(stdout, stderr);
    wait_for("the table", || house.table().exists().then_some(()));
    let repository = house.repository("app");
    let commit = repository.web("v1");
    wait_for("the proxy", || std::net::TcpStream::connect(("127.0.0.1", house.port)).ok());
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &commit, 1);
    house::kill("-INT", house.up_pid());
    assert_eq!(house.wait_up().code(), Some(0));
    assert!(house.processes().is_empty(), "{:?}", house.processes());
}

#[test]
fn a_second_platform_on_the_same_data_says_who_holds_it() {
    let house = House::start();
    let output = house.rowhouse(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains(&format!("process {}", house.up_pid())), "{said}");
    assert!(said.contains("rowhouse down"), "{said}");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let house = House::new(&[]);
    std::fs::write(house.room().join("file"), "").unwrap();
    let output = Command::new(PROGRAM)
        .args(["up", "--data"])
        .arg(house.room().join("file/data"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("file/data") && said.contains("--data"), "{said}");
}

#[test]
fn a_folder_that_stays_open_to_its_group_is_told_with_what_that_means() {
    let mut house = House::start();
    house.end_up("-TERM");
    assert!(!house.log().contains("open to others"), "{}", house.log());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o770);
    std::fs::set_permissions(house.data(), mode).unwrap();
    house.up();
    wait_for("the warning", || house.log().contains("may run code as its owner").then_some(()));
    assert!(house.log().contains("`chmod 700 "), "{}", house.log());
}

#[test]
fn a_table_locked_by_another_process_for_seconds_delays_and_loses_nothing() {
    let house = House::start();
    let repository = house.repository("app");
    let (one, two) = (repository.web("v1"), repository.web("v2"));
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    // Longer than the reactor waits for one write.
    let script = format!(
        "import sqlite3, time\nc = sqlite3.connect({:?}, isolation_level=None, timeout=10)\n\
         c.execute('begin immediate')\nc.execute(\"update apps set version = 'v2'\")\n\
         print('locked', flush=True)\ntime.sleep(7)\nc.execute('commit')\n",
        house.table().display().to_string()
    );
    let mut writer =
        Command::new("python3").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    // The reactor has something to write meanwhile.
    house::kill("-9", house.pids("shop")[0]);
    wait_for("the restart, which needs no table", || house.page("shop"));
    assert!(writer.wait().unwrap().success());
    house.deployed("shop", &two, 1);
}

/// Nobody listens there.
const SILENT: &str = "https://localhost:1/a.git";

#[test]
fn a_git_server_that_does_not_answer_is_retried_and_costs_nothing_that_runs() {
    let house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    house.set("shop", &format!("version = 'v2', repo = '{SILENT}'"));
    let row = house.wait_row("shop", |row| row.reason.contains("retrying"));
    assert_eq!(
        (row.status.as_str(), row.revision.as_str(), row.healthy),
        ("deploying", one.as_str(), 1)
    );
    assert!(house.page("shop").unwrap().starts_with("v1"));
}

#[test]
fn a_repository_that_is_gone_fails_the_deployment_and_goes_out_by_itself_once_it_is_back() {
    let mut house = House::start();
    let repository = house.repository("app");
    let one = repository.web("v1");
    let two = repository.web("v2");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    let away = house.room().join("away");
    std::fs::rename(&repository.path, &away).unwrap();
    house.set("shop", "version = 'v2'");
    let row = house.failed("shop", "cannot read repository");
    assert!(row.reason.contains("does not appear to be a git repository"), "{}", row.reason);
    assert_eq!((row.revision.as_str(), row.healthy), (one.as_str(), 1));
    assert!(house.page("shop").unwrap().starts_with("v1"));
    std::fs::rename(&away, &repository.path).unwrap();
    // Each platform begins with a full sweep.
    house.end_up("-TERM");
    house.up();
    house.deployed("shop", &two, 1);
}

#[test]
fn what_git_itself_has_against_a_repository_stands_in_the_reason_with_its_cure() {
    let mut house = House::new(&[]);
    let settings = house.room().join("gitconfig");
    let filter = "[filter \"lfs\"]\n\tsmudge = no-such-filter smudge -- %f\n\trequired = true\n";
    std::fs::write(&settings, filter).unwrap();
    house.environment = vec![("GIT_CONFIG_GLOBAL".to_owned(), settings.display().to_string())];
    house.up();
    let elsewhere = house.repository("elsewhere");
    elsewhere.web("v1");
    let given = Command::new("chown").args(["-R", "65534"]).arg(&elsewhere.path).status();
    assert!(
        given.is_ok_and(|status| status.success()),
        "this test needs root, to give a folder away"
    );
    house.put("dubious", "v1", 1, &elsewhere);
    let row = house.failed("dubious", "detected dubious ownership");
    assert!(row.reason.contains("git config --global --add safe.directory"), "{}", row.reason);
    let corrupt = house.repository("corrupt");
    let head = corrupt.web("v1");
    let objects = corrupt.path.join(".git/objects");
    std::fs::remove_dir_all(objects.join(&head[..2])).unwrap();
    house.put("corrupt", "v1", 1, &corrupt);
    assert!(house.failed("corrupt", "cannot read repository").revision.is_empty());
    let filtered = house.repository("filtered");
    filtered.commit("v1", &[(".gitattributes", "*.bin filter=lfs\n"), ("a.bin", "pointer\n")]);
    house.put("filtered", "v1", 1, &filtered);
    house.failed("filtered", "smudge filter lfs failed");
    house.sql(
        "insert into apps (name, version, scale, repo) values ('none', 'main', 1, \
        'file:///nonexistent')",
    );
    house.failed("none", "'/nonexistent' does not appear to be a git repository");
}

#[test]
fn who_waits_for_a_repository_that_is_none_is_told_at_once_and_may_try_again() {
    let house = House::start();
    let folder = house.room().join("app");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.display().to_string();
    let put = ["put", "shop", "--version", "main", "--repo", &path];
    for _ in 0..2 {
        let output = house.rowhouse(&put);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = stderr(&output);
        assert!(said.contains("error: `shop` was not deployed: cannot read repository"), "{said}");
    }
    assert_eq!(house.row("shop").status, "deploy_failed");
    let commit = house.repository("app").web("v1");
    // What was found before is not taken for the answer.
    let output = house.rowhouse(&put);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    house.deployed("shop", &commit, 1);
}

#[test]
fn a_private_repository_without_credentials_names_the_cure_and_never_asks() {
    let mut house = House::new(&[]);
    let port = house::free_port();
    let of = |name: &str| house.room().join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &of("key"),
            "-out",
            &of("certificate"),
        ])
        .output()
        .expect("`openssl` must be installed: `apt-get install openssl`");
    assert!(made.status.success(), "{made:?}");
    // A git server that wants a password of everybody.
    let script = format!(
        "import http.server, ssl\n\
         class Handler(http.server.BaseHTTPRequestHandler):\n\
         \x20   def do_GET(self):\n\
         \x20       self.send_response(401)\n\
         \x20       self.send_header('WWW-Authenticate', 'Basic realm=\"private\"')\n\
         \x20       self.send_header('Content-Length', '0')\n\
         \x20       self.end_headers()\n\
         server = http.server.ThreadingHTTPServer(('127.0.0.1', {port}), Handler)\n\
         context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
         context.load_cert_chain({:?}, {:?})\n\
         server.socket = context.wrap_socket(server.socket, server_side=True)\n\
         server.serve_forever()\n",
        of("certificate"),
        of("key")
    );
    let mut server =
        Command::new("python3").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    house.environment = vec![("GIT_SSL_CAINFO".to_owned(), of("certificate"))];
    house.up();
    house.sql(&format!(
        "insert into apps (name, version, scale, repo) values \
         ('private', 'main', 1, 'https://localhost:{port}/a.git')"
    ));
    let row = house.failed("private", "cannot read repository");
    // Nobody who waits for it waits in vain.
    let waited = house.rowhouse(&["put", "private", "--scale", "1"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    assert!(stderr(&waited).contains("credential"), "{waited:?}");
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(row.reason.contains("credential"), "{}", row.reason);
}

#[test]
fn a_full_disk_puts_a_rollout_off_and_leaves_what_runs() {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0";
    let mut house = House::new(&[]);
    let small = house.room().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = is_root
        && Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(&small)
            .status()
            .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: a small disk can only be mounted by root");
        return;
    }
    // The builds lie on the small disk; table and journal stay where they are.
    std::fs::create_dir_all(house.data()).unwrap();
    std::os::unix::fs::symlink(&small, house.data().join("builds")).unwrap();
    house.up();
    let repository = house.repository("app");
    let one = repository.web("v1");
    house.put("shop", "v1", 1, &repository);
    house.deployed("shop", &one, 1);
    std::fs::write(small.join("filler"), vec![b'x'; 64 << 20]).unwrap_err();
    let two = repository.web("v2");
    house.set("shop", "version = 'v2'");
    let row = house.wait_row("shop", |row| row.reason.contains("no space left"));
    assert_eq!(
        (row.status.as_str(), row.revision.as_str(), row.healthy),
        ("deploying", one.as_str(), 1)
    );
    std::fs::remove_file(small.join("filler")).unwrap();
    house.deployed("shop", &two, 1);
    let _ = house.rowhouse(&["down"]);
    assert!(Command::new("umount").arg("-l").arg(&small).status().unwrap().success());
}

#[test]
fn a_crash_loop_shows_in_the_row_while_it_lasts() {
    let house = House::start();
    let repository = house.repository("app");
    let lives_once =
        "web: test ! -e $DATA_DIR/once && exec python3 web.py; echo crashed again; exit 5\n";
    repository.web("v1");
    let commit = repository.procfile("v2", lives_once);
    house.put("shop", "v2", 1, &repository);
    house.deployed("shop", &commit, 1);
    std::fs::write(house.data().join("data/shop/once"), "").unwrap();
    house::kill("-9", house.pids("shop")[0]);
    let row = house.wait_row("shop", |row| row.reason.contains("crashed again"));
    assert_eq!((row.status.as_str(), row.healthy), ("deployed", 0), "{row:?}");
    assert!(row.reason.contains("exited with status 5"), "{row:?}");
    assert_eq!(house.get("shop", "/").unwrap().0, 503);
    std::fs::remove_file(house.data().join("data/shop/once")).unwrap();
    house.deployed("shop", &commit, 1);
}

#[test]
fn a_version_that_cannot_be_had_is_told_once_among_the_events() {
    let house = House::start();
    let repository = house.repository("app");
    repository.web("v1");
    let told = |kind: &str| {
        let events = house.rowhouse(&["events", "shop", "--json"]);
        let events: serde_json::Value = serde_json::from_slice(&events.stdout).unwrap();
        let of_kind = |event: &&serde_json::Value| event["Kind"] == kind;
        let events = events["Events"].as_array().unwrap().iter().filter(of_kind);
        events.map(|event| event["Text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    house.sql(&format!(
        "insert into apps (name, version, scale, repo) values ('shop', 'v0', 1, '{SILENT}')"
    ));
    let row = house.wait_row("shop", |row| row.reason.contains("retrying"));
    wait_for("the event", || Some(()).filter(|()| !told("retrying").is_empty()));
    // It is tried again and again meanwhile.
    house.set("shop", &format!("repo = '{}'", repository.path.display()));
    let refused = house.failed("shop", "no branch or tag `v0`");
    wait_for("the event", || Some(()).filter(|()| !told("refused").is_empty()));
    house.set("shop", "redeploy = 1");
    wait_for("the second refusal", || Some(()).filter(|()| told("refused").len() == 2));
    assert_eq!(told("retrying"), [row.reason.strip_prefix("retrying: ").unwrap()]);
    assert_eq!(told("refused"), [refused.reason.clone(), refused.reason]);
    // What an operation tells is not told again.
    repository.procfile("bad", "web: exit 3\n");
    house.set("shop", "version = 'bad'");
    house.failed("shop", "exited with status 3");
    assert_eq!((told("failed").len(), told("refused").len()), (1, 2));
}

#[test]
fn after_a_clean_stop_the_table_is_one_whole_file() {
    for signal in ["-TERM", "-INT"] {
        let mut house = House::start();
        let repository = house.repository("app");
        let commit = repository.web("v1");
        house.put("shop", "v1", 1, &repository);
        house.deployed("shop", &commit, 1);
        house.end_up(signal);
        let copy = house.room().join("copy.db");
        std::fs::copy(house.table(), &copy).unwrap();
        let rows = Command::new("sqlite3")
            .arg(&copy)
            .arg("select name || ' ' || status || ' ' || revision from apps")
            .output()
            .unwrap();
        let rows = String::from_utf8(rows.stdout).unwrap();
        assert_eq!(rows.trim(), format!("shop deployed {commit}"), "{signal}");
    }
}

#[test]
fn who_finds_its_port_taken_by_somebody_who_is_gone_again_gets_another_one_once() {
    let house = House::start();
    let repository = house.repository("app");
    repository.web("v1");
    let words = "echo 'OSError: [Errno 98] Address already in use' >&2; exit 1";
    let once = repository.procfile(
        "once",
        &format!(
            "web: if test -e $DATA_DIR/met; then exec python3 web.py; fi; echo $PORT > \
             $DATA_DIR/met; {words}\n"
        ),
    );
    repository.procfile("always", &format!("web: echo $PORT >> $DATA_DIR/met; {words}\n"));
    house.put("once", "once", 1, &repository);
    house.deployed("once", &once, 1);
    house.put("always", "always", 1, &repository);
    house.failed("always", "Address already in use");
    let met = std::fs::read_to_string(house.data().join("data/always/met")).unwrap();
    let ports: std::collections::BTreeSet<&str> = met.lines().collect();
    assert_eq!((met.lines().count(), ports.len()), (2, 2), "{met}");
}
