//! The convention of Python: packages by the manager whose files are there, and Django, `FastAPI`,
//! Flask and their like by the servers that they are made for.

pub(crate) mod application;
pub(crate) mod django;
pub(crate) mod install;
pub(crate) mod modules;
pub(crate) mod project;
pub(crate) mod server;

use std::path::PathBuf;

use crate::build::convention::python::application::{Found, application};
use crate::build::convention::python::django::{Django, django};
use crate::build::convention::python::install::Installer;
use crate::build::convention::python::modules::{Module, modules};
use crate::build::convention::python::project::Project;
use crate::build::convention::python::server::{Application, serving};
use crate::build::convention::{self, Convention, Language};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::toolchain::{Python, Toolchains};
use crate::build::version::Version;
use crate::build::wanted::{Wanted, first_word, of_tool};

pub(crate) const LANGUAGE: Language = Language {
    name: "Python",
    files: &["requirements.txt", "pyproject.toml", "Pipfile", "setup.py"],
};

/// Files that are started as they are where they read `PORT` themselves.
const SCRIPTS: [&str; 3] = ["main.py", "app.py", "server.py"];

/// Python, by the files of its package managers; steps only with `tools`.
pub(crate) async fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
    has_web: bool,
) -> Result<Option<Convention>, RecipeError> {
    let Some(project) = Project::read(source)? else { return Ok(None) };
    let modules = modules(source);
    let django = django(&modules);
    let started = start(source, &project, &modules, django.as_ref());
    let named = project.named;
    let mut steps = Vec::new();
    let mut notes: Vec<String> = Vec::new();
    if let Some(tools) = tools {
        let mut installer = installer(source, tools, named)?;
        let chosen;
        (chosen, notes) = choose(&wanted(source, &project)?, tools).await?;
        installer.python = chosen.or(installer.python);
        steps = installer.steps(&project.install);
        if let Some(server) = started.lacks.filter(|_| !has_web) {
            let title = format!("install {server}, which the app is served by");
            steps.push(installer.add(&title, server));
            notes.push(format!(
                "it is served by {server}, which was installed though `{named}` does not ask for it"
            ));
        }
        steps.extend(django.as_ref().and_then(Django::collect));
    }
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start: started.command,
        path: vec![PathBuf::from(".venv/bin")],
        without_start: format!("`{named}`, {}", started.otherwise),
        example: "gunicorn app:app --bind $HOST:$PORT".to_owned(),
        notes,
    }))
}

/// How an app is started, or why nobody knows.
struct Started {
    command: Option<convention::Start>,
    lacks: Option<&'static str>,
    otherwise: String,
}

impl Started {
    fn none(otherwise: String) -> Started {
        Started { command: None, lacks: None, otherwise }
    }

    fn of(application: &Application, project: &Project) -> Started {
        let serving = serving(application, project);
        let command = format!("exec {}", serving.command);
        let command = Some(convention::Start::Framework(command));
        Started { command, lacks: serving.lacks, otherwise: String::new() }
    }
}

fn start(
    source: &Source<'_>,
    project: &Project,
    modules: &[Module],
    django: Option<&Django>,
) -> Started {
    if let Some(django) = django {
        return match &django.application {
            Some(application) => Started::of(application, project),
            None => {
                Started::none("a Django project without a `wsgi.py` or an `asgi.py`".to_owned())
            }
        };
    }
    match application(source, project, modules) {
        Found::One(application) => return Started::of(&application, project),
        Found::Several(targets) => {
            let targets: Vec<String> = targets.iter().map(|one| format!("`{one}`")).collect();
            let targets = targets.join(", ");
            return Started::none(format!("whose app may be any of {targets}"));
        }
        Found::Nothing => {}
    }
    let is_script = |module: &&Module| {
        SCRIPTS.iter().any(|script| module.file == PathBuf::from(script))
            && ["\"PORT\"", "'PORT'"].iter().any(|name| module.text.contains(name))
    };
    match modules.iter().find(is_script) {
        Some(script) => {
            let command = format!("exec python {}", script.file.display());
            let command = Some(convention::Start::Command(command));
            Started { command, lacks: None, otherwise: String::new() }
        }
        None => Started::none("which does not say how a Python app is started".to_owned()),
    }
}

