//! The watch over what a process and all that it starts take: what no control group holds is looked
//! at again and again, and so is whether one has ended a part of them.

use std::collections::HashSet;
use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use crate::limits::{DiskLimit, Excess, Limits};
use crate::process::descendants;

/// How often is looked where the kernel holds most of it …
const SELDOM: Duration = Duration::from_secs(2);
/// … and where nobody else does.
const OFTEN: Duration = Duration::from_secs(1);
/// How long files may be counted at a stretch, and how long the pause is before the next one.
const STRETCH: Duration = Duration::from_millis(50);
const BETWEEN_STRETCHES: Duration = Duration::from_millis(200);
/// After so long files are counted again, however little was written.
const COUNTED_EVERY: Duration = Duration::from_secs(30);
/// What even an empty file takes.
const LEAST: u64 = 4 << 10;

/// A watch over the descendants of one process.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    root: i32,
    next: Instant,
    ended_before: u64,
    disk: Option<Disk>,
}

impl Watch {
    /// Over what is below `root`, from now on. The group is there, and nobody is in it yet.
    pub(crate) fn begin(limits: Limits, root: i32, now: Instant) -> Watch {
        let ended_before = limits.ended_for_memory();
        let disk = limits.disk.clone().map(Disk::new);
        let mut watch = Watch { limits, root, next: now, ended_before, disk };
        watch.next = now + watch.pause();
        watch
    }

    /// When there is something to look at.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    fn pause(&self) -> Duration {
        let means = &self.limits.means;
        if means.memory.is_none() || means.processes.is_none() { OFTEN } else { SELDOM }
    }

    /// Looks, if it is time to.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Excess> {
        if now < self.next {
            return None;
        }
        self.next = now + self.pause();
        let found = self.at_end().or_else(|| self.taken());
        if found.is_some() {
            return found;
        }
        let disk = self.disk.as_mut()?;
        let is_over = disk.is_over(now);
        if disk.count.is_some() {
            self.next = now + BETWEEN_STRETCHES;
        }
        is_over.then_some(Excess::Disk(disk.limit.most))
    }

    /// What the kernel has ended processes for, of those that have ended too.
    pub(crate) fn at_end(&self) -> Option<Excess> {
        let memory = self.limits.memory?;
        let is_over = self.limits.ended_for_memory() > self.ended_before;
        is_over.then_some(Excess::Memory(memory))
    }

    /// What no group holds.
    fn taken(&self) -> Option<Excess> {
        let means = &self.limits.means;
        let memory = self.limits.memory.filter(|_| means.memory.is_none());
        if memory.is_none() && means.processes.is_some() {
            return None;
        }
        let pids = descendants(self.root);
        let taken: Vec<(i32, Taken)> =
            pids.into_iter().filter_map(|pid| Some((pid, Taken::of(pid)?))).collect();
        let threads: u64 = taken.iter().map(|(_, taken)| taken.threads).sum();
        let most = self.limits.processes;
        if means.processes.is_none() && threads > u64::from(most) {
            return Some(Excess::Processes(most));
        }
        // To know what several of them share takes longer, and can only make it less.
        let at_most: u64 = taken.iter().map(|(_, taken)| taken.bytes).sum();
        let memory = memory.filter(|memory| at_most > memory.bytes())?;
        let bytes: u64 =
            taken.iter().map(|(pid, taken)| own_share(*pid).unwrap_or(taken.bytes)).sum();
        (bytes > memory.bytes()).then_some(Excess::Memory(memory))
    }
}

/// What one process takes.
struct Taken {
    /// Of memory that is no file's.
    bytes: u64,
    threads: u64,
}

impl Taken {
    fn of(pid: i32) -> Option<Taken> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name| number(&status, name);
        let kibibytes = number("RssAnon:").unwrap_or(0) + number("RssShmem:").unwrap_or(0);
        Some(Taken { bytes: kibibytes << 10, threads: number("Threads:").unwrap_or(1) })
    }
}

/// The same, of which what it shares with others is divided by their number.
fn own_share(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some((number(&text, "Pss_Anon:")? + number(&text, "Pss_Shmem:")?) << 10)
}

