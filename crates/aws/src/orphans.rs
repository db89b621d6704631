//! Stacks that have no row in this table though nobody removed one from it: they were there when
//! the reactor met the table, which took the place of another one, or of an older or a younger one.
//!
//! Within one table a row vanishes only by a deletion: what is absent was removed, but for these.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowhouse_core::{AppName, Found, RowKey, Unreachable};
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::identity::{Identity, identity};
use crate::memory::{Marked, Memory};
use crate::refusal::Failure;
use crate::sdk;

/// How long what was read of the bucket is not read again.
const FRESH: Duration = Duration::from_mins(1);
/// How often it is begun anew where another reactor meets the table at the same time.
const TRIES: usize = 3;

/// What the reactor knows of its table.
#[derive(Clone, Debug)]
pub struct Orphans {
    memory: Memory,
    rows: aws_sdk_dynamodb::Client,
    table: String,
    stacks: aws_sdk_cloudformation::Client,
    prefix: String,
    met: Arc<Mutex<Option<Met>>>,
}

/// A table that was met.
#[derive(Clone, Debug)]
struct Met {
    identity: Identity,
    /// At least those that are remembered: of a table that was met, none is added.
    names: BTreeSet<AppName>,
    at: Instant,
}

impl Orphans {
    /// Those of an installation, in the account and region of `shared`.
    pub fn new(shared: &aws_config::SdkConfig, config: &Config) -> Orphans {
        let prefix = config.stack_prefix.clone();
        let memory = Memory::new(crate::client::s3(shared), config.artifacts(), &prefix);
        Orphans {
            memory,
            rows: aws_sdk_dynamodb::Client::new(shared),
            table: config.app_database.clone(),
            stacks: aws_sdk_cloudformation::Client::new(shared),
            prefix,
            met: Arc::default(),
        }
    }

