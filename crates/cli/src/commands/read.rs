//! The commands that read: `ls`, `show`, `history`, `events`, `logs`, `open`.

use std::process::Command;
use std::time::Duration;

use rowhouse_core::{AppName, Attribute, Commit, RowKey, Status, Value};
use rowhouse_machine::log::{Follow, LogLine, harmless, logs as log_files, tail};
use rowhouse_machine::supervised::snapshot;
use rowhouse_machine::table::StoredRow;
use serde_json::json;

use crate::args::{Events, Logs, One, Show};
use crate::context::Context;
use crate::failure::{Exit, bad_input};
use crate::{output, row_json};

/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_millis(150);

fn user_text(stored: &StoredRow, attribute: Attribute) -> String {
    stored.row.user.get(&attribute).map_or_else(
        || "-".to_owned(),
        |value| match value {
            Value::Text(text) => text.chars().take(40).collect(),
            Value::Whole(_)
            | Value::Real(_)
            | Value::Boolean(_)
            | Value::Map(_)
            | Value::Other(_) => value.shown(),
        },
    )
}

/// `rowhouse ls`.
pub(crate) fn list(context: &Context, as_json: bool) -> anyhow::Result<Exit> {
    let rows = context.table()?.list()?;
    if as_json {
        let apps: Vec<_> = rows.iter().map(|stored| row_json::row(stored, false)).collect();
        let presence = row_json::presence(&context.folder.presence());
        output::json(&json!({ "Reactor": presence, "Apps": apps }), true);
        return Ok(Exit::Done);
    }
    context.warn_if_absent();
    if rows.is_empty() {
        output::note("there is no app yet");
        output::hint(&format!("`{}` makes one", context.command("put NAME --repo URL")));
        return Ok(Exit::Done);
    }
    let lines = rows.iter().map(|stored| {
        let report = &stored.row.report;
        vec![
            stored.row.key.0.chars().take(63).collect(),
            report.status.map_or("-", Status::as_str).to_owned(),
            format!("{}/{}", report.healthy, user_text(stored, Attribute::Scale)),
            user_text(stored, Attribute::Version),
            report.revision.as_ref().map_or("-", Commit::short).to_owned(),
            match (report.status, &report.url, &report.reason) {
                (Some(Status::Invalid | Status::DeployFailed), _, Some(reason)) => {
                    reason.chars().take(120).collect()
                }
                (_, Some(url), _) => url.clone(),
                (_, None, _) => "-".to_owned(),
            },
        ]
    });
    output::table(&["name", "status", "healthy", "version", "revision", "url"], lines.collect());
    Ok(Exit::Done)
}

/// `rowhouse show`.
pub(crate) fn show(context: &Context, show: &Show) -> anyhow::Result<Exit> {
    let table = context.table()?;
    let stored = context.row(&table, &show.name)?;
    let instances = instances(context, &show.name)?;
    let mut object = row_json::row(&stored, show.reveal);
    if show.json {
        object.insert("Instances".to_owned(), json!(instances));
        object.insert("Reactor".to_owned(), row_json::presence(&context.folder.presence()));
        output::json(&object.into(), true);
        return Ok(Exit::Done);
    }
    context.warn_if_absent();
    if let Some(url) = object.remove("LoadBalancer") {
        object.insert("URL".to_owned(), url);
    }
    let order = ["Name", "status", "URL", "Reason", "Revision", "Healthy", "Version", "Scale"];
    let mut names: Vec<String> = order.iter().map(|name| (*name).to_owned()).collect();
    names.extend(object.keys().filter(|name| !order.contains(&name.as_str())).cloned());
    for name in names {
        if let Some(value) = object.get(&name) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            output::line(&format!("{:14} {}", name, harmless(&text)));
        }
    }
    if !instances.is_empty() {
        output::line("");
        let rows = instances.iter().map(|instance| {
            ["Id", "Pid", "Port", "State", "Revision", "StartedAt"]
                .map(|name| {
                    let value = &instance[name];
                    match value.as_str() {
                        Some(text) if name == "Revision" => {
                            text.get(..7).unwrap_or(text).to_owned()
                        }
                        Some(text) => text.to_owned(),
                        None if value.is_null() => "-".to_owned(),
                        None => value.to_string(),
                    }
                })
                .to_vec()
        });
        output::table(&["instance", "pid", "port", "state", "revision", "started"], rows.collect());
    }
    Ok(Exit::Done)
}

/// The instances of an app, by journal and processes: what is true also while no platform is at work.
fn instances(context: &Context, name: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let Ok(name) = AppName::parse(name) else { return Ok(Vec::new()) };
    let Some(stack) = context.journal()?.stack(&name)? else { return Ok(Vec::new()) };
    let shown = stack.instances.iter().map(|instance| {
        let now = snapshot(&context.folder.instances(&name).join(&instance.id.0));
        let state = match (&now.running, &now.end) {
            (Some(_), _) => "running".to_owned(),
            (None, Some(end)) => end.to_string(),
            (None, None) => "not running".to_owned(),
        };
        json!({
            "Id": instance.id,
            "Pid": now.running.as_ref().map(|record| record.app.pid),
            "Port": instance.port,
            "State": state,
            "Revision": instance.commit,
            "StartedAt": now.running.as_ref().map(|record| format!("{:.3}", record.at)),
        })
    });
    Ok(shown.collect())
}

