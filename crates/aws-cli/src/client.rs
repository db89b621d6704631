//! The platform on AWS, as the commands on rows see it: the table, the stacks of the apps, and
//! their logs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rowhouse_aws::config::{Config, VARIABLE};
use rowhouse_aws::{DynamoTable, Failure, Life, Repositories, StackStatus};
use rowhouse_command::client::{
    Changes, Client, Function, Hearing, Left, ListedInstance, Location, Reactor, Removed, Rows,
    Sight, WithoutRow,
};
use rowhouse_core::{
    App, AppName, Commit, Obstacle, Releases, Resolution, Row, RowKey, Settings, SettingsDigest,
    StoredEntry, StoredRow, Written,
};

use crate::account::{Account, told, told_of};
use crate::app_events::AppEvents;
use crate::app_log::AppLog;
use crate::args::Place;
use crate::failure::bad_input;
use crate::stack::{self, APPS, Standing};
use crate::{default_branch, instances, output, without_row};

/// How long after its row was deleted a stack may still come: the reactor may have claimed the row
/// just before, and what was made just now is not always listed at once.
const CLAIMED_FOR: Duration = Duration::from_secs(30);
/// How long the reactor may take to answer a row that the stream has lost: three of its clock's
/// rings.
const ANSWERED_WITHIN: Duration = Duration::from_mins(3);
/// The tables' names where no configuration says others, the seed's.
const TABLES: [&str; 2] = ["apps-db", "apps-history"];

/// What the commands on rows work on.
pub(crate) struct AwsClient {
    account: Account,
    table: DynamoTable,
    /// The configuration of the reactor, where it can be read.
    config: Option<Config>,
    hearing: Hearing,
    location: Location,
    /// The ids of the stacks that were seen, by the names of their apps: by its id a stack is known
    /// for good.
    ids: RefCell<BTreeMap<String, String>>,
}

impl AwsClient {
    /// The platform in the account and region of `place`. `changes`: whether to say first which
    /// they are, since a command is about to change something there.
    pub(crate) async fn open(place: &Place, changes: bool) -> anyhow::Result<AwsClient> {
        let account = Account::open(place).await?;
        if changes {
            account.announce();
        }
        let lambda = aws_sdk_lambda::Client::new(&account.config);
        let function = lambda.get_function_configuration().function_name(stack::REACTOR);
        let config = match function.send().await {
            Ok(function) => {
                let variables = function.environment().and_then(|given| given.variables());
                let text = variables.and_then(|variables| variables.get(VARIABLE));
                text.map(|text| Config::parse(text, VARIABLE)).transpose().map_err(|error| {
                    bad_input(
                        format!("cannot read the configuration of {}: {error}", stack::REACTOR),
                        "it may be newer than this program: bring `rowhouse-aws` up to date",
                    )
                })?
            }
            Err(error) if Failure::of(&error).code == "ResourceNotFoundException" => {
                return Err(nothing_here(&account));
            }
            // Whoever may write rows need not be one who may look at functions.
            Err(error) if Failure::of(&error).is_denied() => None,
            Err(error) => return Err(told("cannot look at the reactor", &error)),
        };
        let [rows, history] = TABLES.map(str::to_owned);
        let (rows, history) = match &config {
            Some(config) => (config.app_database.clone(), config.app_history.clone()),
            None => (rows, Some(history)),
        };
        let table = DynamoTable::new(account.dynamodb.clone(), rows, history);
        let hearing = hearing(&lambda).await?;
        let location = location(&account);
        Ok(AwsClient { account, table, config, hearing, location, ids: RefCell::default() })
    }

    /// The name of an app's stack.
    fn stack_name(&self, name: &str) -> String {
        let prefix = self.config.as_ref().map_or(APPS, |config| config.stack_prefix.as_str());
        format!("{prefix}{name}")
    }

    /// The stack of an app, where it is one of Rowhouse's.
    async fn stack(&self, name: &AppName) -> Result<Option<Standing>, Failure> {
        let id = self.ids.borrow().get(name.as_str()).cloned();
        let asked = id.unwrap_or_else(|| self.stack_name(name.as_str()));
        let found = stack::look(&self.account, &asked).await?;
        let found = found.filter(|stack| stack.status != StackStatus::DeleteComplete);
        let found = found.filter(Standing::is_ours);
        if let Some(stack) = &found {
            self.ids.borrow_mut().insert(name.as_str().to_owned(), stack.id.clone());
        }
        Ok(found)
    }

