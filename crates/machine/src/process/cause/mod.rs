//! What of a process's output names the cause of its failure: a table of what tools and languages
//! print, tried on the end of its log. Pure: reading the log is left to `log`.

mod compiler;
mod crash;
mod found;
mod package;
mod plain;
pub(crate) mod secrets;

use std::fmt;
use std::path::Path;

use rowhouse_core::harmless;

use crate::process::cause::found::Found;
use crate::process::cause::secrets::Secrets;

/// So many lines are told …
const LINES: usize = 5;
/// … of so many letters each, of which the first one may have more.
const LETTERS: usize = 200;
const FIRST_LETTERS: usize = 300;
/// More of a line (letters) is not looked at.
const LOOKED_AT: usize = 4_000;
/// A process that says nothing for so long (milliseconds) begins anew.
const SILENCE: i64 = 1_000;

/// A line of output, and when it came (milliseconds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputLine {
    pub(crate) at: i64,
    pub(crate) text: String,
}

/// What a process said, as far as it belongs into a reason; its text is the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// The lines that name the cause, the most telling one first.
    Cause(Vec<String>),
    /// The ends of its last burst of output: nobody knows better.
    Last(Vec<String>),
    Nothing,
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Words::Cause(lines) => write!(formatter, "; it said: {}", lines.join(" | "))?,
            Words::Last(lines) => write!(formatter, "; last output: {}", lines.join(" | "))?,
            Words::Nothing => {}
        }
        formatter.write_str(if self.tells_of_a_refusal() { ALLOWED } else { "" })
    }
}

/// What is said of where an app may listen and write, where the kernel refused it something.
const ALLOWED: &str = "; an app may listen on the port in `PORT` alone, and write to its release, \
                       `DATA_DIR`, `HOME` and `TMPDIR`";

impl Words {
    /// Whether the kernel refused what was asked of it, by its own words.
    fn tells_of_a_refusal(&self) -> bool {
        self.contain(["permission denied", "eacces"])
    }

    /// Whether it could not listen where somebody listened, by the kernel's own words.
    pub(crate) fn tells_of_a_taken_address(&self) -> bool {
        self.contain(["address already in use", "eaddrinuse"])
    }

    fn contain(&self, words: [&str; 2]) -> bool {
        let (Words::Cause(lines) | Words::Last(lines)) = self else { return false };
        let is_told = |line: &String| {
            let line = line.to_ascii_lowercase();
            words.iter().any(|word| line.contains(word))
        };
        lines.iter().any(is_told)
    }
}

/// Looks for one kind of failure in an output, the latest of its kind. What only passes on that
/// something else has failed is none.
type Recogniser = fn(&[String]) -> Option<Found>;

/// Whatever ends last is the cause; of two that end together, the first one here.
const RECOGNISERS: [Recogniser; 18] = [
    crash::node,
    crash::node_thrown,
    crash::python,
    crash::java,
    crash::rust,
    crash::go,
    crash::ruby,
    compiler::located,
    compiler::linker,
    compiler::make,
    compiler::maven,
    package::npm,
    package::diagnostic,
    package::pnpm,
    package::yarn_berry,
    package::bundler,
    plain::labelled,
    plain::shell,
];

/// What names the cause in an output, or its last words. Paths below `folder`, where the process
/// ran, are told from there, and `secrets` not at all.
pub(crate) fn words(output: &[OutputLine], folder: &Path, secrets: &Secrets) -> Words {
    let lines: Vec<(i64, String)> = output
        .iter()
        .map(|line| (line.at, from_folder(&shown(&secrets.blotted(&line.text)), folder)))
        .filter(|(_, line)| !line.contains(NOISE))
        .collect();
    let texts: Vec<String> = lines.iter().map(|(_, text)| text.clone()).collect();
    let found = RECOGNISERS.iter().filter_map(|recogniser| recogniser(&texts)).rev();
    let found = found.max_by_key(|found| found.end).or_else(|| plain::complaint(&texts));
    match found.map(|found| short(found.lines.iter().map(String::as_str))) {
        Some(lines) if !lines.is_empty() => Words::Cause(lines),
        Some(_) | None => last(&lines),
    }
}

/// Of no use in a row that outlives it.
const NOISE: &str = "A complete log of this run can be found in";

/// The first and the last lines of what came without a long silence: a complaint comes before the
/// help that follows it, or after all that went well.
fn last(lines: &[(i64, String)]) -> Words {
    let said: Vec<&(i64, String)> =
        lines.iter().filter(|(_, text)| !text.trim().is_empty()).collect();
    let begin = (1..said.len()).rev().find(|&line| said[line].0 - said[line - 1].0 > SILENCE);
    let burst: Vec<&str> =
        said[begin.unwrap_or(0)..].iter().map(|(_, text)| text.as_str()).collect();
    let told = if burst.len() > LINES {
        let end = burst.len() - (LINES - 2);
        [&burst[..1], &["…"], &burst[end..]].concat()
    } else {
        burst
    };
    match short(told.into_iter()) {
        lines if lines.is_empty() => Words::Nothing,
        lines => Words::Last(lines),
    }
}

/// A line as a terminal would show it in the end: what was written over is gone, and nothing is
/// left that could drive one.
fn shown(text: &str) -> String {
    let seen = text.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default();
    let seen: String = seen.chars().take(LOOKED_AT).collect();
    harmless(&seen).trim_end().to_owned()
}

/// A text with paths told from the folder, not from the root.
fn from_folder(text: &str, folder: &Path) -> String {
    let folder = folder.display().to_string();
    if folder.is_empty() {
        return text.to_owned();
    }
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&folder) {
        let (before, after) = (&rest[..at], &rest[at + folder.len()..]);
        let is_part = |letter: char| letter.is_alphanumeric() || "._-/".contains(letter);
        let is_whole = !before.ends_with(is_part) && !told.ends_with(is_part);
        told.push_str(before);
        rest = match after.strip_prefix('/') {
            Some(inner) if is_whole => inner,
            None if is_whole && !after.starts_with(is_part) => {
                told.push('.');
                after
            }
            Some(_) | None => {
                told.push_str(&folder);
                after
            }
        };
    }
    told + rest
}

fn short<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        let mut line: String = line.to_owned();
        let most = if told.is_empty() { FIRST_LETTERS } else { LETTERS };
        if let Some((end, _)) = line.char_indices().nth(most) {
            line.truncate(end);
            line.push('…');
        }
        if told.len() < LINES && !told.iter().any(|before| before.contains(&line)) {
            told.push(line);
        }
    }
    told
}

#[cfg(test)]
mod tests;
