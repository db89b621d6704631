//! The history table: one item for each end of a rollout, by app and time.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use rowhouse_core::{Entry, KEPT_DAYS, KEPT_ENTRIES, RowKey};

use crate::item::Item;

/// The attribute that DynamoDB's time to live reads, in seconds since 1970.
pub(crate) const EXPIRES_AT: &str = "ExpiresAt";

/// The key of an entry: app and time.
pub(crate) fn key(app: &RowKey, at: &str) -> Item {
    Item::from([
        ("Name".to_owned(), AttributeValue::S(app.0.clone())),
        ("At".to_owned(), AttributeValue::S(at.to_owned())),
    ])
}

/// The item of an entry. Texts under the names of the contract; `Env` is a digest.
pub(crate) fn item(app: &RowKey, at: Timestamp, entry: &Entry) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut item = key(app, &format!("{at:.6}"));
    item.extend(
        [
            ("Generation", text(entry.generation.as_str())),
            ("Target", text(entry.target.as_str())),
            ("Version", text(&entry.version)),
            ("Repo", text(&entry.repository)),
            ("Scale", AttributeValue::N(entry.scale.to_string())),
            ("status", text(entry.status.as_str())),
            ("Env", text(entry.env.as_str())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(revision) = &entry.revision {
        item.insert("Revision".to_owned(), text(revision.as_str()));
    }
    if let Some(reason) = &entry.reason {
        item.insert("Reason".to_owned(), text(reason));
    }
    item
}

/// What a query of an app's entries, newest first, says of a new one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// The last one has the same target and status: nothing new ended.
    pub(crate) is_told: bool,
    /// The times of those that are too many, with the new one.
    pub(crate) surplus: Vec<String>,
}

/// Reads the entries before a new one.
pub(crate) fn before(entries: &[Item], entry: &Entry) -> Before {
    let text = |item: &Item, name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    let is_told = entries.first().is_some_and(|last| {
        text(last, "Target").as_deref() == Some(entry.target.as_str())
            && text(last, "status").as_deref() == Some(entry.status.as_str())
    });
    let surplus =
        entries.iter().skip(KEPT_ENTRIES - 1).filter_map(|item| text(item, "At")).collect();
    Before { is_told, surplus }
}

/// When the entries of an app whose row is gone may go, too.
pub(crate) fn expiry(now: Timestamp) -> i64 {
    now.as_second() + i64::from(KEPT_DAYS) * 24 * 60 * 60
}
