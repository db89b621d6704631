//! The port to the table of rows.

use std::future::Future;

use crate::history::Entry;
use crate::name::RowKey;
use crate::outcome::Unreachable;
use crate::row::{Report, Row};

/// A row with the time of its last change of status.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    pub row: Row,
    pub changed_at: Option<String>,
}

/// What a table holds under a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Row(Row),
    /// There is no row, and the table bears witness that a user removed it.
    Removed,
    /// There is no row, and no witness: it was never put, or the table is another or an older one.
    Absent,
}

impl Found {
    /// The row, if there is one.
    pub fn row(self) -> Option<Row> {
        match self {
            Found::Row(row) => Some(row),
            Found::Removed | Found::Absent => None,
        }
    }
}

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The row as it stands now.
    Done(Row),
    /// The row is gone, or is not as it was seen: nothing was written.
    Lost,
}

/// The rows, owned by whoever may write the table; the reactor answers in them.
pub trait AppTable {
    /// Reads one row, or why there is none, consistently: whatever was committed before the call is
    /// seen. A table that was lost, emptied or replaced by another one, or by an older one of its
    /// own, finds nothing removed but what a user has removed from it since.
    fn get(&self, key: &RowKey) -> impl Future<Output = Result<Found, Unreachable>> + Send;

    /// Writes the reactor's part, atomically with the history entry, if the row still exists and
    /// its `Seq` and **every user attribute** are as in `seen`; else writes nothing and answers
    /// `Lost`. Raises `Seq` by one; stamps `ChangedAt` when the status changes. Touches no user
    /// attribute and no unknown one. An entry equal to the app's last one in target and status is
    /// not repeated. Its release is kept by its generation for as long as an entry speaks of it;
    /// the last `KEPT_ENTRIES` are kept.
    fn write(
        &self,
        seen: &Row,
        report: &Report,
        entry: Option<&Entry>,
    ) -> impl Future<Output = Result<Written, Unreachable>> + Send;

    /// Every row, in order of the key.
    fn list(&self) -> impl Future<Output = Result<Vec<Row>, Unreachable>> + Send;
}
