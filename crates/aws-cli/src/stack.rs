//! The stack of the platform: how it stands, and what is under way on it, told as it goes.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use aws_sdk_cloudformation::types::{Stack, StackEvent, Tag};
use rowhouse_aws::{Failure, Life, MANAGED_BY, StackStatus};

use crate::account::{Account, told, told_of};
use crate::output;

/// The name of the platform's stack.
pub(crate) const PLATFORM: &str = "rowhouse-platform";
/// What names of apps' stacks begin with.
pub(crate) const APPS: &str = "demo-app-";
/// The name of the table of rows.
pub(crate) const TABLE: &str = "apps-db";
/// The name of the reactor's function.
pub(crate) const REACTOR: &str = "AppDemoReactorLambda";
/// How long nothing may be heard before it is said what is waited for.
const QUIET: Duration = Duration::from_secs(30);

/// A stack, as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) id: String,
    pub(crate) status: StackStatus,
    pub(crate) reason: Option<String>,
    /// When its last operation began, in seconds since 1970.
    pub(crate) changed: i64,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Standing {
    /// Whether the stack is one of Rowhouse's.
    pub(crate) fn is_ours(&self) -> bool {
        self.tags.get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1)
    }
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: StackStatus,
    /// What failed first, with the reasons.
    pub(crate) failures: Vec<String>,
}

/// The stack of that name or id, if there is one.
pub(crate) async fn find(account: &Account, name: &str) -> anyhow::Result<Option<Standing>> {
    let found = look(account, name).await;
    found.map_err(|failure| told_of(&format!("cannot look at the stack `{name}`"), &failure))
}

/// The same, for whoever tells failures apart.
pub(crate) async fn look(account: &Account, name: &str) -> Result<Option<Standing>, Failure> {
    let asked = account.cloudformation.describe_stacks().stack_name(name).send().await;
    match asked.map_err(|error| Failure::of(&error)) {
        Ok(answer) => answer.stacks().first().map(standing).transpose(),
        Err(failure) if failure.is_missing_stack() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// All stacks that are there.
pub(crate) async fn all(account: &Account) -> anyhow::Result<Vec<(String, Standing)>> {
    list(account).await.map_err(|failure| told_of("cannot list the stacks", &failure))
}

/// The same, for whoever tells failures apart.
pub(crate) async fn list(account: &Account) -> Result<Vec<(String, Standing)>, Failure> {
    let mut pages = account.cloudformation.describe_stacks().into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::of(&error))?;
        for stack in page.stacks() {
            let ours = |tag: &Tag| tag.key() == Some(MANAGED_BY.0);
            let standing = match standing(stack) {
                Ok(standing) => standing,
                Err(failure) if stack.tags().iter().any(ours) => return Err(failure),
                // Somebody else's, and their business.
                Err(_) => continue,
            };
            if standing.status.life() != Life::Gone {
                found.push((stack.stack_name().unwrap_or_default().to_owned(), standing));
            }
        }
    }
    Ok(found)
}

fn standing(stack: &Stack) -> Result<Standing, Failure> {
    let word = stack.stack_status().map_or("", |status| status.as_str());
    let texts = |pairs: Vec<(Option<&str>, Option<&str>)>| {
        let pair = |(name, value): (Option<&str>, Option<&str>)| {
            Some((name?.to_owned(), value.unwrap_or_default().to_owned()))
        };
        pairs.into_iter().filter_map(pair).collect()
    };
    let parameters = stack.parameters().iter();
    let outputs = stack.outputs().iter();
    let tags = stack.tags().iter();
    Ok(Standing {
        id: stack.stack_id().or(stack.stack_name()).unwrap_or_default().to_owned(),
        status: known(word)?,
        reason: stack.stack_status_reason().map(str::to_owned),
        changed: stack
            .last_updated_time()
            .or(stack.creation_time())
            .map_or(0, aws_smithy_types::DateTime::secs),
        parameters: texts(
            parameters.map(|one| (one.parameter_key(), one.parameter_value())).collect(),
        ),
        outputs: texts(outputs.map(|one| (one.output_key(), one.output_value())).collect()),
        tags: texts(tags.map(|one| (one.key(), one.value())).collect()),
    })
}

fn known(word: &str) -> Result<StackStatus, Failure> {
    StackStatus::parse(word).ok_or_else(|| Failure {
        code: "UnknownStatus".to_owned(),
        message: format!("AWS says that the stack is `{word}`, which is unknown here"),
    })
}

/// Whether something is under way.
pub(crate) fn is_moving(status: StackStatus) -> bool {
    match status.life() {
        Life::Creating | Life::Updating | Life::CleaningUp | Life::RollingBack | Life::Deleting => {
            true
        }
        Life::Up | Life::DeletionFailed | Life::Broken | Life::Stuck | Life::Lost | Life::Gone => {
            false
        }
    }
}

/// The newest event of a stack itself: what begins after it is a later operation's.
pub(crate) async fn mark(account: &Account, id: &str) -> anyhow::Result<Option<String>> {
    let mut newest = None;
    let mut pages =
        account.cloudformation.describe_stack_events().stack_name(id).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| told("cannot read the stack's events", &error))?;
        newest = page.stack_events().iter().find(|event| is_of_stack(event)).cloned();
        if newest.is_some() {
            break;
        }
    }
    Ok(newest.and_then(|event| event.event_id))
}

