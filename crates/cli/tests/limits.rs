//! What an app or a build may take of the machine, tried by apps that take more, beside one that
//! answers every request meanwhile: with the control groups that this machine has, and with none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use house::prober::Prober;
use house::{House, Repository, wait_for};

/// A user of the machine that nothing belongs to.
const ORDINARY: u32 = 4_242;
const LIMITS: [&str; 8] =
    ["--memory", "512", "--processes", "120", "--disk", "40", "--build-memory", "512"];
const WITHOUT_GROUPS: &str = "--without-control-groups";

/// A platform with an app on it that nothing may happen to.
struct Scene {
    house: House,
    pids: Vec<u32>,
}

impl Scene {
    /// `user`: who runs the platform; `None`: who runs the test.
    fn new(more: &[&str], user: Option<u32>) -> Scene {
        assert!(rustix::process::geteuid().is_root(), "this test must be root's");
        let mut house = House::new(&[&LIMITS, more].concat());
        if let Some(user) = user {
            house.belongs_to(user);
        }
        house.up();
        let repository = house.repository("victim");
        let commit = repository.web("v1");
        give(&house, &repository.path);
        house.put("victim", "v1", 1, &repository);
        house.deployed("victim", &commit, 1);
        let pids = house.pids("victim");
        Scene { house, pids }
    }

    fn app(&self, name: &str, behaviour: &str, memory: Option<u32>) -> Repository {
        let repository = self.house.repository(name);
        let files = [
            ("limits.py", include_str!("apps/limits.py")),
            ("Procfile", "web: exec python3 limits.py\n"),
        ];
        let commit = repository.commit("v1", &files);
        give(&self.house, &repository.path);
        let memory = memory.map_or("null".to_owned(), |memory| memory.to_string());
        self.house.sql(&format!(
            "insert into apps (name, version, scale, repo, env, memory) values ('{name}', 'v1', \
             1, '{}', '{{\"BEHAVIOUR\": \"{behaviour}\"}}', {memory})",
            repository.path.display()
        ));
        self.house.deployed(name, &commit, 1);
        repository
    }

    /// Lets an app take what it can, and waits until the platform says this of it.
    fn ended(&self, name: &str, words: &str) {
        self.house.get(name, "/go").unwrap();
        wait_for(words, || self.events(name).contains(words).then_some(()));
    }

    fn events(&self, name: &str) -> String {
        let output = self.house.rowhouse(&["events", name]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Nothing has happened to the app beside.
    fn is_unharmed(&self) {
        assert_eq!(self.house.pids("victim"), self.pids);
        assert!(!self.events("victim").contains("used more"));
    }

    /// A hog of memory, one of processes, one of logs and one of disk, one after the other.
    fn play(&self, holds_processes: bool) {
        let prober = Prober::start(self.house.port, "victim");
        self.app("hog", "memory", Some(128));
        self.ended("hog", "used more than its 128 MiB");
        self.house.wait_row("hog", |row| row.healthy == 1 && row.status == "deployed");
        self.app("bomb", "processes", None);
        if holds_processes {
            self.house.get("bomb", "/go").unwrap();
            let refused = self.house.data_of("bomb").join("refused");
            wait_for("a process to be refused", || refused.exists().then_some(()));
        } else {
            self.ended("bomb", "ran more than its 120 processes and threads");
        }
        self.app("flood", "log", None);
        self.house.get("flood", "/go").unwrap();
        let logs = self.house.data().join("logs/flood");
        wait_for("a log to be cut", || (taken(&logs) > 40 << 20).then_some(()));
        self.app("full", "disk", None);
        self.ended("full", "used more than its 40 MiB of disk");
        assert!(taken(&logs) < 60 << 20);
        self.is_unharmed();
        prober.end();
    }
}

/// All that lies in a folder, in bytes.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn give(house: &House, path: &Path) {
    let Some(user) = house.user else { return };
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(house, &entry.unwrap().path());
        }
    }
}

