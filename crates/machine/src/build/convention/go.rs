//! The convention of Go: the programs of a module, built into `bin`, as `go build` makes them
//! (<https://pkg.go.dev/cmd/go>) and Heroku's buildpack lays them out.

use std::path::PathBuf;

use crate::build::convention::{Convention, Language, Start};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

pub(crate) const LANGUAGE: Language = Language { name: "Go", files: &["go.mod"] };

/// Go, by `go.mod`; steps only with `tools`. `web` is the Procfile's line, which says where it
/// looks for the program.
pub(crate) fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
    web: Option<&str>,
) -> Result<Option<Convention>, RecipeError> {
    let Some(module) = source.read("go.mod")? else { return Ok(None) };
    let programs = programs(source, &module)?;
    let builds_itself = web.is_some_and(|web| web.starts_with("go run"));
    let mut steps = Vec::new();
    if let Some(tools) = tools.filter(|_| !builds_itself) {
        if tools.find("go").is_none() {
            return Err(RecipeError::Missing {
                tool: "go".to_owned(),
                wanted_by: "`go.mod`".to_owned(),
                cure: "`apt install golang`, or from https://go.dev/dl".to_owned(),
            });
        }
        let named = web.and_then(|web| named(source, web));
        for (name, package) in &programs {
            let output = match (&named, programs.len()) {
                (Some(named), 1) => named.clone(),
                _ => format!("bin/{name}"),
            };
            // The cache of modules must be possible to remove, and no repository is around.
            let build = ["go", "build", "-modcacherw", "-buildvcs=false", "-o", &output, package];
            steps.push(Step::new("compile the Go program", build));
        }
    }
    let names: Vec<String> = programs.iter().map(|(name, _)| format!("bin/{name}")).collect();
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start: match names.as_slice() {
            [name] => Some(Start::Command(format!("exec ./{name}"))),
            _ => None,
        },
        path: vec![PathBuf::from("bin")],
        without_start: match names.as_slice() {
            [] => "`go.mod` without a `package main` in its folder or in `cmd`".to_owned(),
            names => format!("`go.mod` with more than one program (`{}`)", names.join("`, `")),
        },
        example: names.first().map_or("bin/server".to_owned(), Clone::clone),
        notes: Vec::new(),
    }))
}

/// The programs of a module, by name, with their packages: that in its folder, else those in `cmd`.
fn programs(source: &Source<'_>, module: &str) -> Result<Vec<(String, String)>, RecipeError> {
    if is_program(source, "")? {
        let path = module.lines().find_map(|line| line.trim().strip_prefix("module "));
        let parts = path.unwrap_or_default().trim().trim_matches('"').rsplit('/');
        // Of a major version, `v2`, the name is the part before it.
        let is_version = |part: &&str| {
            part.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let name = parts.into_iter().find(|part| !is_version(part)).unwrap_or_default();
        let name = if is_plain(name) { name } else { "app" };
        return Ok(vec![(name.to_owned(), ".".to_owned())]);
    }
    let mut found = Vec::new();
    for name in source.list("cmd").into_iter().filter(|name| is_plain(name)) {
        if is_program(source, &format!("cmd/{name}/"))? {
            found.push((name.clone(), format!("./cmd/{name}")));
        }
    }
    Ok(found)
}

/// Whether the package in a folder is a program.
fn is_program(source: &Source<'_>, folder: &str) -> Result<bool, RecipeError> {
    for name in source.list(folder) {
        if name.strip_suffix(".go").is_none_or(|name| name.ends_with("_test")) {
            continue;
        }
        let text = source.read(&format!("{folder}{name}"))?.unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        if lines.any(|line| line == "package main" || line.starts_with("package main ")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The program that a line begins with, where the app's folder has none of that name.
fn named(source: &Source<'_>, web: &str) -> Option<String> {
    let word = web.trim_start_matches("exec ").split_whitespace().next()?;
    let name = word.strip_prefix("./").filter(|name| name.split('/').all(is_plain))?;
    (!source.folder.join(name).exists()).then(|| name.to_owned())
}

fn is_plain(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(plain)
}
