//! The format of the table's file: what stands in it, and how an older one becomes today's.

use rusqlite::{Connection, TransactionBehavior};
use thiserror::Error;

use crate::table::database::explain;

/// The format that is written here. One that differs from it by additions alone has the next
/// number; one that programs of today could not work with begins at the next thousand.
///
/// 0 is of November 2026; 1 has marks, and tombstones that can be void; 2 has the attributes from
/// `procfile` to `hook`, numbers in the history, and releases.
const FORMAT: i64 = 2;
const FIRST_INCOMPATIBLE: i64 = 1000;

/// No checks: a bad row is answered, not refused. The triggers run inside the writer's SQLite,
/// which may be as old as 3.31; they ring the old and the new name, and drop the reactor's own
/// echo. `deletions` are what users removed, as far as they are not void; `apps_mark` is by what
/// a folder knows its table; `apps_unmarked` are the names that were put since. `apps_releases` are
/// the releases that the history speaks of, and go with it, whoever deletes it. A trigger is never
/// changed, for a program of an earlier format makes its own of that name where it finds none: what
/// is new is rung by another one.
const SCHEMA: &str = "
create table if not exists apps (
    name text not null primary key,
    version text, scale integer, repo text, path text, env text, build_env text,
    health text, health_timeout integer, follow integer, redeploy integer,
    status text, load_balancer text, reason text, revision text, healthy integer,
    generation text, target text, seq integer, changed_at text,
    procfile text, workers text, cron text, domains text, memory integer, protocol text, hook text
);
create table if not exists history (
    id integer primary key autoincrement,
    name text not null, at text not null, generation text, version text, repo text, revision text,
    scale integer, status text, reason text, env text, target text, number integer, path text
);
create table if not exists apps_releases (
    name text not null, generation text not null, attributes text not null,
    primary key (name, generation)
);
create index if not exists history_by_name on history (name, id);
create table if not exists changes (id integer primary key autoincrement, name text not null);
create table if not exists deletions (
    name text not null primary key, at text not null, void integer
);
create table if not exists apps_mark (mark text not null);
create table if not exists apps_unmarked (name text not null);
create trigger if not exists apps_inserted after insert on apps begin
    insert into changes (name) values (new.name);
    delete from deletions where name = new.name;
