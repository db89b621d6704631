//! The app that a Python repository is: which object of which module a server is pointed at, found
//! by reading the source.
//!
//! Sources: <https://flask.palletsprojects.com/en/stable/cli/#application-discovery>,
//! <https://fastapi.tiangolo.com/fastapi-cli/>, <https://www.starlette.io/applications/>.

use toml::Value;

use crate::build::convention::python::modules::{Import, Module};
use crate::build::convention::python::project::Project;
use crate::build::convention::python::server::{Application, Interface};
use crate::build::source::Source;

/// A framework, by the class whose instance is the app.
struct Framework {
    name: &'static str,
    package: &'static str,
    class: &'static str,
    interface: Interface,
}

const FRAMEWORKS: [Framework; 5] = [
    framework("FastAPI", "fastapi", Interface::Asgi),
    framework("Starlette", "starlette", Interface::Asgi),
    framework("Litestar", "litestar", Interface::Asgi),
    framework("Quart", "quart", Interface::Asgi),
    framework("Flask", "flask", Interface::Wsgi),
];

const fn framework(name: &'static str, package: &'static str, interface: Interface) -> Framework {
    Framework { name, package, class: name, interface }
}

/// The names that an app usually has, in this order.
const NAMES: [&str; 3] = ["app", "application", "api"];
const FACTORIES: [&str; 2] = ["create_app", "make_app"];

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    One(Application),
    /// Several, of which none is more likely than the others, as a server is told of them.
    Several(Vec<String>),
    Nothing,
}

/// The app in these modules, which are sorted by how likely it is in them.
pub(crate) fn application(source: &Source<'_>, project: &Project, modules: &[Module]) -> Found {
    if let Some(told) = told(source, project, modules) {
        return Found::One(told);
    }
    let instances: Vec<(&Module, Application)> = modules
        .iter()
        .filter_map(|module| Some((module, instance(source, project, modules, module)?)))
        .collect();
    match instances.as_slice() {
        [] => {}
        [(_, one)] => return Found::One(one.clone()),
        [(first, one), ..] if first.is_usual() => return Found::One(one.clone()),
        several => {
            let target = |one: &Application| {
                format!("{}:{}", one.import.name, one.name.as_deref().unwrap_or_default())
            };
            return Found::Several(several.iter().map(|(_, one)| target(one)).collect());
        }
    }
    let factory = |module: &Module| {
        let name = FACTORIES.into_iter().find(|name| module.defines(name))?;
        let framework = of_project(project, modules)?;
        Some(made(source, module, framework, name, true))
    };
    modules.iter().find_map(factory).map_or(Found::Nothing, Found::One)
}

/// The app that is an object of this module.
fn instance(
    source: &Source<'_>,
    project: &Project,
    modules: &[Module],
    module: &Module,
) -> Option<Application> {
    let calls = module.calls();
    let place = |name: &str| NAMES.iter().position(|usual| *usual == name).unwrap_or(NAMES.len());
    let framework = FRAMEWORKS.iter().find(|framework| {
        module.imports(framework.package)
            && calls.iter().any(|(_, callee)| *callee == framework.class)
    });
    if let Some(framework) = framework {
        let names = calls.iter().filter(|(_, callee)| *callee == framework.class);
        let name = names.map(|(name, _)| *name).min_by_key(|name| place(name))?;
        return Some(made(source, module, framework, name, false));
    }
    let (name, _) = calls.iter().find(|(_, callee)| FACTORIES.contains(callee))?;
    Some(made(source, module, of_project(project, modules)?, name, false))
}

fn made(
    source: &Source<'_>,
    module: &Module,
    framework: &Framework,
    name: &str,
    is_factory: bool,
) -> Application {
    Application {
        framework: framework.name,
        interface: framework.interface,
        import: module.import(source),
        name: Some(name.to_owned()),
        is_factory,
    }
}

/// The framework of the whole project: one that it depends on, or else one that it imports.
fn of_project<'a>(project: &Project, modules: &[Module]) -> Option<&'a Framework> {
    let declared = FRAMEWORKS.iter().find(|framework| project.has(framework.package));
    let imported = || {
        let is_used =
            |framework: &&Framework| modules.iter().any(|module| module.imports(framework.package));
        FRAMEWORKS.iter().find(is_used)
    };
    declared.or_else(imported)
}

/// The app that the project names itself: `entrypoint` of `FastAPI`'s table in `pyproject.toml`, or
/// `FLASK_APP` of a `.flaskenv`.
fn told(source: &Source<'_>, project: &Project, modules: &[Module]) -> Option<Application> {
    let tool = project.about.get("tool").and_then(|tool| tool.get("fastapi"));
    let entry = tool.and_then(|tool| tool.get("entrypoint")).and_then(Value::as_str);
    if let Some((module, name)) = entry.and_then(|entry| entry.split_once(':')) {
        return is_target(module, name).then(|| Application {
            framework: "FastAPI",
            interface: Interface::Asgi,
            import: Import { name: module.to_owned(), folder: None },
            name: Some(name.to_owned()),
            is_factory: false,
        });
    }
    let text = source.read(".flaskenv").ok().flatten()?;
    let line = |line: &str| {
        let line = line.trim();
        Some(line.strip_prefix("export ").unwrap_or(line).strip_prefix("FLASK_APP=")?.to_owned())
    };
    let value = text.lines().find_map(line)?;
    let value = value.trim_matches(['"', '\'']);
    let (file, name) =
        value.split_once(':').map_or((value, None), |(file, name)| (file, Some(name)));
    let file = file.strip_suffix(".py").unwrap_or(file).replace('/', ".");
    let module = modules.iter().find(|module| module.import(source).name == file)?;
    let found = instance(source, project, modules, module);
    match name {
        None => found,
        Some(name) => {
            let is_factory = name.ends_with("()") || module.defines(name);
            let name = name.trim_end_matches("()");
            let framework = FRAMEWORKS.iter().find(|framework| framework.name == "Flask")?;
            is_target(&file, name).then(|| made(source, module, framework, name, is_factory))
        }
    }
}

/// Whether both are words of Python, and so of no shell.
fn is_target(module: &str, name: &str) -> bool {
    let is_word = |text: &str| {
        !text.is_empty()
            && text.chars().all(|one| one.is_ascii_alphanumeric() || "._".contains(one))
    };
    is_word(module) && is_word(name)
}
