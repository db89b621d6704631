//! What happens to apps on AWS: the events of their stacks.

use std::collections::HashSet;

use aws_sdk_cloudformation::types::StackEvent;
use rowhouse_aws::Failure;
use rowhouse_cli::client::{Event, News};

use crate::account::told;
use crate::stack::{is_of_stack, shown_time, word};

/// The stacks that are followed.
pub(crate) struct AppEvents {
    client: aws_sdk_cloudformation::Client,
    stacks: Vec<Followed>,
    /// How many events to begin with.
    last: Option<usize>,
}

struct Followed {
    app: String,
    /// The stack's name, by which the one is found that is there now.
    name: String,
    /// Its id once it is known, by which it is found after its deletion, too.
    id: Option<String>,
    seen: HashSet<String>,
}

impl AppEvents {
    /// Of apps, each with the name of its stack.
    pub(crate) fn new(
        client: aws_sdk_cloudformation::Client,
        apps: Vec<(String, String)>,
        last: usize,
    ) -> AppEvents {
        let stacks = apps
            .into_iter()
            .map(|(app, name)| Followed { app, name, id: None, seen: HashSet::new() })
            .collect();
        AppEvents { client, stacks, last: Some(last) }
    }
}

impl News for AppEvents {
    type Item = Event;

    async fn news(&mut self) -> anyhow::Result<Vec<Event>> {
        let last = self.last.take();
        let mut news = Vec::new();
        for stack in &mut self.stacks {
            news.extend(stack.news(&self.client, last).await?);
        }
        news.sort_by(|one, other| one.at.cmp(&other.at));
        if let Some(last) = last {
            news.drain(..news.len().saturating_sub(last));
        }
        Ok(news)
    }
}

impl Followed {
    /// The events that were not seen yet, the oldest first; of those to begin with, no more pages than they take.
    async fn news(
        &mut self,
        client: &aws_sdk_cloudformation::Client,
        most: Option<usize>,
    ) -> anyhow::Result<Vec<Event>> {
        let mut found = self.page_through(client, &self.name, most).await?;
        // It is gone by its name, and still known by its id.
        if let (None, Some(id)) = (&found, &self.id) {
            found = self.page_through(client, id, most).await?;
        }
        let mut found = found.unwrap_or_default();
        found.reverse();
        for event in &found {
            self.seen.extend(event.event_id().map(str::to_owned));
            self.id = event.stack_id().map(str::to_owned).or(self.id.take());
        }
        Ok(found.iter().map(|event| event_of(&self.app, event)).collect())
    }

    /// Newest first, until one that was seen; `None`: there is no such stack.
    async fn page_through(
        &self,
        client: &aws_sdk_cloudformation::Client,
        stack: &str,
        most: Option<usize>,
    ) -> anyhow::Result<Option<Vec<StackEvent>>> {
        let mut found = Vec::new();
        let mut pages = client.describe_stack_events().stack_name(stack).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if Failure::of(&error).is_missing_stack() => return Ok(None),
                Err(error) => return Err(told("cannot read the stack's events", &error)),
            };
            for event in page.stack_events() {
                if event.event_id().is_some_and(|id| self.seen.contains(id)) {
                    return Ok(Some(found));
                }
                found.push(event.clone());
            }
            if most.is_some_and(|most| found.len() >= most) {
                break;
            }
        }
        Ok(Some(found))
    }
}

fn event_of(app: &str, event: &StackEvent) -> Event {
    let what = if is_of_stack(event) {
        "the stack".to_owned()
    } else {
        let id = event.logical_resource_id().unwrap_or_default();
        format!("{id} ({})", event.resource_type().unwrap_or_default())
    };
    let reason = event.resource_status_reason().filter(|reason| !reason.is_empty());
    Event {
        id: event.event_id().unwrap_or_default().into(),
        at: event.timestamp().map(shown_time).unwrap_or_default(),
        name: app.to_owned(),
        kind: word(event).to_lowercase(),
        text: match reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        },
    }
}
