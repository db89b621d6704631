//! What one process and all that it starts may take of the machine: memory, processes, disk and
//! CPUs. By control groups, where there are any (`means`, `group`), else by limits of the kernel on
//! each process and by looking at them again and again. What all processes of a platform are
//! allowed stands in `allowance`.

pub mod allowance;
mod group;
pub mod means;
pub mod probe;

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::limits::means::Means;

/// How much lower than others a build stands in the queue for CPUs and disks, `setpriority(2)`.
const NICENESS_OF_BUILDS: i32 = 10;
/// The most files that a process may open when it asks for more than it was given.
const MOST_OPEN_FILES: u64 = 1 << 16;
/// What a process may map beyond twice its memory: stacks of threads and arenas, mostly unused.
const MAPPED_BEYOND: u64 = 512 << 20;
/// Where a number of processes can be limited only for all that a user runs, so many times as many.
const OF_ALL: u64 = 10;

/// An amount of memory or disk, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mebibytes(pub u64);

impl Mebibytes {
    pub fn bytes(self) -> u64 {
        self.0.saturating_mul(1 << 20)
    }

    fn of_bytes(bytes: u64) -> Mebibytes {
        Mebibytes(bytes >> 20)
    }
}

impl fmt::Display for Mebibytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} MiB", self.0)
    }
}

/// A number of CPUs, in hundredths of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(u32);

/// What a number of CPUs may be.
const CPUS: &str = "a number from 0.1 to 1000, such as `1.5`";

impl FromStr for Cpus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Cpus, &'static str> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 2 {
            return Err(CPUS);
        }
        let hundredths = format!("{whole}{part:0<2}").parse().map_err(|_| CPUS)?;
        if (10..=100_000).contains(&hundredths) { Ok(Cpus(hundredths)) } else { Err(CPUS) }
    }
}

/// What folders may take together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLimit {
    pub most: Mebibytes,
    pub folders: Vec<PathBuf>,
}

/// What something is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    Serving,
    /// It waits for what serves.
    Building,
}

/// What one process and all that it starts may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// By which it is held.
    pub means: Means,
    /// The name of its control group.
    pub group: String,
    pub purpose: Purpose,
    pub memory: Option<Mebibytes>,
    /// Processes and threads.
    pub processes: u32,
    pub disk: Option<DiskLimit>,
    pub cpus: Option<Cpus>,
}

/// What a process took more of than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Excess {
    Memory(Mebibytes),
    Processes(u32),
    Disk(Mebibytes),
}

impl fmt::Display for Excess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Memory(most) => write!(formatter, "used more than its {most}"),
            Excess::Processes(most) => {
                write!(formatter, "ran more than its {most} processes and threads")
            }
            Excess::Disk(most) => write!(formatter, "used more than its {most} of disk"),
        }
    }
}

impl Limits {
    /// Puts this process under the limits, with all that it will start. It has not entered its
    /// sandbox yet.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.enter_group()?;
        if self.means.memory.is_none()
            && let Some(memory) = self.memory
        {
            // The look at all of them together comes late for one that takes gigabytes at once.
            let most = memory.bytes().saturating_mul(2).saturating_add(MAPPED_BEYOND);
            lower(Resource::Data, most)?;
        }
        let files = getrlimit(Resource::Nofile);
        let most = files.maximum.map_or(MOST_OPEN_FILES, |most| most.min(MOST_OPEN_FILES));
        let current = files.current.map_or(most, |current| current.min(most));
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: Some(most) })?;
        // Where the machine itself runs out of memory, the platform is not what is ended.
        let score = if self.purpose == Purpose::Building { "500" } else { "200" };
        let _ = fs::write("/proc/self/oom_score_adj", score);
        if self.purpose == Purpose::Building {
            setpriority_process(None, NICENESS_OF_BUILDS)?;
            self.stay_on_few_cpus()?;
        }
        Ok(())
    }

    /// As [`Limits::enter`], for what counts by user: `is_alone` tells whether the sandbox that
    /// this process is in by now has users of its own.
    pub(crate) fn enter_inside(&self, is_alone: bool) -> io::Result<()> {
        if self.means.processes.is_some() {
            return Ok(());
        }
        let most = u64::from(self.processes);
        lower(Resource::Nproc, if is_alone { most } else { most.saturating_mul(OF_ALL) })
    }

    /// Without a group that gives it shares, a build gets whole CPUs.
    fn stay_on_few_cpus(&self) -> io::Result<()> {
        let Some(Cpus(hundredths)) = self.cpus.filter(|_| self.means.cpu.is_none()) else {
            return Ok(());
        };
        let count = hundredths.div_ceil(100);
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let mut few = CpuSet::new();
        let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        for cpu in cpus.take(usize::try_from(count).unwrap_or(usize::MAX)) {
            few.set(cpu);
        }
        Ok(sched_setaffinity(None, &few)?)
    }
}

/// Lowers a limit that the process cannot raise again.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let before = getrlimit(resource).maximum;
    let most = Some(before.map_or(most, |before| before.min(most)));
    Ok(setrlimit(resource, Rlimit { current: most, maximum: most })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_cpus_is_read_as_people_write_it() {
        for (text, hundredths) in [("1", 100), ("1.5", 150), ("0.25", 25), ("16", 1600)] {
            assert_eq!(text.parse(), Ok(Cpus(hundredths)), "{text}");
        }
        for text in ["", "0", "0.05", "-1", "1.", ".5", "1,5", "1.234", "1001", "all"] {
            assert_eq!(text.parse::<Cpus>(), Err(CPUS), "{text}");
        }
    }

    #[test]
    fn an_excess_says_what_was_allowed() {
        let said = [
            Excess::Memory(Mebibytes(512)),
            Excess::Processes(100),
            Excess::Disk(Mebibytes(1_024)),
        ]
        .map(|excess| excess.to_string());
        assert_eq!(
            said,
            [
                "used more than its 512 MiB",
                "ran more than its 100 processes and threads",
                "used more than its 1024 MiB of disk",
            ]
        );
    }
}
