//! The servers that Python apps are started with: their own among what they depend on, or else the
//! one that the framework's documentation names.
//!
//! Sources: <https://docs.gunicorn.org/en/stable/run.html>, <https://www.uvicorn.org/deployment/>,
//! <https://flask.palletsprojects.com/en/stable/deploying/>,
//! <https://fastapi.tiangolo.com/deployment/manually/>,
//! <https://docs.djangoproject.com/en/stable/howto/deployment/>.

use crate::build::convention::python::modules::Import;
use crate::build::convention::python::project::Project;

/// What a server and an app speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Wsgi,
    Asgi,
}

/// Something that a server can be pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Application {
    /// Of which framework it is, for people.
    pub(crate) framework: &'static str,
    pub(crate) interface: Interface,
    pub(crate) import: Import,
    /// The name of the app in its module; `None`: the server's own choice.
    pub(crate) name: Option<String>,
    /// Whether it is a function that makes the app.
    pub(crate) is_factory: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Gunicorn,
    Waitress,
    Uvicorn,
    Hypercorn,
    Daphne,
}

impl Server {
    /// The package that it is installed by.
    fn package(self) -> &'static str {
        match self {
            Server::Gunicorn => "gunicorn",
            Server::Waitress => "waitress",
            Server::Uvicorn => "uvicorn",
            Server::Hypercorn => "hypercorn",
            Server::Daphne => "daphne",
        }
    }

    /// Those that speak an interface and can start such an app, the usual one first.
    fn of(application: &Application) -> &'static [Server] {
        match (application.interface, application.is_factory) {
            (Interface::Wsgi, false) => &[Server::Gunicorn, Server::Waitress],
            (Interface::Wsgi, true) => &[Server::Gunicorn],
            (Interface::Asgi, false) => &[Server::Uvicorn, Server::Hypercorn, Server::Daphne],
            (Interface::Asgi, true) => &[Server::Uvicorn],
        }
    }

    fn command(self, application: &Application) -> String {
        let Application { import: Import { name: module, folder }, name, .. } = application;
        let call = if application.is_factory { "()" } else { "" };
        let target = match (self, name) {
            (Server::Gunicorn, Some(name)) if application.is_factory => {
                format!("'{module}:{name}{call}'")
            }
            (_, Some(name)) => format!("{module}:{name}"),
            (_, None) => module.clone(),
        };
        let inside = |option: &str| {
            folder.as_deref().map(|folder| format!(" {option} {folder}")).unwrap_or_default()
        };
        match self {
            Server::Gunicorn => {
                format!("gunicorn --bind $HOST:$PORT{} {target}", inside("--pythonpath"))
            }
            Server::Uvicorn => {
                let factory = if application.is_factory { " --factory" } else { "" };
                let folder = inside("--app-dir");
                format!("uvicorn --host $HOST --port $PORT{folder}{factory} {target}")
            }
            Server::Waitress | Server::Hypercorn | Server::Daphne => {
                let folder = folder.as_deref().map(|folder| format!("PYTHONPATH={folder} "));
                let folder = folder.unwrap_or_default();
                let options = match self {
                    Server::Waitress => "waitress-serve --listen=$HOST:$PORT",
                    Server::Hypercorn => "hypercorn --bind $HOST:$PORT",
                    Server::Daphne | Server::Gunicorn | Server::Uvicorn => {
                        "daphne -b $HOST -p $PORT"
                    }
                };
                format!("{folder}{options} {target}")
            }
        }
    }
}

/// How an app is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) command: String,
    /// The package of the server, where it is not among what the app depends on.
    pub(crate) lacks: Option<&'static str>,
}

/// The server of an app, and its command.
pub(crate) fn serving(application: &Application, project: &Project) -> Serving {
    let servers = Server::of(application);
    let own = servers.iter().find(|server| project.has(server.package()));
    let server = own.unwrap_or(&servers[0]);
    let lacks = own.is_none().then(|| server.package());
    Serving { command: server.command(application), lacks }
}
