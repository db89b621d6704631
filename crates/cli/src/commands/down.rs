//! `rowhouse down`: no platform, no instance; rows stay.

use std::time::{Duration, Instant};

use anyhow::bail;
use rowhouse_machine::folder::{Holder, Presence};
use rowhouse_machine::process::supervised::end_processes;
use rowhouse_machine::process::supervised::snapshot;
use rowhouse_machine::table::SqliteTable;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::context::Context;
use crate::failure::Exit;
use crate::output;

/// Longer than any drain that people set.
const PATIENCE: Duration = Duration::from_mins(10);

/// Stops a platform that is at work, then what still runs by its folders.
pub(crate) async fn down(context: &Context) -> anyhow::Result<Exit> {
    let running = running(context);
    let platform = stop_platform(context).await?;
    let hold = context.folder.hold()?;
    let left = stop_instances(context).await;
    if platform.is_none() && context.folder.table().exists() {
        let (table, journal) = (context.folder.table(), context.folder.journal());
        SqliteTable::open(&table, &journal, None)?.instances_stopped().await?;
    }
    drop(hold);
    let processes = match running.max(left) {
        0 => None,
        1 => Some("1 process of an app".to_owned()),
        count => Some(format!("{count} processes of apps")),
    };
    let said = match (platform, processes) {
        (None, None) => "nothing was running".to_owned(),
        (Some(pid), None) => format!("stopped the platform (process {pid}); no app was running"),
        (Some(pid), Some(processes)) => {
            format!("stopped the platform (process {pid}) and {processes}")
        }
        (None, Some(processes)) => format!("no platform was at work; stopped {processes}"),
    };
    output::line(&format!("{said}; rows stay"));
    Ok(Exit::Done)
}

/// How many supervised processes run now.
fn running(context: &Context) -> usize {
    let folders = context.folder.process_folders();
    folders.iter().filter(|folder| snapshot(folder).running.is_some()).count()
}

/// Asks the platform to end, and waits; the process that was asked, if any.
async fn stop_platform(context: &Context) -> anyhow::Result<Option<u32>> {
    let began = Instant::now();
    let mut asked = None;
    loop {
        match context.folder.presence() {
            Presence::Absent(_) => return Ok(asked),
            Presence::AtWork(Some(Holder { pid, .. }))
                if asked != Some(pid) && holds_lock(context, pid) =>
            {
                output::note(&format!("stopping the platform, process {pid}"));
                let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
                match process.map(|process| kill_process(process, Signal::INT)) {
                    // It has just ended by itself.
                    None | Some(Ok(()) | Err(Errno::SRCH)) => asked = Some(pid),
                    Some(Err(error)) => bail!("cannot stop process {pid}: {error}"),
                }
            }
            // Just starting, and not yet said who it is; or ending.
            Presence::AtWork(_) => {}
        }
        if began.elapsed() > PATIENCE {
            bail!("the platform does not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether it is this process that has the folder's lock open: what stands in the lock may be of an
/// earlier platform, whose number another program has now.
fn holds_lock(context: &Context, pid: u32) -> bool {
    let lock = context.folder.root().join("state/lock");
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|file| file == lock))
}

/// Stops every supervised process of the folder, side by side.
pub(crate) async fn stop_instances(context: &Context) -> usize {
    end_processes(&context.folder, |_| true).await
}
