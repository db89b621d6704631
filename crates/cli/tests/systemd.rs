//! A platform as a service of a real systemd: upgrades by `systemctl reload`, ends and starts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use house::connection::{WebSocket, connect, head};
use house::prober::Prober;
use house::systemd::Service;
use house::{House, Repository, replace, wait_for};

/// A service with one app. It ends before its house.
struct Served {
    service: Service,
    house: House,
    program: PathBuf,
    commit: String,
}

impl Served {
    fn start(kind: &str, drain: &str) -> Served {
        let mut house = House::new(&["--drain", drain]);
        let program = house.room().join("rowhouse");
        fs::copy(house::PROGRAM, &program).unwrap();
        house.program.clone_from(&program);
        house.environment = vec![("ROWHOUSE_SUCCESSOR_LIMIT_MS".to_owned(), "1500".to_owned())];
        let service = Service::start(&house, kind, "");
        wait_for("the platform", || (house.platform_pid() != 0).then_some(()));
        wait_for("the table", || house.table().exists().then_some(()));
        let commit = house.repository("app").web("v1");
        house.put("shop", "v1", 1, &Repository { path: house.room().join("app") });
        house.deployed("shop", &commit, 1);
        Served { service, house, program, commit }
    }

    /// The app's processes, by this machine's numbers.
    fn app(&self) -> Vec<u32> {
        self.numbers(|words| words.ends_with("python3 web.py "))
    }

    /// The processes that are platforms or were.
    fn platforms(&self) -> Vec<u32> {
        self.numbers(|words| words.contains("rowhouse up ") || words.contains("wait-for "))
    }

    fn numbers(&self, is_meant: impl Fn(&str) -> bool) -> Vec<u32> {
        let mut numbers: Vec<u32> = self
            .house
            .processes()
            .into_iter()
            .filter_map(|(pid, words)| is_meant(&words).then_some(pid))
            .collect();
        numbers.sort_unstable();
        numbers
    }

    #[track_caller]
    fn is(&self, state: &str) {
        assert_eq!(self.service.property("ActiveState"), state, "{}", self.house.log());
    }

    /// `systemctl reload`, until another process is the platform.
    #[track_caller]
    fn reload(&self) {
        let before = self.house.platform_pid();
        self.service.tell("reload");
        self.wait_for_another(before);
    }

    #[track_caller]
    fn wait_for_another(&self, before: u32) {
        wait_for("another process to be the platform", || {
            let pid = self.house.platform_pid();
            (pid != before && pid != 0).then_some(())
        });
    }

    /// Waits until one process is the platform, and of those before it only the first is left,
    /// which systemd knows and which does nothing but wait.
    #[track_caller]
    fn settled(&self) {
        wait_for("the old processes", || {
            let main = self.service.words(self.service.main_pid());
            (main.starts_with("rowhouse wait-for ") && self.platforms().len() == 2).then_some(())
        });
    }
}

fn reloads_with_everything_open(kind: &str) {
    let served = Served::start(kind, "10m");
    let Served { service, house, commit, .. } = &served;
    let (first, app) = (service.main_pid(), served.app());
    assert_eq!((first, app.len()), (house.platform_pid(), 1));
    let prober = Prober::start(house.port, "shop");
    let mut socket = WebSocket::open(house);
    socket.echoes("before");
    let mut stream = connect(house);
    write!(stream.get_mut(), "GET /slow/3 HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").unwrap();
    head(&mut stream);
    let mut upload = connect(house);
    let half = vec![b'x'; 100_000];
    write!(
        upload.get_mut(),
        "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 200000\r\n\r\n"
    )
    .unwrap();
    upload.get_mut().write_all(&half).unwrap();
    served.reload();
    upload.get_mut().write_all(&half).unwrap();
    assert!(head(&mut upload).starts_with("http/1.1 200"));
    // The process that systemd knows is there, so a signal to it is one to the platform.
    served.is("active");
    assert_eq!(service.main_pid(), first);
    // While the first one has connections: the next one stays for none of its own.
    served.reload();
    served.reload();
    socket.echoes("after three");
    let mut pieces = [0; 30];
    stream.read_exact(&mut pieces).unwrap();
    assert_eq!(&pieces, &[b'.'; 30]);
    // What the first one has open outlives a rollout by the third.
    let repository = Repository { path: house.room().join("app") };
    let second = repository.web("v2");
    assert_ne!(&second, commit);
    house.set("shop", "version = 'v2'");
    wait_for("the new version", || house.page("shop").filter(|page| page.starts_with("v2")));
    socket.echoes("and after a rollout");
    prober.end();
    drop((socket, stream, upload));
    house.deployed("shop", &second, 1);
    served.settled();
    served.is("active");
    let app = served.app();
    served.reload();
    served.settled();
    assert_eq!(served.app(), app);
    assert_eq!(service.property("NRestarts"), "0");
    // A stop ends the platform and leaves the apps, which the next start adopts.
    service.tell("stop");
    served.is("inactive");
    assert_eq!(service.property("Result"), "success");
    assert_eq!((served.platforms(), served.app()), (vec![], app.clone()));
    service.tell("start");
    house.deployed("shop", &second, 1);
    wait_for("the app", || house.page("shop"));
    served.reload();
    let before = house.platform_pid();
    service.tell("restart");
    served.wait_for_another(before);
    wait_for("the app", || house.page("shop"));
    assert_eq!(served.app(), app);
    // And `down` ends all of it, whichever process is asked.
    served.reload();
    let down = service.program(house::PROGRAM).args(["down", "--data"]).arg(house.data()).output();
    let down = down.unwrap();
    assert!(down.status.success(), "{down:?}");
    wait_for("the service to end", || {
        (service.property("ActiveState") == "inactive").then_some(())
    });
    assert_eq!(service.property("Result"), "success");
    assert_eq!(house.processes(), vec![]);
}

