//! What is read from the table and written to it, whoever has it open.

use std::path::Path;

use jiff::Timestamp;
use rowhouse_core::{
    Attribute, Commit, Entry, Found, Generation, Report, Row, RowKey, Status, StoredRow, Target,
    Unreachable, Value, Written,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::table::column::{COLUMNS, column, read_name, read_row, sql_value};
use crate::table::database::explain;
use crate::table::mark::{Mark, Marks};
use crate::table::schema::{FormatError, has_column};
use crate::table::{history, schema};

pub(crate) fn unusable(path: &Path, error: &FormatError) -> Unreachable {
    Unreachable { reason: format!("table `{}`: {error}", path.display()) }
}

pub(crate) fn unreachable(path: &Path, error: &rusqlite::Error) -> Unreachable {
    Unreachable { reason: format!("table `{}`: {}", path.display(), explain(error)) }
}

pub(crate) fn get(connection: &Connection, key: &RowKey) -> rusqlite::Result<Option<StoredRow>> {
    connection
        .prepare_cached(&format!("select {COLUMNS} from apps where name = ?1"))?
        .query_row(params![key.as_str()], read_row)
        .optional()
}

/// Row, tombstone and mark are read at one moment, and the journal is asked after it.
pub(crate) fn find(
    connection: &Connection,
    key: &RowKey,
    marks: &Marks,
) -> rusqlite::Result<Found> {
    let mut unknown = None;
    loop {
        let moment = connection.unchecked_transaction()?;
        if let Some(stored) = get(&moment, key)? {
            return Ok(Found::Row(stored.row));
        }
        let removed = if schema::bears_marks(&moment)? {
            "select 1 from deletions where name = ?1 and void is null"
        } else {
            "select 1 from deletions where name = ?1"
        };
        let is_removed = moment.prepare_cached(removed)?.exists(params![key.as_str()])?;
        let mark = Mark::read(&moment)?;
        moment.finish()?;
        if !is_removed || unknown.as_ref() == Some(&mark) {
            return Ok(Found::Absent);
        }
        if marks.know(mark.as_ref())? {
            return Ok(Found::Removed);
        }
        // It may have been renewed in between; then the table has another one by now.
        unknown = Some(mark);
    }
}

/// Sets a user attribute, or clears it. A table of an earlier format says nothing in a column that
/// it does not have.
pub(crate) fn set(
    connection: &Connection,
    key: &RowKey,
    attribute: Attribute,
    value: Option<&Value>,
) -> Result<(), FormatError> {
    let column = column(attribute);
    if !has_column(connection, "apps", column)? {
        return value.map_or(Ok(()), |_| Err(FormatError::Older));
    }
    let statement = format!("update apps set {column} = ?2 where name = ?1");
    connection.execute(&statement, params![key.as_str(), value.map(sql_value)])?;
    Ok(())
}

pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<StoredRow>> {
    connection
        .prepare_cached(&format!("select {COLUMNS} from apps order by name"))?
        .query_map([], read_row)?
        .collect()
}

/// The rows that a name leads to.
pub(crate) fn named(connection: &Connection) -> rusqlite::Result<Vec<StoredRow>> {
    connection
        .prepare_cached(&format!("select {COLUMNS} from apps order by name"))?
        .query_map([], |row| {
            let is_named = read_name(row.get_ref("name")?).is_some();
            is_named.then(|| read_row(row)).transpose()
        })?
        .filter_map(Result::transpose)
        .collect()
}

pub(crate) fn write(
    connection: &mut Connection,
    marks: &Marks,
    seen: &Row,
    report: Report,
    entry: Option<&Entry>,
) -> rusqlite::Result<Written> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let row = get(&transaction, &seen.key)?.map(|stored| stored.row);
    let Some(row) = row.filter(|row| row.seq == seen.seq && row.user == seen.user) else {
        return Ok(Written::Lost);
    };
    let is_unmarked = transaction
        .prepare_cached("delete from apps_unmarked where name = ?1")?
        .execute(params![seen.key.as_str()])?;
    let renewed = (is_unmarked > 0).then(|| marks.renew(&transaction)).transpose()?;
    let at = now();
    let changed_at = (row.report.status != report.status).then_some(&at);
    transaction
        .prepare_cached(
            "update apps set status = ?2, load_balancer = ?3, reason = ?4, revision = ?5, \
             healthy = ?6, generation = ?7, target = ?8, seq = ?9, \
             changed_at = ifnull(?10, changed_at) where name = ?1",
        )?
        .execute(params![
            seen.key.as_str(),
            report.status.map(Status::as_str),
            report.url,
            report.reason,
            report.revision.as_ref().map(Commit::as_str),
            report.healthy,
            report.generation.as_ref().map(Generation::as_str),
            report.target.as_ref().map(Target::as_str),
            i64::try_from(seen.seq + 1).unwrap_or(i64::MAX),
            changed_at,
        ])?;
    if let Some(entry) = entry {
        history::append(&transaction, &seen.key, entry, &at)?;
    }
    transaction.commit()?;
    if let Some(renewed) = renewed {
        marks.forget_before(&renewed)?;
    }
    Ok(Written::Done(row.reported(report)))
}

fn now() -> String {
    // To the millisecond, which people can read and which sorts as text.
    format!("{:.3}", Timestamp::now())
}
