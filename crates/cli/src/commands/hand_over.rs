//! The hand-over to a new process of this program, from the side of the old one.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_machine::folder::DataFolder;
use rowhouse_machine::succession::{SUCCEEDS, Successor};
use rowhouse_machine::up::Leaving;
use rowhouse_machine::waiter::{self, Following};
use rustix::process::{Signal, getpid, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
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
    notify::keep_from(&mut command);
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

/// Sends this process what has asked for a successor.
pub(crate) fn ask_again() {
    // To oneself it always is allowed.
    let _ = kill_process(getpid(), Signal::HUP);
}

/// Passes the requests that there are to their end, and signals to the successor. Then this process
/// ends, but for the one that somebody started and looks at: that waits for the platform's end.
pub(crate) async fn see_off(
    folder: &DataFolder,
    leaving: Leaving,
    successor: Successor,
    mut signals: Signals,
) -> anyhow::Result<Exit> {
    let pid = successor.pid().context("nobody has waited for the new process's end yet")?;
    output::announce(&format!("process {pid} is the platform now; this one ends what it has"));
    let mut children = signal(SignalKind::child())?;
    let mut platform = Following::begin(folder.clone(), pid)?;
    let mut drained = pin!(leaving.drained());
    let mut ended = platform.look();
    loop {
        if let Some(code @ 1..) = ended {
            // It has crashed, say: whoever starts it again shall not wait.
            return Ok(exit_of(code));
        }
        tokio::select! {
            () = &mut drained => break,
            _ = children.recv(), if ended.is_none() => ended = platform.look(),
            signal = signals.next() => platform.pass(signal),
        }
    }
    output::finish();
    waiter::keep_signals()?;
    while let Ok(signal) = timeout(A_TURN, signals.next()).await {
        platform.pass(signal);
    }
    match ended.or_else(|| platform.look()) {
        Some(code) => Ok(exit_of(code)),
        None if is_first() => {
            let error = waiter::become_one(&platform);
            Err(anyhow::Error::new(error).context("cannot wait for the new process"))
        }
        None => Ok(Exit::Done),
    }
}

/// Whether this is the process that somebody started, and looks at.
fn is_first() -> bool {
    std::env::var_os(SUCCEEDS).is_none()
}

/// What a platform's exit code was by.
fn exit_of(code: u8) -> Exit {
    match code {
        0 => Exit::Done,
        1 => Exit::Yours,
        _ => Exit::Ours,
    }
}
