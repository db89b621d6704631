//! Programs that keep the table's log from being emptied: each reads from a state of before, in a
//! transaction that it has not ended.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::folder::database;

/// The locks of readers in the index of a log, one for each mark.
/// <https://www.sqlite.org/walformat.html#wal_locks>
const MARKS: RangeInclusive<usize> = 123..=127;
/// Where the index says how many pages the log has, how many of them are in the file, and up to
/// which one the readers of each mark read. <https://www.sqlite.org/walformat.html#the_wal_index>
const WRITTEN: usize = 16;
const BACKFILLED: usize = 96;
const READ_UP_TO: usize = 100;

/// A process that reads from a state of before what was written last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reader {
    /// `None`: it is in another container, say, where it has another number.
    pub pid: Option<u32>,
    /// What it was started as; empty where nobody may know.
    pub command: String,
}

/// Bytes that the log of this table takes.
pub fn log_size(table: &Path) -> u64 {
    let [_, log, _] = database(table);
    fs::metadata(log).map_or(0, |about| about.len())
}

/// Who keeps the log of this table from being emptied now, but for this process.
pub fn old_readers(table: &Path) -> BTreeSet<Reader> {
    let [_, _, index] = database(table);
    let found = fs::metadata(&index).and_then(|about| Ok((about.ino(), fs::read(&index)?)));
    let Ok((inode, index)) = found else { return BTreeSet::new() };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let held = locks.lines().filter_map(|line| Held::parse(line, inode));
    let old = held.filter(|held| MARKS.clone().any(|mark| held.has(mark) && is_old(&index, mark)));
    let this = i64::from(std::process::id());
    old.filter(|held| held.pid != this).map(|held| Reader::of(held.pid)).collect()
}

/// Whether more was written than those read who have this mark.
fn is_old(index: &[u8], mark: usize) -> bool {
    let number =
        |at: usize| index.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let at = match mark - MARKS.start() {
        // They read from the file alone, which is what is in it.
        0 => BACKFILLED,
        mark => READ_UP_TO + 4 * mark,
    };
    number(WRITTEN).zip(number(at)).is_some_and(|(written, read)| read < written)
}

/// A reader's lock, as `proc_locks(5)` has it.
struct Held {
    pid: i64,
    first: usize,
    last: usize,
}

impl Held {
    /// `None`: it is another one, or of another file.
    fn parse(line: &str, inode: u64) -> Option<Held> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX" | "OFDLCK", _, "READ", pid, file, first, last] = words.as_slice() else {
            return None;
        };
        let is_meant = file.rsplit(':').next()?.parse() == Ok(inode);
        is_meant.then_some(())?;
        let last = last.parse().unwrap_or(usize::MAX);
        Some(Held { pid: pid.parse().ok()?, first: first.parse().ok()?, last })
    }

    fn has(&self, byte: usize) -> bool {
        (self.first..=self.last).contains(&byte)
    }
}

impl Reader {
    fn of(pid: i64) -> Reader {
        // The kernel says 0 or -1 where it has no number that means anything here.
        let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0);
        let command = pid.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
        let command = String::from_utf8_lossy(&command.unwrap_or_default()).replace('\0', " ");
        Reader { pid, command: command.trim_end().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_a_readers_where_it_is_on_a_mark_of_the_file() {
        let held = |line| Held::parse(line, 77).map(|held| (held.pid, held.has(124)));
        assert_eq!(held("1: POSIX  ADVISORY  READ 4711 fe:00:77 124 124"), Some((4711, true)));
        assert_eq!(held("1: POSIX  ADVISORY  READ 4711 fe:00:77 128 128"), Some((4711, false)));
        assert_eq!(held("1: POSIX  ADVISORY  READ 0 fe:00:77 0 EOF"), Some((0, true)));
        assert_eq!(held("1: POSIX  ADVISORY  WRITE 4711 fe:00:77 124 124"), None);
        assert_eq!(held("1: POSIX  ADVISORY  READ 4711 fe:00:78 124 124"), None);
        assert_eq!(held("1: -> POSIX  ADVISORY  READ 4711 fe:00:77 124 124"), None);
        assert_eq!(held("1: FLOCK  ADVISORY  READ 4711 fe:00:77 0 EOF"), None);
    }
}
