//! What is done when the table's file is no longer the one that is open: it is let go, what stood
//! in it is kept, and the one that is there then is opened in its place.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rowhouse_core::Unreachable;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::room::remove_now;
use crate::table::file::{
    Change, OpenFile, Place, Stamp, is_held, is_whole, log_beside, remove_index, set_aside,
};
use crate::table::schema::FormatError;
use crate::table::sqlite_table::SqliteTable;

/// How long a file must have been left alone before it is opened: somebody may still be writing it.
const LEFT_ALONE: Duration = Duration::from_millis(200);
/// The same where nothing is there yet, or nothing in it: one may be about to be moved there.
const EMPTY: Duration = Duration::from_secs(1);
/// How often one that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many earlier tables are kept.
const KEPT: usize = 3;
const KEPT_NAME: &str = "replaced-";

/// What has become of the table's file while it was in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileNews {
    /// It is not in use any more, and why.
    Gone(String),
    /// The one that is there now is in use.
    Opened(String),
}

/// The folder of the table, and where earlier tables are kept.
#[derive(Debug)]
pub(crate) struct Site {
    table: PathBuf,
    folder: OwnedFd,
    kept: PathBuf,
}

impl Site {
    pub(crate) fn new(table: &Path, kept: &Path) -> std::io::Result<Site> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder(table), flags, Mode::empty())?;
        Ok(Site { table: table.to_owned(), folder, kept: kept.to_owned() })
    }

    /// Whether the folder's path leads elsewhere, or nowhere: whatever is there is not ours.
    fn has_moved(&self) -> bool {
        let held = rustix::fs::fstat(&self.folder).map(|about| (about.st_dev, about.st_ino));
        let there = rustix::fs::stat(folder(&self.table)).map(|about| (about.st_dev, about.st_ino));
        held.ok() != there.ok()
    }
}

fn folder(table: &Path) -> &Path {
    table.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that was let go, until another one is open.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// Where what was held is, and how it lay there.
    file: PathBuf,
    held: Place,
    change: Change,
    /// Under what name, without its end, what is left of it is kept.
    kept: PathBuf,
    seen: Option<Stamp>,
    since: Instant,
    retry: Option<Instant>,
    said: String,
}

impl Replacement {
    /// Lets go of the file that is open, here and by the table's thread. One that was replaced goes
    /// to those that were `left`.
    pub(crate) fn begin(
        site: &Site,
        table: &SqliteTable,
        opened: OpenFile,
        change: Change,
        left: &mut Vec<OpenFile>,
        news: &UnboundedSender<FileNews>,
    ) -> Replacement {
        let (file, held, has_moved) = (opened.resolved(), opened.place(), site.has_moved());
        let time = format!("{:.3}", Timestamp::now()).replace([':', '-'], "");
        let kept = site.kept.join(format!("{KEPT_NAME}{time}"));
        let is_another = matches!(change, Change::Removed | Change::Replaced);
        if is_another && !has_moved {
            // Before anything else: whoever opens the next one finds it there.
            if let Err(error) = set_aside(&file, &held, &log_kept(&kept)) {
                warn!(reason = %error, "the earlier table's log is in the way");
            }
        }
        let what = if has_moved {
            "the folder of the table is not where it was".to_owned()
        } else {
            format!("the table's file is another one: {change}")
        };
        table.let_go(Unreachable { reason: what.clone() });
        if !has_moved {
            keep(site, &opened, change, &kept);
        }
        opened.leave_alone();
        if is_another {
            // As long as it is open, no other program is the last to close it: that one would
            // remove a log by its name.
            left.push(opened);
            left.drain(..left.len().saturating_sub(KEPT));
        } else {
            drop(opened);
        }
        let said = format!("{what}; what runs runs on");
        tell(news, FileNews::Gone(said.clone()));
        let (seen, since) = (Stamp::of(&site.table), Instant::now());
        Replacement { file, held, change, kept, seen, since, retry: None, said }
    }

    /// Opens what is there now, when it has been left alone for a while; `None`: not yet.
    pub(crate) fn try_end(
        &mut self,
        site: &Site,
        table: &SqliteTable,
        left: &mut Vec<OpenFile>,
        news: &UnboundedSender<FileNews>,
    ) -> Option<OpenFile> {
        let seen = Stamp::of(&site.table);
        if seen != self.seen {
            (self.seen, self.since, self.retry) = (seen, Instant::now(), None);
            return None;
        }
        let wait = if seen.is_some_and(|seen| seen.size > 0) { LEFT_ALONE } else { EMPTY };
        let now = Instant::now();
        if self.since.elapsed() < wait || self.retry.is_some_and(|at| now < at) {
            return None;
        }
        match self.end(site, table, left) {
            Ok(opened) => {
                let rows = opened
                    .connection
                    .query_row("select count(*) from apps", [], |row| row.get::<_, i64>(0));
                let rows = rows.map_or_else(|_| String::new(), |rows| format!(" ({rows} rows)"));
                let kept = self.kept.with_added_extension("db");
                let kept = if kept.exists() {
                    format!("; what stood in the one before is in `{}`", kept.display())
                } else {
                    String::new()
                };
                tell(news, FileNews::Opened(format!("the table is opened anew{rows}{kept}")));
                Some(opened)
            }
            Err(reason) => {
                self.retry = Some(now + AGAIN);
                if self.said != reason {
                    table.let_go(Unreachable { reason: reason.clone() });
                    tell(news, FileNews::Gone(reason.clone()));
                    self.said = reason;
                }
                None
            }
        }
    }

