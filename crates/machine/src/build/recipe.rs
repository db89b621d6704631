//! Looks into an app's folder and says how it is built and run. Nothing of the app is executed
//! here: the steps are run by `build`, the commands by others.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build::convention::unbuilt::{Unbuilt, unbuilt, unused};
use crate::build::convention::{Convention, node, python, rust};
use crate::build::error::RecipeError;
use crate::build::procfile::Procfile;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

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
    /// What nothing builds, for a start that fails.
    #[serde(default)]
    pub unbuilt: Vec<Unbuilt>,
    /// What its user did not ask for and should know, for a reader of `deployed`.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How an app answers requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Web {
    /// The text of a shell command (`sh -c`), which listens on `PORT`.
    Command(String),
    /// The built-in static server, with this folder, relative to the app's.
    Static(PathBuf),
}

/// Finds the way to build and run the app in `folder`, a part of the `checkout` of its repository;
/// both are absolute paths.
///
/// # Errors
/// See [`RecipeError`].
pub async fn recipe(
    checkout: &Path,
    folder: &Path,
    toolchains: &Toolchains,
) -> Result<Recipe, RecipeError> {
    let source = &Source { checkout, folder };
    let procfile = match source.read("Procfile")? {
        Some(text) => Procfile::parse(&text)?,
        None => Procfile::default(),
    };
    let replaced = procfile.build();
    let tools = if replaced.is_some() { None } else { Some(toolchains) };
    let mut found = Vec::new();
    let has_web = procfile.web().is_some();
    found.extend(python::convention(source, tools, has_web).await?);
    found.extend(node::convention(source, tools, has_web).await?);
    found.extend(rust::convention(source, toolchains, has_web, replaced.is_some()).await?);

    let unbuilt = match replaced {
        Some(_) => Vec::new(),
        None => unbuilt(source, procfile.web()).into_iter().map(|one| with(one, &found)).collect(),
    };
    let web = web(source, &procfile, &found, &unbuilt)?;
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
            found.iter().flat_map(|one| one.path.clone()).collect(),
        ),
    };
    let release = procfile.release().map(str::to_owned);
    let notes = found.iter().flat_map(|one| one.notes.clone()).collect();
    Ok(Recipe { kind, build, release, web, path, not_run: procfile.others(), unbuilt, notes })
}

/// A line that builds what is unbuilt replaces the conventions, so that it must do their work too.
fn with(mut unbuilt: Unbuilt, found: &[Convention]) -> Unbuilt {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "./_-".contains(letter);
    let commands = found.iter().flat_map(|one| &one.steps).map(|step| &step.command);
    for words in commands.filter(|words| words.iter().all(|word| word.chars().all(plain))) {
        unbuilt.build = format!("{} && {}", unbuilt.build, words.join(" "));
    }
    unbuilt
}

fn web(
    source: &Source<'_>,
    procfile: &Procfile,
    found: &[Convention],
    unbuilt: &[Unbuilt],
) -> Result<Web, RecipeError> {
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
    if found.is_empty() && source.has_inside("index.html")? {
        return Ok(Web::Static(PathBuf::from(".")));
    }
    let mut signs: Vec<String> =
        unbuilt.iter().map(|one| format!("`{}` ({})", one.file, one.language)).collect();
    signs.extend(found.iter().map(|one| one.without_start.clone()));
    if source.folder.join("Procfile").exists() {
        signs.push("a `Procfile` without `web:`".to_owned());
    }
    signs.extend(unused(source));
    let found_text =
        if signs.is_empty() { String::new() } else { format!("found {}; ", signs.join(" and ")) };
    let lines = if let (Some(one), None) = (unbuilt.first(), procfile.build()) {
        format!("the lines `build: {}` and `web: {}`", one.build, one.web)
    } else {
        let example = found.first().map_or("./serve --bind $HOST:$PORT", |one| one.example);
        format!("a line such as `web: {example}`")
    };
    Err(RecipeError::NoStart { found: found_text, lines })
}
