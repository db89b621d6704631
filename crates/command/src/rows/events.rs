//! `rowhouse events`: what happened, and what happens.

use rowhouse_core::RowKey;
use serde_json::{Value, json};

use crate::client::{Client, Event, EventId, News as _};
use crate::failure::Exit;
use crate::output;
use crate::output::clean;
use crate::rows::args::Events;
use crate::rows::names;
use crate::rows::wait::{follow_pause, until_interrupted};

/// How many are told to begin with.
const SHOWN: usize = 200;

pub(crate) async fn events(client: &impl Client, events: &Events) -> anyhow::Result<Exit> {
    if events.follow {
        return until_interrupted(follow(client, events)).await;
    }
    let found = begin(client, events).await?.1;
    if events.json {
        let objects: Vec<Value> = found.iter().map(object).collect();
        output::json(&json!({ "Events": objects }), true);
    } else {
        for event in &found {
            output::line(&sentence(event));
        }
    }
    Ok(Exit::Done)
}

async fn follow(client: &impl Client, events: &Events) -> anyhow::Result<Exit> {
    let (mut feed, mut found) = begin(client, events).await?;
    loop {
        for event in &found {
            if events.json {
                output::json(&object(event), false);
            } else {
                output::line(&sentence(event));
            }
        }
        follow_pause(client).await;
        found = feed.news().await?;
    }
}

/// What happened until now, and where to hear more.
async fn begin<C: Client>(client: &C, events: &Events) -> anyhow::Result<(C::Events, Vec<Event>)> {
    let name = events.name.as_deref();
    let mut feed = client.events(name, SHOWN).await?;
    let found = feed.news().await?;
    if let (true, Some(name)) = (found.is_empty(), name)
        && client.get(&RowKey(name.to_owned())).await?.is_none()
    {
        return Err(names::no_such_app(client, name).await?);
    }
    Ok((feed, found))
}

fn object(event: &Event) -> Value {
    let id = match &event.id {
        EventId::Number(number) => json!(number),
        EventId::Text(text) => json!(text),
    };
    json!({ "Id": id, "At": event.at, "Name": event.name, "Kind": event.kind, "Text": event.text })
}

fn sentence(event: &Event) -> String {
    let [at, name, kind, text] =
        [&event.at, &event.name, &event.kind, &event.text].map(|part| clean(part));
    format!("{at}  {name}  {kind}  {text}")
}
