//! The change feed: notices within milliseconds that another process has committed a change of the
//! table, or has put another file in its place; and keeps the table's log short.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rowhouse_core::{RowKey, Unreachable};
use rusqlite::{Connection, params};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::pause::Pause;
use crate::table::column::read_name;
use crate::table::database::explain;
use crate::table::file::{COUNTED, Change, OpenFile, Stamp};
use crate::table::mark::{Mark, Marks};
use crate::table::nameless;
use crate::table::replacement::{FileNews, Replacement, Site};
use crate::table::schema;
use crate::table::schema::FormatError;
use crate::table::sequence::mend;
use crate::table::sqlite_table::SqliteTable;

/// The watch may miss a change (a network file system, a full queue), so the table is looked at
/// once a second in any case.
const AT_LEAST: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// The write-ahead log's event comes *before* the commit can be seen, so after one the version is
/// looked at again for this long, with doubling pauses up to the longest: a commit waits for the
/// disk, and must not be noticed twice as late as that.
const SETTLING: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
/// How often rung names are deleted from the table, for each deletion is a write that other writers
/// would meet; and how long a name stays there at least, so that whoever waits for its end knows
/// that it was heard.
const KEPT: Duration = Duration::from_secs(1);

/// How often a file that is not there, or cannot be opened, is looked for.
const MISSING: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// With a log of so many bytes, about 250 pages, it is not waited for the next second: at 1,000 any
/// program that writes would put it into the file, and versions of SQLite before 3.51.3 may lose
/// pages where two do that at once. <https://www.sqlite.org/wal.html#the_wal_reset_bug>
const LONG_LOG: u64 = 1 << 20;

