//! `Follow` beside a commit, which never moves: it is turned off with a word where a command names
//! the commit, and refused where somebody asks for it.

use rowhouse_core::{Attribute, Commit, Row, RowKey, UserAttributes, Value};

use crate::client::{Changes, Client};
use crate::output;
use crate::output::{clean, quoted};

/// Turns following off where the changes name a commit, and say nothing of it themselves. What was
/// followed, where that is news.
pub(crate) fn settle(row: Option<&Row>, changes: &mut Changes) -> Option<String> {
    let row = row.filter(|row| follows(&row.user) && !changes.contains_key(&Attribute::Follow))?;
    let named = changes.get(&Attribute::Version)?.as_ref()?;
    commit(Some(named))?;
    changes.insert(Attribute::Follow, Some(Value::Whole(0)));
    match row.user.get(&Attribute::Version) {
        Some(Value::Text(version)) => Some(version.clone()),
        Some(_) | None => None,
    }
}

/// Says that what was followed is no longer, and how to return to it.
pub(crate) fn tell(client: &impl Client, key: &RowKey, version: &str) {
    let name = clean(key.as_str());
    if Commit::parse(version).is_some() {
        output::note(&format!("{name}: `Follow` is turned off: a commit never moves"));
        return;
    }
    let version = clean(version);
    let back = format!("put {name} --version {} --follow true", quoted(&version));
    output::note(&format!(
        "{name}: it no longer follows `{version}`, for a commit never moves; to return: {}",
        client.location().command(&back)
    ));
}

/// What is wrong with changes that ask to follow a commit.
pub(crate) fn objection(changes: &Changes, user: &UserAttributes) -> Option<String> {
    let is_asked = changes.contains_key(&Attribute::Follow) && follows(user);
    let commit = is_asked.then(|| commit(user.get(&Attribute::Version))).flatten()?;
    Some(format!("there is nothing to follow: the version is the commit {}", commit.short()))
}

/// Whether the version is a commit.
pub(crate) fn is_at_commit(user: &UserAttributes) -> bool {
    commit(user.get(&Attribute::Version)).is_some()
}

/// Whether a row asks to follow its branch.
pub(crate) fn follows(user: &UserAttributes) -> bool {
    user.get(&Attribute::Follow).and_then(Value::as_flag) == Some(true)
}

fn commit(version: Option<&Value>) -> Option<Commit> {
    match version? {
        Value::Text(version) => Commit::parse(version),
        Value::Whole(_)
        | Value::Real(_)
        | Value::Boolean(_)
        | Value::Map(_)
        | Value::List(_)
        | Value::Other(_) => None,
    }
}
