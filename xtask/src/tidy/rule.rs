//! The rules, and what breaks them.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::tidy::circle::Circle;
use crate::tidy::measure::{MOST_COLUMNS, Measure};
use crate::tidy::package::Inventory;

/// Lines that a file may have, its tests not counted.
const MOST_LINES: usize = 500;
/// Lines that a function may have.
const MOST_OF_A_FUNCTION: usize = 80;

/// A folder whose files may import each other in a circle, and why.
#[derive(Debug)]
pub struct Exception {
    pub folder: &'static str,
    pub reason: &'static str,
    /// Where it is written.
    pub line: u32,
}

/// All of them.
pub const EXCEPTIONS: [Exception; 1] = [Exception {
    folder: "crates/machine/src/proxy",
    reason: "the proxy is one organ: a request is claimed under the same atomic that closes its \
             upstream",
    line: line!(),
}];

/// Something that is out of order, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// What is out of order, by file and line.
pub fn findings(inventories: &[Inventory], exceptions: &[Exception]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for inventory in inventories {
        findings.extend(inventory.rooms.iter().flat_map(|(file, measure)| of_size(file, measure)));
        let files = inventory.rooms.iter().chain(&inventory.tests);
        findings.extend(files.flat_map(|(file, measure)| of_writing(file, measure)));
        findings.extend(inventory.wide.iter().flat_map(|(file, lines)| of_width(file, lines)));
        for circle in &inventory.circles {
            if exception(exceptions, circle).is_none() {
                findings.extend(of_circle(circle));
            }
        }
    }
    for exception in exceptions {
        let mut circles = inventories.iter().flat_map(|inventory| &inventory.circles);
        if !circles.any(|circle| exception.has(circle)) {
            let what = format!("no circle is left in `{}`: its exception goes", exception.folder);
            findings.push(finding(Path::new(file!()), exception.line as usize, what));
        }
    }
    findings.sort();
    findings
}

/// The exception that allows a circle.
pub fn exception<'a>(exceptions: &'a [Exception], circle: &Circle) -> Option<&'a Exception> {
    exceptions.iter().find(|exception| exception.has(circle))
}

impl Exception {
    fn has(&self, circle: &Circle) -> bool {
        circle.files.iter().all(|file| file.starts_with(self.folder))
    }
}

fn finding(file: &Path, line: usize, what: String) -> Finding {
    Finding { file: file.to_owned(), line, what }
}

fn of_size(file: &Path, measure: &Measure) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = measure.lines;
    if lines > MOST_LINES {
        let what = format!("{lines} lines without its tests: a file has at most {MOST_LINES}");
        findings.push(finding(file, 1, what));
    }
    for function in &measure.functions {
        let (name, lines) = (&function.name, function.lines);
        if lines > MOST_OF_A_FUNCTION {
            let what =
                format!("`{name}` has {lines} lines: a function has at most {MOST_OF_A_FUNCTION}");
            findings.push(finding(file, function.line, what));
        }
    }
    findings
}

fn of_writing(file: &Path, measure: &Measure) -> Vec<Finding> {
    let what =
        "`use super::`: it is `use crate::`, except in a test module for the file that it lies in";
    measure.supers.iter().map(|line| finding(file, *line, what.to_owned())).collect()
}

fn of_width(file: &Path, lines: &[(usize, usize)]) -> Vec<Finding> {
    let of_line = |(line, columns): &(usize, usize)| {
        let what = format!("{columns} columns: a line has at most {MOST_COLUMNS}");
        finding(file, *line, what)
    };
    lines.iter().map(of_line).collect()
}

fn of_circle(circle: &Circle) -> Option<Finding> {
    let way = circle.way_round();
    let (first, line) = way.first()?;
    let folder = first.parent().unwrap_or(Path::new(""));
    let shown = |file: &Path| file.strip_prefix(folder).unwrap_or(file).display().to_string();
    let steps: Vec<String> =
        way.iter().map(|(file, line)| format!("{}:{line}", shown(file))).collect();
    let what = format!(
        "{} files import each other in a circle ({} → {}): imports lead one way; \
         `cargo xtask tidy` shows them all",
        circle.files.len(),
        steps.join(" → "),
        shown(first)
    );
    Some(finding(first, *line, what))
}
