//! A Django project: where its `manage.py` is, what serves it, and whether it collects static
//! files.
//!
//! Sources: <https://docs.djangoproject.com/en/stable/howto/deployment/>,
//! <https://docs.djangoproject.com/en/stable/howto/static-files/deployment/>.

use std::path::Path;

use crate::build::convention::python::modules::{Import, Module};
use crate::build::convention::python::server::{Application, Interface};
use crate::build::step::Step;

/// A Django project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Django {
    /// Where `manage.py` is, relative to the app's folder.
    manage: String,
    /// What is served; `None` where it has neither a `wsgi.py` nor an `asgi.py`.
    pub(crate) application: Option<Application>,
    collects: bool,
}

/// The Django project among these modules.
pub(crate) fn django(modules: &[Module]) -> Option<Django> {
    let is_manage = |module: &&Module| {
        module.file.file_name().is_some_and(|name| name == "manage.py")
            && module.text.contains("DJANGO_SETTINGS_MODULE")
    };
    let manage = modules.iter().filter(is_manage).min_by_key(|it| it.file.components().count())?;
    let root = manage.file.parent().unwrap_or(Path::new(""));
    let inside: Vec<&Module> =
        modules.iter().filter(|module| module.file.starts_with(root)).collect();
    let settings: Vec<&&Module> = inside.iter().filter(|module| is_settings(module)).collect();
    let sets = |name: &str| settings.iter().any(|module| sets(module, name));
    let package = settings_package(&manage.text);
    let entry = |file: &str| {
        let named = |module: &&&Module| module.file.file_name().is_some_and(|name| name == file);
        let of_package = |module: &&&Module| {
            package.is_some_and(|package| module.file.starts_with(root.join(package)))
        };
        let found: Vec<&&Module> = inside.iter().filter(named).collect();
        let module = found.iter().find(|module| of_package(module)).or(found.first())?;
        let inner = module.file.strip_prefix(root).ok()?.with_extension("");
        let parts: Vec<String> = inner.iter().map(|part| part.to_string_lossy().into()).collect();
        Some(parts.join("."))
    };
    let served = |interface, file: &str, name: Option<&str>| {
        Some(Application {
            framework: "Django",
            interface,
            import: Import {
                name: entry(file)?,
                folder: (root != Path::new("")).then(|| root.display().to_string()),
            },
            name: name.map(str::to_owned),
            is_factory: false,
        })
    };
    let wsgi = || served(Interface::Wsgi, "wsgi.py", None);
    let asgi = || served(Interface::Asgi, "asgi.py", Some("application"));
    let application =
        if sets("ASGI_APPLICATION") { asgi().or_else(wsgi) } else { wsgi().or_else(asgi) };
    let collects = sets("STATIC_ROOT");
    Some(Django { manage: manage.file.display().to_string(), application, collects })
}

impl Django {
    /// Collects the static files, where the settings say where to; whether they do, Django is
    /// asked. Settings that demand a key get one that signs nothing; `DISABLE_COLLECTSTATIC` is
    /// Heroku's word for not doing it.
    pub(crate) fn collect(&self) -> Option<Step> {
        let text = "test -z \"$DISABLE_COLLECTSTATIC\" || exit 0\n\
                    export SECRET_KEY=\"${SECRET_KEY:-collectstatic}\"\n\
                    export DJANGO_SECRET_KEY=\"${DJANGO_SECRET_KEY:-collectstatic}\"\n\
                    settings=$(.venv/bin/python \"$0\" diffsettings) || exit\n\
                    echo \"$settings\" | grep -q '^STATIC_ROOT = [^N]' || exit 0\n\
                    exec .venv/bin/python \"$0\" collectstatic --noinput";
        let title = "collect Django's static files (what its settings need goes into `BuildEnv`; \
                     `DISABLE_COLLECTSTATIC=1` there leaves it out)";
        self.collects.then(|| Step::new(title, ["sh", "-c", text, &self.manage]))
    }
}

/// The package of `DJANGO_SETTINGS_MODULE`: `shop` of `shop.settings.local`.
fn settings_package(manage: &str) -> Option<&str> {
    let rest = manage.split("DJANGO_SETTINGS_MODULE").nth(1)?;
    let rest = rest.trim_start_matches(['"', '\'', ',', ' ', '\n', '\r', '\t', ']', '=', '(']);
    let module = rest.split(['"', '\'']).next()?;
    let package = module.split('.').next()?;
    (!package.is_empty() && module.contains('.')).then_some(package)
}

fn is_settings(module: &Module) -> bool {
    module.file.iter().any(|part| part.to_string_lossy().starts_with("settings"))
}

/// Whether a line of it gives this name a value.
fn sets(module: &Module, name: &str) -> bool {
    module.text.lines().any(|line| {
        let rest = line.trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
    })
}
