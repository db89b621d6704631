//! Looks into an app's folder and says how it is built and run. Nothing of the app is executed
//! here: the steps are run by `build`, the commands by others.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::convention::{self, Convention};
use crate::procfile::{Procfile, ProcfileError};
use crate::toolchain::Toolchains;

/// Files that say how an app is built are not larger (bytes).
const SIZE_LIMIT: u64 = 4 << 20;

/// How an app is built and run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// What it is, for people: `Python`, `Node and Python`, `static files`, `Procfile`.
    pub kind: String,
    /// What builds it, in this order, in the app's folder.
    pub build: Vec<Step>,
    /// What runs before traffic moves: the text of a shell command.
    pub release: Option<String>,
    pub web: Web,
    /// Folders that go first on `PATH` when it is built, released and run, relative to the app's
    /// folder. Not every one of them need exist.
    pub path: Vec<PathBuf>,
    /// The process types of its `Procfile` that are not run.
    pub not_run: Vec<String>,
}

/// How an app answers requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Web {
    /// The text of a shell command (`sh -c`), which listens on `PORT`.
    Command(String),
    /// The built-in static server, with this folder, relative to the app's.
    Static(PathBuf),
}

/// One command of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does, for people: `install Python packages`.
    pub title: String,
    /// The program and its arguments. No shell, unless the text came from a `Procfile`.
    pub command: Vec<String>,
}

/// Why there is no way to build or run an app. None of these passes by itself: the app's user or
/// the machine's operator has to do something.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// There is nothing that is known.
    #[error(
        "there is no way to run this app: looked for a `Procfile` with `web:`, a `package.json` \
         with a `start` script or a `server.js`, a `Cargo.toml` with a binary, and an \
         `index.html`{found}; add a `Procfile` with a line such as `web: {example}`"
    )]
    NoStart { found: String, example: String },
    /// There is more than one way.
    #[error(
        "there is more than one way to run this app: {ways}; choose one with a line such as \
         `web: {example}` in a `Procfile`"
    )]
    Several { ways: String, example: String },
    /// The machine lacks what the app is built with.
    #[error("`{tool}` is not installed, which {wanted_by} needs; install it: {cure}")]
    Missing { tool: String, wanted_by: String, cure: String },
    /// A file of the app does not say what it should.
    #[error("cannot read `{file}` of the app: {reason}")]
    BadFile { file: String, reason: String },
    /// The app's `Procfile` is not one.
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
}

impl Step {
    pub(crate) fn new(title: &str, command: impl IntoIterator<Item = impl Into<String>>) -> Step {
        Step { title: title.to_owned(), command: command.into_iter().map(Into::into).collect() }
    }
}

/// Finds the way to build and run the app in `folder`, an absolute path.
///
/// # Errors
/// See [`RecipeError`].
pub async fn recipe(folder: &Path, toolchains: &Toolchains) -> Result<Recipe, RecipeError> {
    let procfile = match read(folder, "Procfile")? {
        Some(text) => Procfile::parse(&text)?,
        None => Procfile::default(),
    };
    let replaced = procfile.build();
    let tools = if replaced.is_some() { None } else { Some(toolchains) };
    let mut found = Vec::new();
    found.extend(convention::python(folder, tools)?);
    found.extend(convention::node(folder, tools)?);
    let has_web = procfile.web().is_some();
    found.extend(convention::cargo(folder, toolchains, has_web, replaced.is_some()).await?);

    let web = web(folder, &procfile, &found)?;
    let kinds: Vec<&str> = found.iter().map(|one| one.kind).collect();
    let kind = match web {
        Web::Static(_) => "static files".to_owned(),
        Web::Command(_) if replaced.is_some() || kinds.is_empty() => "Procfile".to_owned(),
        Web::Command(_) => kinds.join(" and "),
    };
    let (build, path) = match replaced {
        // What it makes is not known beforehand, so that both usual places are looked at.
        Some(text) => (
            vec![Step::new("run `build` of the Procfile", ["sh", "-c", text])],
            vec![PathBuf::from(".venv/bin"), PathBuf::from("node_modules/.bin")],
        ),
        None => (
            found.iter().flat_map(|one| one.steps.clone()).collect(),
            found.iter().filter_map(|one| one.path.map(PathBuf::from)).collect(),
        ),
    };
    let release = procfile.release().map(str::to_owned);
    Ok(Recipe { kind, build, release, web, path, not_run: procfile.others() })
}

fn web(folder: &Path, procfile: &Procfile, found: &[Convention]) -> Result<Web, RecipeError> {
    if let Some(text) = procfile.web() {
        return Ok(Web::Command(text.to_owned()));
    }
    let starts: Vec<(&str, &str)> =
        found.iter().filter_map(|one| Some((one.kind, one.start.as_deref()?))).collect();
    match starts.as_slice() {
        [(_, start)] => return Ok(Web::Command((*start).to_owned())),
        [(_, first), ..] => {
            let ways = starts.iter().map(|(kind, start)| format!("`{start}` ({kind})"));
            let ways = ways.collect::<Vec<String>>().join(", ");
            return Err(RecipeError::Several { ways, example: (*first).to_owned() });
        }
        [] => {}
    }
    if found.is_empty() && is_there(folder, "index.html")? {
        return Ok(Web::Static(PathBuf::from(".")));
    }
    let mut hints: Vec<String> = found.iter().map(|one| one.without_start.clone()).collect();
    if folder.join("Procfile").exists() {
        hints.push("a `Procfile` without `web:`".to_owned());
    }
    let mut text = String::new();
    if !hints.is_empty() {
        text = format!("; found {}", hints.join(" and "));
    }
    let example = found.first().map_or("./serve --bind $HOST:$PORT", |one| one.example).to_owned();
    Err(RecipeError::NoStart { found: text, example })
}

/// Reads a file of the app.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Option<String>, RecipeError> {
    let error = |reason: String| RecipeError::BadFile { file: name.to_owned(), reason };
    let Some(path) = locate(folder, name)? else { return Ok(None) };
    let mut text = String::new();
    let file = fs::File::open(&path).map_err(|source| error(source.to_string()))?;
    let read = file.take(SIZE_LIMIT + 1).read_to_string(&mut text);
    match read.map_err(|source| error(source.to_string()))? {
        count if count as u64 > SIZE_LIMIT => {
            Err(error(format!("it has more than {SIZE_LIMIT} bytes")))
        }
        _ => Ok(Some(text)),
    }
}

pub(crate) fn is_there(folder: &Path, name: &str) -> Result<bool, RecipeError> {
    locate(folder, name).map(|path| path.is_some())
}

/// Where a file of the app is. A symbolic link that leads out of the app's folder is not followed.
fn locate(folder: &Path, name: &str) -> Result<Option<PathBuf>, RecipeError> {
    let error = |reason: String| RecipeError::BadFile { file: name.to_owned(), reason };
    let path = folder.join(name);
    if fs::symlink_metadata(&path).is_err() {
        return Ok(None);
    }
    let real = fs::canonicalize(&path).map_err(|source| error(source.to_string()))?;
    let root = fs::canonicalize(folder).map_err(|source| error(source.to_string()))?;
    if !real.starts_with(&root) {
        return Err(error("it is a symbolic link that leads out of the app's folder".to_owned()));
    }
    if real.is_file() { Ok(Some(real)) } else { Err(error("it is not a file".to_owned())) }
}
