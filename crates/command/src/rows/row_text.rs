//! Rows as people read them: a word for the status, `2/3`, one line.

use rowhouse_core::{Attribute, Commit, Row, Status, Value, shortened};

use crate::output::{clean, cut};

/// The status in a word; `pending` where the row was written and nobody has answered yet.
pub fn status(row: &Row) -> &'static str {
    match row.report.status {
        Some(status) if row.is_answered() => status.as_str(),
        Some(_) | None => "pending",
    }
}

/// How many instances answer, of how many.
pub fn instances(row: &Row) -> String {
    format!("{}/{}", row.report.healthy, user(row, Attribute::Scale))
}

/// The commit that serves, abbreviated.
pub fn revision(row: &Row) -> &str {
    row.report.revision.as_ref().map_or("-", Commit::short)
}

/// What the user wrote for an attribute, for a table's cell.
pub fn user(row: &Row, attribute: Attribute) -> String {
    row.user.get(&attribute).map_or_else(
        || "-".to_owned(),
        |value| match value {
            Value::Text(text) => version(text),
            Value::Whole(_)
            | Value::Real(_)
            | Value::Boolean(_)
            | Value::Map(_)
            | Value::List(_)
            | Value::Other(_) => value.shown(),
        },
    )
}

/// A version for a table's cell: a commit abbreviated, anything else not too long.
pub fn version(text: &str) -> String {
    Commit::parse(text).map_or_else(|| cut(&clean(text), 40), |commit| commit.short().to_owned())
}

/// The app's name; of a key that is none, what is needed to find it.
pub fn name(row: &Row) -> String {
    match row.key.as_str() {
        name if name.len() <= 63 && !name.is_empty() => clean(name),
        name => shortened(name),
    }
}

/// Why the app is as it is, where the row says so.
pub fn why(row: &Row) -> Option<String> {
    let reason = row.report.reason.as_ref()?;
    Some(format!("{}: {}", name(row), cut(&clean(reason), 200)))
}

/// A row as one line, with the reason where something is wrong.
pub fn line(row: &Row) -> String {
    let report = &row.report;
    let (name, status) = (name(row), status(row));
    let mut line = format!("{name}  {status}  {}  {}", instances(row), revision(row));
    if report.status == Some(Status::Deployed)
        && let Some(url) = &report.url
    {
        line = format!("{line}  {}", clean(url));
    }
    match &report.reason {
        Some(reason) => format!("{line}  {}", clean(reason)),
        None => line,
    }
}
