//! The platform on AWS, as the commands on rows see it: the table, the stacks of the apps, and their logs.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use rowhouse_aws::config::{Config, VARIABLE};
use rowhouse_aws::{DynamoTable, Failure, MANAGED_BY, Repositories, StackStatus};
use rowhouse_cli::client::{Changes, Client, Removed};
use rowhouse_cli::rows::{self, Opening};
use rowhouse_core::{
    App, AppName, Commit, Resolution, Row, RowKey, Settings, SettingsDigest, StoredEntry,
    StoredRow, Written,
};
use rowhouse_machine::mirror::Mirrors;
use serde_json::{Value, json};

use crate::account::{Account, told};
use crate::app_events::AppEvents;
use crate::app_log::AppLog;
use crate::args::Place;
use crate::failure::bad_input;
use crate::output::quoted;
use crate::stack::{self, APPS, Standing};
use crate::{instances, output};

/// How long after its row was deleted a stack may still come: the reactor may have claimed the row just before.
const CLAIMED_FOR: Duration = Duration::from_secs(10);
/// The tables' names where no configuration says others, the seed's.
const TABLES: [&str; 2] = ["apps-db", "apps-history"];
/// How many stacks are followed, where no app is named.
const FOLLOWED: usize = 20;

/// What the commands on rows work on.
pub(crate) struct AwsClient {
    account: Account,
    table: DynamoTable,
    /// The configuration of the reactor, where it can be read.
    config: Option<Config>,
    is_at_work: bool,
    /// Profile and region, as somebody gave them.
    options: String,
}

impl AwsClient {
    /// The platform in the account and region of `place`.
    pub(crate) async fn open(place: &Place, _: Opening) -> anyhow::Result<AwsClient> {
        let account = Account::open(place).await?;
        let lambda = aws_sdk_lambda::Client::new(&account.config);
        let function = lambda.get_function_configuration().function_name(stack::REACTOR);
        let (config, is_there) = match function.send().await {
            Ok(function) => {
                let variables = function.environment().and_then(|given| given.variables());
                let text = variables.and_then(|variables| variables.get(VARIABLE));
                (text.and_then(|text| Config::parse(text, VARIABLE).ok()), true)
            }
            Err(error) if Failure::of(&error).code == "ResourceNotFoundException" => (None, false),
            // Whoever may write rows need not be one who may look at functions.
            Err(error) if Failure::of(&error).is_denied() => (None, true),
            Err(error) => return Err(told("cannot look at the reactor", &error)),
        };
        if !is_there {
            return Err(bad_input(
                format!("there is no platform in account {} in {}", account.id, account.region),
                "`rowhouse aws install --domain DOMAIN` makes it, or choose another region with `--region`",
            ));
        }
        let [rows, history] = TABLES.map(str::to_owned);
        let (rows, history) = match &config {
            Some(config) => (config.app_database.clone(), config.app_history.clone()),
            None => (rows, Some(history)),
        };
        let table = DynamoTable::new(account.dynamodb.clone(), rows, history);
        let is_at_work = is_rung(&lambda).await?;
        let given = [("--profile", &place.profile), ("--region", &place.region)];
        let given = given.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)));
        let options: Vec<String> =
            given.map(|(option, value)| format!(" {option} {}", quoted(value))).collect();
        Ok(AwsClient { account, table, config, is_at_work, options: options.concat() })
    }

    /// The name of an app's stack.
    fn stack_name(&self, name: &str) -> String {
        let prefix = self.config.as_ref().map_or(APPS, |config| config.stack_prefix.as_str());
        format!("{prefix}{name}")
    }

    /// The apps whose stacks have changed last, with the names of these.
    async fn last_changed(&self) -> anyhow::Result<Vec<(String, String)>> {
        let prefix = self.stack_name("");
        let mut stacks = stack::all(&self.account).await?;
        stacks.retain(|(_, stack)| {
            stack.tags.get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1)
        });
        stacks.sort_by_key(|(_, stack)| std::cmp::Reverse(stack.changed));
        Ok(stacks
            .into_iter()
            .filter_map(|(name, _)| Some((name.strip_prefix(&prefix)?.to_owned(), name)))
            .take(FOLLOWED)
            .collect())
    }

    async fn stack(&self, name: &str) -> anyhow::Result<Option<Standing>> {
        let found = stack::find(&self.account, &self.stack_name(name)).await?;
        Ok(found.filter(|stack| stack.status != StackStatus::DeleteComplete))
    }
}

/// Whether changes of the table reach the reactor.
async fn is_rung(lambda: &aws_sdk_lambda::Client) -> anyhow::Result<bool> {
    let asked = lambda.list_event_source_mappings().function_name(stack::REACTOR).send().await;
    match asked {
        Ok(answer) => Ok(answer.event_source_mappings().iter().any(|mapping| {
            !matches!(mapping.state(), Some("Disabled" | "Disabling" | "Deleting"))
        })),
        Err(error) if Failure::of(&error).is_denied() => Ok(true),
        Err(error) => Err(told("cannot look at the stream of the table", &error)),
    }
}

impl Client for AwsClient {
    type Events = AppEvents;
    type Lines = AppLog;

    async fn get(&self, key: &RowKey) -> anyhow::Result<Option<StoredRow>> {
        Ok(self.table.stored(key).await?)
    }

