//! The convention of Python: packages by uv, or else by pip.

use std::path::{Path, PathBuf};

use crate::build::convention::{Convention, Language};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::{Python, Toolchains};

pub(crate) const LANGUAGE: Language =
    Language { name: "Python", files: &["requirements.txt", "pyproject.toml"] };

/// Installs what a `pyproject.toml` without a build system depends on: it is no package itself.
const DEPENDENCIES: &str = "\
import subprocess, sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open('pyproject.toml', 'rb') as file:
    names = tomllib.load(file).get('project', {}).get('dependencies', [])
pip = [sys.executable, '-m', 'pip', 'install', '--no-input', '--disable-pip-version-check']
sys.exit(subprocess.call([*pip, '--', *names]) if names else 0)
";

/// Python, by `requirements.txt` or `pyproject.toml`; steps only with `tools`.
pub(crate) fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let requirements = source.has("requirements.txt")?;
    let project = source.read("pyproject.toml")?;
    if !requirements && project.is_none() {
        return Ok(None);
    }
    let named = if requirements { "requirements.txt" } else { "pyproject.toml" };
    let about: toml::Table = match project.as_deref().map(str::parse) {
        Some(parsed) => parsed.map_err(|error: toml::de::Error| RecipeError::BadFile {
            file: "pyproject.toml".to_owned(),
            reason: error.to_string().replace('\n', " "),
        })?,
        None => toml::Table::new(),
    };
    let is_poetry = about.get("tool").and_then(|tool| tool.get("poetry")).is_some();
    let package = about.contains_key("build-system") || is_poetry;
    let install = if requirements {
        Install::Requirements
    } else if package {
        Install::Package
    } else if about.contains_key("project") {
        Install::Dependencies
    } else {
        Install::Nothing
    };
    let locked = project.is_some() && source.has("uv.lock")?;
    let steps = match tools {
        None => Vec::new(),
        Some(tools) if tools.find("uv").is_some() => with_uv(locked, install),
        Some(tools) => with_pip(source.folder, tools, named, install)?,
    };
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start: None,
        path: vec![PathBuf::from(".venv/bin")],
        without_start: format!("`{named}`, which does not say how a Python app is started"),
        example: "gunicorn app:app --bind $HOST:$PORT".to_owned(),
    }))
}

#[derive(Clone, Copy)]
enum Install {
    Requirements,
    Package,
    Dependencies,
    Nothing,
}

fn with_uv(locked: bool, install: Install) -> Vec<Step> {
    let title = "install Python packages";
    let make = Step::new("make a virtual environment", ["uv", "venv", ".venv"]);
    let pip = ["uv", "pip", "install", "--python", ".venv/bin/python"];
    if locked {
        return vec![Step::new(title, ["uv", "sync", "--frozen", "--no-dev"])];
    }
    match install {
        Install::Requirements => {
            vec![make, Step::new(title, pip.into_iter().chain(["-r", "requirements.txt"]))]
        }
        Install::Package => vec![make, Step::new(title, pip.into_iter().chain(["."]))],
        Install::Dependencies => vec![Step::new(title, ["uv", "sync", "--no-dev"])],
        Install::Nothing => vec![make],
    }
}

fn with_pip(
    folder: &Path,
    tools: &Toolchains,
    named: &str,
    install: Install,
) -> Result<Vec<Step>, RecipeError> {
    let missing = |tool: &str, cure: &str| {
        Err(RecipeError::Missing {
            tool: tool.to_owned(),
            wanted_by: format!("`{named}`"),
            cure: cure.to_owned(),
        })
    };
    let python = match tools.python() {
        Python::At(python) => python.display().to_string(),
        Python::Missing => return missing("python3", "`apt install python3 python3-venv`"),
        Python::WithoutVenv => return missing("python3-venv", "`apt install python3-venv`"),
    };
    let mut steps =
        vec![Step::new("make a virtual environment", [python.as_str(), "-m", "venv", ".venv"])];
    let inner = folder.join(".venv/bin/python").display().to_string();
    let pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
    let rest: Vec<&str> = match install {
        Install::Requirements => pip.into_iter().chain(["-r", "requirements.txt"]).collect(),
        Install::Package => pip.into_iter().chain(["."]).collect(),
        Install::Dependencies => vec!["-c", DEPENDENCIES],
        Install::Nothing => return Ok(steps),
    };
    let command = [inner.as_str()].into_iter().chain(rest);
    steps.push(Step::new("install Python packages", command));
    Ok(steps)
}
