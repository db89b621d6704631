//! What the items of a module say of others: what they bring in by `use`, and the paths they write,
//! also in macros.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItem, Item, ItemUse, UseTree, VisRestricted};

use crate::tidy::syntax::{attributes, attributes_within, is_for_tests, lines, name};

/// Words of a path, such as `crate`, `row`, `Status`; the first one is empty in `::row`.
pub type Words = Vec<String>;

/// A path, and the line where it is written.
#[derive(Clone, Debug)]
pub struct Mention {
    pub words: Words,
    pub line: usize,
}

/// What a module has and mentions, apart from its tests and from modules in it.
#[derive(Debug, Default)]
pub struct Mentions {
    /// The names of its own items.
    pub names: BTreeSet<String>,
    /// What each name that a `use` brings in stands for.
    pub imports: BTreeMap<String, Vec<Mention>>,
    /// Modules of which a `use` brings in everything.
    pub globs: Vec<Mention>,
    /// All other paths of two words or more.
    pub paths: Vec<Mention>,
}

impl Mentions {
    pub fn of(items: &[Item]) -> Mentions {
        let mut mentions = Mentions::default();
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            mentions.names.extend(name(item));
            mentions.visit_item(item);
        }
        mentions
    }

    fn bring_in(&mut self, words: &Words, tree: &UseTree, line: usize) {
        let with = |word: &syn::Ident| [words.clone(), vec![word.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.bring_in(&with(&path.ident), &path.tree, line),
            // `{self}` brings in what the group is of.
            UseTree::Name(name) if name.ident == "self" => {
                let name = words.last().cloned().unwrap_or_default();
                self.name(name, words.clone(), line);
            }
            UseTree::Rename(rename) if rename.ident == "self" => {
                self.name(rename.rename.to_string(), words.clone(), line);
            }
            UseTree::Name(name) => self.name(name.ident.to_string(), with(&name.ident), line),
            UseTree::Rename(rename) => {
                self.name(rename.rename.to_string(), with(&rename.ident), line);
            }
            UseTree::Glob(_) => self.globs.push(Mention { words: words.clone(), line }),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.bring_in(words, tree, lines(tree).0);
                }
            }
        }
    }

    fn name(&mut self, name: String, words: Words, line: usize) {
        self.imports.entry(name).or_default().push(Mention { words, line });
    }

    fn add(&mut self, words: Words, line: usize) {
        if words.len() > 1 {
            self.paths.push(Mention { words, line });
        }
    }
}

impl<'ast> Visit<'ast> for Mentions {
    fn visit_item(&mut self, item: &'ast Item) {
        if !matches!(item, Item::Mod(_)) && !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_for_tests(attributes_within(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let words = item.leading_colon.iter().map(|_| String::new()).collect();
        self.bring_in(&words, &item.tree, lines(&item.tree).0);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let mut words: Words = path.leading_colon.iter().map(|_| String::new()).collect();
        words.extend(path.segments.iter().map(|segment| segment.ident.to_string()));
        self.add(words, lines(path).0);
        visit::visit_path(self, path);
    }

    /// Who may see something is no import.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        for mention in written(tokens.clone()) {
            self.add(mention.words, mention.line);
        }
    }
}

/// The paths in what a macro is given, of which only the macro knows what it means.
fn written(tokens: TokenStream) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut open: Option<Mention> = None;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                let word_line = word.span().start().line;
                match &mut open {
                    Some(mention) if colons == 2 => mention.words.push(word.to_string()),
                    _ => {
                        found.extend(open.take());
                        let leading = if colons == 2 { vec![String::new()] } else { Vec::new() };
                        let words = [leading, vec![word.to_string()]].concat();
                        open = Some(Mention { words, line: word_line });
                    }
                }
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                colons += 1;
            }
            TokenTree::Group(group) => {
                found.extend(open.take());
                colons = 0;
                found.extend(written(group.stream()));
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {
                found.extend(open.take());
                colons = 0;
            }
        }
    }
    found.extend(open);
    found
}
