//! Looks into an app's folder and says how it is built and run. Nothing of the app is executed
//! here: the steps are run by `build`, the commands by others.

use std::path::{Path, PathBuf};

use rowhouse_core::{AppName, ProcfileLines};
use serde::{Deserialize, Serialize};

use crate::build::convention::known::LANGUAGES;
use crate::build::convention::unbuilt::{Unbuilt, unbuilt};
use crate::build::convention::{Convention, Language, deno, go, node, php, python, ruby, rust};
use crate::build::error::RecipeError;
use crate::build::procfile::Procfile;
use crate::build::source::Source;
use crate::build::start::{self, Usual};
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;
use crate::build::web::Web;

/// How an app is built and run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// What it is, for people: `Python`, `Node and Python`, `static files`, `Procfile`.
    pub kind: String,
    /// What builds it, in this order, in the app's folder.
    pub build: Vec<Step>,
    /// What runs before traffic moves, by its own Procfile: the text of a shell command.
    pub release: Option<String>,
    /// How it answers requests by what is in its repository. A row may have another way.
    pub web: Web,
    /// How it would without the `web` of its Procfile; `None`: that was not looked for.
    #[serde(default)]
    pub usual: Option<Web>,
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
    /// What was looked at, and what came of it, for the build's log: a line each.
    #[serde(skip)]
    pub looked_at: Vec<String>,
}

impl Recipe {
    /// How it answers requests where the row has these lines.
    ///
    /// # Errors
    /// Nobody knows how.
    pub fn web(&self, lines: &ProcfileLines) -> Result<Web, RecipeError> {
        let web = match lines.line("web") {
            None => self.web.clone(),
            Some("") => self.usual.clone().ok_or(RecipeError::Forgotten)?,
            Some(line) => Web::of_line(line),
        };
        match web {
            Web::Unknown(reason) => Err(RecipeError::NoStart(reason)),
            Web::Command(_) | Web::Static(_) | Web::SinglePage(_) | Web::Made(_) => Ok(web),
        }
    }

    /// Looks at what the build has made in the app's folder.
    pub(crate) fn once_built(&mut self, folder: &Path) {
        self.web = self.web.clone().once_built(folder);
        self.usual = self.usual.take().map(|web| web.once_built(folder));
    }

    /// What runs before traffic moves, where the row has these lines.
    pub fn release<'a>(&'a self, lines: &'a ProcfileLines) -> Option<&'a str> {
        let line = lines.line("release").or(self.release.as_deref());
        line.filter(|line| !line.is_empty())
    }

    /// The process types that are not run, where the row has these lines.
    pub fn not_run(&self, lines: &ProcfileLines) -> Vec<String> {
        let mut types = self.not_run.clone();
        for (name, line) in lines.lines() {
            types.retain(|known| known != name.as_str());
            if name.is_worker() && !line.is_empty() {
                types.push(name.as_str().to_owned());
            }
        }
        types.sort();
        types
    }
}

/// Finds the way to build and run an app in `folder`, a part of the `checkout` of its repository;
/// both are absolute paths. `build_line` is the row's for `build`.
///
/// # Errors
/// See [`RecipeError`]. That nobody knows how the app is started is none here.
pub async fn recipe(
    app: &AppName,
    checkout: &Path,
    folder: &Path,
    toolchains: &Toolchains,
    build_line: Option<&str>,
) -> Result<Recipe, RecipeError> {
    let source = &Source { checkout, folder };
    let procfile = match source.read("Procfile")? {
        Some(text) => Procfile::parse(&text)?,
        None => Procfile::default(),
    };
    let replaced = build_line.or(procfile.build()).filter(|line| !line.is_empty());
    let (found, missing) = languages(source, toolchains, &procfile, replaced).await?;
    let mut unbuilt = match replaced {
        Some(_) => Vec::new(),
        None => unbuilt(source, procfile.web()).into_iter().map(|one| with(one, &found)).collect(),
    };
    let Usual { web: usual, told } =
        start::usual(app, source, replaced.is_some(), &found, &unbuilt)?;
    let web = procfile.web().map(Web::of_line);
    if let Some(first) = missing.first()
        && found.is_empty()
    {
        return Err(first.error());
    }
    unbuilt.extend(missing.into_iter().map(Missing::into_unbuilt));
    let mut looked_at = looked_at(source, &found);
    looked_at.push(match &web {
        Some(_) => "it is started by `web` of its `Procfile`".to_owned(),
        None => told,
    });
    let (build, path) = steps(replaced, &found);
    Ok(Recipe {
        kind: kind(web.as_ref().unwrap_or(&usual), replaced.is_some(), &found),
        build,
        release: procfile.release().map(str::to_owned),
        web: web.unwrap_or_else(|| usual.clone()),
        usual: Some(usual),
        path,
        not_run: procfile.others(),
        unbuilt,
        notes: found.iter().flat_map(|one| one.notes.clone()).collect(),
        looked_at,
    })
}

