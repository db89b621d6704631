//! The one place that prints: answers to stdout, all else to stderr. A reader who has gone away is no error.
#![expect(clippy::exit, reason = "it is what this file is for")]

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use crate::outlet::Outlet;

/// Stdout and stderr of a program that works on.
static OUTLETS: OnceLock<[Outlet; 2]> = OnceLock::new();

/// From now on nobody is waited for who does not read: there are apps to run.
pub(crate) fn work_on() -> io::Result<()> {
    let outlets = [Outlet::new(io::stdout())?, Outlet::new(io::stderr())?];
    // Those of an earlier call do as well.
    let _ = OUTLETS.set(outlets);
    Ok(())
}

/// Waits a moment for the last lines to be read.
pub(crate) fn finish() {
    OUTLETS.get().into_iter().flatten().for_each(Outlet::finish);
}

/// A line of the answer.
pub(crate) fn line(text: &str) {
    if OUTLETS.get().is_some() {
        return announce(text);
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // `rowhouse ls | head -1` is a success.
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        std::process::exit(if gone { 0 } else { 2 });
    }
}

/// A line of a program that works on, whether or not somebody still reads.
pub(crate) fn announce(text: &str) {
    let line = format!("{text}\n");
    match OUTLETS.get() {
        Some([stdout, _]) => stdout.say(line.as_bytes()),
        None => {
            let mut stdout = io::stdout().lock();
            // Where stdout is gone there is nobody to tell, and apps to run.
            let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
        }
    }
}

/// One JSON document, or one object of a stream.
pub(crate) fn json(value: &serde_json::Value, pretty: bool) {
    let text =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    line(&text.expect("a JSON value has a text"));
}

/// What goes on meanwhile.
pub(crate) fn note(text: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = Stderr.write_all(format!("{text}\n").as_bytes());
}

/// Stderr for lines that come whole.
#[derive(Debug)]
pub(crate) struct Stderr;

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
pub(crate) fn problem(text: &str) {
    labelled("error", "1;31", text);
}

/// What somebody should know before they rely on the rest.
pub(crate) fn warning(text: &str) {
    labelled("warning", "1;33", text);
}

/// What to type next.
pub(crate) fn hint(text: &str) {
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
pub(crate) fn has_colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What the argument parser has to say: help on stdout, trouble on stderr.
pub(crate) fn usage(error: &clap::Error) {
    // As everywhere: a reader who has gone away is no error.
    let _ = error.print();
}

/// A text of somebody else's on one line: nothing in it drives a terminal, hides, or turns the line around.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in rowhouse_machine::log::harmless(&text.replace('\n', " ")).chars() {
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
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// A table without frames, as wide as the terminal, or as its contents in a pipe.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout())
        && size.ws_col > 0
    {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table.set_width(size.ws_col);
    }
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell)));
    }
    for column in 0..head.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_padding((0, 2));
        }
    }
    for text in table.lines() {
        line(text.trim_end());
    }
}

/// Leaves at once, because somebody asked twice.
pub(crate) fn leave() -> ! {
    std::process::exit(130)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_somebody_elses_text_drives_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{7}\u{9b}31m"), "ab c31m");
        assert_eq!(clean("abc\u{202e}def"), "abc\\u{202e}def");
    }

    #[test]
    fn a_long_text_shows_that_it_was_cut() {
        assert_eq!(cut("größe", 4), "größ…");
        assert_eq!(cut("größe", 5), "größe");
    }
}