    /// An error of the table, with what to do about it.
    fn of_table(&self, failure: &Failure) -> anyhow::Error {
        match failure.code.as_str() {
            "ResourceNotFoundException" if self.config.is_some() => {
                bad_input(failure.message.clone(), self.location.cure.clone())
            }
            "ResourceNotFoundException" => bad_input(
                format!("there is no table `{}` in {}", TABLES[0], self.account.region),
                format!(
                    "`rowhouse aws install` makes it; where config.json names another, give the \
                     reactor its text as the variable `{VARIABLE}` instead, where it can be read"
                ),
            ),
            "ValidationException" => {
                bad_input(failure.message.clone(), "a row may have 400 kB in all: give it less")
            }
            _ => told_of("", failure),
        }
    }
}

fn nothing_here(account: &Account) -> anyhow::Error {
    bad_input(
        format!("there is no platform in account {} in {}", account.id, account.region),
        format!(
            "`rowhouse aws install --domain DOMAIN{}` makes it, or choose another region with \
             `--region`",
            account.options
        ),
    )
}

async fn hearing(lambda: &aws_sdk_lambda::Client) -> anyhow::Result<Hearing> {
    let asked = lambda.list_event_source_mappings().function_name(stack::REACTOR).send().await;
    match asked {
        Ok(answer) => {
            let is_on =
                |state: Option<&str>| !matches!(state, Some("Disabled" | "Disabling" | "Deleting"));
            let mut mappings = answer.event_source_mappings().iter();
            let is_heard = mappings.any(|mapping| is_on(mapping.state()));
            Ok(if is_heard { Hearing::Stream } else { Hearing::Schedules })
        }
        Err(error) if Failure::of(&error).is_denied() => Ok(Hearing::Unknown),
        Err(error) => Err(told("cannot look at the stream of the table", &error)),
    }
}

/// How commands reach the platform of an account.
pub(crate) fn location(account: &Account) -> Location {
    let is_implied = std::env::var_os("ROWHOUSE_PLATFORM").is_some_and(|value| value == "aws");
    let option = if is_implied { "" } else { "--aws" };
    let before = format!("{option}{}", account.options).trim_start().to_owned();
    let cure = format!("`rowhouse aws doctor{}` says what to do", account.options);
    Location::new(before, String::new(), cure, stack::pause(account))
}

impl Client for AwsClient {
    const IS_HERE: bool = false;

    fn location(&self) -> &Location {
        &self.location
    }
}

impl Rows for AwsClient {
    async fn get(&self, key: &RowKey) -> anyhow::Result<Option<StoredRow>> {
        self.table.stored(key).await.map_err(|failure| self.of_table(&failure))
    }

    async fn list(&self) -> anyhow::Result<Vec<StoredRow>> {
        self.table.all_stored().await.map_err(|failure| self.of_table(&failure))
    }

    async fn write(
        &self,
        key: &RowKey,
        seen: Option<&Row>,
        changes: &Changes,
    ) -> anyhow::Result<Option<Row>> {
        match self.table.edit(key, seen, changes).await {
            Ok(Written::Done(row)) => Ok(Some(row)),
            Ok(Written::Lost) => Ok(None),
            Err(failure) => Err(self.of_table(&failure)),
        }
    }

    async fn remove(&self, key: &RowKey) -> anyhow::Result<Option<Removed>> {
        let removed = self.table.remove(key).await.map_err(|failure| self.of_table(&failure))?;
        Ok(removed.map(|row| Removed { row, mark: Timestamp::now().as_second() }))
    }

    /// A row with nothing in it: the reactor knows by it that it is this table's, and that it goes
    /// is a user's word from then on.
    async fn remove_orphan(&self, key: &RowKey) -> anyhow::Result<()> {
        let of_table = |failure: Failure| self.of_table(&failure);
        if !self.table.put_name(key).await.map_err(of_table)? {
            // Somebody has put an app there just now, and keeps it.
            return Ok(());
        }
        let began = Instant::now();
        loop {
            match self.table.stored(key).await.map_err(of_table)?.map(|stored| stored.row) {
                Some(row) if row.is_answered() => break,
                Some(_) => {}
                // Somebody else does the same.
                None => return Ok(()),
            }
            if began.elapsed() > ANSWERED_WITHIN {
                let name = output::clean(key.as_str());
                anyhow::bail!(
                    "the reactor has not answered the row `{name}`, by which it lets go of what \
                     runs: the row is left there; {}, and then `{}` goes on",
                    self.location.cure,
                    self.location.command(&format!("rm {name}"))
                );
            }
            tokio::time::sleep(self.location.pause).await;
        }
        self.table.remove_name(key).await.map_err(of_table)
    }

    async fn is_heard(&self, removed: &Removed) -> anyhow::Result<bool> {
        // What waits for something has claimed nothing.
        if Obstacle::of(&removed.row.report).is_some() {
            return Ok(true);
        }
        let since = Timestamp::now().as_second() - removed.mark;
        Ok(u64::try_from(since).is_ok_and(|since| since >= CLAIMED_FOR.as_secs()))
    }