/// A language that was found, and whose tools this machine has not.
struct Missing {
    language: Language,
    tool: String,
    wanted_by: String,
    cure: String,
}

impl Missing {
    fn error(&self) -> RecipeError {
        let Missing { tool, wanted_by, cure, .. } = self;
        RecipeError::Missing {
            tool: tool.clone(),
            wanted_by: wanted_by.clone(),
            cure: cure.clone(),
        }
    }

    fn into_unbuilt(self) -> Unbuilt {
        Unbuilt::without_tool(&self.language, &self.wanted_by, &self.tool, &self.cure)
    }
}

/// What was found decides the build, whoever says how the app is started. A language whose tools
/// are not there fails it only where there is no other that is built.
async fn languages(
    source: &Source<'_>,
    toolchains: &Toolchains,
    procfile: &Procfile,
    replaced: Option<&str>,
) -> Result<(Vec<Convention>, Vec<Missing>), RecipeError> {
    let tools = if replaced.is_some() { None } else { Some(toolchains) };
    let has_web = procfile.web().is_some();
    let all = [
        (python::LANGUAGE, python::convention(source, tools, has_web).await),
        (node::LANGUAGE, node::convention(source, tools, has_web).await),
        (deno::LANGUAGE, deno::convention(source, tools)),
        (go::LANGUAGE, go::convention(source, tools, procfile.web())),
        (ruby::LANGUAGE, ruby::convention(source, tools)),
        (php::LANGUAGE, php::convention(source, tools)),
        (rust::LANGUAGE, rust::convention(source, toolchains, has_web, replaced.is_some()).await),
    ];
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (language, convention) in all {
        match convention {
            Ok(convention) => found.extend(convention),
            Err(RecipeError::Missing { tool, wanted_by, cure }) => {
                missing.push(Missing { language, tool, wanted_by, cure });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, missing))
}

/// What builds the app, and the folders that it fills with programs.
fn steps(replaced: Option<&str>, found: &[Convention]) -> (Vec<Step>, Vec<PathBuf>) {
    if let Some(text) = replaced {
        let step = Step::new("run `build` of the Procfile", ["sh", "-c", text]);
        // What it makes is not known beforehand, so that all usual places are looked at.
        let path = [".venv/bin", "node_modules/.bin"].map(PathBuf::from);
        return (vec![step], path.to_vec());
    }
    // Others gather the files that Node's tools make.
    let is_node = |one: &&Convention| one.kind == node::LANGUAGE.name;
    let first = found.iter().filter(is_node);
    let others = found.iter().filter(|one| !is_node(one));
    let steps = first.chain(others).flat_map(|one| one.steps.clone()).collect();
    (steps, found.iter().flat_map(|one| one.path.clone()).collect())
}

fn kind(web: &Web, is_replaced: bool, found: &[Convention]) -> String {
    let kinds: Vec<&str> = found.iter().map(|one| one.kind).collect();
    match web {
        Web::Static(_) | Web::SinglePage(_) | Web::Made(_) if kinds.is_empty() => {
            "static files".to_owned()
        }
        _ if is_replaced || kinds.is_empty() => "Procfile".to_owned(),
        Web::Command(_) | Web::Static(_) | Web::SinglePage(_) | Web::Made(_) | Web::Unknown(_) => {
            kinds.join(" and ")
        }
    }
}

/// A line for each language that was looked for.
fn looked_at(source: &Source<'_>, found: &[Convention]) -> Vec<String> {
    let line = |language: &Language| {
        let name = language.name;
        let there = language.files.iter().find(|file| source.has(file).unwrap_or(false));
        match (there, found.iter().find(|one| one.kind == name)) {
            (Some(file), Some(Convention { start: None, without_start, .. })) => {
                format!("{name}: `{file}` is there; {without_start}")
            }
            (Some(file), Some(_)) => format!("{name}: `{file}` is there"),
            (Some(file), None) => format!("{name}: `{file}` is there, and nothing was built of it"),
            (None, _) => {
                let files = language.files.iter().map(|file| format!("`{file}`"));
                format!("{name}: there is no {}", files.collect::<Vec<String>>().join(" and no "))
            }
        }
    };
    LANGUAGES.iter().map(line).collect()
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
