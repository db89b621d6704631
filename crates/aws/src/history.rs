//! The history table: one item for each end of a rollout, by app and time, and one for each release
//! that they speak of, by app and generation.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use rowhouse_core::{Entry, Generation, KEPT_DAYS, KEPT_ENTRIES, Release, RowKey};

use crate::item::{self, Item};

/// The attribute that DynamoDB's time to live reads, in seconds since 1970.
pub(crate) const EXPIRES_AT: &str = "ExpiresAt";

/// Where a release stands among the times of its app's entries: before all of them, so that who
/// reads the newest first never meets one.
pub(crate) const RELEASES: &str = "#release/";
/// No release stands here or behind it, and every entry does.
pub(crate) const ENTRIES_FROM: &str = "0";
/// How many entries are taken away at once, so that they, their releases and what is written fit
/// into one transaction, which takes 100 steps.
const SURPLUS_AT_ONCE: usize = 40;

/// The key of an entry: app and time.
pub(crate) fn key(app: &RowKey, at: &str) -> Item {
    Item::from([
        ("Name".to_owned(), AttributeValue::S(app.0.clone())),
        ("At".to_owned(), AttributeValue::S(at.to_owned())),
    ])
}

/// The key of a release.
pub(crate) fn release_key(app: &RowKey, generation: &str) -> Item {
    key(app, &format!("{RELEASES}{generation}"))
}

/// The item of a release: its attributes as the row's item has them. `None`: one of them has no
/// form in an item, which no row has that was deployed.
pub(crate) fn release(app: &RowKey, entry: &Entry) -> Option<Item> {
    let attributes: HashMap<String, AttributeValue> = entry
        .release
        .revealed()
        .iter()
        .map(|(attribute, value)| Some((attribute.name().to_owned(), item::attribute(value)?)))
        .collect::<Option<_>>()?;
    let mut item = release_key(app, entry.generation.as_str());
    item.insert("Attributes".to_owned(), AttributeValue::M(attributes));
    Some(item)
}

/// Reads a release, and of which generation it is.
pub(crate) fn read_release(stored: &Item) -> Option<(Generation, Release)> {
    let AttributeValue::S(at) = stored.get("At")? else { return None };
    let AttributeValue::M(attributes) = stored.get("Attributes")? else { return None };
    let generation = Generation::stored(at.strip_prefix(RELEASES)?);
    Some((generation, Release::kept(item::user(attributes))))
}

/// The item of an entry. Texts under the names of the contract; `Env` is a digest.
pub(crate) fn item(app: &RowKey, at: Timestamp, number: u64, entry: &Entry) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut item = key(app, &format!("{at:.6}"));
    item.extend(
        [
            ("Generation", text(entry.generation.as_str())),
            ("Target", text(entry.target.as_str())),
            ("Version", text(&entry.version)),
            ("Repo", text(&entry.repository)),
            ("Path", text(&entry.path)),
            ("Number", AttributeValue::N(number.to_string())),
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
    /// The new one's.
    pub(crate) number: u64,
    /// The times of those that are too many, with the new one.
    pub(crate) surplus: Vec<String>,
    /// The generations of which no entry speaks when those are gone.
    pub(crate) unspoken: BTreeSet<String>,
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
    let numbers = entries.iter().filter_map(number);
    let surplus = entries.len().saturating_sub(KEPT_ENTRIES - 1).min(SURPLUS_AT_ONCE);
    let (kept, surplus) = entries.split_at(entries.len() - surplus);
    let generations = |entries: &[Item]| -> BTreeSet<String> {
        entries.iter().filter_map(|entry| text(entry, "Generation")).collect()
    };
    let mut spoken_of = generations(kept);
    spoken_of.insert(entry.generation.as_str().to_owned());
    Before {
        is_told,
        number: numbers.max().unwrap_or(0).saturating_add(1),
        surplus: surplus.iter().filter_map(|item| text(item, "At")).collect(),
        unspoken: generations(surplus).difference(&spoken_of).cloned().collect(),
    }
}

/// The number of an entry; `None`: it is of the first form.
pub(crate) fn number(entry: &Item) -> Option<u64> {
    entry.get("Number")?.as_n().ok()?.parse().ok()
}

/// When the entries of an app whose row is gone may go, too.
pub(crate) fn expiry(now: Timestamp) -> i64 {
    now.as_second() + i64::from(KEPT_DAYS) * 24 * 60 * 60
}
