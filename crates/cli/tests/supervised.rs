//! Supervised processes: real ones, with the real small parent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rowhouse_machine::instance::health::{Check, Waited, wait_healthy};
use rowhouse_machine::process::end::End;
use rowhouse_machine::process::shim::ShimSpec;
use rowhouse_machine::process::supervised::{Adopted, Supervised, snapshot};
use rustix::thread::CapabilitySet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rowhouse");
const DEADLINE: Duration = Duration::from_secs(20);

struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Room {
        Room { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self) -> PathBuf {
        self.folder.path().join("instance")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self, script: &str) -> ShimSpec {
        ShimSpec {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            folder: self.folder.path().to_owned(),
            environment: BTreeMap::from([
                ("PATH".to_owned(), std::env::var("PATH").unwrap()),
                ("TMPDIR".to_owned(), self.at().join("tmp").display().to_string()),
            ]),
            log: self.file("app.log"),
            log_limit: 1 << 20,
            stop_grace_ms: 2_000,
            time_limit_ms: None,
            open_files: None,
            sandbox: None,
            limits: None,
        }
    }

    fn start(&self, script: &str) -> Supervised {
        self.start_with(&self.spec(script))
    }

    fn start_with(&self, spec: &ShimSpec) -> Supervised {
        Supervised::start(Path::new(PROGRAM), &self.at(), spec).unwrap()
    }

    /// Starts a script in which `$R` is a program that writes down its signals, and waits until
    /// those that are named are ready for them.
    fn start_recorders(&self, script: &str, grace_ms: u64, names: &[&str]) -> Supervised {
        let mut spec = ShimSpec { stop_grace_ms: grace_ms, ..self.spec(script) };
        let recorder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps/recorder.py");
        let notes = self.folder.path().display().to_string();
        spec.environment.insert("R".to_owned(), format!("python3 {recorder}"));
        spec.environment.insert("NOTES".to_owned(), notes.clone());
        spec.environment.insert("HOME".to_owned(), notes);
        let process = self.start_with(&spec);
        for name in names {
            wait_for("a recorder", || (self.notes(name) == ["ready"]).then_some(()));
        }
        process
    }

    /// What a recorder has written down.
    fn notes(&self, name: &str) -> Vec<String> {
        let notes = fs::read_to_string(self.file(name)).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("app.log")).unwrap_or_default()
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn pid_in(path: &Path) -> i32 {
    wait_for("a pid in a file", || fs::read_to_string(path).ok()?.trim().parse().ok())
}

/// A process that is there and no zombie.
fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

fn gone(pid: i32) {
    wait_for("a process to be gone", || (!lives(pid)).then_some(()));
}

fn kill(signal: &str, pid: i32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_end_of_a_process_is_known_by_its_status_or_its_signal() {
    let room = Room::new();
    assert_eq!(room.start("exit 3").ended().await, End::Exited(3));
    assert_eq!(room.start("kill -9 $$").ended().await, End::Signalled(9));
    assert_eq!(End::Signalled(9).to_string(), "was killed by signal 9 (SIGKILL)");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_said_not_to_have_started() {
    let room = Room::new();
    let spec = ShimSpec { command: vec!["/no/such/program".to_owned()], ..room.spec("") };
    let end = room.start_with(&spec).ended().await;
    let End::NotStarted(reason) = end else { panic!("{end:?}") };
    assert!(reason.contains("/no/such/program"), "{reason}");
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let room = Room::new();
    let spec = ShimSpec {
        command: vec!["/usr/bin/env".to_owned()],
        environment: BTreeMap::from([("ONLY".to_owned(), "this".to_owned())]),
        ..room.spec("")
    };
    room.start_with(&spec).ended().await;
    let log = room.log();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["ONLY=this"]);
}

#[tokio::test]
async fn children_that_made_a_session_of_their_own_end_with_the_app_however_it_ends() {
    for ending in ["exit 0", "kill -9 $$", "sleep 1000"] {
        let room = Room::new();
        let (session, daemon) = (room.file("session"), room.file("daemon"));
        let process = room.start(&format!(
            "setsid sh -c 'echo $$ > {}; exec sleep 1000' & \
             (sh -c 'echo $$ > {}; trap \"\" TERM; exec setsid sleep 1000' &) ; \
             while [ ! -s {0} ] || [ ! -s {1} ]; do sleep 0.01; done; {ending}",
            session.display(),
            daemon.display(),
        ));
        let pids = [pid_in(&session), pid_in(&daemon)];
        if ending.starts_with("sleep") {
            process.stop().await;
        } else {
            process.ended().await;
        }
        for pid in pids {
            gone(pid);
        }
    }
}

#[tokio::test]
async fn an_app_that_ignores_sigterm_is_killed_after_its_grace() {
    let room = Room::new();
    let ready = room.file("ready");
    let script =
        format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.01; done", ready.display());
    let process = room.start_with(&ShimSpec { stop_grace_ms: 50, ..room.spec(&script) });
    pid_in(&ready);
    assert_eq!(process.stop().await, End::Signalled(9));
}

#[tokio::test]
async fn an_app_that_takes_its_time_to_end_well_is_given_it() {
    let room = Room::new();
    let ready = room.file("ready");
    let process = room.start(&format!(
        "trap 'sleep 0.3; echo done; exit 0' TERM; echo $$ > {}; while :; do sleep 0.01; done",
        ready.display()
    ));
    pid_in(&ready);
    assert_eq!(process.stop().await, End::Exited(0));
    assert!(room.log().contains("done"));
}

/// So long that nothing in a test waits for it.
const LONG_GRACE_MS: u64 = 60_000;

#[tokio::test]
async fn an_app_gets_one_sigterm_and_its_grace_however_it_is_started() {
    let package = r#"{"name": "web", "version": "1.0.0", "scripts": {"start": "$R web 0.3"}}"#;
    let script = "#!/bin/bash\ncd . \n$R web 0.3\necho over\n";
    for start in [
        "$R web 0.3",
        "exec $R web 0.3",
        "cd . && $R web 0.3 && echo over",
        "$R web 0.3; echo over",
        "$R web 0.3 | cat",
        "trap : TERM; $R web 0.3",
        "sh -c 'sh -c \"$R web 0.3; :\"; :'",
        "./start.sh",
        "exec ./start.sh",
        "npm start",
        "exec npm start",
    ] {
        let room = Room::new();
        fs::write(room.file("package.json"), package).unwrap();
        fs::write(room.file("start.sh"), script).unwrap();
        fs::set_permissions(room.file("start.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let process = room.start_recorders(start, LONG_GRACE_MS, &["web"]);
        process.stop().await;
        assert_eq!(room.notes("web"), ["ready", "SIGTERM", "done"], "{start}");
    }
}

#[tokio::test]
async fn a_server_of_node_has_its_grace_under_a_shell() {
    let room = Room::new();
    let server = "process.on('SIGTERM', () => { console.log('asked'); \
                  setTimeout(() => { console.log('done'); process.exit(0) }, 300) }); \
                  setInterval(() => {}, 1000); console.log('ready')";
    fs::write(room.file("web.js"), server).unwrap();
    let process = room.start_recorders("node web.js && echo over", LONG_GRACE_MS, &[]);
    wait_for("its start", || room.log().contains("ready").then_some(()));
    process.stop().await;
    let log = room.log();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["ready", "asked", "done"]);
}

#[tokio::test]
async fn the_workers_of_a_pool_are_left_to_their_master() {
    for start in ["$R master 0.2 one two", "exec $R master 0.2 one two", "npm start"] {
        let room = Room::new();
        let package = r#"{"name": "web", "scripts": {"start": "$R master 0.2 one two"}}"#;
        fs::write(room.file("package.json"), package).unwrap();
        let process = room.start_recorders(start, LONG_GRACE_MS, &["master", "one", "two"]);
        process.stop().await;
        assert_eq!(room.notes("master"), ["ready", "SIGTERM", "done"], "{start}");
        for worker in ["one", "two"] {
            assert_eq!(room.notes(worker), ["ready", "SIGUSR1", "done"], "{start}");
        }
    }
}

#[tokio::test]
async fn a_helper_in_the_background_is_asked_once_and_waited_for() {
    let room = Room::new();
    let start = "$R child 0.2 & setsid $R session 0.2 & (setsid $R daemon 0.2 &); $R web 0.1";
    let names = ["child", "session", "daemon", "web"];
    let process = room.start_recorders(start, LONG_GRACE_MS, &names);
    process.stop().await;
    for name in names {
        assert_eq!(room.notes(name), ["ready", "SIGTERM", "done"], "{name}");
    }
}

#[tokio::test]
async fn whoever_is_left_at_half_the_grace_is_asked_and_killed_at_its_end() {
    let room = Room::new();
    let process = room.start_recorders("exec $R master -1 worker", 600, &["master", "worker"]);
    assert_eq!(process.stop().await, End::Signalled(9));
    for name in ["master", "worker"] {
        assert_eq!(room.notes(name), ["ready", "SIGTERM"], "{name}");
    }
}

#[tokio::test]
async fn what_is_left_when_a_job_or_an_instance_has_ended_is_ended_the_same_way() {
    for (ending, end) in [("exit 0", End::Exited(0)), ("kill -9 $$", End::Signalled(9))] {
        let room = Room::new();
        let process = room.start_recorders(
            &format!(
                "(setsid $R daemon 0.2 one two &); \
                 until grep -qs ready daemon && grep -qs ready one && grep -qs ready two; \
                 do sleep 0.01; done; {ending}"
            ),
            LONG_GRACE_MS,
            &[],
        );
        assert_eq!(process.ended().await, end);
        assert_eq!(room.notes("daemon"), ["ready", "SIGTERM", "done"]);
        assert_eq!(room.notes("one"), ["ready", "SIGUSR1", "done"]);
    }
}

#[tokio::test]
async fn a_process_at_its_time_limit_may_end_well() {
    let room = Room::new();
    let script = "trap 'echo undone; exit 0' TERM; while :; do sleep 0.01; done";
    let spec = ShimSpec { time_limit_ms: Some(500), ..room.spec(script) };
    assert_eq!(room.start_with(&spec).ended().await, End::TimedOut);
    assert!(room.log().contains("undone"), "{}", room.log());
}

#[tokio::test]
async fn a_process_that_takes_too_long_is_ended_at_its_limit() {
    let room = Room::new();
    let spec = ShimSpec { time_limit_ms: Some(100), ..room.spec("sleep 1000 & wait") };
    assert_eq!(room.start_with(&spec).ended().await, End::TimedOut);
}

#[tokio::test]
async fn a_process_may_have_as_many_files_open_as_it_was_given() {
    let room = Room::new();
    let spec = ShimSpec { open_files: Some(64), ..room.spec("ulimit -Sn") };
    assert_eq!(room.start_with(&spec).ended().await, End::Exited(0));
    assert!(room.log().contains("64"), "{}", room.log());
}

#[tokio::test]
async fn an_app_that_closes_its_output_runs_on_at_no_cost() {
    let room = Room::new();
    let process = room.start("exec >&- 2>&-; sleep 1000");
    wait_for("its start", || process.app_process());
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.shim_pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(ticks() - before < 10, "the parent is busy with nothing");
    assert!(process.is_running());
    process.stop().await;
}

#[tokio::test]
async fn much_output_neither_outgrows_its_limit_nor_stops_the_app() {
    let room = Room::new();
    let process =
        room.start("head -c 50000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo the end");
    assert_eq!(process.ended().await, End::Exited(0));
    let size = |name| fs::metadata(room.file(name)).unwrap().len();
    assert!(size("app.log") + size("app.log.1") <= 1 << 20);
    assert!(room.log().ends_with("the end\n"));
}

#[tokio::test]
async fn who_starts_it_may_be_killed_at_once_and_another_adopts_it() {
    // A starter that ends right after the start, without a word to anybody: this very test in
    // another process.
    if let Ok(folder) = std::env::var("ROWHOUSE_TEST_STARTER") {
        let room = PathBuf::from(folder);
        let spec: ShimSpec =
            serde_json::from_slice(&fs::read(room.join("the-spec.json")).unwrap()).unwrap();
        let _started =
            Supervised::start(Path::new(PROGRAM), &room.join("instance"), &spec).unwrap();
        kill("-9", i32::try_from(std::process::id()).unwrap());
        unreachable!();
    }
    let room = Room::new();
    let spec = serde_json::to_vec(&room.spec("sleep 1000")).unwrap();
    fs::write(room.file("the-spec.json"), spec).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "who_starts_it_may_be_killed_at_once_and_another_adopts_it"])
        .env("ROWHOUSE_TEST_STARTER", room.folder.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    let Adopted::Running(process) = Supervised::adopt(&room.at()).await.unwrap() else {
        panic!("it must run on");
    };
    let app = process.app_process().unwrap();
    assert!(lives(app.pid));
    let Adopted::Running(second) = Supervised::adopt(&room.at()).await.unwrap() else {
        panic!("it may be adopted twice");
    };
    process.stop().await;
    assert_eq!(second.ended().await, End::Signalled(15));
    assert!(!lives(app.pid));
    let after = Supervised::adopt(&room.at()).await.unwrap();
    assert!(matches!(after, Adopted::Ended(End::Signalled(15))), "{after:?}");
}

#[tokio::test]
async fn a_number_that_another_process_has_now_is_not_taken_for_ours() {
    let room = Room::new();
    let process = room.start("sleep 1000");
    wait_for("its start", || process.app_process());
    process.stop().await;
    // The record of a process that ended without a word, its number taken by this test.
    fs::remove_file(room.at().join("end.json")).unwrap();
    let record = fs::read_to_string(room.at().join("process.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["shim"]["pid"] = std::process::id().into();
    record["app"]["pid"] = std::process::id().into();
    fs::write(room.at().join("process.json"), record.to_string()).unwrap();
    let adopted = Supervised::adopt(&room.at()).await.unwrap();
    assert!(matches!(adopted, Adopted::Ended(End::Lost)), "{adopted:?}");
    assert_eq!(snapshot(&room.at()).running, None);
}

#[tokio::test]
async fn what_was_never_started_is_known_not_to_run() {
    let room = Room::new();
    assert!(matches!(Supervised::adopt(&room.at()).await.unwrap(), Adopted::NeverStarted));
    fs::create_dir_all(room.at()).unwrap();
    fs::write(room.at().join("lock"), "").unwrap();
    assert!(matches!(Supervised::adopt(&room.at()).await.unwrap(), Adopted::NeverStarted));
}

#[tokio::test]
async fn a_killed_parent_takes_the_app_and_its_children_with_it() {
    let room = Room::new();
    let child = room.file("child");
    let process = room
        .start(&format!("setsid sh -c 'echo $$ > {}; exec sleep 1000' & wait", child.display()));
    let child = pid_in(&child);
    let app = process.app_process().unwrap();
    kill("-9", process.shim_pid());
    assert_eq!(process.ended().await, End::Lost);
    for pid in [app.pid, child] {
        gone(pid);
    }
}

#[tokio::test]
async fn a_parent_that_nobody_reaps_counts_as_ended() {
    let room = Room::new();
    let process = room.start("exit 0");
    wait_for("its end", || room.at().join("end.json").exists().then_some(()));
    // Not reaped by us, so a zombie; the adopter sees that it has let go of the lock.
    let stat = format!("/proc/{}/stat", process.shim_pid());
    wait_for("a zombie", || fs::read_to_string(&stat).unwrap().contains(") Z").then_some(()));
    let adopted = Supervised::adopt(&room.at()).await.unwrap();
    assert!(matches!(adopted, Adopted::Ended(End::Exited(0))), "{adopted:?}");
}

fn server(port: u16) -> String {
    format!("exec python3 -m http.server {port} --bind 127.0.0.1")
}

#[tokio::test]
async fn an_instance_is_healthy_only_if_it_is_itself_that_listens() {
    let room = Room::new();
    let squatter = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port();
    // It fails on "address in use", and that is not its fault.
    let process = room.start(&server(port));
    let outcome = wait_healthy(&process, port, &Check::Connect, "app.localhost", DEADLINE).await;
    assert_eq!(outcome, Waited::PortTaken);
    process.stop().await;
    drop(squatter);
    let process = room.start(&server(port));
    let check = Check::Http("/".into());
    let outcome = wait_healthy(&process, port, &check, "app.localhost", DEADLINE).await;
    assert_eq!(outcome, Waited::Healthy);
    process.stop().await;
}

/// Takes from this thread what root may do beyond other users.
fn be_nobody_special() {
    let sets = rustix::thread::CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).unwrap();
}

#[tokio::test]
async fn an_instance_that_cannot_be_looked_into_is_healthy_all_the_same() {
    let room = Room::new();
    let server = room.file("server");
    fs::copy(PROGRAM, &server).unwrap();
    // Nobody may look into the process of a program that cannot be read; and into one of root only
    // root.
    fs::set_permissions(&server, fs::Permissions::from_mode(0o111)).unwrap();
    let port = free_port();
    let process =
        room.start(&format!("PORT={port} HOST=127.0.0.1 exec {} static .", server.display()));
    be_nobody_special();
    let outcome = wait_healthy(&process, port, &Check::Connect, "app", DEADLINE).await;
    assert_eq!(outcome, Waited::Healthy);
    process.stop().await;
}

#[tokio::test]
async fn an_instance_that_ends_or_never_answers_is_told_apart() {
    let room = Room::new();
    let port = free_port();
    let process = room.start("exit 4");
    let outcome = wait_healthy(&process, port, &Check::Connect, "app", DEADLINE).await;
    assert_eq!(outcome, Waited::Ended(End::Exited(4)));
    let process = room.start("sleep 1000");
    let limit = Duration::from_millis(100);
    let outcome = wait_healthy(&process, port, &Check::Connect, "app", limit).await;
    assert!(matches!(outcome, Waited::Deadline { .. }), "{outcome:?}");
    process.stop().await;
    let process = room.start(&server(port));
    let check = Check::Http("/missing".into());
    let limit = Duration::from_secs(3);
    let Waited::Deadline { last } = wait_healthy(&process, port, &check, "app", limit).await else {
        panic!("it answers 404");
    };
    assert_eq!(last.to_string(), "GET /missing answered 404");
    process.stop().await;
}