fn installer<'a>(
    source: &Source<'a>,
    tools: &Toolchains,
    named: &str,
) -> Result<Installer<'a>, RecipeError> {
    let missing = |tool: &str, cure: &str| RecipeError::Missing {
        tool: tool.to_owned(),
        wanted_by: format!("`{named}`"),
        cure: cure.to_owned(),
    };
    let has = |tool: &str| tools.find(tool).is_some();
    let python = match tools.python() {
        // uv finds one, or brings it.
        _ if has("uv") => None,
        Python::At(python) => Some(python.display().to_string()),
        Python::Missing => return Err(missing("python3", "`apt install python3 python3-venv`")),
        Python::WithoutVenv => return Err(missing("python3-venv", "`apt install python3-venv`")),
    };
    Ok(Installer {
        folder: source.folder,
        python,
        has_uv: has("uv"),
        has_poetry: has("poetry"),
        has_pipenv: has("pipenv"),
    })
}

/// What is said of the version of Python.
fn wanted(source: &Source<'_>, project: &Project) -> Result<Vec<Wanted>, RecipeError> {
    let mut found = Vec::new();
    for file in [".python-version", "runtime.txt"] {
        let text = first_word(source, file)?;
        let text = text.as_deref().map(|text| text.strip_prefix("python-").unwrap_or(text));
        found.extend(text.and_then(|text| Wanted::exactly(file, text, 2)));
    }
    let text = of_tool(source, &["python"])?;
    found.extend(text.and_then(|text| Wanted::exactly(".tool-versions", &text, 2)));
    let text = |table: Option<&toml::Value>, key: &str| {
        table.and_then(|table| table.get(key)?.as_str()).map(str::to_owned)
    };
    let requires = project.pipfile.get("requires");
    let exact = text(requires, "python_full_version").or_else(|| text(requires, "python_version"));
    found.extend(exact.and_then(|text| Wanted::exactly("Pipfile", &text, 2)));
    let about = &project.about;
    let poetry = about.get("tool").and_then(|tool| tool.get("poetry")?.get("dependencies"));
    let range = text(about.get("project"), "requires-python").or_else(|| text(poetry, "python"));
    found.extend(range.and_then(|text| Wanted::within("pyproject.toml", &text)));
    Ok(found)
}

