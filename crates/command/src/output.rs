//! The one place that prints: answers to stdout, all else to stderr. A reader who has gone away is
//! no error.
#![expect(clippy::exit, reason = "it is what this file is for")]

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use crate::failure::{BadInput, Exit};
use crate::layout;
use crate::outlet::Outlet;

/// The streams of a program that works on.
static OUTLETS: OnceLock<Outlets> = OnceLock::new();

struct Outlets {
    stdout: Outlet,
    /// `None`: it is the same file, such as a terminal, whose lines have one order.
    stderr: Option<Outlet>,
}

impl Outlets {
    fn stderr(&self) -> &Outlet {
        self.stderr.as_ref().unwrap_or(&self.stdout)
    }
}

/// From now on nobody is waited for who does not read: there are apps to run.
pub fn work_on() -> io::Result<()> {
    let is_one = is_same_file(io::stdout(), io::stderr());
    let stderr = if is_one { None } else { Some(Outlet::new(io::stderr())?) };
    let outlets = Outlets { stdout: Outlet::new(io::stdout())?, stderr };
    // Those of an earlier call do as well.
    let _ = OUTLETS.set(outlets);
    Ok(())
}

/// Waits a moment for the last lines to be read.
pub fn finish() {
    if let Some(outlets) = OUTLETS.get() {
        outlets.stdout.finish();
        if let Some(stderr) = &outlets.stderr {
            stderr.finish();
        }
    }
}

/// Whether what is written into the one stands between what is written into the other.
fn is_same_file(one: impl AsFd, other: impl AsFd) -> bool {
    let place = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let places = [rustix::fs::fstat(one).map(place), rustix::fs::fstat(other).map(place)];
    matches!(places, [Ok(one), Ok(other)] if one == other)
}

/// A line of the answer.
pub fn line(text: &str) {
    if OUTLETS.get().is_some() {
        return announce(text);
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // `rowhouse ls | head -1` is a success.
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        problem(&format!("cannot write the answer: {error}"));
        std::process::exit(2);
    }
}

/// A line of a program that works on, whether or not somebody still reads.
pub fn announce(text: &str) {
    let line = format!("{text}\n");
    if let Some(outlets) = OUTLETS.get() {
        outlets.stdout.say(line.as_bytes());
    } else {
        let mut stdout = io::stdout().lock();
        // Where stdout is gone there is nobody to tell, and apps to run.
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// One JSON document, or one object of a stream.
pub fn json(value: &serde_json::Value, pretty: bool) {
    let text =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    line(&text.expect("a JSON value has a text"));
}

/// What goes on meanwhile.
pub fn note(text: &str) {
    aside(&layout::hanging("", text, width(io::stderr())).join("\n"));
}

/// Lines on stderr.
fn aside(lines: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = Stderr.write_all(format!("{lines}\n").as_bytes());
}

/// Stderr for lines that come whole.
#[derive(Debug)]
pub struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match OUTLETS.get() {
            Some(outlets) => {
                outlets.stderr().say(lines);
                Ok(lines.len())
            }
            None => io::stderr().write(lines),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What went wrong.
pub fn problem(text: &str) {
    labelled("error", "1;31", text);
}

/// Tells an error once, with its causes and what to type next, and whose failure it is.
pub fn failed(error: &anyhow::Error) -> Exit {
    problem(&clean(&format!("{error:#}")));
    let Some(input) = error.downcast_ref::<BadInput>() else { return Exit::Ours };
    if let Some(text) = &input.hint {
        hint(text);
    }
    Exit::Yours
}

/// What somebody should know before they rely on the rest.
pub fn warning(text: &str) {
    labelled("warning", "1;33", text);
}

/// What to type next.
pub fn hint(text: &str) {
    labelled("hint", "1", text);
}

fn labelled(label: &str, colour: &str, text: &str) {
    let plain = format!("{label}:");
    let lines = layout::hanging("", &format!("{plain} {text}"), width(io::stderr())).join("\n");
    if has_colours(io::stderr().is_terminal()) {
        let rest = lines.strip_prefix(&plain).unwrap_or(&lines);
        aside(&format!("\u{1b}[{colour}m{label}\u{1b}[0m:{rest}"));
    } else {
        aside(&lines);
    }
}

/// Whether to use colour on a stream, <https://no-color.org>.
pub fn has_colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What the argument parser has to say: help on stdout, trouble on stderr.
pub fn usage(error: &clap::Error) {
    // As everywhere: a reader who has gone away is no error.
    let _ = error.print();
}

/// A text of somebody else's on one line: nothing in it drives a terminal, hides, or turns the line
/// around.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in rowhouse_core::harmless(&text.replace('\n', " ")).chars() {
        match letter {
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                write!(clean, "\\u{{{:x}}}", u32::from(letter)).expect("a String takes all text");
            }
            letter => clean.push(letter),
        }
    }
    clean
}

/// The beginning of a text, with a sign where something was cut.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// A text as a shell takes it for one word.
pub fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A table without frames. Where a terminal is too narrow for it, the last columns go below their
/// row: a word that is broken, such as a URL, can be neither read nor copied.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|name| name.to_uppercase()).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    for text in layout::table_lines(&head, &rows, width(io::stdout())) {
        line(&text);
    }
}

/// One line of a list of names and texts; in a terminal as many as the text takes, each ending
/// between words.
pub fn field(name: &str, text: &str) {
    const COLUMN: usize = 15;
    hanging(&format!("{name:COLUMN$}"), text);
}

/// A text behind its head, in a terminal on as many lines as it takes.
pub fn hanging(head: &str, text: &str) {
    for text in layout::hanging(head, text, width(io::stdout())) {
        line(&text);
    }
}

/// How many letters a line may have.
fn width(stream: impl AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(stream);
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(usize::MAX)
}

/// Leaves at once, because somebody pressed Ctrl-C.
pub fn leave() -> ! {
    std::process::exit(130)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_of_a_shell() {
        assert_eq!(quoted("/srv/a-b_c.d"), "/srv/a-b_c.d");
        assert_eq!(quoted("it's $(id)"), r"'it'\''s $(id)'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn nothing_of_somebody_elses_text_drives_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{7}\u{9b}31m"), "ab c31m");
        assert_eq!(clean("abc\u{202e}def"), "abc\\u{202e}def");
    }

    #[test]
    fn two_streams_into_one_file_are_known_as_one() {
        let file = tempfile::tempfile().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        assert!(is_same_file(&file, file.try_clone().unwrap()));
        assert!(is_same_file(&writer, writer.try_clone().unwrap()));
        assert!(!is_same_file(&file, &writer));
        drop(reader);
    }

    #[test]
    fn a_long_text_shows_that_it_was_cut() {
        assert_eq!(cut("größe", 4), "größ…");
        assert_eq!(cut("größe", 5), "größe");
    }
}
