//! The modules of one target and the files that the compiler reads for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::{Attribute, Expr, File, Item, ItemMod, Lit, Meta};

use crate::tidy::mention::Mentions;
use crate::tidy::syntax::is_for_tests;

/// Where a module stands in the list of its target's modules.
pub type Index = usize;

/// A module, in a file or between braces.
#[derive(Debug)]
pub struct Module {
    pub parent: Option<Index>,
    pub file: PathBuf,
    pub is_test: bool,
    pub mentions: Mentions,
    /// Its modules, apart from those for tests, which nothing else can mean.
    pub children: BTreeMap<String, Index>,
}

/// A file of a target.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    pub syntax: File,
    pub is_test: bool,
}

/// All modules of a target, its root first, and their files.
#[derive(Default)]
pub struct Modules {
    pub modules: Vec<Module>,
    pub sources: Vec<Source>,
}

/// Where a module is read from.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Path,
    /// Where the files of its modules lie.
    folder: &'a Path,
    parent: Option<Index>,
    is_test: bool,
}

impl Modules {
    /// Reads the files that belong to the target with that root.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is no Rust.
    pub fn of(root: &Path, is_test: bool) -> anyhow::Result<Modules> {
        let mut modules = Modules::default();
        let folder = root.parent().context("a file lies in a folder")?;
        modules.read(Place { file: root, folder, parent: None, is_test })?;
        Ok(modules)
    }

    fn read(&mut self, place: Place<'_>) -> anyhow::Result<Index> {
        let path = place.file.to_owned();
        let shown = path.display();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read `{shown}`"))?;
        let syntax = syn::parse_file(&text).with_context(|| format!("`{shown}` is no Rust"))?;
        let items = syntax.items.clone();
        self.sources.push(Source { path, text, syntax, is_test: place.is_test });
        self.add(place, &items)
    }

    fn add(&mut self, place: Place<'_>, items: &[Item]) -> anyhow::Result<Index> {
        let index = self.modules.len();
        self.modules.push(Module {
            parent: place.parent,
            file: place.file.to_owned(),
            is_test: place.is_test,
            mentions: Mentions::of(items),
            children: BTreeMap::new(),
        });
        for item in items {
            if let Item::Mod(module) = item {
                self.add_child(index, place, module)?;
            }
        }
        Ok(index)
    }

    fn add_child(
        &mut self,
        parent: Index,
        place: Place<'_>,
        module: &ItemMod,
    ) -> anyhow::Result<()> {
        let name = module.ident.to_string();
        let is_hidden = is_for_tests(&module.attrs);
        let is_test = place.is_test || is_hidden;
        let folder = place.folder.join(&name);
        let child = Place { folder: &folder, parent: Some(parent), is_test, ..place };
        let child = if let Some((_, items)) = &module.content {
            self.add(child, items)?
        } else if let Some(path) = given_path(&module.attrs) {
            let file = place.file.parent().unwrap_or(place.folder).join(path);
            // Without its `..`: one file has one name.
            let file = file.canonicalize().unwrap_or(file);
            let folder = file.parent().unwrap_or(place.folder);
            self.read(Place { file: &file, folder, ..child })?
        } else {
            let beside = folder.with_extension("rs");
            let file = if beside.is_file() { beside } else { folder.join("mod.rs") };
            self.read(Place { file: &file, ..child })?
        };
        if !is_hidden {
            self.modules[parent].children.insert(name, child);
        }
        Ok(())
    }
}

/// The file that `#[path = "…"]` names.
fn given_path(attributes: &[Attribute]) -> Option<PathBuf> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        let Expr::Lit(value) = &pair.value else { return None };
        let Lit::Str(text) = &value.lit else { return None };
        pair.path.is_ident("path").then(|| text.value().into())
    })
}
