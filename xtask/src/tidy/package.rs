//! The packages of the workspace, and what is counted in each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::tidy::circle::Circle;
use crate::tidy::measure::{Measure, wide};
use crate::tidy::module::Modules;

/// A package: its folder, and the root of each program, library and test.
#[derive(Debug)]
pub struct Package {
    pub name: String,
    pub folder: PathBuf,
    pub targets: Vec<Target>,
}

/// What the compiler makes of one file and those that it declares.
#[derive(Debug)]
pub struct Target {
    pub root: PathBuf,
    /// Whether it is shipped to nobody: a test, an example.
    pub is_test: bool,
}

/// What is in a package, by paths from the checkout.
#[derive(Debug)]
pub struct Inventory {
    pub name: String,
    /// The files outside of tests.
    pub rooms: BTreeMap<PathBuf, Measure>,
    /// The files that are compiled for tests alone.
    pub tests: BTreeMap<PathBuf, Measure>,
    /// Lines that are too wide, with how many columns they have, of every file in the folder.
    pub wide: BTreeMap<PathBuf, Vec<(usize, usize)>>,
    pub circles: Vec<Circle>,
}

impl Package {
    /// The packages of the workspace in that folder, as cargo tells them.
    ///
    /// # Errors
    ///
    /// Cargo cannot tell them.
    pub fn of_workspace(root: &Path) -> anyhow::Result<Vec<Package>> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
            .current_dir(root)
            .output()
            .context("cannot run `cargo metadata`")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let packages = answer["packages"].as_array().context("cargo tells packages")?;
        packages.iter().map(Package::told).collect()
    }

    fn told(told: &Value) -> anyhow::Result<Package> {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo tells a text");
        let manifest = PathBuf::from(text(&told["manifest_path"])?);
        let targets = told["targets"].as_array().context("cargo tells targets")?;
        let targets = targets.iter().map(|target| {
            let kinds = target["kind"].as_array().context("cargo tells kinds")?;
            let is_test = kinds.iter().any(|kind| kind == "test" || kind == "example");
            Ok(Target { root: text(&target["src_path"])?.into(), is_test })
        });
        Ok(Package {
            name: text(&told["name"])?,
            folder: manifest.parent().context("a manifest lies in a folder")?.to_owned(),
            targets: targets.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Reads and counts; `root` is the folder that paths are told from.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is no Rust.
    pub fn inventory(&self, root: &Path) -> anyhow::Result<Inventory> {
        let (mut rooms, mut tests) = (BTreeMap::new(), BTreeMap::new());
        let mut circles = Vec::new();
        let told = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        for target in &self.targets {
            let modules = Modules::of(&target.root, target.is_test)?;
            let own = |path: &Path| path.starts_with(&self.folder);
            for source in modules.sources.iter().filter(|source| own(&source.path)) {
                let measure = Measure::of(&source.text, &source.syntax, source.is_test);
                let files = if source.is_test { &mut tests } else { &mut rooms };
                files.insert(told(&source.path), measure);
            }
            if !target.is_test {
                let imports = modules.imports().into_iter().map(|(file, imported)| {
                    let imported = imported.into_iter().map(|(file, line)| (told(&file), line));
                    (told(&file), imported.collect())
                });
                circles.extend(Circle::among(&imports.collect()));
            }
        }
        tests.retain(|path, _| !rooms.contains_key(path));
        let mut wide_lines = BTreeMap::new();
        for path in files(&self.folder)? {
            let lines = wide(&std::fs::read_to_string(&path)?);
            if !lines.is_empty() {
                wide_lines.insert(told(&path), lines);
            }
        }
        Ok(Inventory { name: self.name.clone(), rooms, tests, wide: wide_lines, circles })
    }
}

/// The files of Rust in a folder and below, apart from what cargo has built.
fn files(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                files.extend(self::files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
    Ok(files)
}
