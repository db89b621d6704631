//! Ids that count up, in tables of ours that anybody may write: one that no further id can follow
//! is mended.

use rusqlite::{Connection, TransactionBehavior, params};

/// No count comes so far by itself. At the greatest of all ids SQLite says that the disk is full.
/// <https://www.sqlite.org/autoinc.html>
const NEVER_REACHED: i64 = 1 << 62;

/// Gives every row of these tables whose id no count has reached the next one after the others, in
/// their order; true where there were any.
pub(crate) fn mend(connection: &mut Connection, tables: &[&str]) -> rusqlite::Result<bool> {
    let mut any = false;
    for table in tables {
        if is_spent(connection, table)? {
            renumber(connection, table)?;
            any = true;
        }
    }
    Ok(any)
}

fn is_spent(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    // SQLite makes it with the first table that counts.
    if !connection.table_exists(None, "sqlite_sequence")? {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "select exists (select 1 from sqlite_sequence where name = ?1 and \
             cast(seq as integer) >= ?2)",
        )?
        .query_row(params![table, NEVER_REACHED], |row| row.get(0))
}

fn renumber(connection: &mut Connection, table: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ids: Vec<i64> = transaction
        .prepare(&format!("select id from {table} where id >= ?1 order by id"))?
        .query_map(params![NEVER_REACHED], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut next: i64 = transaction.query_row(
        &format!("select max(0, ifnull(max(id), 0)) from {table} where id < ?1"),
        params![NEVER_REACHED],
        |row| row.get(0),
    )?;
    for id in ids {
        next += 1;
        transaction
            .execute(&format!("update {table} set id = ?2 where id = ?1"), params![id, next])?;
    }
    transaction
        .execute("update sqlite_sequence set seq = ?2 where name = ?1", params![table, next])?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_ids_become_the_next_ones_in_their_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "create table changes (id integer primary key autoincrement, name text);
                 insert into changes values (-3, 'a'), (7, 'b'), (9223372036854775806, 'c'),
                 (9223372036854775807, 'd')",
            )
            .unwrap();
        let insert = "insert into changes (name) values ('e')";
        assert!(connection.execute(insert, []).is_err());
        assert!(mend(&mut connection, &["changes"]).unwrap());
        connection.execute(insert, []).unwrap();
        let rows: String = connection
            .query_row("select group_concat(id || name) from changes", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, "-3a,7b,8c,9d,10e");
        assert!(!mend(&mut connection, &["changes"]).unwrap());
    }

    #[test]
    fn a_count_that_is_spent_without_a_row_begins_anew() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "create table changes (id integer primary key autoincrement, name text);
                 insert into changes (name) values ('a');
                 update sqlite_sequence set seq = 1e300",
            )
            .unwrap();
        assert!(mend(&mut connection, &["changes"]).unwrap());
        connection.execute("insert into changes (name) values ('b')", []).unwrap();
        assert_eq!(connection.last_insert_rowid(), 2);
    }
}
