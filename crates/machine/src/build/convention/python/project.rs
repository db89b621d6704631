//! What an app's own files say of its Python packages: who installs them, and which ones it names.
//!
//! Sources: <https://packaging.python.org/en/latest/specifications/pyproject-toml/>,
//! <https://peps.python.org/pep-0735/>, <https://python-poetry.org/docs/pyproject/>,
//! <https://docs.astral.sh/uv/concepts/projects/layout/>,
//! <https://pipenv.pypa.io/en/latest/pipfile.html>.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::build::error::RecipeError;
use crate::build::source::Source;

/// Groups of dependencies that are for where an app runs, not for who works on it.
const PRODUCTION: [&str; 4] = ["deploy", "main", "prod", "production"];
/// How deep files of requirements may name further ones.
const DEPTH: usize = 8;

/// Who installs, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Install {
    /// uv, by its lock file.
    Uv,
    Poetry {
        /// Whether the app is a package itself.
        root: bool,
    },
    Pipenv {
        locked: bool,
    },
    /// `requirements.txt`.
    Requirements,
    /// The app's own package, with what it depends on.
    Package,
    /// What the app depends on; it is no package.
    Dependencies(Vec<String>),
    Nothing,
}

/// A Python project.
#[derive(Debug)]
pub(crate) struct Project {
    /// By which file it was found.
    pub(crate) named: &'static str,
    pub(crate) install: Install,
    /// `pyproject.toml`; empty where there is none.
    pub(crate) about: Table,
    /// `Pipfile`; empty where there is none.
    pub(crate) pipfile: Table,
    /// The normalised names of the packages that it asks for itself.
    pub(crate) declared: BTreeSet<String>,
}

impl Project {
    /// The project of an app; `None` where no file of a package manager is there.
    ///
    /// # Errors
    /// A file that cannot be read as what it is.
    pub(crate) fn read(source: &Source<'_>) -> Result<Option<Project>, RecipeError> {
        let mut about = None;
        if let Some(text) = source.read("pyproject.toml")? {
            about = Some(table("pyproject.toml", &text)?);
        }
        let pipfile = source.read("Pipfile")?;
        let pipfile = pipfile.map(|text| table("Pipfile", &text)).transpose()?;
        let has = |name: &str| source.has(name);
        let project = about.is_some();
        let about = about.unwrap_or_default();
        let poetry = about.get("tool").and_then(|tool| tool.get("poetry")).is_some();
        let (named, install) = if project && has("uv.lock")? {
            ("pyproject.toml", Install::Uv)
        } else if has("requirements.txt")? {
            ("requirements.txt", Install::Requirements)
        } else if project && (poetry || has("poetry.lock")?) {
            ("pyproject.toml", Install::Poetry { root: is_poetry_package(source, &about)? })
        } else if pipfile.is_some() {
            ("Pipfile", Install::Pipenv { locked: has("Pipfile.lock")? })
        } else if project {
            ("pyproject.toml", of_project(source, &about)?)
        } else if has("setup.py")? {
            ("setup.py", Install::Package)
        } else {
            return Ok(None);
        };
        let pipfile = pipfile.unwrap_or_default();
        let mut project = Project { named, install, about, pipfile, declared: BTreeSet::new() };
        project.declared = project.names(source)?;
        Ok(Some(project))
    }

    /// Whether it asks for a package of this normalised name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.declared.contains(name)
    }

    fn names(&self, source: &Source<'_>) -> Result<BTreeSet<String>, RecipeError> {
        let mut requirements = match self.install {
            Install::Requirements => of_file(source, "requirements.txt", DEPTH)?,
            Install::Uv
            | Install::Poetry { .. }
            | Install::Pipenv { .. }
            | Install::Package
            | Install::Dependencies(_)
            | Install::Nothing => dependencies(&self.about),
        };
        let poetry = self.about.get("tool").and_then(|tool| tool.get("poetry"));
        for table in
            [poetry.and_then(|poetry| poetry.get("dependencies")), self.pipfile.get("packages")]
        {
            for (name, value) in table.and_then(Value::as_table).into_iter().flatten() {
                let extras = value.get("extras").and_then(Value::as_array);
                let extras = extras.into_iter().flatten().filter_map(Value::as_str);
                requirements.push(format!("{name}[{}]", extras.collect::<Vec<&str>>().join(",")));
            }
        }
        let mut names = BTreeSet::new();
        for requirement in &requirements {
            let Some(name) = name(requirement) else { continue };
            // FastAPI brings its server with it, if it is asked to.
            let extras = ["standard", "all"].iter().any(|extra| requirement.contains(extra));
            if name == "fastapi" && extras && requirement.contains('[') {
                names.insert("uvicorn".to_owned());
            }
            names.insert(name);
        }
        Ok(names)
    }
}

