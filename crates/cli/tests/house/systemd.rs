//! A real systemd for a test: it is the first process of namespaces of its own, and a platform is
//! its service. All of it ends with the process that holds the namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::house::{House, wait_for};

const SYSTEMD: &str = "/lib/systemd/systemd";
const UNIT: &str = "rowhouse.service";
/// For what has no other order: a target that wants nothing.
const TARGET: &str = "[Unit]\nDescription=A test\nDefaultDependencies=no\n";

/// A platform as a service.
pub struct Service {
    room: tempfile::TempDir,
    name: String,
    holder: Child,
    /// The first process in it, by this machine's number.
    first: u32,
}

impl Service {
    /// Starts systemd with a unit for the platform of this house, of this type and with these lines
    /// more, and starts that.
    pub fn start(house: &House, kind: &str, lines: &str) -> Service {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            Path::new(SYSTEMD).exists(),
            "this test needs `{SYSTEMD}`: `cargo xtask test` installs Debian's package `systemd`"
        );
        let room = tempfile::tempdir().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rowhouse-test-{}-{number}", std::process::id());
        fs::write(room.path().join("systemd.sh"), include_str!("systemd.sh")).unwrap();
        fs::write(room.path().join("rowhouse-test.target"), TARGET).unwrap();
        fs::write(room.path().join(UNIT), unit(house, kind, lines)).unwrap();
        let log = fs::File::create(room.path().join("log")).unwrap();
        let mut holder = Command::new("sh")
            .arg(room.path().join("systemd.sh"))
            .arg(room.path())
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("namespaces", || {
            let ended = holder.try_wait().unwrap();
            if ended.is_some() {
                let said = fs::read_to_string(room.path().join("log")).unwrap();
                panic!(
                    "this test starts systemd in namespaces and control groups of its own, for \
                     which it must be root with CAP_SYS_ADMIN (in a container: `--privileged`): \
                     {said}"
                );
            }
            room.path().join("ready").exists().then_some(())
        });
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let first = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let service = Service { room, name, holder, first };
        wait_for("systemd", || {
            service.systemctl(&["is-active", "rowhouse-test.target"]).status.success().then_some(())
        });
        service.ask(&["start", UNIT]);
        service
    }

    /// A program beside systemd, for which numbers of processes mean what they mean to it.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--mount", "--pid", "--", name]);
        command.stdin(Stdio::null());
        command
    }

    fn systemctl(&self, arguments: &[&str]) -> Output {
        self.program("systemctl").args(arguments).output().unwrap()
    }

    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.systemctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `systemctl` with this word, on the service.
    #[track_caller]
    pub fn tell(&self, word: &str) {
        self.ask(&[word, UNIT]);
    }

    /// A property of the service.
    #[track_caller]
    pub fn property(&self, name: &str) -> String {
        self.ask(&["show", "--value", "--property", name, UNIT])
    }

    /// The process that systemd takes for the service, as that which the folder names.
    pub fn main_pid(&self) -> u32 {
        self.property("MainPID").parse().unwrap()
    }

    /// Sends a process of its number a signal.
    pub fn kill(&self, signal: &str, pid: u32) {
        // It may be gone already.
        let _ = self.program("kill").args([signal, &pid.to_string()]).output().unwrap();
    }

    /// What a process of its number was started as.
    pub fn words(&self, pid: u32) -> String {
        let output = self.program("cat").arg(format!("/proc/{pid}/cmdline")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).replace('\0', " ")
    }
}

/// The service of the README, for this house.
fn unit(house: &House, kind: &str, lines: &str) -> String {
    let readme = include_str!("../../../../README.md");
    let service = readme.split("\n[Service]\n").nth(1).unwrap().split("\n[Install]\n").next();
    let service: String = service
        .unwrap()
        .lines()
        .map(|line| match line.split_once('=').map_or(line, |(name, _)| name) {
            "ExecStart" => format!(
                "ExecStart={program} up --data {data} --listen 127.0.0.1:{port} {arguments}\n",
                program = house.program.display(),
                data = house.data().display(),
                port = house.port,
                arguments = house.arguments.join(" "),
            ),
            "Type" => format!("Type={kind}\n"),
            // What the machine would have to have.
            "User" | "StateDirectory" => String::new(),
            _ => format!("{line}\n"),
        })
        .collect();
    let environment = house
        .environment
        .iter()
        .fold(String::new(), |all, (name, value)| format!("{all}Environment={name}={value}\n"));
    format!(
        "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n[Service]\n{service}\
         StandardOutput=append:{log}\nStandardError=append:{log}\n{environment}{lines}",
        log = house.room().join("up.log").display(),
    )
}

impl Drop for Service {
    fn drop(&mut self) {
        // The first process ends with it, and all others with that one.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for _ in 0..200 {
            let left = groups(&self.name);
            if left.is_empty() {
                return;
            }
            for group in left {
                remove(&group);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// The control groups of this name that there are.
fn groups(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let folder = words.next()?;
        words.next()?.starts_with("cgroup").then(|| Path::new(folder).join(name))
    });
    hierarchies.filter(|group| group.exists()).collect()
}

/// Removes a control group with those in it, as far as no process is in them.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    // A process that was just killed may be in it yet: it is tried again.
    let _ = fs::remove_dir(group);
}
