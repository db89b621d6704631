//! The change feed: notices within milliseconds that another process has committed a change of the
//! table.

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
use crate::table::database::{Durability, explain, open};

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

/// Starts the feed on a thread of its own. It ends when nobody listens any more.
pub fn start(table: &Path, doorbell: UnboundedSender<RowKey>) -> Result<(), Unreachable> {
    let failed = |reason: String| Unreachable { reason: format!("change feed: {reason}") };
    let connection = open(table, Durability::Full).map_err(|error| failed(explain(&error)))?;
    // A writer that is met is left alone: the names can be deleted later.
    connection.busy_timeout(Duration::ZERO).map_err(|error| failed(explain(&error)))?;
    let watch = watch(table).map_err(|error| failed(error.to_string()))?;
    let tidied = Instant::now();
    let feed = Feed { connection, doorbell, rung: 0, heard: 0, deleted: 0, version: -1, tidied };
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
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
    inotify::add_watch(&watch, folder, events)?;
    Ok(watch)
}

struct Feed {
    connection: Connection,
    doorbell: UnboundedSender<RowKey>,
    /// The last change that was rung.
    rung: i64,
    /// The last change that was rung when the table was tidied last.
    heard: i64,
    /// The last change that was deleted from the table.
    deleted: i64,
    tidied: Instant,
    version: i64,
}

impl Feed {
    fn run(mut self, watch: &rustix::fd::OwnedFd) {
        while !self.doorbell.is_closed() {
            if let Err(error) = self.look() {
                warn!(reason = explain(&error), "cannot read the change feed; will retry");
                std::thread::sleep(Duration::from_millis(200));
            }
            let mut descriptors = [PollFd::new(watch, PollFlags::IN)];
            match poll(&mut descriptors, Some(&AT_LEAST)) {
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
            // An error here shows again, and is told, in the look that follows.
            if let Ok(true) = self.look() {
                pause.reset();
            }
            std::thread::sleep(pause.due());
        }
    }

    /// Rings the names that were not rung yet; true where there were any.
    fn look(&mut self) -> rusqlite::Result<bool> {
        self.tidy();
        let version = self
            .connection
            .prepare_cached("pragma data_version")?
            .query_row([], |row| row.get(0))?;
        if version == self.version {
            return Ok(false);
        }
        let mut names = BTreeSet::new();
        let mut rung = self.rung;
        {
            let mut statement = self
                .connection
                .prepare_cached("select id, name from changes where id > ?1 order by id")?;
            let mut rows = statement.query(params![self.rung])?;
            while let Some(row) = rows.next()? {
                rung = row.get(0)?;
                names.extend(read_name(row.get_ref(1)?));
            }
        }
        // Only now: what was read before an error is read again.
        (self.rung, self.version) = (rung, version);
        let any = !names.is_empty();
        for name in names {
            // Nobody listens: the thread ends with the next turn.
            let _ = self.doorbell.send(name);
        }
        Ok(any)
    }

    /// Deletes, from time to time, what was rung before the last time. Where a writer is met, the
    /// next will do.
    fn tidy(&mut self) {
        if self.tidied.elapsed() < KEPT {
            return;
        }
        if self.heard > self.deleted {
            let deleted = self
                .connection
                .prepare_cached("delete from changes where id <= ?1")
                .and_then(|mut statement| statement.execute(params![self.heard]));
            if deleted.is_ok() {
                self.deleted = self.heard;
            }
        }
        self.heard = self.rung;
        self.tidied = Instant::now();
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
