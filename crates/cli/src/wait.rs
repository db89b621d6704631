//! Waiting for the outcome of a change, and telling the truth about it at the end.

use std::time::{Duration, Instant};

use rowhouse_core::{Generation, Row, RowKey, Status};
use rowhouse_machine::journal::JournalFile;
use rowhouse_machine::log::harmless;
use rowhouse_machine::table::TableFile;

use crate::args::Waiting;
use crate::context::Context;
use crate::failure::Exit;
use crate::output;

const PAUSE: Duration = Duration::from_millis(40);

/// Tells the events of an app as they come.
pub(crate) struct Progress {
    journal: JournalFile,
    name: String,
    told: i64,
}

impl Progress {
    /// From now on.
    pub(crate) fn new(context: &Context, name: &str) -> anyhow::Result<Progress> {
        let journal = context.journal()?;
        let told = journal.events(None, 0, 1)?.last().map_or(0, |event| event.id);
        Ok(Progress { journal, name: name.to_owned(), told })
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        for event in self.journal.events(Some(&self.name), self.told, 1_000)? {
            self.told = event.id;
            output::note(&format!("{}: {}: {}", self.name, event.kind, harmless(&event.text)));
        }
        Ok(())
    }
}

/// Waits until the reactor has answered the row as it was written; `progress` was made before that.
pub(crate) async fn outcome(
    context: &Context,
    table: &TableFile,
    written: &Row,
    mut progress: Progress,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    let name = written.key.0.clone();
    let generation = Generation::of(&written.user);
    if !context.is_at_work() {
        output::note(&format!("the row `{name}` is written, and waits: no platform is at work"));
        output::hint(&format!("`{}` starts one", context.command("up")));
        return Ok(Exit::Done);
    }
    if waiting.no_wait {
        output::note(&format!("the row `{name}` is written"));
        return Ok(Exit::Done);
    }
    let deadline = Instant::now() + waiting.timeout;
    loop {
        progress.tell()?;
        let Some(row) = table.get(&RowKey(name.clone()))?.map(|stored| stored.row) else {
            output::problem(&format!("superseded: `{name}` was deleted meanwhile"));
            return Ok(Exit::Yours);
        };
        if Generation::of(&row.user) != generation {
            output::problem(&format!("superseded: another change of `{name}` overtook this one"));
            return Ok(Exit::Yours);
        }
        if row.report.generation.as_ref() == Some(&generation)
            && let Some(exit) = answer(context, &row)
        {
            progress.tell()?;
            return Ok(exit);
        }
        if !context.is_at_work() {
            output::problem(&format!(
                "the platform has ended; the row `{name}` waits for the next"
            ));
            output::hint(&format!("`{}` starts it", context.command("up")));
            return Ok(Exit::Ours);
        }
        if Instant::now() > deadline {
            output::problem(&format!(
                "still deploying `{name}` after {} s",
                waiting.timeout.as_secs()
            ));
            output::hint(&format!(
                "`{}` goes on telling",
                context.command(&format!("events {name} -f"))
            ));
            return Ok(Exit::Ours);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn answer(context: &Context, row: &Row) -> Option<Exit> {
    let name = row.key.0.as_str();
    let report = &row.report;
    let reason = harmless(report.reason.as_deref().unwrap_or("no reason is given"));
    match report.status? {
        Status::Deploying => None,
        Status::Deployed => {
            let commit = report.revision.as_ref().map_or("", |commit| commit.short());
            output::line(&format!(
                "{name} deployed {commit} {}",
                report.url.as_deref().unwrap_or("")
            ));
            if report.reason.is_some() {
                output::note(&format!("note: {reason}"));
            }
            Some(Exit::Done)
        }
        Status::DeployFailed => {
            output::problem(&format!("`{name}` failed: {reason}"));
            if let Some(commit) = &report.revision {
                output::note(&format!(
                    "{} serves on, with {} healthy",
                    commit.short(),
                    report.healthy
                ));
            }
            output::hint(&format!("`{}` shows more", context.command(&format!("logs {name}"))));
            Some(Exit::Yours)
        }
        Status::Invalid => {
            output::problem(&format!("`{name}` is invalid: {reason}"));
            Some(Exit::Yours)
        }
    }
}

/// Waits until nothing is left of deleted apps.
pub(crate) async fn gone(
    context: &Context,
    names: &[String],
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    if !context.is_at_work() {
        output::note("no platform is at work: what runs of them goes when one starts");
        output::hint(&format!("`{}` starts one", context.command("up")));
        return Ok(Exit::Done);
    }
    if waiting.no_wait {
        return Ok(Exit::Done);
    }
    let journal = context.journal()?;
    let deadline = Instant::now() + waiting.timeout;
    for name in names {
        while journal.stacks()?.iter().any(|stack| stack.name.as_str() == name) {
            if context.table()?.get(&RowKey(name.clone()))?.is_some() {
                output::problem(&format!("superseded: `{name}` was put again meanwhile"));
                return Ok(Exit::Yours);
            }
            if Instant::now() > deadline || !context.is_at_work() {
                output::problem(&format!("`{name}` is still being deleted"));
                return Ok(Exit::Ours);
            }
            tokio::time::sleep(PAUSE).await;
        }
        output::line(&format!("{name} deleted"));
    }
    Ok(Exit::Done)
}
