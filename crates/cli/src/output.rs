//! The one place that prints: answers to stdout, all else to stderr. A reader who has gone away is no error.
#![expect(clippy::exit, reason = "it is what this file is for")]

use std::io::{IsTerminal as _, Write as _};

use rowhouse_machine::log::harmless;

/// A line of the answer.
pub(crate) fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // `rowhouse ls | head -1` is a success.
        let gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        std::process::exit(if gone { 0 } else { 2 });
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
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What went wrong.
pub(crate) fn problem(text: &str) {
    let (on, off) = if colours() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    note(&format!("{on}error{off}: {text}"));
}

/// What to type next.
pub(crate) fn hint(text: &str) {
    let (on, off) = if colours() { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    note(&format!("{on}hint{off}: {text}"));
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A table without frames, as wide as the terminal, or as its contents in a pipe.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    }
    table.set_header(head.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| harmless(cell)));
    }
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    for text in table.lines() {
        line(text.trim_end());
    }
}

/// Leaves at once, because somebody asked twice.
pub(crate) fn leave() -> ! {
    std::process::exit(130)
}
