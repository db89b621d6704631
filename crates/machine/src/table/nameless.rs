//! Rows of the table that no name leads to: theirs is no text, or none in UTF-8. They run nothing,
//! and are answered all the same.

use rowhouse_core::Status;
use rusqlite::{Connection, params};

use crate::table::column::{literal, read_name};

/// The names that are none, as SQL writes them.
pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("select name from apps")?
        .query_map([], |row| {
            let name = row.get_ref(0)?;
            Ok(read_name(name).is_none().then(|| literal(name)))
        })?
        .filter_map(Result::transpose)
        .collect()
}

/// Answers each of them in its row, where nothing else can; tells their names.
pub(crate) fn answer(connection: &mut Connection) -> rusqlite::Result<Vec<String>> {
    let names = list(connection)?;
    if names.is_empty() {
        return Ok(names);
    }
    let mut statement = connection.prepare_cached(
        "update apps set status = ?2, reason = ?3, seq = ifnull(seq, 0) + 1, \
         changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
         where rowid = ?1 and (status is not ?2 or reason is not ?3)",
    )?;
    for (id, name) in ids(connection)? {
        let reason = format!(
            "`Name` is {name}, which is no text in UTF-8: a name is a-z, 0-9 and -; delete the row \
             with `delete from apps where name is {name}`"
        );
        statement.execute(params![id, Status::Invalid.as_str(), reason])?;
    }
    Ok(names)
}

fn ids(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut statement = connection.prepare_cached("select rowid, name from apps")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(1)?;
        if read_name(name).is_none() {
            found.push((row.get(0)?, literal(name)));
        }
    }
    Ok(found)
}