fn table(file: &str, text: &str) -> Result<Table, RecipeError> {
    text.parse().map_err(|error: toml::de::Error| RecipeError::BadFile {
        file: file.to_owned(),
        reason: error.to_string().replace('\n', " "),
    })
}

/// The normalised name of a requirement, if it has one.
fn name(requirement: &str) -> Option<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let end = requirement.find(|letter| !is_letter(letter)).unwrap_or(requirement.len());
    let name = requirement[..end].to_ascii_lowercase().replace(['_', '.'], "-");
    name.starts_with(|letter: char| letter.is_ascii_alphanumeric()).then_some(name)
}

/// The requirements of a file, and of those that it names.
fn of_file(source: &Source<'_>, file: &str, depth: usize) -> Result<Vec<String>, RecipeError> {
    let Some(text) = source.read(file)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let other = ["-r", "--requirement"].iter().find_map(|flag| line.strip_prefix(flag));
        if let Some(other) = other.map(|rest| rest.trim_start_matches(['=', ' ', '\t'])) {
            let folder = std::path::Path::new(file).parent().unwrap_or(std::path::Path::new(""));
            let other = folder.join(other.split(" #").next().unwrap_or_default().trim());
            if depth > 0 && other.is_relative() {
                // What is wrong with it is told by who installs.
                let other = other.display().to_string();
                found.extend(of_file(source, &other, depth - 1).unwrap_or_default());
            }
        } else if !line.starts_with(['#', '-']) {
            found.push(line.to_owned());
        }
    }
    Ok(found)
}

/// What a `pyproject.toml` depends on where it runs: of the project, and of its groups for that.
fn dependencies(about: &Table) -> Vec<String> {
    let project = about.get("project").and_then(|project| project.get("dependencies"));
    let mut found = texts(project);
    if let Some(groups) = about.get("dependency-groups").and_then(Value::as_table) {
        for (name, group) in groups {
            if PRODUCTION.contains(&name.to_ascii_lowercase().as_str()) {
                found.extend(group_of(groups, group, DEPTH));
            }
        }
    }
    found
}

/// A group's requirements, with those of the groups that it includes.
fn group_of(groups: &Table, group: &Value, depth: usize) -> Vec<String> {
    let mut found = texts(Some(group));
    let others = group.as_array().into_iter().flatten();
    let others = others.filter_map(|one| one.get("include-group")?.as_str());
    for other in others.filter_map(|name| groups.get(name)).take(if depth > 0 { 100 } else { 0 }) {
        found.extend(group_of(groups, other, depth - 1));
    }
    found
}