end;
create trigger if not exists apps_deleted after delete on apps begin
    insert into changes (name) values (old.name);
    insert or replace into deletions (name, at)
        values (old.name, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
end;
drop trigger if exists apps_renamed;
create trigger apps_renamed after update on apps when old.name is not new.name begin
    insert into changes (name) values (old.name);
    delete from deletions where name = new.name;
    insert or replace into deletions (name, at)
        values (old.name, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
end;
create trigger if not exists apps_updated after update on apps when not (
    old.name is new.name and old.version is new.version and old.scale is new.scale
    and old.repo is new.repo and old.path is new.path and old.env is new.env
    and old.build_env is new.build_env and old.health is new.health
    and old.health_timeout is new.health_timeout and old.follow is new.follow
    and old.redeploy is new.redeploy and new.seq is ifnull(old.seq, 0) + 1
) begin
    insert into changes (name) values (new.name);
end;
create trigger if not exists apps_put after insert on apps begin
    insert into apps_unmarked (name) values (new.name);
end;
create trigger if not exists apps_put_by_name after update on apps
when old.name is not new.name begin
    insert into apps_unmarked (name) values (new.name);
end;
create trigger if not exists apps_updated_further after update on apps
when new.seq is ifnull(old.seq, 0) + 1 and not (
    old.procfile is new.procfile and old.workers is new.workers and old.cron is new.cron
    and old.domains is new.domains and old.memory is new.memory
    and old.protocol is new.protocol and old.hook is new.hook
) begin
    insert into changes (name) values (new.name);
end;
create trigger if not exists history_deleted after delete on history begin
    delete from apps_releases where name = old.name and generation = old.generation
        and not exists (select 1 from history
            where name = old.name and generation = old.generation);
end;
";

/// What `SCHEMA` makes.
const MADE: [&str; 15] = [
    "apps",
    "history",
    "changes",
    "deletions",
    "apps_mark",
    "apps_unmarked",
    "apps_inserted",
    "apps_deleted",
    "apps_renamed",
    "apps_updated",
    "apps_put",
    "apps_put_by_name",
    "apps_updated_further",
    "apps_releases",
    "history_deleted",
];

/// The columns that tables of an earlier format lack: table, column and type. One of a user's own
/// that bears such a name is left as it is, whatever its type.
const ADDED: [(&str, &str, &str); 10] = [
    ("deletions", "void", "integer"),
    ("apps", "procfile", "text"),
    ("apps", "workers", "text"),
    ("apps", "cron", "text"),
    ("apps", "domains", "text"),
    ("apps", "memory", "integer"),
    ("apps", "protocol", "text"),
    ("apps", "hook", "text"),
    ("history", "number", "integer"),
    ("history", "path", "text"),
];

/// A file that cannot be made a table of today.
#[derive(Debug, Error)]
pub(crate) enum FormatError {
    #[error(
        "it has format {format}, which only a newer program can read: use that one, or a backup \
         from before it"
    )]
    Newer { format: i64 },
    #[error("it is of an earlier format: start `rowhouse up` first, which brings it up to date")]
    Older,
    #[error("{}", explain(.0))]
    Sqlite(#[from] rusqlite::Error),
}

/// Makes a table where there is none. One of an earlier format is worked with as it is, for another
/// program may be at work on it.
pub(crate) fn make(connection: &mut Connection) -> Result<(), FormatError> {
    format(connection)?;
    if has(connection, "apps")? { Ok(()) } else { migrate(connection) }
}

/// Makes what is missing, in one transaction and by additions alone, and refuses what must not be
/// touched. That is for who holds the folder's lock.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), FormatError> {
    let format = format(connection)?;
    if format >= FORMAT && is_made(connection)? {
        // So that opening never waits for a writer.
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another program may have been quicker, and newer.
    let format = self::format(&transaction)?;
    transaction.execute_batch(SCHEMA)?;
    for (table, column, kind) in ADDED {
        if !has_column(&transaction, table, column)? {
            transaction
                .execute_batch(&format!("alter table {table} add column {column} {kind}"))?;
        }
    }
    if format < FORMAT {
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Whether this program could work with the file, which it leaves as it is.
pub(crate) fn prove(connection: &Connection) -> Result<(), FormatError> {
    format(connection).map(drop)
}

/// Whether the table can bear a mark, and a tombstone be void: not in one of the first format.
pub(crate) fn bears_marks(connection: &Connection) -> rusqlite::Result<bool> {
    has(connection, "apps_mark")
}

/// Whether the history numbers its entries, and releases are kept: not in one of an earlier format.
pub(crate) fn bears_releases(connection: &Connection) -> rusqlite::Result<bool> {
    has(connection, "history_deleted")
}

/// Whether a table has such a column, whoever made it, in whatever case it is written.
pub(crate) fn has_column(
    connection: &Connection,
    table: &str,
    column: &str,
) -> rusqlite::Result<bool> {
    // Generated columns are in this list alone. <https://www.sqlite.org/pragma.html>
    connection
        .prepare_cached("select 1 from pragma_table_xinfo(?1) where lower(name) = ?2")?
        .exists([table, column])
}

fn format(connection: &Connection) -> Result<i64, FormatError> {
    let format = connection.query_row("pragma user_version", [], |row| row.get(0))?;
    if format >= FIRST_INCOMPATIBLE { Err(FormatError::Newer { format }) } else { Ok(format) }
}

fn has(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("select 1 from sqlite_master where name = ?1")?.exists([name])
}

/// Whether everything stands there.
fn is_made(connection: &Connection) -> rusqlite::Result<bool> {
    for name in MADE {
        if !has(connection, name)? {
            return Ok(false);
        }
    }
    for (table, column, _) in ADDED {
        if !has_column(connection, table, column)? {
            return Ok(false);
        }
    }
    // A table that was made before a rename was a deletion has another trigger of that name.
    connection
        .prepare(
            "select 1 from sqlite_master where name = 'apps_renamed' \
             and sql like '%into deletions%'",
        )?
        .exists([])
}