    fn end(
        &mut self,
        site: &Site,
        table: &SqliteTable,
        left: &mut Vec<OpenFile>,
    ) -> Result<OpenFile, String> {
        let path = site.table.display();
        if site.has_moved() {
            return Err("the folder of the table is not where it was: put it back, or end this \
                        platform and start one where it is"
                .to_owned());
        }
        if self.seen.is_some_and(|seen| seen.is_folder) {
            return Err(format!("the table `{path}` is a folder: move it away"));
        }
        // Of one file there is one log, and one index in this process.
        left.retain(|left| !is_held(&site.table, left.place().file));
        self.clear_the_way(&site.table)
            .map_err(|error| format!("the earlier table's log is in the way: {error}"))?;
        let open = || -> Result<[OpenFile; 2], FormatError> {
            let mut ours = OpenFile::migrate_unknown(&site.table)?;
            table.marks().adopt(&mut ours.connection)?;
            Ok([ours, OpenFile::migrate(&site.table)?])
        };
        let [ours, theirs] = open().map_err(|error| {
            format!(
                "the table `{path}` cannot be opened: {error}: restore it, or move it away, and \
                 an empty one is made in its place"
            )
        })?;
        table.resume(theirs);
        Ok(ours)
    }
}

impl Replacement {
    /// Leaves nothing beside the file that is not its own.
    fn clear_the_way(&self, table: &Path) -> std::io::Result<()> {
        let is_another = !is_held(table, self.held.file);
        if is_another || self.change == Change::Overwritten && !self.log_fits(table) {
            set_aside(&self.file, &self.held, &log_kept(&self.kept))
        } else {
            remove_index(&self.file, &self.held)
        }
    }

    /// Whether the log goes with what is in the same file now, as it does where nothing but the
    /// file's time was changed.
    fn log_fits(&self, table: &Path) -> bool {
        let log = Stamp::of(&log_beside(&self.file));
        log.is_some_and(|log| log.size > 0) && is_whole(table)
    }
}

fn log_kept(kept: &Path) -> PathBuf {
    kept.with_added_extension("wal")
}

fn tell(news: &UnboundedSender<FileNews>, what: FileNews) {
    // Nobody listens any more: the platform is ending.
    let _ = news.send(what);
}

/// Keeps what stood in a file that is about to be let go: in itself, and where another one is in
/// its place also in a copy, as long as there were rows. What was written over has nothing to be
/// kept.
fn keep(site: &Site, opened: &OpenFile, change: Change, kept: &Path) {
    let connection = &opened.connection;
    let copy = kept.with_added_extension("db");
    let checkpoint = || {
        ["passive", "truncate"].iter().try_for_each(|how| {
            connection.query_row(&format!("pragma wal_checkpoint({how})"), [], |_| Ok(()))
        })
    };
    let save = || -> rusqlite::Result<()> {
        match change {
            Change::LogRemoved => checkpoint(),
            Change::Removed | Change::Replaced => {
                // A copy has what is in the log, whether that comes into the file or not.
                if let Err(error) = checkpoint() {
                    warn!(reason = %error, "cannot put the log into the table's earlier file");
                }
                if !connection.prepare("select 1 from apps")?.exists([])? {
                    return Ok(());
                }
                match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy) {
                    Ok(_) => connection
                        .execute("vacuum into ?1", [copy.display().to_string()])
                        .map(|_| ())
                        .inspect_err(|_| {
                            // Half a copy is none.
                            let _ = remove_now(&copy);
                        }),
                    Err(error) => {
                        warn!(reason = %error, "cannot make a copy of the table's earlier file");
                        Ok(())
                    }
                }
            }
            Change::Overwritten => Ok(()),
        }
    };
    if let Err(error) = save() {
        warn!(reason = %error, "cannot keep what stood in the table's earlier file");
    }
    let log = log_kept(kept);
    if Stamp::of(&log).is_some_and(|log| log.size == 0) {
        // It has nothing that is not in the file.
        let _ = remove_now(&log);
    }
    forget_the_oldest(&site.kept);
}

/// Removes what is left of tables before the last few.
fn forget_the_oldest(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut old: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(KEPT_NAME)
        })
        .collect();
    // By the time in their names, one of each time with one of another end.
    old.sort();
    let mut times: Vec<PathBuf> = old.iter().map(|path| path.with_extension("")).collect();
    times.dedup();
    let surplus = times.len().saturating_sub(KEPT);
    for path in old.iter().filter(|path| times[..surplus].contains(&path.with_extension(""))) {
        if let Err(error) = remove_now(path) {
            warn!(reason = %error, "cannot remove an old table");
        }
    }
}
