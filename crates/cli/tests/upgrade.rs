//! Upgrades by SIGHUP: a new process of the program takes over while the old one serves, and a
//! program that is of no use takes over nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use house::connection::{WebSocket, connect, head};
use house::load::{Client, Load};
use house::{House, kill, lives, replace, wait_for};

/// A platform with one app, that gives what is open as long as it needs.
fn house_of_one() -> (House, String) {
    let house = House::start_with(&["--drain", "10m"]);
    let commit = house.repository("app").web("v1");
    put(&house);
    house.deployed("shop", &commit, 1);
    (house, commit)
}

fn put(house: &House) {
    house.put("shop", "v1", 1, &repository(house));
}

fn repository(house: &House) -> house::Repository {
    house::Repository { path: house.room().join("app") }
}

/// Sends SIGHUP to the process that was started, and waits until another one is the platform.
fn upgrade(house: &House) {
    let before = house.platform_pid();
    kill("-HUP", house.up_pid());
    wait_for("the successor", || {
        (house.platform_pid() != before && house.platform_pid() != 0).then_some(())
    });
}

/// What a process was started as.
fn words(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

#[track_caller]
fn wait_until_it_only_waits(pid: u32) {
    wait_for("the old process to do nothing but wait", || {
        words(pid).starts_with("rowhouse wait-for ").then_some(())
    });
}

#[test]
fn an_open_websocket_goes_on_over_an_upgrade_and_keeps_nobody_waiting() {
    let (mut house, commit) = house_of_one();
    let pids = house.pids("shop");
    let mut socket = WebSocket::open(&house);
    socket.echoes("before");
    upgrade(&house);
    assert!(lives(house.up_pid()));
    for _ in 0..20 {
        assert!(house.page("shop").unwrap().starts_with("v1"));
    }
    socket.echoes("after");
    // The new platform does what a platform does, and stops nothing that the old one still uses.
    let second = repository(&house).web("v2");
    house.set("shop", "version = 'v2'");
    house.wait_row("shop", |row| row.revision == second || row.status == "deploying");
    wait_for("the new version", || house.page("shop").filter(|page| page.starts_with("v2")));
    socket.echoes("and after a rollout");
    assert!(lives(pids[0]));
    drop(socket);
    house.deployed("shop", &second, 1);
    assert_ne!(commit, second);
    wait_until_it_only_waits(house.up_pid());
    // What is left is what was started, for whoever looks at it: a signal to it is one to the
    // platform.
    house.end_up("-INT");
    assert_eq!(house.processes(), vec![]);
    assert!(house.log().contains("stopped 1 instance"), "{}", house.log());
}

#[test]
fn an_answer_and_an_upload_under_way_come_to_their_end_over_an_upgrade() {
    let (house, _) = house_of_one();
    let mut answer = connect(&house);
    write!(answer.get_mut(), "GET /slow/2 HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").unwrap();
    head(&mut answer);
    let mut upload = connect(&house);
    write!(
        upload.get_mut(),
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 200000\r\n\r\n"
    )
    .unwrap();
    upload.get_mut().write_all(&vec![b'x'; 100_000]).unwrap();
    upgrade(&house);
    upload.get_mut().write_all(&vec![b'x'; 100_000]).unwrap();
    let said = head(&mut upload);
    assert!(said.starts_with("http/1.1 200") && said.contains("connection: close"), "{said}");
    let mut pieces = [0; 20];
    answer.read_exact(&mut pieces).unwrap();
    assert_eq!(&pieces, &[b'.'; 20]);
    wait_until_it_only_waits(house.up_pid());
}

#[test]
fn an_idle_connection_is_told_with_its_next_answer_that_it_ends() {
    let (house, _) = house_of_one();
    // So that the old process has something to stay for.
    let socket = WebSocket::open(&house);
    let mut idle = connect(&house);
    let ask = |idle: &mut BufReader<TcpStream>| {
        write!(idle.get_mut(), "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").unwrap();
        let said = head(idle);
        assert!(said.starts_with("http/1.1 200"), "{said}");
        said
    };
    let said = ask(&mut idle);
    assert!(!said.contains("connection: close"), "{said}");
    let length: usize =
        said.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    idle.read_exact(&mut vec![0; length]).unwrap();
    upgrade(&house);
    let said = ask(&mut idle);
    assert!(said.contains("connection: close"), "{said}");
    drop(socket);
}

#[test]
fn no_request_is_lost_over_several_upgrades_and_apps_keep_their_processes() {
    let (mut house, commit) = house_of_one();
    let pids = house.pids("shop");
    let load = Load::start(house.port, "shop");
    for _ in 0..4 {
        upgrade(&house);
        house.deployed("shop", &commit, 1);
        let before = load.requests.load(Ordering::Relaxed);
        wait_for("requests", || {
            let now = load.requests.load(Ordering::Relaxed);
            (now > before + 100).then_some(())
        });
    }
    load.end();
    assert_eq!(house.pids("shop"), pids);
    // However many there were, one process waits and one works.
    wait_for("the processes between to end", || {
        let all = house.processes();
        (all.iter().filter(|(_, line)| line.contains(" up ")).count() == 1).then_some(())
    });
    wait_until_it_only_waits(house.up_pid());
    house.end_up("-TERM");
    assert_eq!(house.pids("shop"), pids);
    let left = house.processes();
    assert!(!left.iter().any(|(_, line)| line.contains(" up ")), "{left:?}");
    house.up();
    house.deployed("shop", &commit, 1);
    assert_eq!(house.pids("shop"), pids);
}

#[test]
fn nobody_is_refused_while_platforms_hand_over_and_every_new_connection_is_answered() {
    let (house, commit) = house_of_one();
    // So that the first of them stays and passes on what it has.
    let mut socket = WebSocket::open(&house);
    let (is_over, lost) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    match house.get("shop", "/") {
                        Ok((200, _)) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        other => lost.lock().unwrap().push(format!("{other:?}")),
                    }
                }
            });
        }
        for _ in 0..4 {
            let before = answered.load(Ordering::Relaxed);
            upgrade(&house);
            wait_for("answers by the successor", || {
                let now = answered.load(Ordering::Relaxed) + lost.lock().unwrap().len();
                (now > before + 50).then_some(())
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(lost.into_inner().unwrap(), Vec::<String>::new());
    socket.echoes("after all of them");
    house.deployed("shop", &commit, 1);
}

#[test]
fn a_platform_that_is_killed_after_an_upgrade_shows_in_the_process_that_was_started() {
    let (mut house, commit) = house_of_one();
    upgrade(&house);
    wait_until_it_only_waits(house.up_pid());
    kill("-9", house.platform_pid());
    assert_eq!(house.wait_up().code(), Some(137));
    house.up();
    house.deployed("shop", &commit, 1);
}

#[test]
fn an_old_process_that_is_killed_costs_no_more_than_its_connections() {
    let (mut house, commit) = house_of_one();
    let socket = WebSocket::open(&house);
    upgrade(&house);
    house.end_up("-9");
    assert!(house.page("shop").unwrap().starts_with("v1"));
    drop(socket);
    // Nobody holds up what it had open.
    let second = repository(&house).web("v2");
    house.set("shop", "version = 'v2'");
    house.deployed("shop", &second, 1);
    assert_ne!(commit, second);
}

#[test]
fn ctrl_c_in_a_shell_ends_a_platform_that_was_upgraded_and_keeps_the_shell_waiting_till_then() {
    let mut house = House::new(&["--drain", "10m"]);
    let commit = house.repository("app").web("v1");
    let log = fs::File::create(house.room().join("up.log")).unwrap();
    // A shell that stays, and that has its terminal's foreground group.
    let mut shell = Command::new("sh")
        .args(["-c", "\"$@\"; echo the shell goes on", "sh"])
        .arg(&house.program)
        .args(["up", "--listen", &format!("127.0.0.1:{}", house.port), "--data"])
        .arg(house.data())
        .args(std::mem::take(&mut house.arguments))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    wait_for("the platform", || (house.platform_pid() != 0).then_some(()));
    wait_for("the table", || house.table().exists().then_some(()));
    put(&house);
    house.deployed("shop", &commit, 1);
    let first = house.platform_pid();
    for _ in 0..2 {
        let before = house.platform_pid();
        kill("-HUP", first);
        wait_for("the successor", || {
            (house.platform_pid() != before && house.platform_pid() != 0).then_some(())
        });
    }
    wait_until_it_only_waits(first);
    assert!(shell.try_wait().unwrap().is_none());
    let group = format!("-{}", shell.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    shell.wait().unwrap();
    assert_eq!(house.processes(), vec![]);
    assert_eq!(house.log().matches("stopped 1 instance").count(), 1, "{}", house.log());
}

#[test]
fn the_platform_itself_can_be_told_to_hand_over_again_and_to_end() {
    let (mut house, commit) = house_of_one();
    let pids = house.pids("shop");
    upgrade(&house);
    let second = house.platform_pid();
    kill("-HUP", second);
    wait_for("a third process", || (house.platform_pid() != second).then_some(()));
    house.deployed("shop", &commit, 1);
    wait_until_it_only_waits(house.up_pid());
    kill("-TERM", house.platform_pid());
    assert!(house.wait_up().success());
    assert_eq!(house.pids("shop"), pids);
    house.up();
    house.deployed("shop", &commit, 1);
    assert_eq!(house.pids("shop"), pids);
}

/// A platform that runs from a file of its own, which can be replaced.
fn house_of_a_file() -> (House, PathBuf, String) {
    let mut house = House::new(&["--drain", "10m"]);
    let program = house.room().join("rowhouse");
    fs::copy(house::PROGRAM, &program).unwrap();
    house.program.clone_from(&program);
    house.environment = vec![("ROWHOUSE_SUCCESSOR_LIMIT_MS".to_owned(), "1500".to_owned())];
    house.up();
    let commit = house.repository("app").web("v1");
    put(&house);
    house.deployed("shop", &commit, 1);
    (house, program, commit)
}

#[test]
fn a_successor_that_is_of_no_use_leaves_the_old_platform_at_work() {
    let (house, program, _) = house_of_a_file();
    let good = fs::read(&program).unwrap();
    let pids = house.pids("shop");
    let (up, name) = (house.up_pid(), program.display().to_string());
    let mut socket = WebSocket::open(&house);
    let python = |text: &str| format!("#!/usr/bin/env python3\n{text}\n").into_bytes();
    let takes_the_lock = "import os, socket, time\nos.write(0, b'p')\n\
                          line = socket.socket(fileno=0)\nsocket.recv_fds(line, 1, 2)\n";
    let bad: [(Option<Vec<u8>>, &str); 7] = [
        (None, "cannot be started"),
        // Within what is loaded: the second half of a debug build is no more than that.
        (Some(good[..100_000].to_vec()), "before it was ready"),
        (Some(b"#!/bin/sh\nexit 1\n".to_vec()), "before it was ready (exit status: 1)"),
        (Some(b"#!/bin/sh\nexec sleep 600\n".to_vec()), "was not ready within 1.5 s"),
        (Some(python("print('a program that knows nothing of this')")), "before it was ready"),
        (Some(python(&format!("{takes_the_lock}time.sleep(600)"))), "was not ready within 1.5 s"),
        (Some(python(&format!("{takes_the_lock}os._exit(7)"))), "(exit status: 7)"),
    ];
    for (number, (content, said)) in bad.into_iter().enumerate() {
        match content {
            Some(content) => replace(&program, &content),
            None => fs::remove_file(&program).unwrap(),
        }
        let before = house.log().len();
        kill("-HUP", up);
        let told = wait_for("the reason", || {
            let told = house.log()[before..].to_owned();
            told.contains("send SIGHUP again").then_some(told)
        });
        assert!(told.contains(said) && told.contains(&name), "{number}: {told}");
        assert_eq!(house.platform_pid(), up, "{number}");
        socket.echoes("still there");
        // It works on as before: also what it has to do for it.
        let version = format!("v{}", number + 2);
        let commit = repository(&house).web(&version);
        house.sql(&format!(
            "insert into apps (name, version, scale, repo) values \
             ('a{number}', '{version}', 1, '{}')",
            repository(&house).path.display()
        ));
        house.deployed(&format!("a{number}"), &commit, 1);
        assert_eq!(house.pids("shop"), pids, "{number}");
    }
    replace(&program, &good);
    upgrade(&house);
    socket.echoes("over an upgrade at last");
    assert_eq!(house.pids("shop"), pids);
}

#[test]
fn a_program_that_was_replaced_while_another_one_started_takes_over() {
    let (house, program, commit) = house_of_a_file();
    let good = fs::read(&program).unwrap();
    let pids = house.pids("shop");
    replace(&program, b"#!/bin/sh\n: > \"$0.has-begun\"\nexec sleep 600\n");
    kill("-HUP", house.up_pid());
    let has_begun = house.room().join("rowhouse.has-begun");
    wait_for("a program that says nothing", || has_begun.exists().then_some(()));
    replace(&program, &good);
    upgrade(&house);
    assert!(house.log().contains("was not ready within 1.5 s"), "{}", house.log());
    house.deployed("shop", &commit, 1);
    assert_eq!(house.pids("shop"), pids);
}

#[test]
fn a_successor_that_cannot_read_what_there_is_says_so_and_takes_nothing() {
    let (house, _, commit) = house_of_a_file();
    let journal = house.data().join("state/journal.sqlite");
    let write = |record: &str| {
        let output = Command::new("sqlite3")
            .args(["-cmd", ".timeout 10000"])
            .arg(&journal)
            .arg(format!("insert or replace into stacks values ('zoo', {record})"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    write("'of another format'");
    kill("-HUP", house.up_pid());
    wait_for("the reason", || house.log().contains("send SIGHUP again").then_some(()));
    assert!(house.log().contains("journal: "), "{}", house.log());
    assert_eq!(house.platform_pid(), house.up_pid());
    house.deployed("shop", &commit, 1);
    let mut client = Client::new(house.port, "shop");
    assert_eq!(client.request("GET", "/", b"").unwrap().0, 200);
}