    async fn list(&self) -> anyhow::Result<Vec<StoredRow>> {
        Ok(self.table.all_stored().await?)
    }

    async fn write(
        &self,
        key: &RowKey,
        seen: Option<&Row>,
        changes: &Changes,
    ) -> anyhow::Result<Option<Row>> {
        Ok(match self.table.edit(key, seen, changes).await? {
            Written::Done(row) => Some(row),
            Written::Lost => None,
        })
    }

    async fn remove(&self, key: &RowKey) -> anyhow::Result<Option<Removed>> {
        let removed = self.table.remove(key).await?;
        Ok(removed.map(|row| Removed { row, mark: Timestamp::now().as_second() }))
    }

    async fn ring(&self, key: &RowKey) -> anyhow::Result<()> {
        Ok(self.table.ring(key).await?)
    }

    async fn is_heard(&self, removed: &Removed) -> anyhow::Result<bool> {
        let since = Timestamp::now().as_second() - removed.mark;
        Ok(u64::try_from(since).is_ok_and(|since| since >= CLAIMED_FOR.as_secs()))
    }

    async fn history(&self, key: &RowKey) -> anyhow::Result<Vec<StoredEntry>> {
        Ok(self.table.history(key).await?)
    }

    async fn has_stack(&self, key: &RowKey) -> anyhow::Result<bool> {
        let Ok(name) = AppName::parse(key.as_str()) else { return Ok(false) };
        Ok(self.stack(name.as_str()).await?.is_some())
    }

    async fn aim(&self, name: &AppName) -> anyhow::Result<Option<Commit>> {
        let stack = self.stack(name.as_str()).await?;
        let moving = stack.filter(|stack| {
            matches!(
                stack.status,
                StackStatus::CreateInProgress
                    | StackStatus::UpdateInProgress
                    | StackStatus::UpdateCompleteCleanupInProgress
            )
        });
        Ok(moving.and_then(|stack| Commit::parse(stack.parameters.get("Commit")?)))
    }

    /// Those of the app's auto scaling group.
    async fn instances(&self, name: &AppName) -> anyhow::Result<Vec<Value>> {
        let stack = self.stack_name(name.as_str());
        instances::of_stack(&self.account, &stack).await
    }

    async fn events(&self, name: Option<&str>, last: usize) -> anyhow::Result<AppEvents> {
        let apps = match name {
            Some(name) => vec![(name.to_owned(), self.stack_name(name))],
            None => self.last_changed().await?,
        };
        Ok(AppEvents::new(self.account.cloudformation.clone(), apps, last))
    }

    async fn lines(&self, name: &AppName, last: usize) -> anyhow::Result<Option<AppLog>> {
        AppLog::open(&self.account, name, last).await
    }

    /// Those of the reactor; where they cannot be read, what any could have.
    fn settings(&self) -> Settings {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let unknown = "https://unknown.example.com/until/it/is/read.git";
        let config = self.config.as_ref();
        Settings {
            digest: SettingsDigest::of("for validation alone"),
            repository: config.map_or(Some(unknown.to_owned()), |config| known(&config.repository)),
            path: config.and_then(|config| known(&config.path)),
            max_scale: config.map_or(u32::MAX, |config| config.max_scale),
            local_repositories: false,
        }
    }

    fn repository(&self) -> Option<String> {
        let config = self.config.as_ref()?;
        Some(config.repository.clone()).filter(|repository| !repository.is_empty())
    }

    fn typed_repository(text: &str) -> anyhow::Result<String> {
        Ok(text.to_owned())
    }

    async fn default_branch(&self, repository: &str) -> anyhow::Result<String> {
        let folder = tempfile::tempdir().context("cannot make a folder for git")?;
        rows::default_branch(&Mirrors::new(folder.path().to_owned()), repository).await
    }

    async fn resolve(&self, app: &App) -> Option<Commit> {
        let hosts = self.config.as_ref().map(|config| config.allowed_repository_hosts.as_slice());
        let secrets = aws_sdk_secretsmanager::Client::new(&self.account.config);
        let repositories = Repositories::new(hosts.unwrap_or_default(), Some(secrets));
        match repositories.resolve(&app.repository, &app.version).await {
            Resolution::Known(commit) => Some(commit),
            Resolution::NoSuchVersion { .. } | Resolution::Unreachable { .. } => None,
        }
    }

    fn is_at_work(&self) -> bool {
        self.is_at_work
    }

    fn reactor(&self) -> Value {
        json!({
            "AtWork": self.is_at_work,
            "Function": stack::REACTOR,
            "Account": self.account.id,
            "Region": self.account.region,
        })
    }

    fn warn_if_absent(&self) {
        if !self.is_at_work {
            output::warning("no change of the table reaches the reactor: its stream is off");
            output::hint(&self.cure());
        }
    }

    fn command(&self, words: &str) -> String {
        let is_implied = std::env::var_os("ROWHOUSE_PLATFORM").is_some_and(|value| value == "aws");
        let option = if is_implied { "" } else { " --aws" };
        format!("rowhouse{option}{} {words}", self.options)
    }

    fn cure(&self) -> String {
        format!("`rowhouse aws doctor{}` says what to do", self.options)
    }

    fn pause(&self) -> Duration {
        stack::pause(&self.account)
    }
}
