//! What is left of a platform that has a successor: the process that `rowhouse up` was started as
//! waits for it, so that neither a shell nor systemd takes the platform for dead, and passes
//! signals on. It has no runtime and one thread.

use std::ffi::CString;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};

use crate::folder::DataFolder;
use crate::process::parent_of;

/// What is passed on.
const PASSED: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// The platform that has followed this process. Those that hand over to one another are each the
/// child of the one before; where one of them ends, the next one falls to this process.
#[derive(Debug)]
pub struct Following {
    folder: DataFolder,
    /// The child that is the platform, or that leads to it.
    child: Pid,
}

impl Following {
    /// Follows a child. From now on this process is the one to which descendants fall whose parent
    /// ends.
    pub fn begin(folder: DataFolder, child: u32) -> io::Result<Following> {
        let child = i32::try_from(child).ok().and_then(Pid::from_raw);
        let child = child.ok_or_else(|| io::Error::other("this is no process's number"))?;
        set_child_subreaper(Some(getpid()))?;
        Ok(Following { folder, child })
    }

    /// To be called whenever a child has ended: reaps whoever did. With the end of the platform it
    /// gives its exit code, as a shell tells it.
    pub fn look(&mut self) -> Option<u8> {
        while let Some((ended, status)) = reap() {
            if ended == self.child {
                match self.next() {
                    Some(next) => self.child = next,
                    None => return Some(exit_code(status)),
                }
            }
        }
        None
    }

    /// Passes a signal on to whoever is the platform now. A process that has handed over may be
    /// ending, and would lose it.
    pub fn pass(&self, signal: Signal) {
        let holder = self.holder().filter(|holder| child_towards(*holder).is_some());
        // It may have ended just now, which is noticed next.
        let _ = kill_process(holder.unwrap_or(self.child), signal);
    }

    /// The child that is or leads to the process which the folder names. It may have ended, too,
    /// but not have been reaped.
    fn next(&self) -> Option<Pid> {
        self.holder().and_then(child_towards)
    }

    fn holder(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.folder.last_holder()?.pid).ok()?)
    }
}

/// The child of this process from which another one descends, or which it is.
fn child_towards(descendant: Pid) -> Option<Pid> {
    let me = getpid().as_raw_pid();
    let mut at = descendant;
    loop {
        match parent_of(at.as_raw_pid()) {
            Some(parent) if parent == me => return Some(at),
            Some(parent) => at = Pid::from_raw(parent)?,
            // It has ended since, and its child has another parent.
            None if at != descendant => at = descendant,
            None => return None,
        }
    }
}

/// `rowhouse wait-for FOLDER PID`: ends as the platform of this folder does, to which the child
/// `pid` leads.
pub fn run(folder: &Path, pid: u32) -> ExitCode {
    Following::begin(DataFolder::at(folder), pid).and_then(wait_for).unwrap_or(ExitCode::FAILURE)
}

fn wait_for(mut platform: Following) -> io::Result<ExitCode> {
    let child = pipe(Signal::CHILD)?;
    let signals = PASSED.iter().map(|signal| pipe(*signal)).collect::<io::Result<Vec<_>>>()?;
    // What came since this process became what it is comes now.
    passed().thread_unblock()?;
    loop {
        if let Some(code) = platform.look() {
            return Ok(ExitCode::from(code));
        }
        let mut watched: Vec<PollFd<'_>> =
            signals.iter().chain([&child]).map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        arrived(&child);
        for (signal, pipe) in PASSED.iter().zip(&signals) {
            if arrived(pipe) {
                platform.pass(*signal);
            }
        }
    }
}

/// Keeps the signals that come from now on for what this process becomes.
pub fn keep_signals() -> io::Result<()> {
    Ok(passed().thread_block()?)
}

/// Becomes what waits for the platform, as [`run`] does. Returns only what went wrong.
pub fn become_one(platform: &Following) -> io::Error {
    let words = [c"rowhouse".to_owned(), c"wait-for".to_owned()].into_iter().map(Ok);
    let folder = platform.folder.root().as_os_str().as_bytes().to_owned();
    let more = [folder, platform.child.to_string().into_bytes()];
    let arguments: Result<Vec<CString>, _> = words.chain(more.map(CString::new)).collect();
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return error.into(),
    };
    // Not std's way, which would let the kept signals through; not the program's file, which may be
    // another one by now.
    match nix::unistd::execv(c"/proc/self/exe", &arguments) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

fn passed() -> SigSet {
    [nix::sys::signal::SIGINT, nix::sys::signal::SIGTERM, nix::sys::signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Whoever has ended, also a stranger that fell to this process. `None`: nobody has.
fn reap() -> Option<(Pid, WaitStatus)> {
    wait(WaitOptions::NOHANG).ok().flatten()
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        // As a shell tells it.
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}

/// A signal as something that can be polled.
fn pipe(signal: Signal) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal.as_raw(), write)?;
    Ok(read)
}

fn arrived(mut signal: &UnixStream) -> bool {
    let mut any = false;
    let mut buffer = [0; 64];
    while matches!(signal.read(&mut buffer), Ok(1..)) {
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    fn process(number: u32) -> Pid {
        Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
    }

    #[test]
    fn the_child_that_leads_to_a_process_is_found_from_below() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (child, below) = (process(shell.id()), process(line.trim().parse().unwrap()));
        assert_eq!((child_towards(child), child_towards(below)), (Some(child), Some(child)));
        assert_eq!(child_towards(getpid()), None);
        kill_process(below, Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert_eq!((child_towards(child), child_towards(below)), (None, None));
    }
}