/// Starts the feed on a thread of its own. It ends when nobody listens any more. `news` is told
/// what becomes of the table's file.
pub fn start(
    table: &SqliteTable,
    doorbell: UnboundedSender<RowKey>,
    news: UnboundedSender<FileNews>,
) -> Result<(), Unreachable> {
    let failed = |reason: String| Unreachable { reason: format!("change feed: {reason}") };
    let path = table.path();
    let watch = watch(path).map_err(|error| failed(error.to_string()))?;
    let site = Site::new(path, table.kept()).map_err(|error| failed(error.to_string()))?;
    let opened = OpenFile::migrate(path).map_err(|error| failed(error.to_string()))?;
    let feed = Feed {
        table: table.clone(),
        site,
        file: File::Open(Looked::new(opened)),
        doorbell,
        news,
        left: Vec::new(),
        told: BTreeSet::new(),
    };
    std::thread::Builder::new()
        .name("feed".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || feed.run(&watch))
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

fn watch(table: &Path) -> std::io::Result<rustix::fd::OwnedFd> {
    let folder = table.parent().unwrap_or(Path::new("."));
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let events = inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::MOVE
        | inotify::WatchFlags::MOVE_SELF;
    inotify::add_watch(&watch, folder, events)?;
    Ok(watch)
}

struct Feed {
    table: SqliteTable,
    site: Site,
    file: File,
    /// Earlier files, open as long as other programs may have them open.
    left: Vec<OpenFile>,
    doorbell: UnboundedSender<RowKey>,
    news: UnboundedSender<FileNews>,
    /// Rows without a name that were told of.
    told: BTreeSet<String>,
}

/// The table's file, or how its return is waited for.
enum File {
    Open(Looked),
    Gone(Replacement),
    /// For the moment between the two.
    Between,
}

/// A file, and how far it was read.
struct Looked {
    opened: OpenFile,
    /// The last change that was rung.
    rung: i64,
    /// The last change that was rung when the table was tidied last.
    heard: i64,
    /// The last change that was deleted from the table.
    deleted: i64,
    tidied: Instant,
    version: i64,
    /// The version whose names were looked at.
    named: i64,
    /// The version whose mark was looked at.
    marked: i64,
    /// The version of the schema.
    schema: i64,
    /// Whether the content is of a format that only a newer program can read.
    is_newer: bool,
    /// Whether all of the content may be another's, of which nobody was told yet.
    is_other: bool,
    /// The file's content as SQLite has left it, and how many pages of its log were in it then.
    stamp: Option<Stamp>,
    in_file: i64,
}

impl Feed {
    fn run(mut self, watch: &rustix::fd::OwnedFd) {
        while !self.doorbell.is_closed() {
            self.mind_the_file();
            if let Err(error) = self.look() {
                warn!(reason = explain(&error), "cannot read the change feed; will retry");
                std::thread::sleep(Duration::from_millis(200));
            }
            self.tidy();
            let at_least = match self.file {
                File::Open(_) => &AT_LEAST,
                File::Gone(_) | File::Between => &MISSING,
            };
            let mut descriptors = [PollFd::new(watch, PollFlags::IN)];
            match poll(&mut descriptors, Some(at_least)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => self.settle(watch),
                Err(error) => {
                    warn!(reason = %error, "cannot watch the table's folder");
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }

    /// Looks again and again until the commit behind an event can be seen, or was somebody else's
    /// business.
    fn settle(&mut self, watch: &rustix::fd::OwnedFd) {
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut deadline = Instant::now() + SETTLING;
        while Instant::now() < deadline {
            if drain(watch) {
                deadline = Instant::now() + SETTLING;
                pause.reset();
            }
            self.mind_the_file();
            // An error here shows again, and is told, in the look that follows.
            if let Ok(true) = self.look() {
                pause.reset();
            }
            self.tidy();
            std::thread::sleep(pause.due());
        }
        self.rest();
    }

    /// Lets go of a file that is another one by now, and takes the one that is there.
    fn mind_the_file(&mut self) {
        let Feed { table, site, left, news, .. } = self;
        self.file = match std::mem::replace(&mut self.file, File::Between) {
            File::Open(mut looked) => match looked.change() {
                None => File::Open(looked),
                Some(change) => {
                    let opened = looked.opened;
                    File::Gone(Replacement::begin(site, table, opened, change, left, news))
                }
            },
            File::Gone(mut replacement) => match replacement.try_end(site, table, left, news) {
                Some(opened) => File::Open(Looked::new(opened)),
                None => File::Gone(replacement),
            },
            File::Between => File::Between,
        };
    }

    /// Rings the names that were not rung yet; true where there were any.
    fn look(&mut self) -> rusqlite::Result<bool> {
        let File::Open(looked) = &mut self.file else { return Ok(false) };
        let names = looked.names()?;
        if std::mem::take(&mut looked.is_other) {
            // Nobody listens any more: the platform is ending.
            let _ = self.news.send(FileNews::Opened(
                "the table has another schema, or the content of another or an older one"
                    .to_owned(),
            ));
        }
        let any = !names.is_empty();
        for name in names {
            // Nobody listens: the thread ends with the next turn.
            let _ = self.doorbell.send(name);
        }
        Ok(any)
    }

    /// What is done from time to time, and to no other writer's cost: where one is met, the next
    /// time will do.
    fn tidy(&mut self) {
        let File::Open(looked) = &mut self.file else { return };
        if looked.tidied.elapsed() >= KEPT {
            looked.delete_heard();
            looked.answer_nameless(&mut self.told);
            looked.adopt(self.table.marks());
        } else if looked.log_size() < LONG_LOG {
            return;
        }
        looked.empty_log();
    }

    /// Nothing has been written for a moment.
    fn rest(&mut self) {
        if let File::Open(looked) = &mut self.file {
            looked.empty_log();
        }
    }
}

impl Looked {
    fn new(opened: OpenFile) -> Looked {
        // A writer that is met is left alone: what is written here can be written later.
        let _ = opened.connection.busy_timeout(Duration::ZERO);
        let stamp = opened.place().file;
        let (rung, heard, deleted, version, named, marked) = (0, 0, 0, -1, -1, -1);
        let tidied = Instant::now();
        let (schema, is_newer, is_other, in_file) = (-1, false, false, 0);
        Looked {
            opened,
            rung,
            heard,
            deleted,
            tidied,
            version,
            named,
            marked,
            schema,
            is_newer,
            is_other,
            stamp,
            in_file,
        }
    }

    fn connection(&self) -> &Connection {
        &self.opened.connection
    }

    /// What has become of the file.
    fn change(&mut self) -> Option<Change> {
        if self.is_newer {
            return Some(Change::Overwritten);
        }
        let now = self.opened.look();
        if let Some(change) = self.opened.place().changed_to(&now) {
            return Some(change);
        }
        if now.file == self.stamp {
            return None;
        }
        // What another connection has taken from the log shows in its index.
        match self.log_state("noop") {
            Ok((_, in_file)) if in_file != self.in_file => {
                (self.stamp, self.in_file) = (now.file, in_file);
                None
            }
            Ok(_) | Err(_) => Some(Change::Overwritten),
        }
    }

    fn names(&mut self) -> rusqlite::Result<BTreeSet<RowKey>> {
        let mut names = BTreeSet::new();
        let version = self
            .connection()
            .prepare_cached("pragma data_version")?
            .query_row([], |row| row.get(0))?;
        if version == self.version {
            return Ok(names);
        }
        let schema = self.bring_up_to_date()?;
        if self.is_newer {
            return Ok(names);
        }
        if schema != self.schema || self.newest()? < self.rung {
            // An earlier state was put back, by SQLite's own backup, say, which counts the schema
            // up: what its changes say was never rung.
            (self.rung, self.heard, self.deleted) = (0, 0, 0);
            self.is_other |= self.schema != -1;
            self.schema = schema;
        }
        let mut rung = self.rung;
        {
            let mut statement = self
                .connection()
                .prepare_cached("select id, name from changes where id > ?1 order by id")?;
            let mut rows = statement.query(params![self.rung])?;
            while let Some(row) = rows.next()? {
                rung = row.get(0)?;
                names.extend(read_name(row.get_ref(1)?));
            }
        }
        // Only now: what was read before an error is read again.
        (self.rung, self.version) = (rung, version);
        self.mend();
        Ok(names)
    }

    /// Makes a table of today of one of an earlier format that somebody has put into this file, as
    /// a start does. Tells the version of the schema.
    fn bring_up_to_date(&mut self) -> rusqlite::Result<i64> {
        let version = |connection: &Connection| {
            connection.query_row("pragma schema_version", [], |row| row.get(0))
        };
        let schema = version(self.connection())?;
        // Somebody who makes its rows anew may have removed it for a moment.
        if schema == self.schema || !self.connection().table_exists(None, "apps")? {
            return Ok(schema);
        }
        match schema::migrate(&mut self.opened.connection) {
            Ok(()) | Err(FormatError::Older) => {}
            Err(FormatError::Newer { .. }) => self.is_newer = true,
            Err(FormatError::Sqlite(error)) => return Err(error),
        }
        version(self.connection())
    }

    /// The last id that a change has got, though it may be deleted by now.
    fn newest(&self) -> rusqlite::Result<i64> {
        self.connection()
            .prepare_cached(
                "select ifnull(max(cast(seq as integer)), 0) from sqlite_sequence \
                 where name = 'changes'",
            )?
            .query_row([], |row| row.get(0))
    }

    /// Brings ids back that no other id can follow. Names that stand in the table with one are rung
    /// again.
    fn mend(&mut self) {
        match mend(&mut self.opened.connection, &COUNTED) {
            Ok(false) => {}
            Ok(true) => {
                warn!("an id in the table was the last that there is; the rows were numbered anew");
                (self.rung, self.heard, self.deleted, self.version) = (0, 0, 0, -1);
            }
            // It is met again: the next change cannot be written before.
            Err(error) => {
                warn!(reason = explain(&error), "cannot mend the ids in the table; will retry");
                self.version = -1;
            }
        }
    }

    /// Deletes what was rung before the last time.
    fn delete_heard(&mut self) {
        if self.heard > self.deleted {
            let deleted = self
                .connection()
                .prepare_cached("delete from changes where id <= ?1")
                .and_then(|mut statement| statement.execute(params![self.heard]));
            if deleted.is_ok() {
                self.deleted = self.heard;
            }
        }
        self.heard = self.rung;
        self.tidied = Instant::now();
    }

    /// Says what is wrong with rows that no name leads to.
    fn answer_nameless(&mut self, told: &mut BTreeSet<String>) {
        if self.named == self.version {
            return;
        }
        // Another writer that is met is met again, and what else is wrong shows in the next look.
        let Ok(rows) = nameless::answer(&mut self.opened.connection) else { return };
        for row in rows.iter().filter(|row| !told.contains(*row)) {
            warn!(name = row, "a row has no name that can be read, and runs nothing");
        }
        told.extend(rows);
        self.named = self.version;
    }

    /// Takes a table whose rows somebody has put into this file for the folder's own, as a start
    /// does: what it calls removed, nobody has removed.
    fn adopt(&mut self, marks: &Marks) {
        if self.marked == self.version {
            return;
        }
        let known = Mark::read(self.connection()).and_then(|mark| marks.know(mark.as_ref()));
        // An error, such as another writer that is met, is met again.
        let Ok(is_known) = known else { return };
        if is_known {
            self.marked = self.version;
        } else if marks.adopt(&mut self.opened.connection).is_ok() {
            (self.marked, self.is_other) = (self.version, true);
        }
    }

    fn log_size(&self) -> u64 {
        self.opened.look().log.map_or(0, |log| log.size)
    }

    fn empty_log(&mut self) {
        // A file that is another one by now must not get what is in the log.
        if self.change().is_none() && self.log_size() > 0 {
            self.checkpoint();
        }
    }

    /// Puts what is in the log into the file, and empties it, so that the file is whole and nobody
    /// else has reason to do that. Whoever reads or writes just then keeps it from being so until
    /// the next time. <https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>
    fn checkpoint(&mut self) {
        // Before the lock on writing is taken, for that others wait.
        let done = self.log_state("passive").and_then(|(in_log, in_file)| {
            if in_log == in_file { self.log_state("truncate") } else { Ok((in_log, in_file)) }
        });
        match done {
            Ok((_, in_file)) => self.in_file = in_file,
            Err(error) => warn!(reason = explain(&error), "cannot put the log into the table"),
        }
        self.stamp = self.opened.look().file;
    }

    /// Pages in the log, and how many of them are in the file, after a checkpoint of that kind.
    fn log_state(&self, kind: &str) -> rusqlite::Result<(i64, i64)> {
        self.connection().query_row(&format!("pragma wal_checkpoint({kind})"), [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })
    }
}

/// Reads away what was notified; true where there was something.
fn drain(watch: &rustix::fd::OwnedFd) -> bool {
    let mut buffer = [0; 4096];
    let mut any = false;
    while let Ok(1..) = rustix::io::read(watch, &mut buffer) {
        any = true;
    }
    any
}
