//! The rows of a platform: its table, as somebody at a command line may read and write it.

use std::collections::BTreeMap;

use rowhouse_core::{Attribute, Releases, Row, RowKey, Settings, StoredEntry, StoredRow, Value};

/// User attributes to write; `None` clears one.
pub type Changes = BTreeMap<Attribute, Option<Value>>;

/// A row that was deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// As it was last.
    pub row: Row,
    /// By which the platform knows the deletion.
    pub mark: i64,
}

/// The table.
#[expect(async_fn_in_trait, reason = "a command is one thread")]
pub trait Rows {
    /// Reads one row; `None`: there is none.
    async fn get(&self, key: &RowKey) -> anyhow::Result<Option<StoredRow>>;

    /// Reads every row, in order of the key.
    async fn list(&self) -> anyhow::Result<Vec<StoredRow>>;

    /// Writes user attributes of a row that is as it was seen, or is not there as it was not; the
    /// others stay. The row as it stands then; `None`: it is another by now, and nothing was
    /// written.
    async fn write(
        &self,
        key: &RowKey,
        seen: Option<&Row>,
        changes: &Changes,
    ) -> anyhow::Result<Option<Row>>;

    /// Deletes a row; `None`: there was none.
    async fn remove(&self, key: &RowKey) -> anyhow::Result<Option<Removed>>;

    /// Has the reactor delete what runs under a name that has no row.
    async fn remove_orphan(&self, key: &RowKey) -> anyhow::Result<()>;

    /// Whether nothing comes any more of what the reactor may have begun before the row was
    /// deleted.
    async fn is_heard(&self, removed: &Removed) -> anyhow::Result<bool>;

    /// Reads an app's history, newest first; it outlives the row.
    async fn history(&self, key: &RowKey) -> anyhow::Result<Vec<StoredEntry>>;

    /// Reads the releases that an app's history speaks of: with every value that it had, so only
    /// for who goes back to one.
    async fn releases(&self, key: &RowKey) -> anyhow::Result<Releases>;

    /// The platform's settings, which a row is checked against before it is written; `None`: nobody
    /// can tell here.
    fn settings(&self) -> Option<Settings>;
}
