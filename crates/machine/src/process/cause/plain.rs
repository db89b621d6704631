//! What looks like a complaint, whoever makes it.

use crate::process::cause::found::{Found, bare, is_passed_on};

/// So many lines after the first of a complaint belong to it.
const MORE: usize = 3;
/// How far the lines of one burst of complaints are from each other.
const APART: usize = 20;

/// Lines that call themselves errors, as cargo, uv, bun, pip, yarn, PHP and most others write
/// them: <https://rustc-dev-guide.rust-lang.org/diagnostics.html>,
/// <https://pip.pypa.io/en/stable/cli/pip/>
pub(crate) fn labelled(lines: &[String]) -> Option<Found> {
    let is_head = |line: &String| {
        let text = line.as_str();
        LABELS.iter().any(|label| text.starts_with(label)) && !is_passed_on(text)
    };
    let last = lines.iter().rposition(is_head)?;
    let mut begin = last;
    while let Some(before) =
        (begin.saturating_sub(APART)..begin).find(|&line| is_head(&lines[line]))
    {
        begin = before;
    }
    let heads: Vec<usize> = (begin..=last).filter(|&line| is_head(&lines[line])).collect();
    let mut told: Vec<String> = heads.iter().take(3).map(|&head| with_place(lines, head)).collect();
    let mut end = last;
    if heads.len() == 1 {
        let more = lines[last + 1..].iter().take(MORE).take_while(|line| is_more(line));
        told.extend(more.map(|line| bare(line).to_owned()));
        end += told.len() - 1;
    }
    if let Some(conflict) = lines.iter().rposition(|line| line == "The conflict is caused by:") {
        let sides = lines[conflict + 1..].iter().take_while(|line| line.starts_with(' '));
        told.extend(sides.map(|line| line.trim().to_owned()));
    }
    told.sort_by_key(|line| line.contains(VERSIONS));
    Some(Found { end, lines: told })
}

const LABELS: [&str; 16] = [
    "error: ",
    "error[",
    "error ",
    "Error: ",
    "ERROR: ",
    "ERROR ",
    "fatal: ",
    "Fatal: ",
    "FATAL: ",
    "FATAL ERROR: ",
    "Fatal error: ",
    "PHP Fatal error: ",
    "PHP Parse error: ",
    "Usage Error: ",
    "Internal Error: ",
    "AssertionError",
];
/// Where pip lists all versions that there are, the oldest first.
const VERSIONS: &str = " (from versions: ";

fn is_more(line: &str) -> bool {
    let text = bare(line);
    let ends = [
        "hint",
        "help",
        "= note",
        "-->",
        "For more information",
        "info Visit",
        "^",
        "-----",
        "#",
        "Stack trace:",
        "thrown in ",
    ];
    !text.is_empty() && !ends.iter().any(|end| text.starts_with(end)) && !is_passed_on(text)
}

/// A complaint with the place that rustc names below it, and without the oldest versions.
fn with_place(lines: &[String], head: usize) -> String {
    let text = lines[head].as_str();
    let place = lines.get(head + 1).and_then(|line| line.trim().strip_prefix("--> "));
    if let Some(place) = place {
        return format!("{text} ({place})");
    }
    if let Some((before, versions)) = text.split_once(VERSIONS) {
        let versions: Vec<&str> = versions.split(", ").collect();
        let newest = versions.len().saturating_sub(5);
        let cut = if newest > 0 { "…, " } else { "" };
        return format!("{before}{VERSIONS}{cut}{}", versions[newest..].join(", "));
    }
    text.to_owned()
}

/// What a shell cannot run:
/// <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html>
pub(crate) fn shell(lines: &[String]) -> Option<Found> {
    let is_told = |line: &String| {
        let ends = [
            ": not found",
            ": command not found",
            ": Permission denied",
            ": Exec format error",
            ": No such file or directory",
            ": cannot execute: required file not found",
        ];
        let shells =
            ["sh: ", "/bin/sh: ", "bash: ", "/bin/bash: ", "dash: ", "env: ", "/usr/bin/env: "];
        let text = bare(line);
        shells.iter().any(|shell| text.starts_with(shell))
            && ends.iter().any(|end| text.ends_with(end))
    };
    let end = lines.iter().rposition(is_told)?;
    Some(Found { end, lines: vec![lines[end].clone()] })
}

/// The first lines of the last burst of complaints, where no tool is recognised.
pub(crate) fn complaint(lines: &[String]) -> Option<Found> {
    let is_told = |line: &String| {
        let text = line.to_lowercase();
        WORDS.iter().any(|word| text.contains(word)) && !is_passed_on(line)
    };
    let last = lines.iter().rposition(is_told)?;
    let mut begin = last;
    while let Some(before) =
        (begin.saturating_sub(APART)..begin).find(|&line| is_told(&lines[line]))
    {
        begin = before;
    }
    let is_said =
        |line: &&String| !line.trim().is_empty() && !line.contains("INFO") && !is_passed_on(line);
    let block = lines[begin..].iter().filter(is_said);
    Some(Found {
        end: last,
        lines: block.take(1 + MORE).map(|line| bare(line).to_owned()).collect(),
    })
}

/// In small letters.
const WORDS: [&str; 16] = [
    "error",
    "fatal",
    "exception",
    "panic",
    "failed to ",
    "could not ",
    "couldn't ",
    "cannot ",
    "can't ",
    "unable to ",
    "not found",
    "no such ",
    "no module named",
    "permission denied",
    "already in use",
    "not set",
];