    async fn history(&self, key: &RowKey) -> anyhow::Result<Vec<StoredEntry>> {
        self.table.history(key).await.map_err(|failure| self.of_table(&failure))
    }

    async fn releases(&self, key: &RowKey) -> anyhow::Result<Releases> {
        self.table.releases(key).await.map_err(|failure| self.of_table(&failure))
    }

    /// Those of the reactor.
    fn settings(&self) -> Option<Settings> {
        self.config.as_ref().map(|config| Settings {
            digest: SettingsDigest::of("for validation alone"),
            repository: config.default_repository(),
            path: Some(config.path.clone()).filter(|path| !path.is_empty()),
            max_scale: config.max_scale,
            local_repositories: false,
            domain: Some(config.apps_domain.clone()),
        })
    }
}

impl Sight for AwsClient {
    type Events = AppEvents;
    type Lines = AppLog;

    fn reactor(&self) -> Reactor {
        Reactor::Function(Function {
            name: stack::REACTOR.to_owned(),
            account: self.account.id.clone(),
            region: self.account.region.clone(),
            hearing: self.hearing,
        })
    }

    async fn left(&self, key: &RowKey) -> anyhow::Result<Left> {
        let Ok(name) = AppName::parse(key.as_str()) else { return Ok(Left::Nothing) };
        match self.stack(&name).await {
            Ok(None) => Ok(Left::Nothing),
            Ok(Some(stack)) if stack.status == StackStatus::DeleteFailed => {
                Ok(Left::Stuck(stack.reason.unwrap_or_else(|| "AWS gives no reason".to_owned())))
            }
            Ok(Some(_)) => Ok(Left::Something),
            Err(failure) if failure.is_denied() => Ok(Left::Unknown),
            // It is looked at again.
            Err(failure) if failure.is_passing() => Ok(Left::Something),
            Err(failure) => Err(told_of("cannot look at the stack", &failure)),
        }
    }

    async fn without_row(&self) -> anyhow::Result<WithoutRow> {
        let place = without_row::Place {
            table: &self.table,
            prefix: &self.stack_name(""),
            bucket: self.config.as_ref().map(Config::artifacts),
        };
        Ok(without_row::look(&self.account, place).await?.without)
    }

    async fn aim(&self, name: &AppName) -> anyhow::Result<Option<Commit>> {
        let stack = match self.stack(name).await {
            Ok(stack) => stack,
            Err(failure) if failure.is_denied() => None,
            Err(failure) => return Err(told_of("cannot look at the stack", &failure)),
        };
        let moving = stack.filter(|stack| match stack.status.life() {
            Life::Creating | Life::Updating | Life::CleaningUp => true,
            Life::Up
            | Life::RollingBack
            | Life::Deleting
            | Life::Gone
            | Life::DeletionFailed
            | Life::Broken
            | Life::Stuck
            | Life::Lost => false,
        });
        Ok(moving.and_then(|stack| Commit::parse(stack.parameters.get("Commit")?)))
    }

    /// Those of the app's auto scaling group.
    async fn instances(&self, name: &AppName) -> anyhow::Result<Vec<ListedInstance>> {
        let stack = self.stack_name(name.as_str());
        match instances::of_stack(&self.account, &stack).await {
            Ok(instances) => Ok(instances),
            Err(failure) if failure.is_missing_stack() => Ok(Vec::new()),
            Err(failure) => {
                let error = told_of("the instances cannot be listed", &failure);
                output::note(&error.to_string());
                Ok(Vec::new())
            }
        }
    }

    async fn events(&self, name: Option<&str>, last: usize) -> anyhow::Result<AppEvents> {
        Ok(match name {
            Some(name) => {
                // Nothing else has a stack, or could.
                let app = AppName::parse(name).ok();
                let app = app.map(|_| (name.to_owned(), self.stack_name(name)));
                AppEvents::of_app(&self.account, app, last)
            }
            None => AppEvents::of_all(&self.account, self.stack_name(""), last),
        })
    }

    async fn lines(&self, name: &AppName, last: usize) -> anyhow::Result<Option<AppLog>> {
        AppLog::open(&self.account, name, last).await
    }

    async fn resolve(&self, app: &App) -> Option<Commit> {
        let hosts = self.config.as_ref().map(|config| config.allowed_repository_hosts.as_slice());
        let secrets = aws_sdk_secretsmanager::Client::new(&self.account.config);
        let repositories = Repositories::new(hosts.unwrap_or_default(), Some(secrets));
        match repositories.resolve(&app.repository, &app.version).await {
            Resolution::Known(commit) => Some(commit),
            Resolution::NoSuchVersion { .. }
            | Resolution::Denied { .. }
            | Resolution::Unreachable { .. } => None,
        }
    }

    async fn default_branch(&self, repository: &str) -> anyhow::Result<String> {
        default_branch::ask(repository).await
    }
}
