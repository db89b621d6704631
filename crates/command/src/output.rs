//! The one place that prints: answers to stdout, all else to stderr. A reader who has gone away is
//! no error.
#![expect(clippy::exit, reason = "it is what this file is for")]

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use crate::failure::{BadInput, Exit};
use crate::outlet::Outlet;

/// Stdout and stderr of a program that works on.
static OUTLETS: OnceLock<[Outlet; 2]> = OnceLock::new();

/// From now on nobody is waited for who does not read: there are apps to run.
pub fn work_on() -> io::Result<()> {
    let outlets = [Outlet::new(io::stdout())?, Outlet::new(io::stderr())?];
    // Those of an earlier call do as well.
    let _ = OUTLETS.set(outlets);
    Ok(())
}

/// Waits a moment for the last lines to be read.
pub fn finish() {
    OUTLETS.get().into_iter().flatten().for_each(Outlet::finish);
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
    if let Some([stdout, _]) = OUTLETS.get() {
        stdout.say(line.as_bytes());
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
    // Where stderr is gone there is nobody to tell.
    let _ = Stderr.write_all(format!("{text}\n").as_bytes());
}

/// Stderr for lines that come whole.
#[derive(Debug)]
pub struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match OUTLETS.get() {
            Some([_, stderr]) => {
                stderr.say(lines);
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
    if has_colours(io::stderr().is_terminal()) {
        note(&format!("\u{1b}[{colour}m{label}\u{1b}[0m: {text}"));
    } else {
        note(&format!("{label}: {text}"));
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
    for text in table_lines(&head, &rows, width()) {
        line(&text);
    }
}

/// One line of a list of names and texts; in a terminal as many as the text takes, each ending
/// between words.
pub fn field(name: &str, text: &str) {
    const COLUMN: usize = 15;
    let mut name = name;
    for part in wrapped(text, width().saturating_sub(COLUMN)) {
        line(&format!("{name:14} {part}"));
        name = "";
    }
}

/// How many letters a line of the answer may have.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(usize::MAX)
}

/// What stands between two columns.
const GAP: &str = "  ";
/// What stands before that which goes below a row.
const INDENT: &str = "    ";

fn table_lines(head: &[String], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let (mut columns, mut above) = (head.len(), aligned(head, rows, head.len()));
    while columns > 1 && above.1 > width {
        columns -= 1;
        above = aligned(head, rows, columns);
    }
    let mut above = above.0.into_iter();
    let mut lines: Vec<String> = above.next().into_iter().collect();
    for (line, row) in above.zip(rows) {
        lines.push(line);
        let below: Vec<&str> =
            row[columns..].iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        if !below.is_empty() {
            let parts = wrapped(&below.join(" "), width.saturating_sub(INDENT.len()));
            lines.extend(parts.iter().map(|part| format!("{INDENT}{part}")));
        }
    }
    lines
}

/// The first columns as lines, the head among them, and how wide the widest may be.
fn aligned(head: &[String], rows: &[Vec<String>], columns: usize) -> (Vec<String>, usize) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(&head[..columns]);
    for row in rows {
        table.add_row(&row[..columns]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, u16::try_from(GAP.len()).unwrap_or(0)));
    }
    let widths = table.column_max_content_widths();
    let width = widths.iter().map(|width| usize::from(*width) + GAP.len()).sum::<usize>();
    let lines = table.lines().map(|line| line.trim_end().to_owned()).collect();
    (lines, width.saturating_sub(GAP.len()))
}

/// A text on lines that end between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
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

    fn lines_of(width: usize) -> Vec<String> {
        let of = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [
            of(["shop", "deployed", "http://shop.localhost:8080"]),
            of(["a-much-longer-name", "deployed", ""]),
        ];
        table_lines(&of(["NAME", "STATUS", "URL"]), &rows, width)
    }

    #[test]
    fn a_table_that_fits_is_a_table() {
        let whole = [
            "NAME                STATUS    URL",
            "shop                deployed  http://shop.localhost:8080",
            "a-much-longer-name  deployed",
        ];
        assert_eq!(lines_of(usize::MAX), whole);
        assert_eq!(lines_of(56), whole);
    }

    #[test]
    fn no_word_of_a_table_is_broken_however_narrow_it_is() {
        assert_eq!(
            lines_of(55),
            [
                "NAME                STATUS",
                "shop                deployed",
                "    http://shop.localhost:8080",
                "a-much-longer-name  deployed",
            ]
        );
        assert_eq!(
            lines_of(20),
            [
                "NAME",
                "shop",
                "    deployed",
                "    http://shop.localhost:8080",
                "a-much-longer-name",
                "    deployed",
            ]
        );
        assert_eq!(wrapped("as  it  is", usize::MAX), ["as  it  is"]);
        assert_eq!(wrapped("out of luck; exit status 3", 12), ["out of luck;", "exit status", "3"]);
    }

    #[test]
    fn a_long_text_shows_that_it_was_cut() {
        assert_eq!(cut("größe", 4), "größ…");
        assert_eq!(cut("größe", 5), "größe");
    }
}
