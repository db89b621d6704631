//! Processes as the kernel shows them: who a process is beyond its number, and whose children there
//! are.

pub(crate) mod cause;
pub(crate) mod command;
pub mod end;
mod ending;
pub mod environment;
pub mod listening;
pub mod log;
pub mod port;
pub mod program;
pub mod shim;
pub mod supervised;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// A process for sure: numbers are used again, start times within one boot are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks after boot, field 22 of `proc_pid_stat(5)`.
    pub start_time: u64,
}

impl ProcessId {
    /// Looks a living process up by its number.
    pub fn of(pid: i32) -> Option<ProcessId> {
        start_time(pid).map(|start_time| ProcessId { pid, start_time })
    }

    /// Whether this very process lives (a zombie does, for its number is still taken).
    pub fn is_alive(self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// The number in the kernel's form.
    pub(crate) fn raw(self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// Which boot this is; process ids and start times of another one mean nothing.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The fields of `proc_pid_stat(5)` from the third on; the second may hold anything, also brackets.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// The parent of a process that is there.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

fn start_time(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Every process by its parent's number.
fn children_of_all() -> BTreeMap<i32, Vec<ProcessId>> {
    let mut children: BTreeMap<i32, Vec<ProcessId>> = BTreeMap::new();
    for pid in all() {
        let found = stat(pid)
            .and_then(|fields| Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?)));
        if let Some((parent, start_time)) = found {
            children.entry(parent).or_default().push(ProcessId { pid, start_time });
        }
    }
    children
}

/// Every process below this one, its children's children too.
pub fn descendants(ancestor: i32) -> BTreeSet<i32> {
    let children = children_of_all();
    let mut found = BTreeSet::new();
    let mut left = vec![ancestor];
    while let Some(pid) = left.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(child.pid) {
                left.push(child.pid);
            }
        }
    }
    found
}

/// Processes of ours whose environment has exactly this variable.
pub(crate) fn with_variable(variable: &str) -> Vec<i32> {
    all()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_of_another_start_time_is_not() {
        let me = ProcessId::of(rustix::process::getpid().as_raw_pid()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start_time: me.start_time + 1, ..me }.is_alive());
    }
}
