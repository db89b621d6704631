//! Rows as people read them: a word for the status, `2/3`, one line.

use rowhouse_core::{Attribute, Commit, Generation, Row, Status, Value, shortened};
use rowhouse_machine::git::{self, Unreached};

use crate::output::{clean, cut};

/// Whether the status speaks of what stands in the row now.
pub fn is_answered(row: &Row) -> bool {
    row.report.status.is_some()
        && row.report.generation.as_ref() == Some(&Generation::of(&row.user))
}

/// The status in a word; `pending` where the row was written and nobody has answered yet.
pub fn status(row: &Row) -> &'static str {
    match row.report.status {
        Some(status) if is_answered(row) => status.as_str(),
        Some(_) | None => "pending",
    }
}

/// Why the app's repository does not answer, and how, while that is what its deployment waits for.
pub fn unreached(row: &Row) -> Option<(&str, Unreached)> {
    let reason = row.report.reason.as_deref()?.strip_prefix("retrying: ")?;
    let how = git::unreached(reason).or_else(|| unasked(reason));
    how.filter(|_| is_answered(row)).map(|how| (reason, how))
}

/// The same in the words of the reactor on AWS, which asks without git: an answer that it has no right to, or none.
fn unasked(reason: &str) -> Option<Unreached> {
    let said = reason.strip_prefix("cannot ask the repository ")?;
    let is_refused =
        ["401", "403", "404"].map(|code| said.contains(&format!(": it answered {code}")));
    Some(if is_refused.contains(&true) { Unreached::Refused } else { Unreached::Silent })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_that_refuses_is_told_from_one_that_is_busy_or_gone() {
        for (said, how) in [
            ("it answered 401 Unauthorized, and the secret is missing", Unreached::Refused),
            ("it answered 404 Not Found: correct `Repo`", Unreached::Refused),
            ("it answered 429 Too Many Requests", Unreached::Silent),
            ("it answered 503 Service Unavailable", Unreached::Silent),
            ("operation timed out", Unreached::Silent),
        ] {
            let reason =
                format!("cannot ask the repository `https://git.example.com/a.git`: {said}");
            assert_eq!(unasked(&reason), Some(how), "{said}");
        }
        assert_eq!(unasked("no space left"), None);
    }
}
