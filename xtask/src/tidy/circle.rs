//! Circles: files of which each imports, through some others, its way back to itself.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::tidy::import::Imports;

/// Some files that import each other, and the imports between them.
#[derive(Debug)]
pub struct Circle {
    pub files: BTreeSet<PathBuf>,
    pub imports: Imports,
}

impl Circle {
    /// The greatest circles, the largest first: no file is in two of them.
    pub fn among(imports: &Imports) -> Vec<Circle> {
        let reached: Vec<(&PathBuf, BTreeSet<&PathBuf>)> =
            imports.keys().map(|file| (file, reached(imports, file))).collect();
        let mut circles: Vec<Circle> = Vec::new();
        for (file, from_it) in &reached {
            if !from_it.contains(file) || circles.iter().any(|circle| circle.files.contains(*file))
            {
                continue;
            }
            let back = reached
                .iter()
                .filter(|(other, from_other)| from_it.contains(other) && from_other.contains(file));
            circles.push(Circle::of(imports, back.map(|(other, _)| (*other).clone()).collect()));
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
        circles
    }

    fn of(all: &Imports, files: BTreeSet<PathBuf>) -> Circle {
        let mut imports = all.clone();
        imports.retain(|file, _| files.contains(file));
        for imported in imports.values_mut() {
            imported.retain(|file, _| files.contains(file));
        }
        Circle { files, imports }
    }

    /// One of its shortest ways round, from a file back to it, each with the line that imports the
    /// next.
    pub fn way_round(&self) -> Vec<(&Path, usize)> {
        let ways = self.files.iter().filter_map(|file| self.way(file));
        ways.min_by_key(Vec::len).unwrap_or_default()
    }

    /// Breadth first, so that the first way that comes back is a shortest one.
    fn way(&self, start: &Path) -> Option<Vec<(&Path, usize)>> {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<Vec<(&Path, usize)>> = vec![Vec::new()];
        let mut ends = vec![self.files.get(start)?.as_path()];
        while !ends.is_empty() {
            let (mut next_ways, mut next_ends) = (Vec::new(), Vec::new());
            for (way, end) in ways.iter().zip(&ends) {
                for (file, line) in self.imports.get(*end).into_iter().flatten() {
                    let way = [way.clone(), vec![(*end, *line)]].concat();
                    if file == start {
                        return Some(way);
                    }
                    if seen.insert(file) {
                        next_ways.push(way);
                        next_ends.push(file.as_path());
                    }
                }
            }
            (ways, ends) = (next_ways, next_ends);
        }
        None
    }
}

impl fmt::Display for Circle {
    /// Each import in it, with the first line that makes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, imported) in &self.imports {
            for (other, line) in imported {
                writeln!(formatter, "  {}:{line} → {}", file.display(), other.display())?;
            }
        }
        Ok(())
    }
}

/// The files that a file leads to; itself only if it is in a circle.
fn reached<'a>(imports: &'a Imports, file: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for next in imports.get(file).into_iter().flat_map(|imported| imported.keys()) {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}
