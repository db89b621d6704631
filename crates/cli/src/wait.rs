//! Waiting for the outcome of a change, and telling the truth about it at the end.

use std::time::{Duration, Instant};

use rowhouse_core::{AppName, Commit, Generation, Row, RowKey, Status};
use rowhouse_machine::git::Unreached;
use rowhouse_machine::journal::{Event, JournalFile};
use rowhouse_machine::log::{logs, tail};
use rowhouse_machine::table::{Removed, TableFile};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Waiting;
use crate::context::Context;
use crate::failure::Exit;
use crate::output::clean;
use crate::{output, row_text};

const PAUSE: Duration = Duration::from_millis(40);
/// How long a repository that does not answer is waited for: longer than a network is gone for a moment.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Tells the events of an app as they come.
pub(crate) struct Progress {
    journal: JournalFile,
    name: String,
    told: i64,
    reason: Option<String>,
}

impl Progress {
    /// From now on.
    pub(crate) fn new(context: &Context, name: &str) -> anyhow::Result<Progress> {
        let journal = context.journal()?;
        let told = journal.events(None, 0, 1)?.last().map_or(0, |event| event.id);
        Ok(Progress { journal, name: name.to_owned(), told, reason: None })
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        for event in self.journal.events(Some(&self.name), self.told, 1_000)? {
            self.told = event.id;
            if let Some(sentence) = sentence(&event) {
                output::note(&format!("{}: {sentence}", clean(&self.name)));
            }
        }
        Ok(())
    }

    /// Why it is not done yet, each reason once.
    fn tell_reason(&mut self, reason: Option<&str>) {
        if self.reason.as_deref() != reason {
            self.reason = reason.map(str::to_owned);
            if let Some(reason) = reason {
                output::note(&format!("{}: {}", clean(&self.name), clean(reason)));
            }
        }
    }
}

