//! Processes as the kernel shows them: who a process is beyond its number, whose children there
//! are, and who listens on a port.

pub(crate) mod cause;
pub(crate) mod command;
pub mod end;
mod ending;
pub mod environment;
pub mod log;
pub mod port;
pub mod program;
pub mod shim;
pub mod supervised;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

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

/// Who listens on a port of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Nobody,
    /// A process of the given tree.
    Ours,
    /// Somebody; a process of the tree may not be looked into, as one with capabilities of its own.
    Hidden,
    /// Somebody else.
    Other,
}

/// Finds who takes connections to `127.0.0.1:port`: the tree below `ancestor`, or another.
pub fn listener(port: u16, ancestor: i32) -> Listener {
    let sockets = listening(port);
    if sockets.is_empty() {
        return Listener::Nobody;
    }
    let mut answer = Listener::Other;
    for pid in descendants(ancestor) {
        match sockets_of(pid) {
            Ok(held) if held.iter().any(|inode| sockets.contains(inode)) => return Listener::Ours,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                answer = Listener::Hidden;
            }
            // One that has ended meanwhile listens nowhere.
            Ok(_) | Err(_) => {}
        }
    }
    answer
}

/// The inodes of sockets that listen on the port, on the loopback address or on all, by
/// `proc_net_tcp`.
fn listening(port: u16) -> BTreeSet<u64> {
    const LISTEN: &str = "0A";
    let mut found = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) =
                (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let at =
                local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if *state == LISTEN && at == Some(port) {
                found.extend(inode.parse::<u64>().ok());
            }
        }
    }
    found
}

fn sockets_of(pid: i32) -> io::Result<Vec<u64>> {
    let mut sockets = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = match fs::read_link(descriptor?.path()) {
            // Closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            target => target?,
        };
        let inode: Option<u64> = target
            .to_str()
            .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        sockets.extend(inode);
    }
    Ok(sockets)
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

    #[test]
    fn a_listener_is_told_from_a_strangers() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let child_pid = i32::try_from(child.id()).unwrap();
        let me = rustix::process::getpid().as_raw_pid();
        assert!(descendants(me).contains(&child_pid));
        // It listens in this process, which is no descendant of itself.
        assert_eq!(listener(port, child_pid), Listener::Other);
        drop(socket);
        assert_eq!(listener(port, child_pid), Listener::Nobody);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