/// `rowhouse history`.
pub(crate) fn history(context: &Context, one: &One) -> anyhow::Result<Exit> {
    let table = context.table()?;
    let key = RowKey(one.name.clone());
    let entries = table.history(&key)?;
    if entries.is_empty() && table.get(&key)?.is_none() {
        return Err(context.no_such_app(&table, &one.name)?);
    }
    if one.json {
        let entries: Vec<_> = entries.iter().map(row_json::entry).collect();
        output::json(&json!({ "Name": one.name, "History": entries }), true);
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        output::note("no rollout has ended yet");
    }
    let rows = entries.into_iter().map(|entry| {
        vec![
            entry.at,
            entry.status.unwrap_or_default(),
            entry.version.unwrap_or_default().chars().take(40).collect(),
            entry.revision.as_ref().map_or("-", Commit::short).to_owned(),
            entry.scale.map_or_else(String::new, |scale| scale.to_string()),
            entry.reason.unwrap_or_default(),
        ]
    });
    output::table(&["at", "status", "version", "revision", "scale", "reason"], rows.collect());
    Ok(Exit::Done)
}

/// `rowhouse events`.
pub(crate) async fn events(context: &Context, events: &Events) -> anyhow::Result<Exit> {
    let journal = context.journal()?;
    let name = events.name.as_deref();
    let mut last = 0;
    let mut tell = |after: i64, limit: u32| -> anyhow::Result<(i64, Vec<serde_json::Value>)> {
        let found = journal.events(name, after, limit)?;
        last = found.last().map_or(last.max(after), |event| event.id);
        let objects = found
            .iter()
            .map(|event| json!({ "At": event.at, "Name": event.name, "Kind": event.kind, "Text": event.text }))
            .collect();
        Ok((last, objects))
    };
    let line = |object: &serde_json::Value| {
        let part = |name: &str| harmless(object[name].as_str().unwrap_or_default());
        output::line(&format!(
            "{}  {}  {}  {}",
            part("At"),
            part("Name"),
            part("Kind"),
            part("Text")
        ));
    };
    let (mut after, found) = tell(0, 200)?;
    if found.is_empty()
        && !events.follow
        && let Some(name) = name
        && context.table()?.get(&RowKey(name.to_owned()))?.is_none()
    {
        return Err(context.no_such_app(&context.table()?, name)?);
    }
    match (events.json, events.follow) {
        (true, false) => output::json(&json!({ "Events": found }), true),
        (true, true) => found.iter().for_each(|object| output::json(object, false)),
        (false, _) => found.iter().for_each(line),
    }
    while events.follow && !pause_or_interrupt().await {
        let (next, found) = tell(after, 10_000)?;
        after = next;
        for object in &found {
            if events.json { output::json(object, false) } else { line(object) }
        }
    }
    Ok(Exit::Done)
}

/// True at Ctrl-C.
async fn pause_or_interrupt() -> bool {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => true,
        () = tokio::time::sleep(LOOK_EVERY) => false,
    }
}

/// `rowhouse logs`.
pub(crate) async fn logs(context: &Context, logs: &Logs) -> anyhow::Result<Exit> {
    let table = context.table()?;
    let name = context.name(&logs.name)?;
    let folder = context.folder.logs(&name);
    if table.get(&name.key())?.is_none() && !folder.exists() {
        return Err(context.no_such_app(&table, &logs.name)?);
    }
    let line = |line: &LogLine| {
        output::line(&format!("{}  {}  {}", line.at, line.source, harmless(&line.text)));
    };
    let mut follow = Follow::from_end(&folder);
    let lines = tail(&log_files(&folder), logs.lines);
    if lines.is_empty() && !logs.follow {
        output::note(&format!("`{name}` has printed nothing yet"));
    }
    lines.iter().for_each(line);
    while logs.follow && !pause_or_interrupt().await {
        follow.news().iter().for_each(line);
    }
    Ok(Exit::Done)
}

/// `rowhouse open`.
pub(crate) fn open(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let stored = context.row(&context.table()?, name)?;
    let Some(url) = stored.row.report.url else {
        return Err(bad_input(
            format!("`{name}` has no URL yet"),
            format!("`{}` says why", context.command(&format!("show {name}"))),
        ));
    };
    let opened = ["xdg-open", "open"].iter().any(|opener| {
        Command::new(opener).arg(&url).output().is_ok_and(|output| output.status.success())
    });
    if !opened {
        output::note("no browser could be opened here");
    }
    output::line(&url);
    Ok(Exit::Done)
}
