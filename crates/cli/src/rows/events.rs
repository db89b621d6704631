//! `rowhouse events`: what happened, and what happens.

use rowhouse_core::RowKey;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Client, Event, News as _};
use crate::failure::Exit;
use crate::output;
use crate::output::clean;
use crate::rows::args::Events;
use crate::rows::wait::is_interrupted;

/// How many are told to begin with.
const SHOWN: usize = 200;

pub(crate) async fn events(client: &impl Client, events: &Events) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = events.name.as_deref();
    let mut feed = client.events(name, SHOWN).await?;
    let mut found = feed.news().await?;
    if let (true, Some(name)) = (found.is_empty(), name)
        && client.get(&RowKey(name.to_owned())).await?.is_none()
    {
        return Err(client.no_such_app(name).await?);
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
    loop {
        for event in &found {
            if events.json {
                output::json(&object(event), false);
            } else {
                output::line(&sentence(event));
            }
        }
        if is_interrupted(&mut interrupt, client).await {
            return Ok(Exit::Done);
        }
        found = feed.news().await?;
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
