//! What the processes of a platform are allowed: what `rowhouse up` was asked for, and where it was
//! not asked, what leaves the machine room for others.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::digest::digest;
use crate::limits::means::Means;
use crate::limits::{Cpus, DiskLimit, Limits, Mebibytes, Purpose};

/// What `rowhouse up` was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Of an instance whose row does not say.
    pub memory: Option<Mebibytes>,
    pub build_memory: Option<Mebibytes>,
    pub build_cpus: Option<Cpus>,
    /// Processes and threads of an instance, or of a build.
    pub processes: Option<u32>,
    /// What an app's own folders may take.
    pub disk: Option<Mebibytes>,
}

/// Processes and threads, where nobody says.
const PROCESSES: u32 = 2_000;

/// What the processes of one platform are allowed, and how they are held to it.
#[derive(Clone, Debug)]
pub struct Allowance {
    means: Means,
    allowed: Allowed,
    /// What instances are made from: what was asked for alone. What was not follows from the
    /// machine's size, and a file system that grows must replace no instance.
    settings: String,
    /// How the names of its groups begin.
    beginning: String,
}

/// How the names of the groups begin of a platform on this folder: no other platform's do.
pub fn beginning(data: &Path) -> String {
    format!("rowhouse-{}-", &digest(data.as_os_str().as_encoded_bytes())[..12])
}

impl Allowance {
    /// Of a platform on this folder. Where `alone`, its one app may have the machine.
    pub fn new(means: Means, asked: &Allowed, data: &Path, alone: bool) -> Allowance {
        let memory = machine_memory().filter(|_| !alone);
        let disk = statvfs(data).ok().filter(|_| !alone);
        let disk = disk.map(|disk| Mebibytes::of_bytes(disk.f_blocks * disk.f_frsize));
        let part = |of: Option<Mebibytes>, parts, whole| {
            of.map(|Mebibytes(amount)| Mebibytes(amount * parts / whole))
        };
        let settings = {
            let Allowed { memory, processes, disk, .. } = asked;
            format!("{means}, {memory:?}, {processes:?}, {disk:?}")
        };
        Allowance {
            means,
            settings,
            allowed: Allowed {
                memory: asked.memory.or(part(memory, 1, 2)),
                build_memory: asked.build_memory.or(part(memory, 3, 4)),
                build_cpus: asked.build_cpus,
                processes: asked.processes,
                disk: asked.disk.or(part(disk, 1, 2)),
            },
            beginning: beginning(data),
        }
    }

    /// How they are held to it.
    pub fn means(&self) -> &Means {
        &self.means
    }

    /// How the names of its groups begin.
    pub(crate) fn beginning(&self) -> &str {
        &self.beginning
    }

    /// What instances are made from: the same text for the same.
    pub(crate) fn of_settings(&self) -> &str {
        &self.settings
    }

    /// The limits of an instance or of a `release:`, whose own folders these are.
    pub(crate) fn of_app(&self, memory: Option<u32>, group: &str, folders: Vec<PathBuf>) -> Limits {
        let memory = memory.map(|memory| Mebibytes(u64::from(memory))).or(self.allowed.memory);
        Limits { memory, ..self.limits(Purpose::Serving, group, folders) }
    }

    /// The limits of a build, whose own folders these are.
    pub(crate) fn of_build(&self, group: &str, folders: Vec<PathBuf>) -> Limits {
        let (memory, cpus) = (self.allowed.build_memory, self.allowed.build_cpus);
        Limits { memory, cpus, ..self.limits(Purpose::Building, group, folders) }
    }

    fn limits(&self, purpose: Purpose, group: &str, folders: Vec<PathBuf>) -> Limits {
        Limits {
            means: self.means.clone(),
            group: format!("{}{group}", self.beginning),
            purpose,
            memory: None,
            processes: self.allowed.processes.unwrap_or(PROCESSES),
            disk: self.allowed.disk.map(|most| DiskLimit { most, folders }),
            cpus: None,
        }
    }
}

/// All of this machine's memory.
fn machine_memory() -> Option<Mebibytes> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Mebibytes(kibibytes >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_memory_goes_before_the_platforms_and_builds_have_their_own() {
        let asked = Allowed {
            memory: Some(Mebibytes(256)),
            build_memory: Some(Mebibytes(1_024)),
            disk: Some(Mebibytes(100)),
            ..Allowed::default()
        };
        let allowance = Allowance::new(Means::default(), &asked, Path::new("/"), false);
        let memory = |limits: Limits| limits.memory.unwrap().0;
        assert_eq!(memory(allowance.of_app(None, "shop.1", Vec::new())), 256);
        assert_eq!(memory(allowance.of_app(Some(64), "shop.1", Vec::new())), 64);
        assert_eq!(memory(allowance.of_build("shop.job-1", Vec::new())), 1_024);
    }

    #[test]
    fn what_nobody_asked_for_is_none_of_the_settings_so_that_a_larger_disk_replaces_nothing() {
        let allowance =
            |asked: &Allowed| Allowance::new(Means::default(), asked, Path::new("/"), false);
        let unasked = allowance(&Allowed::default());
        assert!(unasked.allowed.disk.is_some() && unasked.settings.ends_with("None, None, None"));
        let asked = Allowed { disk: Some(Mebibytes(100)), ..Allowed::default() };
        assert_ne!(unasked.of_settings(), allowance(&asked).of_settings());
    }

    #[test]
    fn nobody_who_is_alone_is_limited_unasked() {
        let allowance =
            |alone| Allowance::new(Means::default(), &Allowed::default(), Path::new("/"), alone);
        let limits = |alone| allowance(alone).of_app(None, "shop.1", Vec::new());
        assert!(limits(false).memory.is_some() && limits(false).disk.is_some());
        assert_eq!((limits(true).memory, limits(true).disk), (None, None));
    }
}