#[test]
fn a_simple_service_is_reloaded_with_everything_open_and_ends_properly() {
    reloads_with_everything_open("simple");
}

#[test]
fn a_notifying_service_is_reloaded_with_everything_open_and_ends_properly() {
    reloads_with_everything_open("notify");
}

fn serves_on_without_a_successor(kind: &str) {
    let served = Served::start(kind, "10m");
    let Served { service, house, program, commit } = &served;
    let good = fs::read(program).unwrap();
    let (pid, app) = (house.platform_pid(), served.app());
    let mut socket = WebSocket::open(house);
    let prober = Prober::start(house.port, "shop");
    let refused = |said: &str| {
        let before = house.log().len();
        service.tell("reload");
        let told = wait_for("the reason", || {
            let told = house.log()[before..].to_owned();
            told.contains("send SIGHUP again").then_some(told)
        });
        assert!(told.contains(said), "{said}: {told}");
        served.is("active");
        assert_eq!((service.main_pid(), house.platform_pid()), (pid, pid));
        assert_eq!(served.app(), app);
    };
    for (content, said) in [
        (&good[..100_000], "before it was ready"),
        (b"#!/bin/sh\nexit 1\n", "before it was ready (exit status: 1)"),
        (b"#!/bin/sh\nexec sleep 600\n", "was not ready within 1.5 s"),
        (b"#!/bin/sh\nprintf p >&0\nexec sleep 600\n", "was not ready within 1.5 s"),
    ] {
        replace(program, content);
        refused(said);
        socket.echoes("still there");
    }
    replace(program, &good);
    // A table of a format that this program does not know.
    let format = house.sql("pragma user_version");
    house.sql("pragma user_version = 100000");
    refused("table");
    house.sql(&format!("pragma user_version = {format}"));
    prober.end();
    served.reload();
    socket.echoes("over an upgrade at last");
    house.deployed("shop", commit, 1);
    assert_eq!((served.app(), service.property("NRestarts")), (app, "0".to_owned()));
}

#[test]
fn a_simple_service_serves_on_where_its_new_program_is_of_no_use() {
    serves_on_without_a_successor("simple");
}

#[test]
fn a_notifying_service_serves_on_where_its_new_program_is_of_no_use() {
    serves_on_without_a_successor("notify");
}

fn is_started_again(kind: &str) {
    let served = Served::start(kind, "10m");
    let Served { service, house, commit, .. } = &served;
    let app = served.app();
    let crash = |restarts: &str| {
        let before = house.platform_pid();
        service.kill("-9", before);
        served.wait_for_another(before);
        wait_for("the service", || (service.property("NRestarts") == restarts).then_some(()));
        house.deployed("shop", commit, 1);
        wait_for("the app", || house.page("shop"));
        served.is("active");
        assert_eq!(served.app(), app);
    };
    // The successor, while the predecessor has something open and when it has not.
    let socket = WebSocket::open(house);
    served.reload();
    crash("1");
    drop(socket);
    served.reload();
    served.settled();
    crash("2");
    // And what stands between.
    let socket = WebSocket::open(house);
    served.reload();
    let between = house.platform_pid();
    served.reload();
    service.kill("-9", between);
    drop(socket);
    served.settled();
    assert_eq!(service.property("NRestarts"), "2");
    crash("3");
    // And the last of three, when that between has gone before it and the first one is not done.
    let socket = WebSocket::open(house);
    served.reload();
    let between = house.platform_pid();
    served.reload();
    service.kill("-9", between);
    crash("4");
    drop(socket);
}

#[test]
fn a_simple_service_is_started_again_when_a_successor_crashes() {
    is_started_again("simple");
}

#[test]
fn a_notifying_service_is_started_again_when_a_successor_crashes() {
    is_started_again("notify");
}

/// Reloads that follow one another closely, and a stop with something open.
fn reloads_at_once(kind: &str) {
    let served = Served::start(kind, "2s");
    let Served { service, house, commit, .. } = &served;
    let app = served.app();
    let prober = Prober::start(house.port, "shop");
    let before = house.platform_pid();
    for _ in 0..5 {
        service.tell("reload");
    }
    served.wait_for_another(before);
    served.settled();
    house.deployed("shop", commit, 1);
    prober.end();
    let socket = WebSocket::open(house);
    served.reload();
    service.tell("reload");
    service.tell("stop");
    served.is("inactive");
    assert_eq!(service.property("Result"), "success", "{}", house.log());
    assert_eq!((served.platforms(), served.app()), (vec![], app));
    drop(socket);
}

#[test]
fn a_simple_service_is_reloaded_during_a_reload_and_stopped_after_it() {
    reloads_at_once("simple");
}

#[test]
fn a_notifying_service_is_reloaded_during_a_reload_and_stopped_after_it() {
    reloads_at_once("notify");
}