/// The interpreter that all of these allow, and what is to be told of it. Where nothing is wanted,
/// and where there is no Python yet, it is left to who installs.
async fn choose(
    wanted: &[Wanted],
    tools: &Toolchains,
) -> Result<(Option<String>, Vec<String>), RecipeError> {
    let Python::At(usual) = tools.python() else { return Ok((None, Vec::new())) };
    if wanted.is_empty() {
        return Ok((None, Vec::new()));
    }
    let Some(there) = tools.version("python3").await else { return Ok((None, Vec::new())) };
    let allowed = |version: &Version| wanted.iter().all(|one| one.allows(version));
    let others = if allowed(&there) { Vec::new() } else { tools.pythons().await };
    let other = others.into_iter().filter(|(version, _)| allowed(version)).max();
    let (there, python) = other.unwrap_or_else(|| (there, usual.clone()));
    let mut notes = Vec::new();
    for one in wanted {
        let (name, file) = (one.program("python"), one.file);
        let cure = format!(
            "install it (`apt install {name} {name}-venv`, or `pyenv install`), or change `{file}`"
        );
        notes.extend(one.check("Python", &there, &cure)?);
    }
    Ok((Some(python.display().to_string()), notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::source::with_files;

    fn found(files: &[(&str, &str)]) -> Convention {
        let room = with_files(files);
        let source = Source { checkout: room.path(), folder: room.path() };
        of(&source)
    }

    fn of(source: &Source<'_>) -> Convention {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(convention(source, None, false)).unwrap().unwrap()
    }

    fn check(files: &[(&str, &str)], expected: &str) {
        let found = found(files);
        let start = text(found.start).unwrap_or(found.without_start);
        assert_eq!(start.strip_prefix("exec ").unwrap_or(&start), expected, "{files:?}");
    }

    fn text(start: Option<convention::Start>) -> Option<String> {
        match start? {
            convention::Start::Command(text) | convention::Start::Framework(text) => Some(text),
            convention::Start::Site(_) => None,
        }
    }

    const GUNICORN: &str = "gunicorn --bind $HOST:$PORT";
    const UVICORN: &str = "uvicorn --host $HOST --port $PORT";
    const FLASK: (&str, &str) = ("requirements.txt", "Flask==3.0\n");
    const FASTAPI: (&str, &str) = ("requirements.txt", "fastapi[standard]\n");
    const APP: &str = "from flask import Flask\napp = Flask(__name__)\n";
    const API: &str = "from fastapi import FastAPI\n\napp = FastAPI()\n";

    #[test]
    fn flask_is_started_by_gunicorn_with_the_app_that_its_source_has() {
        check(&[FLASK, ("app.py", APP)], &format!("{GUNICORN} app:app"));
        let server = "import flask\nserver = flask.Flask(__name__)\n";
        check(&[FLASK, ("hello.py", server)], &format!("{GUNICORN} hello:server"));
        check(&[FLASK, ("web/__init__.py", APP)], &format!("{GUNICORN} web:app"));
        check(
            &[FLASK, ("src/shop/__init__.py", ""), ("src/shop/main.py", APP)],
            &format!("{GUNICORN} --pythonpath src shop.main:app"),
        );
        let factory = "from flask import Flask\ndef create_app(config=None):\n    pass\n";
        check(&[FLASK, ("shop/__init__.py", factory)], &format!("{GUNICORN} 'shop:create_app()'"));
        let made = ("wsgi.py", "from shop import create_app\n\napplication = create_app()\n");
        check(
            &[FLASK, ("shop/__init__.py", factory), made],
            &format!("{GUNICORN} wsgi:application"),
        );
        check(
            &[FLASK, ("one.py", APP), ("two.py", APP), (".flaskenv", "FLASK_APP=two.py\n")],
            &format!("{GUNICORN} two:app"),
        );
    }

    #[test]
    fn fastapi_and_starlette_are_started_by_uvicorn() {
        check(&[FASTAPI, ("main.py", API)], &format!("{UVICORN} main:app"));
        check(&[FASTAPI, ("app/main.py", API)], &format!("{UVICORN} app.main:app"));
        let beside = format!("import database\n{API}");
        check(
            &[FASTAPI, ("backend/main.py", &beside), ("backend/database.py", "")],
            &format!("{UVICORN} --app-dir backend main:app"),
        );
        let starlette = "from starlette.applications import Starlette\nsite = Starlette()\n";
        check(
            &[("requirements.txt", "starlette\n"), ("site.py", starlette)],
            &format!("{UVICORN} site:site"),
        );
        let both = format!("{API}inner = FastAPI()\n");
        check(&[FASTAPI, ("main.py", &both)], &format!("{UVICORN} main:app"));
        let told = "[project]\nname = 'a'\n[tool.fastapi]\nentrypoint = 'b.c:d'\n";
        check(&[("pyproject.toml", told)], &format!("{UVICORN} b.c:d"));
    }

    #[test]
    fn a_server_of_the_apps_own_is_taken() {
        let both = |own: &str| format!("flask\nfastapi\n{own}\n");
        let run =
            |own: &str, file: &str| found(&[("requirements.txt", &both(own)), ("main.py", file)]);
        for (own, file, expected) in [
            ("waitress", APP, "exec waitress-serve --listen=$HOST:$PORT main:app"),
            ("hypercorn", API, "exec hypercorn --bind $HOST:$PORT main:app"),
            ("hypercorn\nuvicorn", API, "exec uvicorn --host $HOST --port $PORT main:app"),
        ] {
            assert_eq!(text(run(own, file).start).as_deref(), Some(expected));
        }
    }

    #[test]
    fn django_is_started_by_the_interface_that_its_settings_name() {
        let django = ("requirements.txt", "Django\n");
        let text = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n";
        let manage = ("manage.py", text);
        let wsgi = ("shop/wsgi.py", "application = get_wsgi_application()\n");
        let asgi = ("shop/asgi.py", "application = get_asgi_application()\n");
        let settings = ("shop/settings.py", "STATIC_ROOT = 'static'\n");
        let other = ("a/wsgi.py", "");
        check(&[django, manage, wsgi, asgi, settings, other], &format!("{GUNICORN} shop.wsgi"));
        let settings = ("shop/settings/base.py", "ASGI_APPLICATION = 'shop.asgi.application'\n");
        check(&[django, manage, wsgi, asgi, settings], &format!("{UVICORN} shop.asgi:application"));
        check(
            &[django, ("site/manage.py", text), ("site/shop/wsgi.py", "")],
            &format!("{GUNICORN} --pythonpath site shop.wsgi"),
        );
    }

    #[test]
    fn a_script_is_started_where_it_reads_the_port_itself() {
        let aiohttp = ("requirements.txt", "aiohttp\n");
        let script = "web.run_app(app, port=int(os.environ['PORT']))\n";
        check(&[aiohttp, ("main.py", script)], "python main.py");
        check(
            &[aiohttp, ("main.py", "print('hello')\n")],
            "`requirements.txt`, which does not say how a Python app is started",
        );
    }

    #[test]
    fn of_several_apps_none_is_guessed() {
        check(
            &[FLASK, ("one.py", APP), ("two.py", APP)],
            "`requirements.txt`, whose app may be any of `one:app`, `two:app`",
        );
        check(&[FLASK, ("one.py", APP), ("app.py", APP)], &format!("{GUNICORN} app:app"));
    }
}
