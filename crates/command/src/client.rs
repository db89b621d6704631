//! What the commands on rows ask of a platform: its table, and what can be seen of its reactor.

use std::collections::BTreeMap;
use std::time::Duration;

use rowhouse_core::{
    App, AppName, Attribute, Commit, Row, RowKey, Settings, StoredEntry, StoredRow, Value,
};
pub use rowhouse_machine::log::LogLine;

use crate::failure::bad_input;
use crate::rows::names;

/// User attributes to write; `None` clears one.
pub type Changes = BTreeMap<Attribute, Option<Value>>;

/// What happened to an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// A number on a machine, a text on AWS.
    pub id: serde_json::Value,
    pub at: String,
    /// The app's name.
    pub name: String,
    /// One word, such as `building`.
    pub kind: String,
    pub text: String,
}

/// A row that was deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// As it was last.
    pub row: Row,
    /// By which the platform knows the deletion.
    pub mark: i64,
}

/// What there is of an app, with or without a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// It runs, or goes.
    Something,
    /// It cannot be deleted, and why.
    Stuck(String),
    /// Whoever asks may not know.
    Unknown,
}

/// News that come in turns.
#[expect(async_fn_in_trait, reason = "a command is one thread")]
pub trait News {
    type Item;

    /// What has come since the last time, the oldest first; the first time, what it was told to begin with.
    async fn news(&mut self) -> anyhow::Result<Vec<Self::Item>>;
}

/// A platform, as far as the commands on rows need it. They have no rules of their own: they write rows, and read what
/// the reactor has answered.
#[expect(async_fn_in_trait, reason = "a command is one thread")]
pub trait Client {
    type Events: News<Item = Event>;
    type Lines: News<Item = LogLine>;

    /// Reads one row.
    async fn get(&self, key: &RowKey) -> anyhow::Result<Option<StoredRow>>;

    /// Reads every row, in order of the key.
    async fn list(&self) -> anyhow::Result<Vec<StoredRow>>;

    /// Writes user attributes of a row that is as it was seen, or is not there as it was not; the others stay. The
    /// row as it stands then; `None`: it is another by now, and nothing was written.
    async fn write(
        &self,
        key: &RowKey,
        seen: Option<&Row>,
        changes: &Changes,
    ) -> anyhow::Result<Option<Row>>;

    /// Deletes a row; `None`: there was none.
    async fn remove(&self, key: &RowKey) -> anyhow::Result<Option<Removed>>;

    /// Has the reactor look at a name that has no row.
    async fn ring(&self, key: &RowKey) -> anyhow::Result<()>;

    /// Whether nothing comes any more of what the reactor may have begun before the row was deleted.
    async fn is_heard(&self, removed: &Removed) -> anyhow::Result<bool>;

    /// Reads an app's history, newest first; it outlives the row.
    async fn history(&self, key: &RowKey) -> anyhow::Result<Vec<StoredEntry>>;

    /// What there is of an app.
    async fn left(&self, key: &RowKey) -> anyhow::Result<Left>;

    /// The commit that is under way, if one is.
    async fn aim(&self, name: &AppName) -> anyhow::Result<Option<Commit>>;

    /// The instances of an app, as objects with `Id`, `Pid`, `Port`, `State`, `Revision` and `StartedAt`.
    async fn instances(&self, name: &AppName) -> anyhow::Result<Vec<serde_json::Value>>;

    /// What happens, to one app or to any, beginning with the `last` events.
    async fn events(&self, name: Option<&str>, last: usize) -> anyhow::Result<Self::Events>;

    /// What an app prints, beginning with the `last` lines; `None`: nothing of it was ever kept.
    async fn lines(&self, name: &AppName, last: usize) -> anyhow::Result<Option<Self::Lines>>;

    /// The platform's settings, as far as they are known here: what a row is checked against before it is written.
    fn settings(&self) -> Settings;

    /// The repository of rows without one, where it is known.
    fn repository(&self) -> Option<String>;

    /// A repository as somebody typed it, as it is written into a row.
    fn typed_repository(text: &str) -> anyhow::Result<String>;

    /// The branch that a repository itself takes for its main one.
    async fn default_branch(&self, repository: &str) -> anyhow::Result<String>;

    /// The commit that an app's version names now; `None` where only the reactor can tell.
    async fn resolve(&self, app: &App) -> Option<Commit>;

    /// Whether a reactor is at work.
    fn is_at_work(&self) -> bool;

    /// Who is at work, for `--json`.
    fn reactor(&self) -> serde_json::Value;

    /// Says first, where it is so, that what follows may be out of date.
    fn warn_if_absent(&self);

    /// A command to paste that works on this very platform.
    fn command(&self, words: &str) -> String;

    /// What to do where no reactor is at work.
    fn cure(&self) -> String;

    /// How long to wait between two looks.
    fn pause(&self) -> Duration;

    /// The row of that name, or an error that says which there are.
    async fn row(&self, name: &str) -> anyhow::Result<StoredRow> {
        match self.get(&RowKey(name.to_owned())).await? {
            Some(row) => Ok(row),
            None => Err(self.no_such_app(name).await?),
        }
    }

    /// The error for a name that nothing has.
    async fn no_such_app(&self, name: &str) -> anyhow::Result<anyhow::Error> {
        let rows = self.list().await?;
        let names: Vec<String> = rows.into_iter().map(|stored| stored.row.key.0).collect();
        let hint = names::hint(&names, name).unwrap_or_else(|| {
            format!("there is no app yet: `{}` makes one", self.command("put NAME --repo URL"))
        });
        Ok(bad_input(format!("no app is named {}", rowhouse_core::shortened(name)), hint))
    }

    /// A name as somebody typed it for an app that need not exist.
    fn name(&self, text: &str) -> anyhow::Result<AppName> {
        AppName::parse(text)
            .map_err(|reason| bad_input(reason, format!("`{}` lists the apps", self.command("ls"))))
    }
}
