//! Logs of processes: written a line at a time with the time before each, bounded, and read back in
//! order.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use rowhouse_core::harmless;

/// A line longer than this (bytes) is broken.
const LONGEST_LINE: usize = 16 * 1024;
/// How much of a file's end is read for its last lines.
const TAIL: u64 = 1 << 20;

/// Writes a log. A disk that is full loses lines, and never stops the app.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
    partial: Vec<u8>,
}

impl LogWriter {
    /// Appends to `path`; at half of `limit` bytes it becomes `path.1`, in place of the one before.
    pub(crate) fn open(path: &Path, limit: u64) -> LogWriter {
        let mut log =
            LogWriter { path: path.to_owned(), limit, file: None, size: 0, partial: Vec::new() };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path).ok();
        self.size =
            file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
        self.file = file;
    }

    /// Takes output as it comes, in pieces of any size.
    pub(crate) fn write(&mut self, output: &[u8]) {
        let mut text = Vec::with_capacity(output.len() + 64);
        for piece in output.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LONGEST_LINE {
                self.end_line(&mut text);
            }
        }
        self.append(&text);
    }

    /// Writes the line that has no end yet.
    pub(crate) fn flush(&mut self) {
        if !self.partial.is_empty() {
            let mut text = Vec::new();
            self.end_line(&mut text);
            self.append(&text);
        }
    }

    fn end_line(&mut self, text: &mut Vec<u8>) {
        let line = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A Vec takes all that is written.
        let _ = write!(text, "{} ", time(Timestamp::now()));
        text.extend_from_slice(line);
        text.push(b'\n');
        self.partial.clear();
    }

    fn append(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        if self.size + text.len() as u64 > self.limit / 2 {
            let _ = fs::rename(&self.path, rotated(&self.path));
            self.reopen();
        }
        let Some(file) = &mut self.file else { return self.reopen() };
        if file.write_all(text).is_ok() {
            self.size += text.len() as u64;
        }
    }
}

/// As it stands before a line: to the millisecond, and sorted as text.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogLine {
    /// RFC 3339, to the millisecond; it sorts as text.
    pub at: String,
    /// Which process: the log's name without its ending.
    pub source: String,
    pub text: String,
}

fn parse(source: &str, line: &str) -> Option<LogLine> {
    let (at, text) = line.split_once(' ')?;
    Some(LogLine { at: at.to_owned(), source: source.to_owned(), text: text.to_owned() })
}

fn source(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".1").trim_end_matches(".log").to_owned()
}

/// The logs in a folder, the rotated ones included.
pub fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Path::new(name.trim_end_matches(".1")).extension().is_some_and(|end| end == "log")
        })
        .collect();
    found.sort();
    found
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if length > TAIL {
        // The first line is cut somewhere.
        let cut = text.find('\n').map_or(text.len(), |end| end + 1);
        text.drain(..cut);
    }
    Ok(text)
}

/// The last lines of several logs, in order of time.
pub fn tail(paths: &[PathBuf], lines: usize) -> Vec<LogLine> {
    let mut all: Vec<LogLine> = paths
        .iter()
        .filter_map(|path| Some((source(path), end_of(path).ok()?)))
        .flat_map(|(source, text)| {
            let lines: Vec<LogLine> =
                text.lines().filter_map(|line| parse(&source, line)).collect();
            lines
        })
        .collect();
    // Stable: lines of one process in one millisecond stay in order.
    all.sort_by(|one, other| one.at.cmp(&other.at));
    let surplus = all.len().saturating_sub(lines);
    all.drain(..surplus);
    all
}

/// The last lines of one log since a process began, for a reason: short, and without anything that
/// could drive a terminal. What was tried before has written into the same log.
pub fn last_lines(path: &Path, since: Timestamp, lines: usize) -> Vec<String> {
    let since = time(since);
    tail(&[rotated(path), path.to_owned()], lines)
        .into_iter()
        .filter(|line| line.at >= since)
        .map(|line| harmless(&line.text).chars().take(200).collect())
        .filter(|line: &String| !line.trim().is_empty())
        .collect()
}

/// The last lines of a log since a process began, as the end of a reason.
pub(crate) fn last_words(path: &Path, since: Timestamp) -> String {
    let lines = last_lines(path, since, 5);
    if lines.is_empty() { String::new() } else { format!("; last output: {}", lines.join(" | ")) }
}

/// Follows the logs of a folder: each call tells the whole lines that came since the one before.
#[derive(Debug)]
pub struct Follow {
    folder: PathBuf,
    /// How far each file was read; a rotated file keeps its identity, not its name, and a number of
    /// a file that is gone may be used again.
    read: BTreeMap<(u64, Option<SystemTime>), u64>,
}

impl Follow {
    /// Begins at the present end of every log.
    pub fn from_end(folder: &Path) -> Follow {
        let mut follow = Follow { folder: folder.to_owned(), read: BTreeMap::new() };
        follow.news();
        follow
    }

    /// The lines that are new, in order of time.
    pub fn news(&mut self) -> Vec<LogLine> {
        use std::os::unix::fs::MetadataExt as _;
        let mut lines = Vec::new();
        for path in logs(&self.folder) {
            let Ok(mut file) = File::open(&path) else { continue };
            let Ok(inode) = file.metadata().map(|data| (data.ino(), data.created().ok())) else {
                continue;
            };
            let from = self.read.get(&inode).copied().unwrap_or(0);
            let mut bytes = Vec::new();
            if file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut bytes)).is_err()
            {
                continue;
            }
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            self.read.insert(inode, from + whole as u64);
            let source = source(&path);
            let text = String::from_utf8_lossy(&bytes[..whole]).into_owned();
            lines.extend(text.lines().filter_map(|line| parse(&source, line)));
        }
        lines.sort_by(|one, other| one.at.cmp(&other.at));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_outgrows_its_limit_and_keeps_the_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 20_000);
        for number in 0..5_000 {
            log.write(format!("line {number}\n").as_bytes());
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) + size(&rotated(&path)) <= 20_000);
        assert_eq!(last_lines(&path, Timestamp::MIN, 2), ["line 4998", "line 4999"]);
    }

    #[test]
    fn output_in_pieces_is_put_together_to_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 20_000);
        for piece in ["one", " line\r\ntwo", "\n", "no end"] {
            log.write(piece.as_bytes());
        }
        log.flush();
        assert_eq!(last_lines(&path, Timestamp::MIN, 9), ["one line", "two", "no end"]);
    }

    #[test]
    fn a_follower_is_told_each_line_once_also_over_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 400);
        log.write(b"before\n");
        let mut follow = Follow::from_end(folder.path());
        let mut told = Vec::new();
        for number in 0..50 {
            log.write(format!("{number}\n").as_bytes());
            told.extend(follow.news().into_iter().map(|line| line.text));
        }
        assert_eq!(told, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
