//! Waiting for the outcome of a change, and telling the truth about it at the end.

use std::fmt::{Debug, Formatter};
use std::time::{Duration, Instant};

use rowhouse_core::{AppName, Commit, Denied, Obstacle, Row, RowKey, Status};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Client, Event, Left, News as _, Removed, Sight};
use crate::failure::Exit;
use crate::output;
use crate::output::clean;
use crate::rows::args::Waiting;
use crate::rows::row_text;

/// How long a deletion that has failed may take to be begun again.
const STUCK_FOR: Duration = Duration::from_mins(3);
/// How long a repository that does not answer is waited for: longer than a network is gone for a
/// moment.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// How long followers wait between two looks, at the least: nobody reads faster.
const FOLLOW_EVERY: Duration = Duration::from_millis(150);

/// A pause of somebody who follows what comes.
pub(crate) async fn follow_pause(client: &impl Client) {
    tokio::time::sleep(client.location().pause.max(FOLLOW_EVERY)).await;
}

/// Follows until somebody does not want to any more, which is how following ends.
pub(crate) async fn until_interrupted(
    following: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        exit = following => exit,
        _ = interrupt.recv() => Ok(Exit::Done),
    }
}

/// Tells the events of an app as they come.
pub struct Progress<C: Client> {
    events: C::Events,
    name: String,
    reason: Option<String>,
}