/// Tells what happens to a stack until it rests. `after`: the mark from before the operation, if
/// this program began it.
pub(crate) async fn follow(
    account: &Account,
    id: &str,
    after: Option<String>,
) -> anyhow::Result<Ended> {
    let mut telling = Telling {
        after,
        seen: HashSet::new(),
        began: SystemTime::now(),
        spoke: SystemTime::now(),
        moving: BTreeMap::new(),
        failures: Vec::new(),
    };
    loop {
        if let Some(status) = telling.look(account, id).await? {
            return Ok(Ended { status, failures: telling.failures });
        }
        tokio::time::sleep(pause(account)).await;
    }
}

/// How long to wait between two looks.
pub(crate) fn pause(account: &Account) -> Duration {
    if account.is_emulator() { Duration::from_millis(100) } else { Duration::from_secs(3) }
}

/// What was told of an operation.
struct Telling {
    after: Option<String>,
    seen: HashSet<String>,
    began: SystemTime,
    spoke: SystemTime,
    /// The last event of each resource that is under way.
    moving: BTreeMap<String, String>,
    failures: Vec<String>,
}

impl Telling {
    /// Tells the news; the status at which the stack rests, once it does.
    async fn look(&mut self, account: &Account, id: &str) -> anyhow::Result<Option<StackStatus>> {
        let mut news = Vec::new();
        let mut pages =
            account.cloudformation.describe_stack_events().stack_name(id).into_paginator().send();
        'pages: while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) if Failure::of(&error).is_missing_stack() => {
                    return Ok(Some(StackStatus::DeleteComplete));
                }
                Err(error) => return Err(told("cannot read the stack's events", &error)),
            };
            for event in page.stack_events() {
                let id = event.event_id().unwrap_or_default();
                if self.seen.contains(id) || self.after.as_deref() == Some(id) {
                    break 'pages;
                }
                news.push(event.clone());
                // Older ones are an earlier operation's.
                if self.seen.is_empty() && is_begin(event) {
                    break 'pages;
                }
            }
        }
        let mut ended = None;
        for event in news.iter().rev() {
            self.seen.insert(event.event_id().unwrap_or_default().to_owned());
            self.tell(event);
            if is_of_stack(event) {
                let status =
                    known(word(event)).map_err(|failure| told_of("cannot go on", &failure))?;
                ended = (!is_moving(status)).then_some(status);
            }
        }
        self.tell_quiet();
        Ok(ended)
    }

    fn tell(&mut self, event: &StackEvent) {
        if is_begin(event) {
            self.began = event.timestamp().map_or(self.began, time);
        }
        let name = event.logical_resource_id().unwrap_or_default();
        let status = word(event);
        if status.ends_with("_IN_PROGRESS") {
            if !is_of_stack(event) {
                self.moving.insert(name.to_owned(), status.to_owned());
                return;
            }
        } else {
            self.moving.remove(name);
        }
        let reason = event.resource_status_reason().unwrap_or_default();
        let has_failed = status.ends_with("_FAILED");
        if has_failed && !reason.contains("cancelled") && !is_of_stack(event) {
            self.failures.push(format!("{name}: {}", output::clean(reason)));
        }
        let at = event.timestamp().map_or(self.began, time);
        let seconds = at.duration_since(self.began).unwrap_or_default().as_secs();
        let kind = event.resource_type().unwrap_or_default();
        // Of what went well nobody needs the reason.
        let reason = if has_failed || is_of_stack(event) { reason } else { "" };
        let text = format!("{seconds:5} s  {status:20} {name} ({kind}) {}", output::clean(reason));
        output::note(text.trim_end());
        self.spoke = SystemTime::now();
    }

    fn tell_quiet(&mut self) {
        if self.spoke.elapsed().unwrap_or_default() < QUIET {
            return;
        }
        self.spoke = SystemTime::now();
        let names: Vec<&str> = self.moving.keys().map(String::as_str).collect();
        let seconds = self.began.elapsed().unwrap_or_default().as_secs();
        output::note(&format!("{seconds:5} s  under way: {}", names.join(", ")));
        if names == ["Certificate"] {
            output::note(
                "         the certificate is issued once AWS finds its record in public DNS: the \
                 domain must be delegated to the hosted zone's name servers",
            );
        }
    }
}

/// The status that an event tells of.
pub(crate) fn word(event: &StackEvent) -> &str {
    event.resource_status().map_or("", |status| status.as_str())
}

/// Whether an event is the stack's own.
pub(crate) fn is_of_stack(event: &StackEvent) -> bool {
    event.physical_resource_id().is_some() && event.physical_resource_id() == event.stack_id()
}

/// Whether an operation begins with it.
fn is_begin(event: &StackEvent) -> bool {
    is_of_stack(event)
        && matches!(word(event), "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "DELETE_IN_PROGRESS")
}

/// A time as rows have it.
pub(crate) fn shown_time(at: &aws_smithy_types::DateTime) -> String {
    let at = jiff::Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).unwrap_or(0));
    at.map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn time(at: &aws_smithy_types::DateTime) -> SystemTime {
    SystemTime::try_from(*at).unwrap_or(SystemTime::UNIX_EPOCH)
}
