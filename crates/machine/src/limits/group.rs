//! The control group of one process and all that it starts: made by its small parent, entered by
//! itself before its first instruction, and removed with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::limits::means::Version;
use crate::limits::{Cpus, Limits, Purpose};

/// How often a group is made that somebody who tidies up has taken away before it was entered.
const ENTERED_WITHIN: u32 = 100;
/// How often it is tried to remove a group, and to end what is in it, a pause apart.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);
/// Microseconds in which a share of the CPUs is reckoned.
const PERIOD: u64 = 100_000;

impl Limits {
    fn group_folders(&self) -> Vec<PathBuf> {
        self.means.folders().into_iter().map(|folder| folder.join(&self.group)).collect()
    }

    /// Makes the group anew, with its limits.
    pub(crate) fn open_group(&self) -> io::Result<()> {
        for folder in self.group_folders() {
            // One that is left of an earlier process has its counts.
            let _ = fs::remove_dir(&folder);
        }
        self.make_group()
    }

    fn make_group(&self) -> io::Result<()> {
        for folder in self.group_folders() {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        match self.means.version {
            None => Ok(()),
            Some(Version::One) => self.write_first(),
            Some(Version::Two) => self.write_second(),
        }
    }

    fn write_first(&self) -> io::Result<()> {
        if let (Some(folder), Some(most)) = (self.folder(self.means.memory.as_ref()), self.memory) {
            write(&folder, "memory.limit_in_bytes", &most.bytes())?;
            // With swap, where the kernel counts it.
            let _ = write(&folder, "memory.memsw.limit_in_bytes", &most.bytes());
        }
        if let Some(folder) = self.folder(self.means.processes.as_ref()) {
            write(&folder, "pids.max", &self.processes)?;
        }
        if let Some(folder) = self.folder(self.means.cpu.as_ref()) {
            let shares = if self.purpose == Purpose::Building { 64 } else { 1_024 };
            write(&folder, "cpu.shares", &shares)?;
            if let Some(cpus) = self.cpus {
                write(&folder, "cpu.cfs_quota_us", &cpus.of(PERIOD))?;
            }
        }
        Ok(())
    }

    fn write_second(&self) -> io::Result<()> {
        if let (Some(folder), Some(most)) = (self.folder(self.means.memory.as_ref()), self.memory) {
            write(&folder, "memory.max", &most.bytes())?;
            // Absent without swap; without the other one (Linux 4.19) the look ends the rest.
            let _ = write(&folder, "memory.swap.max", &0);
            let _ = write(&folder, "memory.oom.group", &1);
        }
        if let Some(folder) = self.folder(self.means.processes.as_ref()) {
            write(&folder, "pids.max", &self.processes)?;
        }
        if let Some(folder) = self.folder(self.means.cpu.as_ref()) {
            let weight = if self.purpose == Purpose::Building { 6 } else { 100 };
            write(&folder, "cpu.weight", &weight)?;
            if let Some(cpus) = self.cpus {
                write(&folder, "cpu.max", &format!("{} {PERIOD}", cpus.of(PERIOD)))?;
            }
        }
        Ok(())
    }

    fn folder(&self, of: Option<&PathBuf>) -> Option<PathBuf> {
        of.map(|folder| folder.join(&self.group))
    }

    /// Moves this process into its group.
    pub(crate) fn enter_group(&self) -> io::Result<()> {
        for folder in self.group_folders() {
            let mut tries = 0;
            loop {
                match write(&folder, "cgroup.procs", &0) {
                    Err(error)
                        if error.kind() == io::ErrorKind::NotFound && tries < ENTERED_WITHIN =>
                    {
                        self.make_group()?;
                        tries += 1;
                    }
                    entered => break entered?,
                }
            }
        }
        Ok(())
    }

    /// How many processes of the group were ended because of its memory.
    pub(crate) fn ended_for_memory(&self) -> u64 {
        let name = match self.means.version {
            Some(Version::One) => "memory.oom_control",
            Some(Version::Two) => "memory.events",
            None => return 0,
        };
        let file = self.folder(self.means.memory.as_ref()).map(|folder| folder.join(name));
        let text = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes the group, and ends whatever is in it: for when nothing of it may be left.
    pub(crate) fn close_group(&self) {
        if let Some(folder) = self.folder(self.means.processes.as_ref()) {
            // Nobody is born meanwhile.
            let _ = write(&folder, "pids.max", &0);
        }
        for folder in self.group_folders() {
            remove(&folder);
        }
    }
}

impl Cpus {
    /// So much of a period on one CPU, or on several.
    fn of(self, period: u64) -> u64 {
        u64::from(self.0) * period / 100
    }
}

fn write(folder: &Path, name: &str, value: &impl ToString) -> io::Result<()> {
    let path = folder.join(name);
    // Opened, not made: in a folder that is no group's there is nothing to limit by.
    let mut file = fs::OpenOptions::new().write(true).open(&path)?;
    io::Write::write_all(&mut file, value.to_string().as_bytes())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Removes a group, and ends what is in it.
fn remove(folder: &Path) {
    for _ in 0..TRIES {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Ok(()) => return,
            Err(_) => {}
        }
        let inside = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(PAUSE);
    }
}

/// Removes the groups of this name's beginning that nobody is in any more: the kernel refuses to
/// remove one of a process that runs.
pub(crate) fn remove_empty(folder: &Path, beginning: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(beginning)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Mebibytes;
    use crate::limits::means::Means;

    /// A folder with the files of a group, as the kernel would show them.
    fn group(room: &Path, files: &[&str]) -> PathBuf {
        let folder = room.join("group");
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            fs::write(folder.join(file), "").unwrap();
        }
        folder
    }

    fn limits(version: Version, room: &Path) -> Limits {
        let there = Some(room.to_owned());
        Limits {
            means: Means {
                version: Some(version),
                memory: there.clone(),
                processes: there.clone(),
                cpu: there,
            },
            group: "group".to_owned(),
            purpose: Purpose::Building,
            memory: Some(Mebibytes(64)),
            processes: 20,
            disk: None,
            cpus: Some("1.5".parse().unwrap()),
        }
    }

    #[test]
    fn each_version_gets_what_it_knows() {
        let expected = [
            (
                Version::One,
                vec![
                    ("memory.limit_in_bytes", "67108864"),
                    ("memory.memsw.limit_in_bytes", "67108864"),
                    ("pids.max", "20"),
                    ("cpu.shares", "64"),
                    ("cpu.cfs_quota_us", "150000"),
                ],
            ),
            (
                Version::Two,
                vec![
                    ("memory.max", "67108864"),
                    ("memory.swap.max", "0"),
                    ("memory.oom.group", "1"),
                    ("pids.max", "20"),
                    ("cpu.weight", "6"),
                    ("cpu.max", "150000 100000"),
                ],
            ),
        ];
        for (version, files) in expected {
            let room = tempfile::tempdir().unwrap();
            let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            let folder = group(room.path(), &names);
            limits(version, room.path()).open_group().unwrap();
            for (name, value) in files {
                assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), value, "{name}");
            }
        }
    }

    #[test]
    fn who_was_ended_for_memory_is_counted() {
        for (version, file, text) in [
            (Version::One, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            (Version::Two, "memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\n"),
        ] {
            let room = tempfile::tempdir().unwrap();
            fs::write(group(room.path(), &[]).join(file), text).unwrap();
            assert_eq!(limits(version, room.path()).ended_for_memory(), 3);
        }
    }

    #[test]
    fn a_group_that_cannot_be_limited_is_an_error() {
        let room = tempfile::tempdir().unwrap();
        group(room.path(), &[]);
        assert!(limits(Version::Two, room.path()).open_group().is_err());
    }
}