fn texts(array: Option<&Value>) -> Vec<String> {
    let array = array.and_then(Value::as_array).into_iter().flatten();
    array.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// How a `pyproject.toml` is installed that no other tool is named for.
fn of_project(source: &Source<'_>, about: &Table) -> Result<Install, RecipeError> {
    if about.contains_key("build-system") && is_package(source, about)? {
        return Ok(Install::Package);
    }
    let wanted = dependencies(about);
    Ok(if wanted.is_empty() { Install::Nothing } else { Install::Dependencies(wanted) })
}

/// Whether an app with a build system can be installed as a package. One whose modules lie flat
/// beside one another cannot, and runs as it lies there.
fn is_package(source: &Source<'_>, about: &Table) -> Result<bool, RecipeError> {
    let Some(project) = about.get("project") else { return Ok(true) };
    let is_dynamic = texts(project.get("dynamic")).iter().any(|what| what == "dependencies");
    let has_programs = project.get("scripts").is_some();
    let tool = |name: &str| about.get("tool").and_then(|tool| tool.get(name));
    let is_told = ["setuptools", "hatch", "flit", "pdm"].iter().any(|name| tool(name).is_some());
    if is_dynamic || has_programs || is_told || source.folder.join("src").is_dir() {
        return Ok(true);
    }
    has_module(source, project.get("name"))
}

fn is_poetry_package(source: &Source<'_>, about: &Table) -> Result<bool, RecipeError> {
    let poetry = about.get("tool").and_then(|tool| tool.get("poetry"));
    let of = |key: &str| poetry.and_then(|poetry| poetry.get(key));
    if of("package-mode").and_then(Value::as_bool) == Some(false) {
        return Ok(false);
    }
    let name = about.get("project").and_then(|project| project.get("name")).or(of("name"));
    Ok(of("packages").is_some() || has_module(source, name)?)
}

/// Whether the module of this name lies where a build system looks for it.
fn has_module(source: &Source<'_>, name: Option<&Value>) -> Result<bool, RecipeError> {
    let Some(name) = name.and_then(Value::as_str) else { return Ok(false) };
    let name = name.replace(['-', '.'], "_");
    for folder in ["", "src/"] {
        for file in [format!("{folder}{name}.py"), format!("{folder}{name}/__init__.py")] {
            if source.has(&file)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::source::with_files;

    fn project(files: &[(&str, &str)]) -> Project {
        let room = with_files(files);
        let source = Source { checkout: room.path(), folder: room.path() };
        Project::read(&source).unwrap().unwrap()
    }

    const BUILD: &str = "[build-system]\nrequires = []\n";

    #[test]
    fn each_manager_is_known_by_its_files() {
        let plain = "[project]\nname = 'shop'\ndependencies = ['flask']\n";
        let packaged = format!("{plain}{BUILD}");
        let flask = || Install::Dependencies(vec!["flask".to_owned()]);
        for (files, expected) in [
            (vec![("requirements.txt", ""), ("poetry.lock", "")], Install::Requirements),
            (
                vec![("pyproject.toml", plain), ("uv.lock", ""), ("requirements.txt", "")],
                Install::Uv,
            ),
            (vec![("pyproject.toml", plain)], flask()),
            (vec![("pyproject.toml", "[tool.ruff]\n")], Install::Nothing),
            (vec![("pyproject.toml", packaged.as_str())], flask()),
            (
                vec![("pyproject.toml", packaged.as_str()), ("shop/__init__.py", "")],
                Install::Package,
            ),
            (vec![("pyproject.toml", packaged.as_str()), ("src/a/b.py", "")], Install::Package),
            (vec![("pyproject.toml", BUILD)], Install::Package),
            (vec![("setup.py", "")], Install::Package),
            (vec![("pyproject.toml", plain), ("poetry.lock", "")], Install::Poetry { root: false }),
            (
                vec![("pyproject.toml", "[tool.poetry]\nname = 'my-shop'\n"), ("my_shop.py", "")],
                Install::Poetry { root: true },
            ),
            (
                vec![
                    ("pyproject.toml", "[tool.poetry]\npackage-mode = false\nname = 'a'\n"),
                    ("a.py", ""),
                ],
                Install::Poetry { root: false },
            ),
            (vec![("Pipfile", ""), ("Pipfile.lock", "{}")], Install::Pipenv { locked: true }),
            (vec![("Pipfile", "")], Install::Pipenv { locked: false }),
        ] {
            assert_eq!(project(&files).install, expected, "{files:?}");
        }
    }

    #[test]
    fn groups_for_production_are_installed_and_those_for_work_are_not() {
        let text = "[dependency-groups]\nserver = ['gunicorn>=22']\ndev = ['pytest']\n\
                    prod = ['flask', {include-group = 'server'}, {include-group = 'prod'}]\n";
        let Install::Dependencies(found) = project(&[("pyproject.toml", text)]).install else {
            panic!("nothing is installed")
        };
        assert_eq!(found[..2], ["flask", "gunicorn>=22"]);
        assert!(!found.contains(&"pytest".to_owned()));
    }

    #[test]
    fn the_names_of_what_is_asked_for_are_normalised() {
        let poetry =
            "[tool.poetry.dependencies]\nfastapi = {version = '*', extras = ['standard']}\n";
        for (files, expected) in [
            (
                vec![
                    (
                        "requirements.txt",
                        "-r more/base.txt # all\nFlask_Login==1 ; x\n# no\n-e .\n",
                    ),
                    ("more/base.txt", "--requirement=web.txt\nDjango[argon2]>=5\n"),
                    ("more/web.txt", "gunicorn\n-r ../requirements.txt\n"),
                ],
                vec!["django", "flask-login", "gunicorn"],
            ),
            (vec![("pyproject.toml", poetry)], vec!["fastapi", "uvicorn"]),
            (vec![("Pipfile", "[packages]\nflask = '*'\n")], vec!["flask"]),
        ] {
            let found = project(&files).declared;
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<&str>>(), expected);
        }
    }
}
