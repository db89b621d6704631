//! What this program is when the platform starts it: the small parent of a process, the server of a
//! static site, or what waits for the platform's successor. People have no use for these.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use rowhouse_machine::sandbox::probe;
use rowhouse_machine::site::Otherwise;

use crate::output;

/// Runs a hidden command; `None`: it is one for people.
pub(crate) fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let folder = Path::new(arguments.get(2)?);
    match (arguments.get(1)?.to_str()?, arguments.len()) {
        ("shim", 3) => Some(rowhouse_machine::process::shim::run(folder)),
        ("shim-exec", 4) => {
            let parent = arguments[3].to_str()?.parse().ok()?;
            Some(rowhouse_machine::process::shim::exec(folder, parent))
        }
        ("sandbox-try", 3) => {
            output::problem(&probe::try_to_enter(folder).to_string());
            Some(ExitCode::FAILURE)
        }
        ("wait-for", 4) => {
            let pid = arguments[3].to_str()?.parse().ok()?;
            Some(rowhouse_machine::waiter::run(folder, pid))
        }
        (kind @ ("static" | "static-single"), 3) => Some(match serve(kind, folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::problem(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        }),
        _ => None,
    }
}

fn serve(kind: &str, folder: &Path) -> anyhow::Result<()> {
    let otherwise = if kind == "static-single" { Otherwise::Index } else { Otherwise::NotFound };
    let variable = |name: &str| std::env::var(name).with_context(|| format!("`{name}` is not set"));
    let port: u16 = variable("PORT")?.parse().context("`PORT` is no port")?;
    let host = variable("HOST")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind((host.as_str(), port)).await?;
        rowhouse_machine::site::serve(folder.to_owned(), otherwise, listener, output::announce)
            .await?;
        Ok(())
    })
}
