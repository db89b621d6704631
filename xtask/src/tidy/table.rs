//! The numbers of each package, as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tidy::measure::Measure;
use crate::tidy::package::Inventory;

/// A function with more lines makes a review ask.
const LONG: usize = 60;

const HEAD: [&str; 9] = [
    "",
    "rooms",
    "at the top",
    "lines of code",
    "of tests",
    "functions",
    "over 60",
    "circles",
    "largest",
];

/// A line for each package and one for all of them, then what is the biggest in each.
pub fn table(inventories: &[Inventory]) -> String {
    let counts: Vec<[usize; 8]> = inventories.iter().map(counts).collect();
    let mut all = [0; 8];
    for counts in &counts {
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    all[7] = counts.iter().map(|counts| counts[7]).max().unwrap_or(0);
    let names = inventories.iter().map(|inventory| inventory.name.as_str()).chain(["all"]);
    let widest = names.clone().map(str::len).max().unwrap_or(0);
    let mut text = format!("{:widest$}", HEAD[0]);
    text.extend(HEAD[1..].iter().map(|head| format!("  {head}")));
    text.push('\n');
    for (name, counts) in names.zip(counts.iter().chain([&all])) {
        text += &format!("{name:widest$}");
        let cells = counts.iter().zip(&HEAD[1..]);
        text.extend(cells.map(|(count, head)| format!("  {count:>width$}", width = head.len())));
        text.push('\n');
    }
    text.push('\n');
    text.extend(inventories.iter().map(biggest));
    text
}

/// What can be counted, in the order of the head.
fn counts(inventory: &Inventory) -> [usize; 8] {
    let rooms = || inventory.rooms.values();
    let functions = || rooms().flat_map(|measure| &measure.functions);
    let tests = rooms().chain(inventory.tests.values());
    [
        inventory.rooms.len(),
        at_the_top(&inventory.rooms),
        rooms().map(|measure| measure.code).sum(),
        tests.map(|measure| measure.tests).sum(),
        functions().count(),
        functions().filter(|function| function.lines > LONG).count(),
        inventory.circles.len(),
        inventory.circles.iter().map(|circle| circle.files.len()).max().unwrap_or(0),
    ]
}

/// The files and folders that lie where the root of the package lies.
fn at_the_top(rooms: &BTreeMap<PathBuf, Measure>) -> usize {
    let folders = rooms.keys().filter_map(|file| file.parent());
    let Some(top) = folders.min_by_key(|folder| folder.components().count()) else { return 0 };
    let names = rooms.keys().filter_map(|file| file.strip_prefix(top).ok()?.iter().next());
    let is_root = |name: &&std::ffi::OsStr| *name == "lib.rs" || *name == "main.rs";
    names.filter(|name| !is_root(name)).collect::<BTreeSet<_>>().len()
}

/// The biggest file, the longest function and the biggest file of tests.
fn biggest(inventory: &Inventory) -> String {
    let file = inventory.rooms.iter().max_by_key(|(_, measure)| measure.lines);
    let functions = inventory
        .rooms
        .iter()
        .flat_map(|(file, measure)| measure.functions.iter().map(move |function| (file, function)));
    let function = functions.max_by_key(|(_, function)| function.lines);
    let tests = inventory.tests.iter().max_by_key(|(_, measure)| measure.tests);
    let shown = |what: &str, lines: usize, place: String| {
        format!("{}: {what} has {lines} lines: {place}\n", inventory.name)
    };
    let at = |file: &Path| file.display().to_string();
    [
        file.map(|(file, measure)| shown("the biggest file", measure.lines, at(file))),
        function.map(|(file, function)| {
            let place = format!("`{}` in {}:{}", function.name, at(file), function.line);
            shown("the longest function", function.lines, place)
        }),
        tests.map(|(file, measure)| shown("the biggest file of tests", measure.tests, at(file))),
    ]
    .into_iter()
    .flatten()
    .collect()
}