impl<C: Client> Debug for Progress<C> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Progress").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<C: Client> Progress<C> {
    /// From now on, for somebody who waits.
    pub async fn new(client: &C, name: &str, waiting: &Waiting) -> anyhow::Result<Progress<C>> {
        let mut events = client.events(Some(name), 0).await?;
        if !waiting.no_wait {
            events.news().await?;
        }
        Ok(Progress { events, name: name.to_owned(), reason: None })
    }

    async fn tell(&mut self) -> anyhow::Result<()> {
        for event in self.events.news().await? {
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

/// An event as a short line. What stands in the row is told from there: how a rollout ends, and why
/// it is tried again.
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
pub async fn outcome<C: Client>(
    client: &C,
    written: &Row,
    mut progress: Progress<C>,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    let shown = row_text::name(written);
    let generation = written.generation();
    if !client.reactor().is_at_work() {
        output::note(&format!("the row `{shown}` is written, and waits: no platform is at work"));
        output::hint(&client.location().cure);
        return Ok(if waiting.no_wait { Exit::Done } else { Exit::Ours });
    }
    if waiting.no_wait {
        output::note(&format!("the row `{shown}` is written"));
        return Ok(Exit::Done);
    }
    let look = client.location().command(&format!("show {shown}"));
    let began = Instant::now();
    let mut silence = Silence::default();
    loop {
        progress.tell().await?;
        let Some(row) = client.get(&written.key).await?.map(|stored| stored.row) else {
            output::problem(&format!("superseded: `{shown}` was deleted meanwhile"));
            return Ok(Exit::Yours);
        };
        if row.generation() != generation {
            output::problem(&format!("superseded: another change of `{shown}` overtook this one"));
            output::hint(&format!("`{look}` shows what is wanted now"));
            return Ok(Exit::Yours);
        }
        if row.is_answered() {
            if let Some(exit) = answer(client, &row).await? {
                // Nobody else tells what happened in between.
                progress.tell().await?;
                return Ok(exit);
            }
            progress.tell_reason(row.report.reason.as_deref());
            if silence.is_too_long(&row, Instant::now()) {
                tell_unreached(client, &row);
                return Ok(Exit::Yours);
            }
        }
        if !client.reactor().is_at_work() {
            output::problem(&format!(
                "the platform has ended; the row `{shown}` waits for the next"
            ));
            output::hint(&client.location().cure);
            return Ok(Exit::Ours);
        }
        if began.elapsed() > waiting.timeout {
            output::problem(&format!(
                "still deploying `{shown}` after {} s; it goes on",
                waiting.timeout.as_secs()
            ));
            output::hint(&format!(
                "`{}` goes on telling",
                client.location().command(&format!("events {shown} -f"))
            ));
            return Ok(Exit::Ours);
        }
        tokio::time::sleep(client.location().pause).await;
    }
}

/// Since when the repository of an app does not answer.
#[derive(Default)]
struct Silence(Option<Instant>);

impl Silence {
    /// Whether waiting for it alone is of no use.
    fn is_too_long(&mut self, row: &Row, now: Instant) -> bool {
        match (Obstacle::of(&row.report), &row.report.reason) {
            (Some(Obstacle::Repository(_)), _) => {
                now.duration_since(*self.0.get_or_insert(now)) >= SILENT_FOR
            }
            // It is being asked again.
            (None, None) => false,
            (Some(Obstacle::Other(_)), _) | (None, Some(_)) => {
                self.0 = None;
                false
            }
        }
    }
}

fn tell_unreached(client: &impl Client, row: &Row) {
    let name = row_text::name(row);
    let reason = Obstacle::of(&row.report).map_or("", Obstacle::why);
    output::problem(&format!("`{name}` is not deployed: {}", clean(reason)));
    tell_what_stays(row);
    output::note("the repository is asked again and again until it answers or the row changes");
    output::hint(&format!(
        "`{}` gives another address; `{}` goes on telling",
        client.location().command(&format!("put {name} --repo URL")),
        client.location().command(&format!("events {name} -f"))
    ));
}

async fn answer(client: &impl Client, row: &Row) -> anyhow::Result<Option<Exit>> {
    let name = row_text::name(row);
    let report = &row.report;
    let reason = clean(report.reason.as_deref().unwrap_or("no reason is given"));
    let Some(status) = report.status else { return Ok(None) };
    Ok(match status {
        Status::Deploying => None,
        Status::Deployed => {
            output::line(&row_text::line(row));
            Some(Exit::Done)
        }
        Status::DeployFailed => {
            output::problem(&format!("`{name}` was not deployed: {reason}"));
            tell_what_stays(row);
            // A hint is not worth failing for.
            if Denied::is_told_by(report) {
                output::hint(&format!(
                    "`{}` gives another address",
                    client.location().command(&format!("put {name} --repo URL"))
                ));
            } else if has_log(client, row).await.unwrap_or(false) {
                output::hint(&format!(
                    "`{}` shows more",
                    client.location().command(&format!("logs {name}"))
                ));
            }
            Some(Exit::Yours)
        }
        Status::Invalid => {
            output::problem(&format!("`{name}` is invalid: {reason}"));
            let change = client.location().command(&format!("put {name} …"));
            output::hint(&format!("`{change}` changes what is given; what runs is left alone"));
            Some(Exit::Yours)
        }
    })
}

/// An app that was deleted.
pub(crate) struct Leaving<C: Client> {
    /// Made before that.
    pub(crate) progress: Progress<C>,
    pub(crate) removed: Option<Removed>,
}

impl<C: Client> Leaving<C> {
    /// The deletion that the reactor must have heard of before it is known that no stack comes any
    /// more: it had claimed the row, and may just be making one.
    fn claimed(&self) -> Option<&Removed> {
        let removed = self.removed.as_ref()?;
        (removed.row.report.status == Some(Status::Deploying)).then_some(removed)
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
async fn has_log(sight: &impl Sight, row: &Row) -> anyhow::Result<bool> {
    let Ok(name) = AppName::parse(row.key.as_str()) else { return Ok(false) };
    Ok(match sight.lines(&name, 1).await? {
        Some(mut lines) => !lines.news().await?.is_empty(),
        None => false,
    })
}

/// Waits, unless somebody does not want to: what was written stands, and goes on.
pub async fn unless_interrupted(
    client: &impl Client,
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
            output::hint(&format!("`{}` goes on telling", client.location().command(&follow)));
            output::leave()
        }
    }
}

/// Waits until nothing is left of deleted apps.
pub(crate) async fn gone<C: Client>(
    client: &C,
    mut apps: Vec<Leaving<C>>,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    if !client.reactor().is_at_work() {
        output::note("no platform is at work: what runs of them goes when one starts");
        output::hint(&client.location().cure);
        return Ok(Exit::Done);
    }
    if waiting.no_wait {
        return Ok(Exit::Done);
    }
    let began = Instant::now();
    'apps: for app in &mut apps {
        let (key, shown) = (RowKey(app.progress.name.clone()), clean(&app.progress.name));
        let mut awaited = app.claimed().cloned();
        let mut stuck = None;
        loop {
            // Before the stack is looked for: what was made until then is seen.
            let is_heard = match &awaited {
                Some(removed) => client.is_heard(removed).await?,
                None => true,
            };
            let left = client.left(&key).await?;
            app.progress.tell().await?;
            match left {
                Left::Nothing if is_heard => break,
                Left::Nothing => {}
                Left::Something => {
                    awaited = None;
                    stuck = None;
                }
                Left::Stuck(reason) => {
                    awaited = None;
                    if stuck.get_or_insert_with(Instant::now).elapsed() > STUCK_FOR {
                        let reason = clean(&reason);
                        output::problem(&format!("`{shown}` cannot be deleted: {reason}"));
                        output::hint(&format!(
                            "`{}` tells what happened",
                            client.location().command(&format!("events {shown}"))
                        ));
                        return Ok(Exit::Ours);
                    }
                }
                Left::Unknown => {
                    output::note(&format!("the row `{shown}` is deleted"));
                    continue 'apps;
                }
            }
            if client.get(&key).await?.is_some() {
                output::problem(&format!("superseded: `{shown}` was put again meanwhile"));
                return Ok(Exit::Yours);
            }
            let is_at_work = client.reactor().is_at_work();
            if began.elapsed() > waiting.timeout || !is_at_work {
                let why = if is_at_work { "it goes on" } else { "the platform has ended" };
                output::problem(&format!("`{shown}` is still being deleted; {why}"));
                output::hint(&if is_at_work {
                    format!(
                        "`{}` goes on telling",
                        client.location().command(&format!("events {shown} -f"))
                    )
                } else {
                    client.location().cure.clone()
                });
                return Ok(Exit::Ours);
            }
            tokio::time::sleep(client.location().pause).await;
        }
        output::line(&format!("{shown}  deleted"));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use rowhouse_core::Generation;

    use crate::client::EventId;

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
                id: EventId::Number(1),
                at: String::new(),
                name: "shop".to_owned(),
                kind: kind.to_owned(),
                text: text.to_owned(),
            };
            assert_eq!(sentence(&event).as_deref(), line);
        }
    }
}
