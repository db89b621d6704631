//! `rowhouse down`: no platform, no instance; rows stay.

use std::time::{Duration, Instant};

use anyhow::bail;
use rowhouse_machine::folder::{Holder, Presence};
use rowhouse_machine::supervised::{Adopted, Supervised};
use rustix::process::{Pid, Signal, kill_process};

use crate::context::Context;
use crate::failure::Exit;
use crate::output;

/// Longer than any drain that people set.
const PATIENCE: Duration = Duration::from_mins(10);

/// Stops a platform that is at work, then what still runs by its folders.
pub(crate) async fn down(context: &Context) -> anyhow::Result<Exit> {
    let stopped_platform = stop_platform(context).await?;
    let hold = context.folder.hold()?;
    let stopped = stop_instances(context).await?;
    drop(hold);
    let count = match stopped {
        0 if stopped_platform => "its instances".to_owned(),
        0 => "nothing: nothing was running".to_owned(),
        1 => "1 instance".to_owned(),
        count => format!("{count} instances"),
    };
    let platform = if stopped_platform { "the platform and " } else { "" };
    output::line(&format!("stopped {platform}{count}; rows stay"));
    Ok(Exit::Done)
}

async fn stop_platform(context: &Context) -> anyhow::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = None;
    loop {
        match context.folder.presence() {
            Presence::Absent(_) => return Ok(told.is_some()),
            Presence::AtWork(Some(Holder { pid, .. })) if told != Some(pid) => {
                let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(raw) = raw {
                    kill_process(raw, Signal::INT)?;
                }
                told = Some(pid);
            }
            // Just starting, and not yet said who it is; or ending.
            Presence::AtWork(_) => {}
        }
        if Instant::now() > deadline {
            bail!("the platform does not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops every supervised process of the folder, side by side.
pub(crate) async fn stop_instances(context: &Context) -> anyhow::Result<usize> {
    let mut stopping = tokio::task::JoinSet::new();
    for folder in context.folder.process_folders() {
        if let Adopted::Running(process) = Supervised::adopt(&folder).await? {
            stopping.spawn(async move { process.stop().await });
        }
    }
    Ok(stopping.join_all().await.len())
}
