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

use crate::folder::{DataFolder, Presence};
use crate::process::{descendants, parent_of};

/// What is passed on.
const PASSED: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// Makes this process the one to which descendants fall whose parent ends: a successor's successor
/// among them.
pub fn adopt_descendants() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// `rowhouse wait-for FOLDER PID`: ends as the platform of this folder does, whose process is `pid`
/// now.
pub fn run(folder: &Path, pid: i32) -> ExitCode {
    let folder = DataFolder::at(folder);
    match Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process")).and_then(|pid| {
        adopt_descendants()?;
        follow(&folder, pid)
    }) {
        Ok(code) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn follow(folder: &DataFolder, mut platform: Pid) -> io::Result<ExitCode> {
    let child = pipe(Signal::CHILD)?;
    let signals = PASSED.iter().map(|signal| pipe(*signal)).collect::<io::Result<Vec<_>>>()?;
    // What came since this process became what it is comes now.
    passed().thread_unblock()?;
    loop {
        while let Some((ended, status)) = reap() {
            if ended != platform {
                continue;
            }
            match successor(folder, ended) {
                Some(next) => platform = next,
                None => return Ok(exit_code(status)),
            }
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
                pass(folder, platform, *signal);
            }
        }
    }
}

/// Becomes what waits for the platform of this folder, whose process is `pid` now. A signal that
/// comes meanwhile is kept for what this process becomes. Returns only what went wrong.
pub fn become_one(folder: &Path, pid: Pid) -> io::Error {
    let words = [c"rowhouse".to_owned(), c"wait-for".to_owned()].into_iter().map(Ok);
    let more = [folder.as_os_str().as_bytes().to_owned(), pid.to_string().into_bytes()];
    let arguments: Result<Vec<CString>, _> = words.chain(more.map(CString::new)).collect();
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return error.into(),
    };
    // Not std's way, which would let the signals through.
    if let Err(error) = passed().thread_block() {
        return error.into();
    }
    // Not the program's file, which may be another one by now.
    match nix::unistd::execv(c"/proc/self/exe", &arguments) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

/// Passes a signal on to whoever is the platform now: `last`, or by the folder a descendant of it.
/// A process that has handed over may be ending, and would lose it.
pub fn pass(folder: &DataFolder, last: Pid, signal: Signal) {
    let holder = match folder.presence() {
        Presence::AtWork(Some(holder)) => i32::try_from(holder.pid).ok().and_then(Pid::from_raw),
        Presence::AtWork(None) | Presence::Absent(_) => None,
    };
    let is_of_here = |pid: &Pid| descendants(getpid().as_raw_pid()).contains(&pid.as_raw_pid());
    // It may have ended just now, which is noticed next.
    let _ = kill_process(holder.filter(is_of_here).unwrap_or(last), signal);
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

/// The process that has taken the folder over from one that has ended, if one has: the folder says
/// who it is, and the kernel that it fell to this process.
pub fn successor(folder: &DataFolder, ended: Pid) -> Option<Pid> {
    let Presence::AtWork(Some(holder)) = folder.presence() else { return None };
    let pid = Pid::from_raw(i32::try_from(holder.pid).ok()?)?;
    let is_mine = parent_of(pid.as_raw_pid()) == Some(getpid().as_raw_pid());
    (pid != ended && is_mine).then_some(pid)
}

fn exit_code(status: WaitStatus) -> ExitCode {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        // As a shell tells it.
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
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
