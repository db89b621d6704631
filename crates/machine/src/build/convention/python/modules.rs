//! The Python files of an app, and what stands in them: assignments, functions and imports at the
//! left margin. Nothing of them is executed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::build::source::Source;

/// Files looked at, at most.
const FILES: usize = 400;
/// Folders that hold no app.
const PASSED_OVER: [&str; 9] =
    ["docs", "env", "examples", "migrations", "node_modules", "scripts", "test", "tests", "venv"];
/// File names that an app is looked for in first, in this order.
const USUAL: [&str; 10] =
    ["main", "app", "wsgi", "asgi", "application", "server", "api", "run", "index", "__init__"];

/// A Python file of an app.
#[derive(Debug)]
pub(crate) struct Module {
    /// Relative to the app's folder.
    pub(crate) file: PathBuf,
    pub(crate) text: String,
}

/// How a server is told of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// `shop.main`.
    pub(crate) name: String,
    /// The folder that Python must look in, where it is not the app's own.
    pub(crate) folder: Option<String>,
}

/// The files that an app may be in: of its folder and of those in it, the usual names first.
pub(crate) fn modules(source: &Source<'_>) -> Vec<Module> {
    let mut files = Vec::new();
    list(source.folder, Path::new(""), 2, &mut files);
    files.sort_by_cached_key(|file: &PathBuf| {
        let stem = stem(file);
        let place = USUAL.iter().position(|usual| *usual == stem).unwrap_or(USUAL.len());
        (place == USUAL.len(), file.components().count(), place, file.clone())
    });
    let read = |file: PathBuf| {
        let text = source.read(&file.display().to_string()).ok()??;
        Some(Module { file, text })
    };
    files.into_iter().take(FILES).filter_map(read).collect()
}

fn list(root: &Path, inner: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(root.join(inner)) else { return };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), inner.join(entry.file_name()));
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') || files.len() >= FILES * 4 {
            continue;
        }
        let below = if name == "src" { depth } else { depth.saturating_sub(1) };
        if kind.is_dir() && depth > 0 && !PASSED_OVER.contains(&name.as_ref()) {
            list(root, &path, below.min(2), files);
        } else if kind.is_file() && name.ends_with(".py") && !name.starts_with("test_") {
            files.push(path);
        }
    }
}

fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Module {
    /// Whether an app is usually in a file of this name.
    pub(crate) fn is_usual(&self) -> bool {
        USUAL.contains(&stem(&self.file).as_str())
    }

    /// Whether it imports from this package.
    pub(crate) fn imports(&self, package: &str) -> bool {
        self.text.lines().any(|line| imported(line).any(|name| name == package))
    }

    /// What is called for each name at the left margin: `app`, `FastAPI`.
    pub(crate) fn calls(&self) -> Vec<(&str, &str)> {
        let call = |line: &'_ str| -> Option<(usize, usize, usize)> {
            let (left, right) = line.split_once('=')?;
            let name = left.split(':').next().unwrap_or_default().trim_end();
            let callee = right.trim_start();
            let end = callee.find('(')?;
            let is_word = |text: &str| {
                text.chars().all(|one| one.is_alphanumeric() || "._".contains(one))
                    && text.starts_with(|one: char| one.is_alphabetic() || one == '_')
            };
            let begin = line.len() - callee.len();
            (is_word(name) && !name.contains('.') && is_word(&callee[..end])).then_some((
                name.len(),
                begin,
                begin + end,
            ))
        };
        let lines = self.text.lines();
        let found = lines.filter_map(|line| {
            call(line).map(|(name, begin, end)| (&line[..name], &line[begin..end]))
        });
        found.map(|(name, callee)| (name, callee.rsplit('.').next().unwrap_or(callee))).collect()
    }

    /// Whether it defines this function, and it can be called without arguments.
    pub(crate) fn defines(&self, function: &str) -> bool {
        ["def", "async def"].iter().any(|word| {
            let begin = format!("\n{word} {function}(");
            let text = format!("\n{}", self.text);
            let Some(at) = text.find(&begin) else { return false };
            let rest = &text[at + begin.len()..];
            let arguments = rest.split("):").next().unwrap_or_default();
            let arguments = arguments.split(") ->").next().unwrap_or_default();
            arguments
                .split(',')
                .map(str::trim)
                .all(|one| one.is_empty() || one.starts_with(['*', '#']) || one.contains('='))
        })
    }

    /// How a server imports it.
    pub(crate) fn import(&self, source: &Source<'_>) -> Import {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let base = if folder.starts_with("src") && !source.folder.join("src/__init__.py").exists() {
            PathBuf::from("src")
        } else {
            PathBuf::new()
        };
        let is_package = source.folder.join(folder).join("__init__.py").exists();
        let base = if folder == base || (!is_package && self.imports_neighbour(source)) {
            folder.to_owned()
        } else {
            base
        };
        let inner = self.file.strip_prefix(&base).unwrap_or(&self.file).with_extension("");
        let parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
        let mut parts: Vec<String> = parts.collect();
        if parts.last().is_some_and(|last| last == "__init__") {
            parts.pop();
        }
        let folder = (base != Path::new("")).then(|| base.display().to_string());
        Import { name: parts.join("."), folder }
    }

    /// Whether it imports a file beside it as if its folder were where Python looks.
    fn imports_neighbour(&self, source: &Source<'_>) -> bool {
        let folder = source.folder.join(self.file.parent().unwrap_or(Path::new("")));
        self.text.lines().flat_map(imported).any(|name| {
            !name.is_empty()
                && (folder.join(format!("{name}.py")).is_file()
                    || folder.join(name).is_dir() && !source.folder.join(name).exists())
        })
    }
}

/// The packages that a line imports, without what is inside them.
fn imported(line: &str) -> impl Iterator<Item = &str> {
    let names = match line.trim_start().split_once(' ') {
        Some(("from", rest)) => rest.split(" import").next(),
        Some(("import", rest)) => Some(rest),
        _ => None,
    };
    let names = names.into_iter().flat_map(|names| names.split(','));
    names.map(|name| name.trim().split(['.', ' ', '#', ';']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(text: &str) -> Module {
        Module { file: "main.py".into(), text: text.to_owned() }
    }

    #[test]
    fn calls_at_the_left_margin_are_seen_and_others_are_not() {
        let text = "app: FastAPI = fastapi.FastAPI(\n    title='x = y(')\n    app = Inner()\n\
                    # app = Comment()\nx.y = Attribute()\nif a == b(c):\nserver=create_app()\n";
        assert_eq!(module(text).calls(), [("app", "FastAPI"), ("server", "create_app")]);
    }

    #[test]
    fn a_factory_is_one_that_needs_no_arguments() {
        for (text, expected) in [
            ("def create_app():\n", true),
            ("import a\ndef create_app(config=None, *, test: bool = False) -> Flask:\n", true),
            ("def create_app(\n    config: str = 'x',\n):\n", true),
            ("def create_app(config):\n", false),
            ("class A:\n    def create_app():\n", false),
        ] {
            assert_eq!(module(text).defines("create_app"), expected, "{text}");
        }
    }

    #[test]
    fn imports_are_known_by_the_package() {
        let module = module("import os, flask as f\nfrom fastapi.routing import APIRoute\n");
        assert!(module.imports("flask") && module.imports("fastapi") && module.imports("os"));
        assert!(!module.imports("starlette"));
    }
}