    /// Meets the table before its rows are read, unless that was done just now. `None`: the role
    /// does not allow it, which keeps no row from its answer.
    pub(crate) async fn meet(&self) -> Result<Option<Identity>, Unreachable> {
        let mut met = self.met.lock().await;
        if let Some(known) = met.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(Some(known.identity.clone()));
        }
        let known = async {
            let identity = identity(&self.rows, &self.table).await?;
            self.know(&mut met, identity).await
        };
        match known.await {
            Ok(known) => Ok(Some(known.identity)),
            Err(failure) if failure.is_passing() => Err(failure.into_unreachable()),
            Err(Failure { message, .. }) => {
                warn!(message, "cannot tell what was removed from what is absent");
                Ok(None)
            }
        }
    }

    /// Takes nothing for known that was read before.
    pub(crate) async fn look_anew(&self) {
        *self.met.lock().await = None;
    }

    /// Why there is no row under this key, as the table is that was just read.
    pub(crate) async fn find(&self, key: &RowKey) -> Result<Found, Unreachable> {
        // Nothing else ever has a stack.
        let Ok(name) = AppName::parse(key.as_str()) else { return Ok(Found::Removed) };
        let found = async {
            // Asked after the row was, so that it is not the table of before.
            let identity = identity(&self.rows, &self.table).await?;
            let mut met = self.met.lock().await;
            let mut known = self.know(&mut met, identity.clone()).await?;
            if known.names.contains(&name) {
                // Somebody else may have seen its row since; or all is forgotten, the table too.
                *met = None;
                known = self.know(&mut met, identity).await?;
            }
            let is_orphan = known.names.contains(&name);
            Ok(if is_orphan { Found::Absent } else { Found::Removed })
        };
        found.await.map_err(|failure: Failure| failure.into_unreachable())
    }

    /// Takes these off the list of that table, whose rows were seen in it after it was met.
    pub(crate) async fn take_off<'a>(
        &self,
        identity: &Identity,
        keys: impl Iterator<Item = &'a RowKey>,
    ) -> Result<(), Unreachable> {
        let mut met = self.met.lock().await;
        let Some(known) = met.as_mut().filter(|known| known.identity == *identity) else {
            return Ok(());
        };
        if known.names.is_empty() {
            return Ok(());
        }
        for name in keys.filter_map(|key| AppName::parse(key.as_str()).ok()) {
            if known.names.contains(&name) {
                let forgotten = self.memory.forget(identity, &name).await;
                forgotten.map_err(Failure::into_unreachable)?;
                info!(app = %name, "it has a row again, and is no orphan any more");
                known.names.remove(&name);
            }
        }
        Ok(())
    }

    /// The table of this identity, once all its orphans are remembered.
    async fn know(&self, met: &mut Option<Met>, identity: Identity) -> Result<Met, Failure> {
        if let Some(known) = met.as_ref()
            && known.identity == identity
            && known.at.elapsed() < FRESH
        {
            return Ok(known.clone());
        }
        *met = None;
        for _ in 0..TRIES {
            let at = Instant::now();
            // The marker first: what it stands for is all there when it is.
            let marker = self.memory.marker().await?;
            if marker.met.as_ref() == Some(&identity) {
                let names = self.memory.names(&identity).await?;
                return Ok(met.insert(Met { identity, names, at }).clone());
            }
            // Seldom, and so large that every look would have its room.
            Box::pin(self.list(&identity)).await?;
            if self.memory.mark(&identity, &marker).await? == Marked::Lost {
                info!("another reactor meets the table at the same time");
            }
        }
        let message = "other reactors meet other tables again and again: `app_database` must be \
                       the same for all of them";
        Err(Failure { code: String::new(), message: message.to_owned() })
    }

    /// Remembers every stack that has no row in this table.
    async fn list(&self, identity: &Identity) -> Result<(), Failure> {
        let before = self.memory.names(identity).await?;
        // The stacks first: one that is made meanwhile has its row by then.
        let stacks = self.stacks().await?;
        let rows = self.rows().await?;
        let (with, without): (BTreeSet<AppName>, BTreeSet<AppName>) =
            stacks.into_iter().partition(|name| rows.contains(name.as_str()));
        self.memory.remember(identity, &without).await?;
        // Left by one who died half-way.
        for name in before.intersection(&with) {
            self.memory.forget(identity, name).await?;
        }
        if !without.is_empty() {
            let names: Vec<&str> = without.iter().map(AppName::as_str).collect();
            error!(
                orphans = names.join(" "),
                table = identity.as_str(),
                "this table was not met before, and has no row for these stacks, which nobody \
                 removed: they run on; `rowhouse --aws rm NAME…` deletes them"
            );
        }
        Ok(())
    }

    /// The names of the rows, read consistently.
    async fn rows(&self) -> Result<BTreeSet<String>, Failure> {
        let mut names = BTreeSet::new();
        let scan = self.rows.scan().table_name(&self.table).consistent_read(true);
        let scan = scan.projection_expression("#Name").expression_attribute_names("#Name", "Name");
        let mut pages = scan.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                let Failure { code, message } = Failure::of(&error);
                let message = format!("cannot list: table `{}`: {message}", self.table);
                Failure { code, message }
            })?;
            let found = page.items().iter().filter_map(|item| item.get("Name")?.as_s().ok());
            names.extend(found.cloned());
        }
        Ok(names)
    }

    /// The apps that have a stack of ours.
    async fn stacks(&self) -> Result<BTreeSet<AppName>, Failure> {
        let mut names = BTreeSet::new();
        let mut pages = self.stacks.describe_stacks().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                let Failure { code, message } = Failure::of(&error);
                Failure { code, message: format!("cannot list the stacks: {message}") }
            })?;
            let ours = page.stacks().iter().filter(|stack| sdk::is_ours(stack));
            let name = |stack: &aws_sdk_cloudformation::types::Stack| {
                AppName::parse(stack.stack_name()?.strip_prefix(&self.prefix)?).ok()
            };
            names.extend(ours.filter_map(name));
        }
        Ok(names)
    }
}
