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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rowhouse_core::{
        App, Attribute, Report, Row, Settings, Status, Target, UserAttributes, Value, entry,
    };

    use super::*;

    fn end(scale: i64) -> Entry {
        let secret = BTreeMap::from([("KEY".to_owned(), Value::Text("hunter2".to_owned()))]);
        let user = UserAttributes::from([
            (Attribute::Version, Value::Text("main".to_owned())),
            (Attribute::Scale, Value::Whole(scale)),
            (Attribute::Env, Value::Map(secret)),
        ]);
        let key = RowKey("shop".to_owned());
        let row = Row { key, user, report: Report::default(), seq: 0 };
        let app = App::parse(&row, &Settings::for_tests()).unwrap();
        let report = Report {
            status: Some(Status::Deployed),
            generation: Some(row.generation()),
            target: Some(Target::stored("v1-t")),
            ..Report::default()
        };
        entry(&row, &app, &report).unwrap()
    }

    fn app() -> RowKey {
        RowKey("shop".to_owned())
    }

    fn stored(number: u64, entry: &Entry) -> Item {
        let at = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        let mut item = item(&app(), at, number, entry);
        item.insert("Target".to_owned(), AttributeValue::S(format!("v1-{number}")));
        item
    }

    #[test]
    fn a_release_is_read_back_as_it_was_put_and_stands_before_every_entry() {
        let entry = end(1);
        let item = release(&app(), &entry).unwrap();
        assert_eq!(read_release(&item), Some((entry.generation.clone(), entry.release.clone())));
        let at = item.get("At").unwrap().as_s().unwrap().clone();
        assert!(at.starts_with(RELEASES) && at.as_str() < ENTRIES_FROM);
        assert!(stored(1, &entry).get("At").unwrap().as_s().unwrap().as_str() > ENTRIES_FROM);
    }

    #[test]
    fn no_value_of_an_environment_stands_in_an_entry() {
        assert!(!format!("{:?}", stored(1, &end(1))).contains("hunter2"));
    }

    #[test]
    fn what_is_too_many_goes_the_oldest_first_and_with_it_what_no_entry_speaks_of() {
        let (one, two) = (end(1), end(2));
        let entries = |most: u64, of: &dyn Fn(u64) -> Entry| -> Vec<Item> {
            (1..=most).rev().map(|number| stored(number, &of(number))).collect()
        };
        let first = |number: u64| if number == 1 { one.clone() } else { two.clone() };
        let before = |most: u64, of: &dyn Fn(u64) -> Entry| super::before(&entries(most, of), &two);
        let kept = u64::try_from(KEPT_ENTRIES).unwrap();
        let few = before(kept - 1, &first);
        assert_eq!((few.number, few.surplus.len(), few.unspoken.len()), (kept, 0, 0));
        let many = before(kept, &first);
        assert_eq!(many.number, kept + 1);
        assert_eq!(many.surplus, ["1970-01-01T00:00:01.000000Z"]);
        assert_eq!(many.unspoken, BTreeSet::from([one.generation.as_str().to_owned()]));
        // Another entry still speaks of it.
        let twice = before(kept, &|number| if number < 3 { one.clone() } else { two.clone() });
        assert_eq!((twice.surplus.len(), twice.unspoken.len()), (1, 0));
        // What an older program has left goes in parts.
        let left = before(3 * kept, &|number| end(i64::try_from(number % 3).unwrap()));
        assert_eq!((left.surplus.len(), left.unspoken.len()), (SURPLUS_AT_ONCE, 0));
        assert_eq!(left.surplus.last().unwrap(), "1970-01-01T00:00:01.000000Z");
        assert_eq!(super::before(&[], &one).number, 1);
    }
}
