//! What was rolled out of each app, in the table's file beside its row.

use rowhouse_core::{Commit, Entry, KEPT_ENTRIES, RowKey, StoredEntry};
use rusqlite::{Connection, OptionalExtension, params};

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
        "insert into history (name, at, generation, target, version, repo, revision, scale, \
         status, reason, env) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            key.as_str(),
            at,
            entry.generation.as_str(),
            entry.target.as_str(),
            entry.version,
            entry.repository,
            entry.revision.as_ref().map(Commit::as_str),
            entry.scale,
            entry.status.as_str(),
            entry.reason,
            entry.env.as_str(),
        ],
    )?;
    connection.execute(
        "delete from history where name = ?1 and id <= (select id from history where name = ?1 \
         order by id desc limit 1 offset ?2)",
        params![key.as_str(), i64::try_from(KEPT_ENTRIES).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

pub(crate) fn history(connection: &Connection, key: &RowKey) -> rusqlite::Result<Vec<StoredEntry>> {
    connection
        .prepare_cached(
            "select at, generation, target, version, repo, revision, scale, status, reason, env \
             from history where name = ?1 order by id desc",
        )?
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
            })
        })?
        .collect()
}
