//! What happens to apps on AWS: the events of their stacks.

use std::collections::{BTreeMap, HashSet};

use aws_sdk_cloudformation::types::StackEvent;
use rowhouse_aws::{Failure, StackStatus};
use rowhouse_command::client::{Event, EventId, News};

use crate::account::{Account, told_of};
use crate::output;
use crate::stack::{self, is_of_stack, shown_time, word};

/// How many looks in a row may fail in passing.
const PATIENCE: u32 = 20;
/// How many stacks are followed where no app is named: those that have changed last.
const FOLLOWED: usize = 20;

/// The stacks that are followed.
pub(crate) struct AppEvents {
    account: Account,
    scope: Scope,
    stacks: BTreeMap<String, Followed>,
    /// How many events to begin with.
    last: Option<usize>,
    /// Whether it was said that they cannot be seen.
    is_blind: bool,
    /// How many looks in a row have failed.
    failures: u32,
}

/// Whose events are followed.
enum Scope {
    /// One app's, by its name and its stack's; `None`: no stack can have such a name.
    App(Option<(String, String)>),
    /// Of all apps whose stacks' names begin so.
    All { prefix: String },
}

/// The status of a stack, and when its last operation began.
type Listed = (StackStatus, i64);

/// A stack that is followed, by its name, under which the one is found that is there now.
#[derive(Default)]
struct Followed {
    app: String,
    /// Its id once it is known, by which it is found after its deletion, too.
    id: Option<String>,
    seen: HashSet<String>,
    /// How it was listed when its events were read.
    listed: Option<Listed>,
}

impl AppEvents {
    /// Of one app, whose stack has that name.
    pub(crate) fn of_app(
        account: &Account,
        app: Option<(String, String)>,
        last: usize,
    ) -> AppEvents {
        AppEvents::new(account, Scope::App(app), last)
    }

    /// Of all apps, whose stacks' names begin with `prefix`.
    pub(crate) fn of_all(account: &Account, prefix: String, last: usize) -> AppEvents {
        AppEvents::new(account, Scope::All { prefix }, last)
    }

    fn new(account: &Account, scope: Scope, last: usize) -> AppEvents {
        let account = account.clone();
        AppEvents {
            account,
            scope,
            stacks: BTreeMap::new(),
            last: Some(last),
            is_blind: false,
            failures: 0,
        }
    }

    /// The stacks that may have news, and how they are listed: the app's own, or those that are
    /// moving, or have moved since they were read.
    async fn moved(&mut self) -> Result<Vec<(String, Option<Listed>)>, Failure> {
        let prefix = match &self.scope {
            Scope::App(None) => return Ok(Vec::new()),
            Scope::App(Some((app, stack))) => {
                self.stacks.entry(stack.clone()).or_default().app.clone_from(app);
                return Ok(vec![(stack.clone(), None)]);
            }
            Scope::All { prefix } => prefix,
        };
        let mut found = stack::list(&self.account).await?;
        found.retain(|(name, stack)| name.starts_with(prefix) && stack.is_ours());
        found.sort_by_key(|(_, stack)| std::cmp::Reverse(stack.changed));
        let mut moved = Vec::new();
        for (name, stack) in found.into_iter().take(FOLLOWED) {
            let followed = self.stacks.entry(name.clone()).or_default();
            name[prefix.len()..].clone_into(&mut followed.app);
            let listed = Some((stack.status, stack.changed));
            if followed.listed != listed || stack::is_moving(stack.status) {
                moved.push((name, listed));
            }
        }
        // Of one that is no longer listed, the last is told once.
        for (name, followed) in &self.stacks {
            let was_moving = followed.listed.is_some_and(|(status, _)| stack::is_moving(status));
            if was_moving && !moved.iter().any(|(moved, _)| moved == name) {
                moved.push((name.clone(), None));
            }
        }
        Ok(moved)
    }

    async fn read(&mut self, last: Option<usize>) -> Result<Vec<Event>, Failure> {
        let moved = self.moved().await?;
        let mut news = Vec::new();
        for (name, listed) in moved {
            if let Some(followed) = self.stacks.get_mut(&name) {
                news.extend(followed.news(&self.account.cloudformation, &name, last).await?);
                followed.listed = listed;
            }
        }
        news.sort_by(|one, other| one.at.cmp(&other.at));
        if let Some(last) = last {
            news.drain(..news.len().saturating_sub(last));
        }
        Ok(news)
    }
}

impl News for AppEvents {
    type Item = Event;

    /// What is told here is told beside a change and decides nothing, so a look that fails in
    /// passing is made up for by the next.
    async fn news(&mut self) -> anyhow::Result<Vec<Event>> {
        if self.is_blind {
            return Ok(Vec::new());
        }
        match self.read(self.last).await {
            Ok(news) => {
                self.last = None;
                self.failures = 0;
                Ok(news)
            }
            // Whoever may write rows need not be one who may look at stacks.
            Err(failure) if failure.is_denied() => {
                let error = told_of("cannot see what happens to the stack", &failure);
                output::note(&error.to_string());
                self.is_blind = true;
                Ok(Vec::new())
            }
            Err(failure) if failure.is_passing() && self.failures < PATIENCE => {
                self.failures += 1;
                Ok(Vec::new())
            }
            Err(failure) => Err(told_of("cannot read the stack's events", &failure)),
        }
    }
}

impl Followed {
    /// The events that were not seen yet, the oldest first; of those to begin with, no more pages
    /// than they take.
    async fn news(
        &mut self,
        client: &aws_sdk_cloudformation::Client,
        name: &str,
        most: Option<usize>,
    ) -> Result<Vec<Event>, Failure> {
        let mut found = self.page_through(client, name, most).await?;
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
    ) -> Result<Option<Vec<StackEvent>>, Failure> {
        let mut found = Vec::new();
        let mut pages = client.describe_stack_events().stack_name(stack).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page.map_err(|error| Failure::of(&error)) {
                Ok(page) => page,
                Err(failure) if failure.is_missing_stack() => return Ok(None),
                Err(failure) => return Err(failure),
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
        id: EventId::Text(event.event_id().unwrap_or_default().to_owned()),
        at: event.timestamp().map(shown_time).unwrap_or_default(),
        name: app.to_owned(),
        kind: word(event).to_lowercase(),
        text: match reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        },
    }
}
