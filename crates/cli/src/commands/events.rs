//! `rowhouse events`: what happened, and what happens.

use rowhouse_core::RowKey;
use rowhouse_machine::journal::Event;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Events;
use crate::commands::is_interrupted;
use crate::context::Context;
use crate::failure::Exit;
use crate::output;
use crate::output::clean;

/// How many are told to begin with.
const SHOWN: u32 = 200;

pub(crate) async fn events(context: &Context, events: &Events) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let journal = context.journal()?;
    let name = events.name.as_deref();
    let mut found = journal.events(name, 0, SHOWN)?;
    if let (true, Some(name)) = (found.is_empty(), name) {
        let table = context.table()?;
        if table.get(&RowKey(name.to_owned()))?.is_none() {
            return Err(context.no_such_app(&table, name)?);
        }
    }
    if !events.follow {
        if events.json {
            let objects: Vec<Value> = found.iter().map(object).collect();
            output::json(&json!({ "Events": objects }), true);
        } else {
            for event in &found {
                output::line(&sentence(event));
            }
        }
        return Ok(Exit::Done);
    }
    let mut last = 0;
    loop {
        for event in &found {
            last = event.id;
            if events.json {
                output::json(&object(event), false);
            } else {
                output::line(&sentence(event));
            }
        }
        if is_interrupted(&mut interrupt).await {
            return Ok(Exit::Done);
        }
        found = journal.events(name, last, 10_000)?;
    }
}

fn object(event: &Event) -> Value {
    json!({ "Id": event.id, "At": event.at, "Name": event.name, "Kind": event.kind, "Text": event.text })
}

fn sentence(event: &Event) -> String {
    let [at, name, kind, text] =
        [&event.at, &event.name, &event.kind, &event.text].map(|part| clean(part));
    format!("{at}  {name}  {kind}  {text}")
}
