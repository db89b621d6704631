//! Logs of processes: written a line at a time with the time before each, bounded, and read back in
//! order.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::process::cause::secrets::Secrets;
use crate::process::cause::{self, OutputLine, Words};

/// A line longer than this (bytes) is broken.
const LONGEST_LINE: usize = 16 * 1024;
/// How much of a file is read at once, from its end on.
const BLOCK: u64 = 256 << 10;

/// Writes a log, as it comes: also a line that has no end yet. A disk that is full loses lines, and
/// never stops the app.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
    /// Bytes of the line that has begun, and has no end yet.
    begun: Option<usize>,
    /// The part of a letter, or of a line's end.
    held: Vec<u8>,
}

impl LogWriter {
    /// Appends to `path`; at half of `limit` bytes it becomes `path.1`, in place of the one before.
    pub(crate) fn open(path: &Path, limit: u64) -> LogWriter {
        let mut log = LogWriter {
            path: path.to_owned(),
            limit,
            file: None,
            size: 0,
            begun: None,
            held: Vec::new(),
        };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600);
        self.begun = None;
        self.size = 0;
        self.file = options.open(&self.path).ok();
        let Some(file) = &mut self.file else { return };
        self.size = file.metadata().map_or(0, |data| data.len());
        // Whoever wrote before may have been killed within a line, or had no room for its end.
        let mut last = [b'\n'];
        let is_whole = self.size == 0
            || file.read_exact_at(&mut last, self.size - 1).is_err()
            || last == *b"\n";
        if !is_whole && file.write_all(b"\n").is_ok() {
            self.size += 1;
        }
    }

    /// Takes output as it comes, in pieces of any size.
    pub(crate) fn write(&mut self, output: &[u8]) {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(output);
        self.held = bytes.split_off(bytes.len() - unfinished(&bytes));
        self.put(&bytes);
    }

    /// Ends the line that has no end yet: nothing more comes.
    pub(crate) fn flush(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.put(&held);
        if self.begun.is_some() {
            self.put(b"\n");
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let goes_on = self.begun.is_some();
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let end = piece.strip_suffix(b"\n");
            let mut line = end.map_or(piece, |line| line.strip_suffix(b"\r").unwrap_or(line));
            while let Some(room) = self.room_that_lacks(line) {
                let (part, rest) = line.split_at(room);
                self.add(&mut text, part);
                self.end_line(&mut text);
                line = rest;
            }
            self.add(&mut text, line);
            if end.is_some() {
                self.end_line(&mut text);
            }
        }
        self.append(text, goes_on);
    }

    /// Where the rest of a line must be broken for its length, which is never inside a letter.
    fn room_that_lacks(&self, line: &[u8]) -> Option<usize> {
        let room = LONGEST_LINE.saturating_sub(self.begun.unwrap_or(0));
        (line.len() > room).then(|| {
            let is_inside = |at: &usize| line[*at] & 0xC0 == 0x80;
            // What is no text is broken anywhere.
            (room.saturating_sub(3)..=room).rev().find(|at| !is_inside(at)).unwrap_or(room)
        })
    }

    fn add(&mut self, text: &mut Vec<u8>, part: &[u8]) {
        if self.begun.is_none() {
            // A Vec takes all that is written.
            let _ = write!(text, "{} ", time(Timestamp::now()));
        }
        text.extend_from_slice(part);
        self.begun = Some(self.begun.unwrap_or(0) + part.len());
    }

    fn end_line(&mut self, text: &mut Vec<u8>) {
        text.push(b'\n');
        self.begun = None;
    }

    fn append(&mut self, mut text: Vec<u8>, goes_on: bool) {
        if text.is_empty() {
            return;
        }
        if self.size + text.len() as u64 >= self.limit / 2 {
            let begun = self.begun;
            if goes_on {
                // The line is broken here, for each file has whole lines.
                if let Some(file) = &mut self.file {
                    let _ = file.write_all(b"\n");
                }
                text.splice(0..0, format!("{} ", time(Timestamp::now())).into_bytes());
            }
            let _ = fs::rename(&self.path, rotated(&self.path));
            self.reopen();
            self.begun = begun;
        }
        let Some(file) = &mut self.file else { return self.reopen() };
        if file.write_all(&text).is_ok() {
            self.size += text.len() as u64;
        } else {
            // Nobody knows how much of it is there.
            self.reopen();
        }
    }
}

/// How many bytes at the end belong to what comes next: a letter that is cut, or a carriage return,
/// which may be half the end of a line.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    let tail = bytes.iter().rev().take(3).enumerate();
    for (index, byte) in tail {
        let length = match byte {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0x00..=0x7F | 0xF8..=0xFF => 0,
        };
        return if length > index + 1 { index + 1 } else { 0 };
    }
    0
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

/// The logs in a folder, each after the rotated half that came before it.
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
    let is_newer = |path: &Path| path.extension().is_none_or(|end| end != "1");
    found.sort_by_key(|path| (source(path), is_newer(path)));
    found
}

