//! How a tree of processes is ended: its first process is asked, and through shells their children;
//! then who is left, at the latest at half the grace; and after the grace nobody is asked. Nobody
//! is asked twice, for a second signal often means "now", and what ends well asks its own children.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::process::{ProcessId, children_of_all};

/// How long between two looks for what was born while the others were killed.
const AGAIN: Duration = Duration::from_millis(100);
/// How often is looked for what was born while the others were stopped.
const STOPS: u32 = 20;
/// What a process that hands nothing on to its child runs: the child was meant.
const SHELLS: [&str; 8] = ["sh", "dash", "bash", "ash", "ksh", "mksh", "zsh", "fish"];

/// An end that is under way, of all that is below one process.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Whose descendants are meant: orphans come to it.
    root: i32,
    /// Who got its SIGTERM.
    asked: BTreeSet<ProcessId>,
    /// When everybody else gets one, until they did.
    all_at: Option<Instant>,
    kill_at: Instant,
}

impl Ending {
    /// Asks the first process to end, if it still runs, else what it has left.
    pub(crate) fn begin(root: i32, first: Option<i32>, grace: Duration, now: Instant) -> Ending {
        let all_at = Some(now + grace / 2);
        let mut ending = Ending { root, asked: BTreeSet::new(), all_at, kill_at: now + grace };
        match first.and_then(ProcessId::of) {
            Some(first) => ending.ask(&Family::now().through_shells(vec![first])),
            None => ending.go_on(now),
        }
        ending
    }

    /// Asks nobody.
    pub(crate) fn at_once(root: i32, now: Instant) -> Ending {
        let mut ending = Ending { root, asked: BTreeSet::new(), all_at: None, kill_at: now };
        ending.go_on(now);
        ending
    }

    /// When there is something to do, if nothing happens before.
    pub(crate) fn next(&self) -> Instant {
        self.all_at.unwrap_or(self.kill_at).min(self.kill_at)
    }

    /// Does what is due; to be called when a child of the root has ended, and reaped, and when the
    /// time has come.
    pub(crate) fn go_on(&mut self, now: Instant) {
        let family = Family::now();
        if now >= self.kill_at {
            for process in self.stopped(family) {
                send(process, Signal::KILL);
            }
            // Again, should one have been born meanwhile.
            self.kill_at = now + AGAIN;
            return;
        }
        if self.all_at.is_some_and(|all_at| now >= all_at) {
            self.all_at = None;
            self.ask(&family.below(self.root));
        }
        if !self.asked.iter().any(|process| process.is_alive()) {
            // Those that now stand at the top: they may have children to look after, too.
            self.ask(&family.through_shells(family.children(self.root)));
        }
    }

    /// All descendants, none of whom can start another one any more, unless they are born faster
    /// than they are found.
    fn stopped(&self, family: Family) -> BTreeSet<ProcessId> {
        let mut stopped: BTreeSet<ProcessId> = BTreeSet::new();
        let mut family = family;
        for _ in 0..STOPS {
            let new: Vec<ProcessId> = family.below(self.root);
            let new: Vec<ProcessId> =
                new.into_iter().filter(|process| stopped.insert(*process)).collect();
            if new.is_empty() {
                break;
            }
            for process in new {
                send(process, Signal::STOP);
            }
            family = Family::now();
        }
        stopped
    }

    fn ask(&mut self, processes: &[ProcessId]) {
        for process in processes {
            if self.asked.insert(*process) {
                send(*process, Signal::TERM);
            }
        }
    }
}

/// Sends to this very process; one that has ended meanwhile needs nothing.
fn send(process: ProcessId, signal: Signal) {
    let Some(pid) = process.raw() else { return };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // Looked at after it was opened: so the descriptor is of the process that was meant.
        Ok(descriptor) => {
            if process.is_alive() {
                let _ = pidfd_send_signal(descriptor, signal);
            }
        }
        Err(rustix::io::Errno::SRCH) => {}
        // Without a descriptor to spare there is still the number.
        Err(_) => {
            if process.is_alive() {
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }
}

/// Who is whose child, at one moment.
struct Family(BTreeMap<i32, Vec<ProcessId>>);

impl Family {
    fn now() -> Family {
        Family(children_of_all())
    }

    fn children(&self, parent: i32) -> Vec<ProcessId> {
        self.0.get(&parent).cloned().unwrap_or_default()
    }

    /// All descendants, parents before their children.
    fn below(&self, ancestor: i32) -> Vec<ProcessId> {
        self.walk(self.children(ancestor), |_| true)
    }

    /// These, and the children of those that are shells, parents first: a shell that got its signal
    /// starts nothing new when its child ends.
    fn through_shells(&self, top: Vec<ProcessId>) -> Vec<ProcessId> {
        self.walk(top, |process| is_shell(process.pid))
    }

    fn walk(
        &self,
        top: Vec<ProcessId>,
        goes_through: impl Fn(ProcessId) -> bool,
    ) -> Vec<ProcessId> {
        let (mut found, mut seen) = (top, 0);
        while let Some(process) = found.get(seen).copied() {
            seen += 1;
            if goes_through(process) {
                found.extend(self.children(process.pid));
            }
        }
        found
    }
}

/// By its program's file: the name of a script's process is the script's.
fn is_shell(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"))
        .ok()
        .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let name = match program.as_deref() {
        // One program for all of them.
        None | Some("busybox") => {
            fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
        }
        Some(name) => name.to_owned(),
    };
    SHELLS.contains(&name.trim())
}
