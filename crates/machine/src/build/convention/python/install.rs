//! The commands that install Python packages into the app's own environment, `.venv`.

use std::path::Path;

use crate::build::convention::python::project::Install;
use crate::build::step::Step;

const TITLE: &str = "install Python packages";
/// A tool is put beside the app, where nothing of it is left when the build is done.
const TOOL: &str = "\"$0\" -m venv \"$TMPDIR/tools\" && \"$TMPDIR/tools/bin/python\" -m pip \
                    install --no-input --disable-pip-version-check \"$1\"";

/// What packages are installed with.
#[derive(Debug)]
pub(crate) struct Installer<'a> {
    pub(crate) folder: &'a Path,
    /// The interpreter of the environment; with uv, only where it is not left to uv.
    pub(crate) python: Option<String>,
    pub(crate) has_uv: bool,
    pub(crate) has_poetry: bool,
    pub(crate) has_pipenv: bool,
}

impl Installer<'_> {
    pub(crate) fn steps(&self, install: &Install) -> Vec<Step> {
        match install {
            Install::Uv => self.locked_by_uv(),
            Install::Poetry { root } => {
                let root = if *root { "" } else { " --no-root" };
                let words = format!("poetry install --only main --no-interaction{root}");
                self.by_tool("poetry", self.has_poetry, &words)
            }
            Install::Pipenv { locked } => {
                let words = if *locked { "pipenv sync" } else { "pipenv install --skip-lock" };
                self.by_tool("pipenv", self.has_pipenv, words)
            }
            Install::Requirements => self.by_pip(&["-r", "requirements.txt"]),
            Install::Package => self.by_pip(&["."]),
            Install::Dependencies(names) => {
                let names = names.iter().map(String::as_str);
                self.by_pip(&["--"].into_iter().chain(names).collect::<Vec<&str>>())
            }
            Install::Nothing => vec![self.environment()],
        }
    }

    /// Installs one more package into the environment.
    pub(crate) fn add(&self, title: &str, package: &str) -> Step {
        Step::new(title, self.pip().into_iter().chain([package.to_owned()]))
    }

    fn environment(&self) -> Step {
        let title = "make a virtual environment";
        let python = self.python.as_deref();
        if self.has_uv {
            let python = python.map(|python| ["--python", python]).into_iter().flatten();
            Step::new(title, ["uv", "venv"].into_iter().chain(python).chain([".venv"]))
        } else {
            Step::new(title, [python.unwrap_or("python3"), "-m", "venv", ".venv"])
        }
    }

    fn pip(&self) -> Vec<String> {
        let words: Vec<&str> = if self.has_uv {
            vec!["uv", "pip", "install", "--python", ".venv/bin/python"]
        } else {
            vec!["-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        };
        let inner = self.folder.join(".venv/bin/python").display().to_string();
        let program = (!self.has_uv).then_some(inner);
        program.into_iter().chain(words.into_iter().map(str::to_owned)).collect()
    }

    fn by_pip(&self, what: &[&str]) -> Vec<Step> {
        let what = what.iter().map(|word| (*word).to_owned());
        vec![self.environment(), Step::new(TITLE, self.pip().into_iter().chain(what))]
    }

    /// By uv's lock file. What uv would remove, because the lock does not name it, stays.
    fn locked_by_uv(&self) -> Vec<Step> {
        let python = self.python.as_deref();
        if self.has_uv {
            let python = python.map(|python| ["--python", python]).into_iter().flatten();
            let words = ["uv", "sync", "--frozen", "--no-dev"].into_iter().chain(python);
            return vec![Step::new(TITLE, words)];
        }
        let words = "exec \"$TMPDIR/tools/bin/uv\" sync --frozen --no-dev --inexact \
                     --python .venv/bin/python";
        vec![self.environment(), self.tool("uv"), Step::new(TITLE, ["sh", "-c", words])]
    }

    /// By a package manager that installs into the environment that is active, and that has to be
    /// told in other words than pip whom the operator trusts.
    fn by_tool(&self, tool: &str, is_there: bool, words: &str) -> Vec<Step> {
        let mut steps = vec![self.environment()];
        let mut program = "";
        if !is_there && self.has_uv {
            program = "uv tool run ";
        } else if !is_there {
            steps.push(self.tool(tool));
        }
        let text = format!(
            "VIRTUAL_ENV=\"$PWD/.venv\" PATH=\"$PATH:$TMPDIR/tools/bin\" \
             REQUESTS_CA_BUNDLE=\"${{REQUESTS_CA_BUNDLE:-$PIP_CERT}}\" exec {program}{words}"
        );
        steps.push(Step::new(TITLE, ["sh", "-c", &text]));
        steps
    }

    fn tool(&self, tool: &str) -> Step {
        let python = self.python.as_deref().unwrap_or("python3");
        let title = format!("install {tool}, which the app's packages are installed with");
        Step::new(&title, ["sh", "-c", TOOL, python, tool])
    }
}
