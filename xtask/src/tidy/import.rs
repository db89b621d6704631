//! Which files of a target import which others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::tidy::mention::{Mention, Mentions};
use crate::tidy::module::{Index, Module, Modules};

/// For each file the files whose items it names, with the first line where it does.
pub type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, usize>>;

/// Names that are being looked for, so that a search that comes back to one of them ends.
type Sought = BTreeSet<(Index, String)>;

/// What a path means.
#[derive(Clone, Copy)]
enum Meaning {
    Module(Index),
    /// An item of this module's file.
    Item(Index),
    /// Something of another crate.
    Elsewhere,
}

impl Modules {
    /// A name is of the file that defines it, however many others pass it on. That a module is
    /// declared, or a whole module brought in, is no import: what is then named of it is one.
    pub fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (index, module) in self.modules.iter().enumerate() {
            if module.is_test {
                continue;
            }
            let Mentions { imports: named, globs, paths, .. } = &module.mentions;
            for mention in named.values().flatten().chain(paths) {
                match self.meaning(index, mention, &mut Sought::new()) {
                    Meaning::Item(of) => self.note(&mut imports, module, of, mention.line),
                    Meaning::Module(_) | Meaning::Elsewhere => {}
                }
            }
            for mention in globs {
                match self.meaning(index, mention, &mut Sought::new()) {
                    Meaning::Item(of) | Meaning::Module(of) => {
                        self.note(&mut imports, module, of, mention.line);
                    }
                    Meaning::Elsewhere => {}
                }
            }
        }
        imports
    }

    fn note(&self, imports: &mut Imports, module: &Module, of: Index, line: usize) {
        let file = &self.modules[of].file;
        if *file != module.file {
            let lines = imports.entry(module.file.clone()).or_default();
            let first = lines.entry(file.clone()).or_insert(line);
            *first = line.min(*first);
        }
    }

    /// What a path means that is written in a module.
    fn meaning(&self, module: Index, mention: &Mention, sought: &mut Sought) -> Meaning {
        let Some((first, rest)) = mention.words.split_first() else { return Meaning::Elsewhere };
        match first.as_str() {
            "crate" => self.from(Meaning::Module(0), rest, sought),
            "self" => self.from(Meaning::Module(module), rest, sought),
            "super" => {
                let parent = self.modules[module].parent.unwrap_or(module);
                self.from(Meaning::Module(parent), rest, sought)
            }
            name => {
                let from = self.known(module, name, sought).unwrap_or(Meaning::Elsewhere);
                self.from(from, rest, sought)
            }
        }
    }

    /// What a path means whose beginning means that. What a module does not show is its own, as a
    /// macro may make it.
    fn from(&self, from: Meaning, rest: &[String], sought: &mut Sought) -> Meaning {
        let (Meaning::Module(module), Some((name, rest))) = (from, rest.split_first()) else {
            return from;
        };
        if name == "super" {
            let parent = self.modules[module].parent.unwrap_or(module);
            return self.from(Meaning::Module(parent), rest, sought);
        }
        let known = self.known(module, name, sought).unwrap_or(Meaning::Item(module));
        self.from(known, rest, sought)
    }

    /// What a name means in a module, if it knows it.
    fn known(&self, index: Index, name: &str, sought: &mut Sought) -> Option<Meaning> {
        let Module { children, mentions, .. } = &self.modules[index];
        if let Some(child) = children.get(name) {
            return Some(Meaning::Module(*child));
        }
        if mentions.names.contains(name) {
            return Some(Meaning::Item(index));
        }
        if !sought.insert((index, name.to_owned())) {
            return None;
        }
        // A name may be brought in twice: a type, and a function or a macro of another crate.
        let mut elsewhere = None;
        for mention in mentions.imports.get(name).into_iter().flatten() {
            match self.meaning(index, mention, sought) {
                Meaning::Elsewhere => elsewhere = Some(Meaning::Elsewhere),
                found @ (Meaning::Module(_) | Meaning::Item(_)) => return Some(found),
            }
        }
        elsewhere.or_else(|| {
            mentions.globs.iter().find_map(|glob| match self.meaning(index, glob, sought) {
                Meaning::Module(of) => self.known(of, name, sought),
                Meaning::Item(_) | Meaning::Elsewhere => None,
            })
        })
    }
}