/// The groups of platforms on this folder, in every hierarchy.
fn groups(house: &House) -> Vec<PathBuf> {
    let beginning = rowhouse_machine::limits::allowance::beginning(&house.data());
    let mut found = Vec::new();
    let mut left = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str().unwrap().starts_with(&beginning) {
                    found.push(entry.path());
                }
                left.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn one_that_takes_too_much_harms_nobody_else_with_control_groups() {
    let scene = Scene::new(&[], None);
    assert!(!groups(&scene.house).is_empty(), "this machine has no control groups");
    scene.play(true);
}

#[test]
fn one_that_takes_too_much_harms_nobody_else_without_control_groups() {
    let scene = Scene::new(&[WITHOUT_GROUPS], None);
    assert_eq!(groups(&scene.house), Vec::<PathBuf>::new());
    scene.play(false);
}

#[test]
fn one_that_takes_too_much_harms_nobody_else_on_a_platform_of_an_ordinary_users() {
    Scene::new(&[], Some(ORDINARY)).play(true);
}

#[test]
fn a_build_on_all_cores_and_one_that_takes_too_much_memory_leave_others_answering() {
    for more in [&[][..], &[WITHOUT_GROUPS]] {
        let scene = Scene::new(more, None);
        let prober = Prober::start(scene.house.port, "victim");
        let spin = "python3 -c 'import time\nend = time.time() + 2\nwhile time.time() < end: pass'";
        let script = format!("nice > \"$HOME/nice\"\nfor i in 1 2 3 4; do {spin} & done\nwait\n");
        let busy = scene.house.repository("busy");
        let web = include_str!("apps/web.py");
        let procfile = "build: sh build.sh\nweb: exec python3 web.py\n";
        let files = [("Procfile", procfile), ("build.sh", &script), ("web.py", web)];
        let commit = busy.commit("v1", &files);
        scene.house.put("busy", "v1", 1, &busy);
        scene.house.deployed("busy", &commit, 1);
        let nice = fs::read_to_string(scene.house.build_home_of("busy").join("nice")).unwrap();
        assert_eq!(nice.trim(), "10");
        let greedy = scene.house.repository("greedy");
        // Slow enough to be seen by a look each second before it may map no more.
        let grow = "import time\nx = []\nwhile True:\n    x.append(bytes([1]) * 8_000_000)\n    \
                    time.sleep(0.02)\n";
        let procfile = "build: python3 grow.py\nweb: exec true\n";
        greedy.commit("v1", &[("Procfile", procfile), ("grow.py", grow)]);
        scene.house.put("greedy", "v1", 1, &greedy);
        scene.house.failed("greedy", "used more than its 512 MiB");
        scene.is_unharmed();
        prober.end();
    }
}

#[test]
fn groups_that_are_left_over_go_at_the_next_start_and_those_of_what_runs_stay() {
    let mut scene = Scene::new(&[], None);
    let before = groups(&scene.house);
    assert!(!before.is_empty(), "this machine has no control groups");
    scene.house.end_up("-9");
    let name = before[0].file_name().unwrap().to_str().unwrap();
    let left = before[0].with_file_name(format!("{name}-left"));
    fs::create_dir(&left).unwrap();
    scene.house.up();
    wait_for("what is left to go", || (!left.exists()).then_some(()));
    assert_eq!(groups(&scene.house), before);
    scene.is_unharmed();
    scene.house.sql("delete from apps");
    wait_for("all groups to go", || groups(&scene.house).is_empty().then_some(()));
}

#[test]
fn a_small_parent_that_is_killed_leaves_no_group_with_anybody_in_it() {
    let scene = Scene::new(&[], None);
    let before = groups(&scene.house);
    let group = before[0].clone();
    let app = scene.pids[0];
    let status = fs::read_to_string(format!("/proc/{app}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    house::kill("-9", parent.trim().parse().unwrap());
    wait_for("another process", || {
        matches!(scene.house.pids("victim")[..], [pid] if pid != app).then_some(())
    });
    let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert!(!inside.lines().any(|pid| pid == app.to_string()), "{inside}");
    assert_eq!(groups(&scene.house), before);
}
