//! `rowhouse show`: one app, and its instances.

use rowhouse_core::AppName;
use rowhouse_machine::supervised::snapshot;
use serde_json::{Map, Value, json};

use crate::args::Show;
use crate::context::Context;
use crate::failure::Exit;
use crate::output::clean;
use crate::{output, row_json, row_text};

/// What people look for first; the rest follows.
const ORDER: [&str; 10] =
    ["Name", "status", "URL", "Reason", "Revision", "Healthy", "Scale", "Version", "Repo", "Path"];

pub(crate) fn show(context: &Context, show: &Show) -> anyhow::Result<Exit> {
    let stored = context.row(&context.table()?, &show.name)?;
    context.warn_if_absent();
    let instances = instances(context, &show.name)?;
    let mut object = row_json::row(&stored, show.reveal);
    if show.json {
        object.insert("Instances".to_owned(), json!(instances));
        object.insert("Reactor".to_owned(), row_json::presence(&context.folder.presence()));
        output::json(&object.into(), true);
        return Ok(Exit::Done);
    }
    // For people the word says it, and it is a URL to them.
    object.remove("Answered");
    object.insert("status".to_owned(), json!(row_text::status(&stored.row)));
    if let Some(url) = object.remove("LoadBalancer") {
        object.insert("URL".to_owned(), url);
    }
    let others: Vec<String> =
        object.keys().filter(|name| !ORDER.contains(&name.as_str())).cloned().collect();
    for name in ORDER.into_iter().map(str::to_owned).chain(others) {
        match object.get(&name) {
            Some(Value::Object(variables)) => variable_lines(&name, variables),
            Some(Value::String(text)) => output::field(&name, &clean(text)),
            Some(value) => output::line(&format!("{name:14} {value}")),
            None => {}
        }
    }
    if !instances.is_empty() {
        output::line("");
        let rows: Vec<_> = instances
            .iter()
            .map(|instance| {
                ["Id", "Pid", "Port", "State", "Revision", "StartedAt"]
                    .map(|name| cell(name, &instance[name]))
                    .to_vec()
            })
            .collect();
        output::table(&["instance", "pid", "port", "state", "revision", "started"], &rows);
    }
    Ok(Exit::Done)
}

/// One line a variable, so that a long one does not hide the others.
fn variable_lines(name: &str, variables: &Map<String, Value>) {
    for (index, (key, value)) in variables.iter().enumerate() {
        let label = if index == 0 { name } else { "" };
        let value = value.as_str().map_or_else(|| value.to_string(), clean);
        output::line(&format!("{label:14} {}={value}", clean(key)));
    }
}

fn cell(name: &str, value: &Value) -> String {
    match value.as_str() {
        Some(text) if name == "Revision" => text.get(..7).unwrap_or(text).to_owned(),
        Some(text) => text.to_owned(),
        None if value.is_null() => "-".to_owned(),
        None => value.to_string(),
    }
}

/// The instances of an app, by journal and processes: what is true also while no platform is at work.
fn instances(context: &Context, name: &str) -> anyhow::Result<Vec<Value>> {
    let Ok(name) = AppName::parse(name) else { return Ok(Vec::new()) };
    let Some(stack) = context.journal()?.stack(&name)? else { return Ok(Vec::new()) };
    let shown = stack.instances.iter().map(|instance| {
        let now = snapshot(&context.folder.instances(&name).join(&instance.id.0));
        let state = match (&now.running, &now.end) {
            (Some(_), _) if stack.is_draining(instance) => "draining".to_owned(),
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