/// The number of a line of `proc_pid_status(5)`.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What folders take. To count their files costs time, so that is done only when so much more of
/// the disk is used that they could have come over their limit; and now and then.
#[derive(Debug)]
struct Disk {
    limit: DiskLimit,
    /// What the folders and the whole disk had when they were counted last, and when.
    last: Option<(u64, u64, Instant)>,
    count: Option<Count>,
}

impl Disk {
    fn new(limit: DiskLimit) -> Disk {
        Disk { limit, last: None, count: None }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        let used = self.used();
        if self.count.is_none() && self.is_due(used, now) {
            self.count = Some(Count::of(self.limit.folders.clone(), used));
        }
        let Some(count) = &mut self.count else { return false };
        let most = self.limit.most.bytes();
        let is_whole = count.go_on(now + STRETCH, most);
        let (bytes, used) = (count.bytes, count.used);
        if is_whole {
            self.last = Some((bytes, used, now));
            self.count = None;
        }
        bytes > most
    }

    fn is_due(&self, used: u64, now: Instant) -> bool {
        self.last.is_none_or(|(bytes, used_then, at)| {
            let left = self.limit.most.bytes().saturating_sub(bytes);
            used.saturating_sub(used_then) >= left / 2 || now >= at + COUNTED_EVERY
        })
    }

    /// What of the disk is used, by whomever.
    fn used(&self) -> u64 {
        let disk = self.limit.folders.first().and_then(|folder| statvfs(folder).ok());
        disk.map_or(0, |disk| disk.f_blocks.saturating_sub(disk.f_bfree) * disk.f_frsize)
    }
}

/// A count of files that is under way.
#[derive(Debug)]
struct Count {
    left: Vec<PathBuf>,
    reading: Option<ReadDir>,
    /// Files that have more than one name.
    seen: HashSet<(u64, u64)>,
    bytes: u64,
    used: u64,
}

impl Count {
    fn of(left: Vec<PathBuf>, used: u64) -> Count {
        Count { left, reading: None, seen: HashSet::new(), bytes: 0, used }
    }

    /// Counts until then, or until it is more than `most`; tells whether nothing is left to count.
    fn go_on(&mut self, until: Instant, most: u64) -> bool {
        while self.bytes <= most && Instant::now() < until {
            let Some(entry) = self.reading.as_mut().and_then(Iterator::next) else {
                let Some(folder) = self.left.pop() else { return true };
                self.reading = fs::read_dir(folder).ok();
                continue;
            };
            // What has gone meanwhile takes nothing.
            let Some((entry, about)) = entry.ok().and_then(|entry| {
                let about = entry.metadata().ok()?;
                Some((entry, about))
            }) else {
                continue;
            };
            if about.is_dir() {
                self.left.push(entry.path());
            }
            if about.is_dir() || about.nlink() == 1 || self.seen.insert((about.dev(), about.ino()))
            {
                self.bytes = self.bytes.saturating_add((about.blocks() * 512).max(LEAST));
            }
        }
        self.bytes > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Mebibytes;

    fn far() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[test]
    fn a_file_of_two_names_is_counted_once_and_an_empty_one_is_not_free() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("a/b");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("one"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
        std::os::unix::fs::symlink("/", folder.join("root")).unwrap();
        fs::write(folder.join("empty"), "").unwrap();
        let mut count = Count::of(vec![room.path().to_owned()], 0);
        assert!(count.go_on(far(), u64::MAX));
        // Two folders, a link and the empty file.
        assert_eq!(count.bytes, (1 << 20) + 4 * LEAST);
    }

    #[test]
    fn folders_are_counted_again_when_so_much_was_written_that_they_could_be_over() {
        let limit = DiskLimit { most: Mebibytes(10), folders: Vec::new() };
        let now = Instant::now();
        let mut disk = Disk::new(limit);
        assert!(disk.is_due(0, now));
        disk.last = Some((2 << 20, 100 << 20, now));
        assert!(!disk.is_due(103 << 20, now));
        assert!(disk.is_due(104 << 20, now));
        assert!(disk.is_due(90 << 20, now + COUNTED_EVERY));
    }

    #[test]
    fn this_process_takes_memory_and_a_thread() {
        let taken = Taken::of(rustix::process::getpid().as_raw_pid()).unwrap();
        assert!(taken.bytes > 0 && taken.threads > 0);
        assert!(own_share(rustix::process::getpid().as_raw_pid()).unwrap() > 0);
    }
}
