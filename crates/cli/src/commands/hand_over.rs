//! The hand-over to a new process of this program, from the side of the old one.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_machine::folder::DataFolder;
use rowhouse_machine::succession::{SUCCEEDS, Successor};
use rowhouse_machine::up::Leaving;
use rowhouse_machine::waiter;
use rustix::process::{Pid, Signal};
use tokio::process::Command;
use tokio::time::timeout;

use crate::commands::notify;
use crate::commands::signals::Signals;
use crate::failure::Exit;
use crate::output;

/// How long each step of a successor may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Long enough for the runtime to see a signal that has come.
const A_TURN: Duration = Duration::from_millis(1);
/// Another limit, in milliseconds; only tests ask for it.
const LIMIT_VARIABLE: &str = "ROWHOUSE_SUCCESSOR_LIMIT_MS";

/// Starts this program's file as it is now, which may be a newer one, with the same words.
pub(crate) async fn start() -> anyhow::Result<Successor> {
    let program = program()?;
    let mut command = Command::new(&program);
    command.args(std::env::args_os().skip(1));
    Ok(Successor::start(program, command, limit()).await?)
}

/// Says why there is no successor, and what to do.
pub(crate) fn tell_refused(error: &anyhow::Error) {
    output::problem(&output::clean(&format!("no new process takes over: {error:#}")));
    output::hint("this one serves on; put the right program in its place, and send SIGHUP again");
}

fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    // The kernel names a file that was replaced so; what stands in its place is meant.
    let name = program.display().to_string();
    Ok(name.strip_suffix(" (deleted)").map_or(program, PathBuf::from))
}

fn limit() -> Duration {
    let text = std::env::var(LIMIT_VARIABLE).ok();
    text.and_then(|text| text.parse().ok()).map_or(LIMIT, Duration::from_millis)
}

/// Passes the requests that there are to their end, and signals to the successor. Then this process
/// ends if somebody else looks after the successor; else it waits for it.
pub(crate) async fn see_off(
    folder: &DataFolder,
    leaving: Leaving,
    mut successor: Successor,
    mut signals: Signals,
) -> anyhow::Result<Exit> {
    let Some(mut pid) = successor.pid() else { return Ok(exit_of(successor.ended().await?)) };
    notify::main_process(pid);
    output::announce(&format!("process {pid} is the platform now; this one ends what it has"));
    if is_first() {
        waiter::adopt_descendants()?;
    }
    let mut drained = pin!(leaving.drained());
    let mut ended = None;
    loop {
        tokio::select! {
            () = &mut drained => break,
            status = successor.ended(), if ended.is_none() => {
                let status = status?;
                match next(folder, pid) {
                    Some(next) => pid = next,
                    // It was killed, say: whoever starts it again shall not wait.
                    None if !status.success() => return Ok(exit_of(status)),
                    None => {}
                }
                ended = Some((pid, status));
            }
            signal = signals.next() => pass(folder, signal, pid),
        }
    }
    match ended {
        Some((of, status)) if next(folder, of).is_none() && !lives(of) => Ok(exit_of(status)),
        _ if is_first() => {
            output::finish();
            // What came meanwhile: from here on it is kept for what this process becomes.
            while let Ok(signal) = timeout(A_TURN, signals.next()).await {
                pass(folder, signal, pid);
            }
            let raw = raw(pid).context("a process has a number")?;
            let error = waiter::become_one(folder.root(), raw);
            Err(anyhow::Error::new(error).context("cannot wait for the new process"))
        }
        _ => Ok(Exit::Done),
    }
}

/// Whether this is the process that somebody started, and looks at.
fn is_first() -> bool {
    std::env::var_os(SUCCEEDS).is_none() && !notify::is_asked()
}

fn raw(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// The successor's own successor, if it has ended after a hand-over.
fn next(folder: &DataFolder, pid: u32) -> Option<u32> {
    let next = waiter::successor(folder, raw(pid)?)?;
    u32::try_from(next.as_raw_pid()).ok()
}

fn lives(pid: u32) -> bool {
    raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// Passes a signal on to the platform.
fn pass(folder: &DataFolder, signal: Signal, pid: u32) {
    if let Some(pid) = raw(pid) {
        waiter::pass(folder, pid, signal);
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(0) => Exit::Done,
        Some(1) => Exit::Yours,
        Some(_) | None => Exit::Ours,
    }
}
