//! `rowhouse show`: one app, and its instances.

use rowhouse_core::{AppName, Commit};
use serde_json::{Map, Value, json};

use crate::client::{Client, ListedInstance};
use crate::failure::Exit;
use crate::output;
use crate::output::clean;
use crate::rows::args::Show;
use crate::rows::{names, reactor, row_json, row_text};

/// What people look for first; the rest follows.
const ORDER: [&str; 11] = [
    "Name", "Platform", "status", "URL", "Reason", "Revision", "Healthy", "Scale", "Version",
    "Repo", "Path",
];

pub(crate) async fn show(client: &impl Client, show: &Show) -> anyhow::Result<Exit> {
    let stored = names::row(client, &show.name).await?;
    reactor::warn_if_absent(client);
    let instances = match AppName::parse(&show.name) {
        Ok(name) => client.instances(&name).await?,
        Err(_) => Vec::new(),
    };
    let mut object = row_json::row(&stored, show.reveal);
    if show.json {
        let instances: Vec<_> = instances.iter().map(row_json::instance).collect();
        object.insert("Instances".to_owned(), json!(instances));
        object.insert("Reactor".to_owned(), reactor::to_json(&client.reactor()));
        output::json(&object.into(), true);
        return Ok(Exit::Done);
    }
    // For people the word says it, and it is a URL to them.
    object.remove("Answered");
    object.insert("status".to_owned(), json!(row_text::status(&stored.row)));
    if let Some(since) = reactor::absent_since(&client.reactor()) {
        let said = format!("nobody is at work since {since}: the rest is as it was then");
        object.insert("Platform".to_owned(), json!(said));
    }
    if let Some(url) = object.remove("LoadBalancer") {
        object.insert("URL".to_owned(), url);
    }
    let others: Vec<String> =
        object.keys().filter(|name| !ORDER.contains(&name.as_str())).cloned().collect();
    for name in ORDER.into_iter().map(str::to_owned).chain(others) {
        match object.get(&name) {
            Some(Value::Object(variables)) => variable_lines(&name, variables),
            Some(Value::String(text)) => output::field(&name, &clean(text)),
            Some(Value::Array(items)) => output::field(&name, &list(items)),
            Some(value) => output::line(&format!("{name:14} {value}")),
            None => {}
        }
    }
    if !instances.is_empty() {
        output::line("");
        let rows: Vec<_> = instances.iter().map(cells).collect();
        output::table(&["instance", "pid", "port", "state", "revision", "started"], &rows);
    }
    Ok(Exit::Done)
}

/// A variable from a line of its own on, so that a long one does not hide the others. Further lines
/// of a value stand further right, so that none looks like another variable.
fn variable_lines(name: &str, variables: &Map<String, Value>) {
    for (index, (key, value)) in variables.iter().enumerate() {
        let label = if index == 0 { name } else { "" };
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut lines = value.split('\n').map(clean);
        let first = lines.next().unwrap_or_default();
        output::line(&format!("{label:14} {}={first}", clean(key)));
        for line in lines {
            output::line(format!("{:18} {line}", "").trim_end());
        }
    }
}

fn list(items: &[Value]) -> String {
    let shown = |item: &Value| item.as_str().map_or_else(|| item.to_string(), clean);
    items.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn cells(instance: &ListedInstance) -> Vec<String> {
    fn cell<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    vec![
        instance.id.clone(),
        cell(instance.pid),
        cell(instance.port),
        instance.state.to_string(),
        cell(instance.revision.as_ref().map(Commit::short)),
        cell(instance.started_at.map(row_json::time)),
    ]
}
