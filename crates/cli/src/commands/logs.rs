//! `rowhouse logs`: what the instances and builds of an app have printed, in order of time.

use rowhouse_machine::log::{Follow, LogLine, logs as files, tail};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Logs;
use crate::commands::is_interrupted;
use crate::context::Context;
use crate::failure::Exit;
use crate::output::clean;
use crate::{output, row_text};

pub(crate) async fn logs(context: &Context, logs: &Logs) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let table = context.table()?;
    let name = context.name(&logs.name)?;
    let folder = context.folder.logs(&name);
    let row = table.get(&name.key())?.map(|stored| stored.row);
    if row.is_none() && !folder.exists() {
        return Err(context.no_such_app(&table, &logs.name)?);
    }
    let mut follow = Follow::from_end(&folder);
    let lines = tail(&files(&folder), logs.lines);
    if lines.is_empty() && !logs.follow {
        output::note(&format!("`{name}` has printed nothing yet"));
        if let Some(why) = row.as_ref().and_then(row_text::why) {
            output::note(&why);
        }
    }
    lines.iter().for_each(tell);
    if !logs.follow {
        return Ok(Exit::Done);
    }
    // What came while the end was read has been told already.
    follow.news().iter().filter(|line| !lines.contains(line)).for_each(tell);
    while !is_interrupted(&mut interrupt).await {
        follow.news().iter().for_each(tell);
    }
    Ok(Exit::Done)
}

fn tell(line: &LogLine) {
    output::line(&format!("{}  {}  {}", clean(&line.at), clean(&line.source), clean(&line.text)));
}
