//! What is measured of one file: its lines, its functions, and how it writes.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{File, ImplItem, ImplItemFn, Item, ItemFn, ItemUse, TraitItemFn, UseTree};

use crate::tidy::syntax::{attributes, attributes_within, is_for_tests, lines};

/// Columns that a line may have.
pub const MOST_COLUMNS: usize = 100;

/// A function outside of tests, from its signature to its last brace.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The measures of a file.
#[derive(Debug, Default)]
pub struct Measure {
    /// Outside of tests.
    pub lines: usize,
    /// Of these the lines that are neither empty nor a comment.
    pub code: usize,
    /// Lines of its tests.
    pub tests: usize,
    pub functions: Vec<Function>,
    /// Lines where `use super::` is written, apart from a test module's use of what it tests.
    pub supers: Vec<usize>,
}

impl Measure {
    /// `is_test`: the whole file is compiled for tests alone.
    pub fn of(text: &str, syntax: &File, is_test: bool) -> Measure {
        let mut reading = Reading { tests_from: usize::from(is_test), ..Reading::default() };
        reading.visit_file(syntax);
        let is_of_tests = |line: &usize| is_test || reading.tests.contains(line);
        let is_code = |text: &str| !text.trim().is_empty() && !text.trim().starts_with("//");
        let numbered = || text.lines().enumerate().map(|(index, text)| (index + 1, text));
        Measure {
            lines: numbered().filter(|(line, _)| !is_of_tests(line)).count(),
            code: numbered().filter(|(line, text)| !is_of_tests(line) && is_code(text)).count(),
            tests: numbered().filter(|(line, _)| is_of_tests(line)).count(),
            functions: reading.functions,
            supers: reading.supers,
        }
    }
}

/// The lines of a text that have more columns than allowed. A comment that is one link has nowhere
/// to be broken.
pub fn wide(text: &str) -> Vec<(usize, usize)> {
    let wide = text.lines().enumerate().filter(|(_, line)| !is_link(line));
    let columns = wide.map(|(index, line)| (index + 1, line.chars().count()));
    columns.filter(|(_, columns)| *columns > MOST_COLUMNS).collect()
}

fn is_link(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!']).trim();
    text.starts_with("<https://") && !text.contains(' ')
}

#[derive(Default)]
struct Reading {
    /// How many items for tests are open around what is read.
    tests_from: usize,
    /// How many test modules of this very file are open.
    modules: usize,
    tests: BTreeSet<usize>,
    functions: Vec<Function>,
    supers: Vec<usize>,
}

impl Reading {
    fn add(&mut self, name: &syn::Ident, first: usize, last: usize) {
        if self.tests_from == 0 {
            let lines = last + 1 - first;
            self.functions.push(Function { name: name.to_string(), line: first, lines });
        }
    }

    fn within_tests(&mut self, (first, last): (usize, usize), read: impl FnOnce(&mut Reading)) {
        self.tests.extend(first..=last);
        self.tests_from += 1;
        read(self);
        self.tests_from -= 1;
    }
}

impl<'ast> Visit<'ast> for Reading {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            return visit::visit_item(self, item);
        }
        let is_module = usize::from(matches!(item, Item::Mod(_)));
        self.modules += is_module;
        self.within_tests(lines(item), |reading| visit::visit_item(reading, item));
        self.modules -= is_module;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_for_tests(attributes_within(item)) {
            return visit::visit_impl_item(self, item);
        }
        self.within_tests(lines(item), |reading| visit::visit_impl_item(reading, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add(&item.sig.ident, lines(&item.sig).0, lines(&item.block).1);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add(&item.sig.ident, lines(&item.sig).0, lines(&item.block).1);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.add(&item.sig.ident, lines(&item.sig).0, lines(item).1);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if self.modules == 0 && matches!(&item.tree, UseTree::Path(path) if path.ident == "super") {
            self.supers.push(lines(&item.use_token).0);
        }
    }
}
