//! The history in the table's file, and the releases that it speaks of.

use rowhouse_core::{
    Commit, Entry, Generation, KEPT_ENTRIES, Release, Releases, RowKey, StoredEntry,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use crate::table::schema;

/// Adds an entry and its release, unless the app's last one is its equal, and takes away those that
/// are too many. A release goes by a trigger, with the last entry that speaks of it.
pub(crate) fn append(
    connection: &Connection,
    key: &RowKey,
    entry: &Entry,
    at: &str,
) -> rusqlite::Result<()> {
    let last: Option<(Option<String>, Option<String>)> = connection
        .query_row(
            "select target, status from history where name = ?1 order by id desc limit 1",
            params![key.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let this = (Some(entry.target.as_str().to_owned()), Some(entry.status.as_str().to_owned()));
    if last == Some(this) {
        return Ok(());
    }
    connection.execute(
        "insert into history (name, at, generation, target, version, repo, path, revision, scale, \
         status, reason, env, number) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
         (select ifnull(max(number), 0) + 1 from history where name = ?1 \
         and typeof(number) = 'integer'))",
        params![
            key.as_str(),
            at,
            entry.generation.as_str(),
            entry.target.as_str(),
            entry.version,
            entry.repository,
            entry.path,
            entry.revision.as_ref().map(Commit::as_str),
            entry.scale,
            entry.status.as_str(),
            entry.reason,
            entry.env.as_str(),
        ],
    )?;
    connection.execute(
        "insert or replace into apps_releases (name, generation, attributes) values (?1, ?2, ?3)",
        params![key.as_str(), entry.generation.as_str(), entry.release.form()],
    )?;
    connection.execute(
        "delete from history where name = ?1 and id <= (select id from history where name = ?1 \
         order by id desc limit 1 offset ?2)",
        params![key.as_str(), i64::try_from(KEPT_ENTRIES).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

/// An app's entries, newest first.
pub(crate) fn entries(connection: &Connection, key: &RowKey) -> rusqlite::Result<Vec<StoredEntry>> {
    // A table of an earlier format has entries of the first form alone.
    let further = if schema::bears_releases(connection)? { "number, path" } else { "null, null" };
    connection
        .prepare_cached(&format!(
            "select at, generation, target, version, repo, revision, scale, status, reason, env, \
             {further} from history where name = ?1 order by id desc"
        ))?
        .query_map(params![key.as_str()], |row| {
            Ok(StoredEntry {
                at: row.get(0)?,
                generation: row.get(1)?,
                target: row.get(2)?,
                version: row.get(3)?,
                repository: row.get(4)?,
                revision: row.get::<_, Option<String>>(5)?.and_then(|text| Commit::parse(&text)),
                scale: row.get(6)?,
                status: row.get(7)?,
                reason: row.get(8)?,
                env: row.get(9)?,
                // The columns may be a user's own, and hold anything.
                number: row.get_ref(10)?.as_i64().ok().and_then(|number| number.try_into().ok()),
                path: text(row.get_ref(11)?),
            })
        })?
        .collect()
}

/// The releases that an app's history speaks of; one that cannot be read is none.
pub(crate) fn releases(connection: &Connection, key: &RowKey) -> rusqlite::Result<Releases> {
    if !schema::bears_releases(connection)? {
        return Ok(Releases::new());
    }
    let mut statement = connection
        .prepare_cached("select generation, attributes from apps_releases where name = ?1")?;
    let stored = statement.query_map(params![key.as_str()], |row| {
        Ok((text(row.get_ref(0)?), text(row.get_ref(1)?)))
    })?;
    let mut releases = Releases::new();
    for found in stored {
        if let (Some(generation), Some(form)) = found?
            && let Some(release) = Release::read(&form)
        {
            releases.insert(Generation::stored(generation), release);
        }
    }
    Ok(releases)
}

fn text(stored: ValueRef<'_>) -> Option<String> {
    stored.as_str().ok().map(str::to_owned)
}