/// An event as a short line. What stands in the row is told from there: how a rollout ends, and why it is tried again.
fn sentence(event: &Event) -> Option<String> {
    let text = clean(&event.text);
    match event.kind.as_str() {
        "failed" | "refused" | "retrying" => None,
        "creating" | "updating" | "deployed" => Some(format!("{} {text}", event.kind)),
        "serving" => Some(text),
        kind if text.starts_with(kind) => Some(text),
        kind => Some(format!("{}: {text}", clean(&kind.replace('_', " ")))),
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
    let name = written.key.as_str();
    let shown = row_text::name(written);
    let generation = Generation::of(&written.user);
    if !context.is_at_work() {
        output::note(&format!("the row `{shown}` is written, and waits: no platform is at work"));
        output::hint(&format!("`{}` starts one", context.command("up")));
        return Ok(Exit::Done);
    }
    if waiting.no_wait {
        output::note(&format!("the row `{shown}` is written"));
        return Ok(Exit::Done);
    }
    let look = context.command(&format!("show {shown}"));
    let began = Instant::now();
    let mut silence = Silence::default();
    loop {
        progress.tell()?;
        let Some(row) = table.get(&RowKey(name.to_owned()))?.map(|stored| stored.row) else {
            output::problem(&format!("superseded: `{shown}` was deleted meanwhile"));
            return Ok(Exit::Yours);
        };
        if Generation::of(&row.user) != generation {
            output::problem(&format!("superseded: another change of `{shown}` overtook this one"));
            output::hint(&format!("`{look}` shows what is wanted now"));
            return Ok(Exit::Yours);
        }
        if row_text::is_answered(&row) {
            if let Some(exit) = answer(context, &row) {
                // Nobody else tells what happened in between.
                progress.tell()?;
                return Ok(exit);
            }
            progress.tell_reason(row.report.reason.as_deref());
            if silence.is_too_long(&row, Instant::now()) {
                tell_unreached(context, &row);
                return Ok(Exit::Yours);
            }
        }
        if !context.is_at_work() {
            output::problem(&format!(
                "the platform has ended; the row `{shown}` waits for the next"
            ));
            output::hint(&format!("`{}` starts it", context.command("up")));
            return Ok(Exit::Ours);
        }
        if began.elapsed() > waiting.timeout {
            output::problem(&format!(
                "still deploying `{shown}` after {} s; it goes on",
                waiting.timeout.as_secs()
            ));
            output::hint(&format!(
                "`{}` goes on telling",
                context.command(&format!("events {shown} -f"))
            ));
            return Ok(Exit::Ours);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Since when the repository of an app does not answer.
#[derive(Default)]
struct Silence(Option<Instant>);

impl Silence {
    /// Whether waiting for it alone is of no use.
    fn is_too_long(&mut self, row: &Row, now: Instant) -> bool {
        match (row_text::unreached(row), &row.report.reason) {
            (Some((_, Unreached::Refused)), _) => true,
            (Some((_, Unreached::Silent)), _) => {
                now.duration_since(*self.0.get_or_insert(now)) >= SILENT_FOR
            }
            // It is being asked again.
            (None, None) => false,
            (None, Some(_)) => {
                self.0 = None;
                false
            }
        }
    }
}

fn tell_unreached(context: &Context, row: &Row) {
    let name = row_text::name(row);
    let reason = row_text::unreached(row).map_or("", |(reason, _)| reason);
    output::problem(&format!("`{name}` is not deployed: {}", clean(reason)));
    tell_what_stays(row);
    output::note("the repository is asked again and again until it answers or the row changes");
    output::hint(&format!(
        "`{}` gives another address; `{}` goes on telling",
        context.command(&format!("put {name} --repo URL")),
        context.command(&format!("events {name} -f"))
    ));
}

fn answer(context: &Context, row: &Row) -> Option<Exit> {
    let name = row_text::name(row);
    let report = &row.report;
    let reason = clean(report.reason.as_deref().unwrap_or("no reason is given"));
    match report.status? {
        Status::Deploying => None,
        Status::Deployed => {
            output::line(&row_text::line(row));
            Some(Exit::Done)
        }
        Status::DeployFailed => {
            output::problem(&format!("`{name}` was not deployed: {reason}"));
            tell_what_stays(row);
            if has_log(context, row) {
                output::hint(&format!("`{}` shows more", context.command(&format!("logs {name}"))));
            }
            Some(Exit::Yours)
        }
        Status::Invalid => {
            output::problem(&format!("`{name}` is invalid: {reason}"));
            let change = context.command(&format!("put {name} …"));
            output::hint(&format!("`{change}` changes what is given; what runs is left alone"));
            Some(Exit::Yours)
        }
    }
}

/// An app that was deleted.
pub(crate) struct Leaving {
    /// Made before that.
    pub(crate) progress: Progress,
    pub(crate) removed: Option<Removed>,
}

impl Leaving {
    /// The change that the reactor must have heard before it is known that no stack comes any more: it had claimed
    /// the row, and may just be making one.
    fn claimed(&self) -> Option<i64> {
        let removed = self.removed.as_ref()?;
        (removed.row.report.status == Some(Status::Deploying)).then_some(removed.change)
    }
}

fn tell_what_stays(row: &Row) {
    let Some(commit) = row.report.revision.as_ref().map(Commit::short) else { return };
    output::note(&match row.report.healthy {
        0 => format!("{commit} stays, of which no instance answers now"),
        healthy => format!("{commit} serves on, with {healthy} healthy"),
    });
}

/// Whether anything of the app has ever printed something.
fn has_log(context: &Context, row: &Row) -> bool {
    AppName::parse(row.key.as_str())
        .is_ok_and(|name| !tail(&logs(&context.folder.logs(&name)), 1).is_empty())
}

/// Waits, unless somebody does not want to: what was written stands, and goes on.
pub(crate) async fn unless_interrupted(
    context: &Context,
    names: &[String],
    waiting: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        exit = waiting => exit,
        _ = interrupt.recv() => {
            output::note("what was asked for goes on; only the waiting has ended");
            let follow = match names {
                [name] => format!("events {} -f", clean(name)),
                _ => "events -f".to_owned(),
            };
            output::hint(&format!("`{}` goes on telling", context.command(&follow)));
            output::leave()
        }
    }
}

/// Waits until nothing is left of deleted apps.
pub(crate) async fn gone(
    context: &Context,
    mut apps: Vec<Leaving>,
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
    let (table, journal) = (context.table()?, context.journal()?);
    let began = Instant::now();
    for app in &mut apps {
        let (name, shown) = (app.progress.name.clone(), clean(&app.progress.name));
        let mut awaited = app.claimed();
        loop {
            // Before the stack is looked for: what was made until then is seen.
            let is_heard = awaited.map_or(Ok(true), |change| table.was_rung(change))?;
            let is_there = journal.stacks()?.iter().any(|stack| stack.name.as_str() == name);
            app.progress.tell()?;
            if is_there {
                awaited = None;
            } else if is_heard {
                break;
            }
            if table.get(&RowKey(name.clone()))?.is_some() {
                output::problem(&format!("superseded: `{shown}` was put again meanwhile"));
                return Ok(Exit::Yours);
            }
            let is_at_work = context.is_at_work();
            if began.elapsed() > waiting.timeout || !is_at_work {
                let why = if is_at_work { "it goes on" } else { "the platform has ended" };
                output::problem(&format!("`{shown}` is still being deleted; {why}"));
                let next = if is_at_work { format!("events {shown} -f") } else { "up".to_owned() };
                output::hint(&format!("`{}` goes on", context.command(&next)));
                return Ok(Exit::Ours);
            }
            tokio::time::sleep(PAUSE).await;
        }
        output::line(&format!("{shown}  deleted"));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_waited_for_as_long_as_waiting_may_help() {
        let user = rowhouse_core::UserAttributes::default();
        let generation = Some(Generation::of(&user));
        let row = |reason: Option<&str>| Row {
            key: RowKey("shop".to_owned()),
            user: user.clone(),
            report: rowhouse_core::Report {
                status: Some(Status::Deploying),
                reason: reason.map(|reason| format!("retrying: {reason}")),
                generation: generation.clone(),
                ..Default::default()
            },
            seq: 1,
        };
        let silent = row(Some("cannot reach repository `x`: Could not resolve host: h"));
        let full = row(Some("no space left on the device"));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut silence = Silence::default();
        assert!(!silence.is_too_long(&silent, begin));
        assert!(!silence.is_too_long(&silent, after(29)));
        assert!(!silence.is_too_long(&row(None), after(31)));
        assert!(silence.is_too_long(&silent, after(32)));
        // It has answered, and other trouble is waited out.
        assert!(!silence.is_too_long(&full, after(1_000)));
        assert!(!silence.is_too_long(&silent, after(1_001)));
        let missing =
            row(Some("cannot reach repository `x`: 'x' does not appear to be a git repository"));
        assert!(silence.is_too_long(&missing, after(1_002)));
    }

    #[test]
    fn events_are_short_lines_that_say_nothing_twice() {
        for (kind, text, line) in [
            ("building", "building abc1234", Some("building abc1234")),
            ("creating", "v1 with 2 instances", Some("creating v1 with 2 instances")),
            ("serving", "abc1234 serves", Some("abc1234 serves")),
            ("rolled_back", "abc1234 serves on", Some("rolled back: abc1234 serves on")),
            ("failed", "exited with status 1", None),
        ] {
            let event = Event {
                id: 1,
                at: String::new(),
                name: "shop".to_owned(),
                kind: kind.to_owned(),
                text: text.to_owned(),
            };
            assert_eq!(sentence(&event).as_deref(), line);
        }
    }
}