/// The end of a file, from the beginning of a line on: at least so many lines, where it has them.
fn end_of(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut begin = file.metadata()?.len();
    let (mut blocks, mut ends) = (Vec::new(), 0);
    while begin > 0 && ends <= lines {
        let size = BLOCK.min(begin);
        begin -= size;
        file.seek(SeekFrom::Start(begin))?;
        let mut block = Vec::new();
        (&mut file).take(size).read_to_end(&mut block)?;
        ends += block.split(|byte| *byte == b'\n').count() - 1;
        blocks.push(block);
    }
    blocks.reverse();
    let bytes = blocks.concat();
    // The first line is cut somewhere.
    let cut = if begin > 0 { bytes.iter().position(|byte| *byte == b'\n') } else { None };
    Ok(String::from_utf8_lossy(&bytes[cut.map_or(0, |end| end + 1)..]).into_owned())
}

/// The last lines of several logs, in order of time: all, where there are not so many.
pub fn tail(paths: &[PathBuf], lines: usize) -> Vec<LogLine> {
    let mut all: Vec<LogLine> = paths
        .iter()
        .filter_map(|path| Some((source(path), end_of(path, lines).ok()?)))
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

/// What of its log a process's reason is made from (bytes).
const LOOKED_AT: u64 = 64 << 10;

/// The end of the output of a process, written to `path` since it began. What was tried before has
/// written into the same log.
fn output(path: &Path, since: Timestamp) -> Vec<OutputLine> {
    let since = time(since);
    let ends = [rotated(path), path.to_owned()].map(|path| end_within(&path, LOOKED_AT));
    let text = ends.into_iter().flatten().collect::<String>();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(at, _)| *at >= since.as_str())
        .filter_map(|(at, text)| {
            let at = at.parse::<Timestamp>().ok()?.as_millisecond();
            Some(OutputLine { at, text: text.to_owned() })
        })
        .collect()
}

/// The last `most` bytes of a file, from the beginning of a line on.
fn end_within(path: &Path, most: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let begin = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let cut = if begin > 0 { bytes.iter().position(|byte| *byte == b'\n') } else { None };
    Ok(String::from_utf8_lossy(&bytes[cut.map_or(0, |end| end + 1)..]).into_owned())
}

/// What the output of a process that ran in `folder`, as its log has it since it began, says of
/// why it failed, but for `secrets`: the end of a reason.
pub(crate) fn words(path: &Path, since: Timestamp, folder: &Path, secrets: &Secrets) -> Words {
    cause::words(&output(path, since), folder, secrets)
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
        let lines = output(&path, Timestamp::MIN);
        assert_eq!(lines.last().map(|line| line.text.as_str()), Some("line 4999"));
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
        assert_eq!(written(&folder), ["one line", "two", "no end"]);
    }

    fn written(folder: &tempfile::TempDir) -> Vec<String> {
        let lines = tail(&logs(folder.path()), usize::MAX);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_line_that_has_no_end_yet_is_shown_as_far_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 20_000);
        let euro = "\u{20ac}".as_bytes();
        log.write(b"first\nLoading ");
        assert_eq!(written(&folder), ["first", "Loading "]);
        log.write(&euro[..2]);
        assert_eq!(written(&folder), ["first", "Loading "]);
        log.write(&euro[2..]);
        log.write(b"5\r");
        assert_eq!(written(&folder), ["first", "Loading \u{20ac}5"]);
        log.write(b"\nnext");
        assert_eq!(written(&folder), ["first", "Loading \u{20ac}5", "next"]);
        // Whoever writes on after a kill begins a line of its own.
        let mut log = LogWriter::open(&path, 20_000);
        log.write(b"after\n");
        assert_eq!(written(&folder), ["first", "Loading \u{20ac}5", "next", "after"]);
    }

    #[test]
    fn a_long_line_is_broken_between_letters_however_it_comes() {
        for size in [1, 7, 1_000, 16_384, 100_000] {
            let folder = tempfile::tempdir().unwrap();
            let mut log = LogWriter::open(&folder.path().join("a.log"), 1 << 20);
            let line = format!("x{}", "\u{20ac}".repeat(20_000));
            for piece in format!("{line}\n").as_bytes().chunks(size) {
                log.write(piece);
            }
            let found = written(&folder);
            assert_eq!(found.len(), 4, "{size}");
            assert!(found.iter().all(|part| part.len() <= LONGEST_LINE), "{size}");
            assert_eq!(found.concat(), line, "{size}");
        }
    }

    #[test]
    fn what_is_no_text_is_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 1 << 20);
        log.write(&vec![0x80; 40_000]);
        log.flush();
        let kept = fs::read(&path).unwrap().into_iter().filter(|byte| *byte == 0x80).count();
        assert_eq!(kept, 40_000);
    }

    #[test]
    fn all_lines_are_told_to_who_asks_for_more_than_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 12 << 20);
        let line = |number| format!("{number:06} {}", "x".repeat(90));
        for number in 0..60_000 {
            log.write(format!("{}\n", line(number)).as_bytes());
        }
        assert!(rotated(&path).exists());
        let all: Vec<String> = (0..60_000).map(line).collect();
        assert_eq!(written(&folder), all);
        let last: Vec<String> =
            tail(&logs(folder.path()), 40_000).into_iter().map(|line| line.text).collect();
        assert_eq!(last, all[20_000..]);
    }

    #[test]
    fn a_line_in_pieces_that_no_file_has_room_for_is_lost_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogWriter::open(&path, 4_000);
        let mut all = String::new();
        for number in 0..900 {
            log.write(format!("{number}.").as_bytes());
            all += &number.to_string();
            all.push('.');
        }
        log.flush();
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) + size(&rotated(&path)) <= 4_000);
        assert_eq!(written(&folder).concat(), all);
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
