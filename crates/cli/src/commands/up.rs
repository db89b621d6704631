//! `rowhouse up`: the platform at work, and a line for each app that changes.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use rowhouse_command::rows::{orphans, repository, row_text};
use rowhouse_core::{Repository, Row};
use rowhouse_machine::config::{Config, Failpoint};
use rowhouse_machine::supply::Supply;
use rowhouse_machine::up::{Ended, House, Shutdown};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Up;
use crate::context::Context;
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::output::quoted;

/// Runs until it is told to end.
pub(crate) async fn up(context: &Context, up: Up) -> anyhow::Result<Exit> {
    output::work_on()?;
    context.warn_if_open();
    let repository = up.repo.as_deref().map(default_repository).transpose()?;
    let config = Config {
        data: context.folder.root().to_owned(),
        listen: up.listen,
        domain: up.domain,
        only: up.only,
        supply: up.supply.as_deref().map(Supply::new),
        repository,
        path: up.path,
        max_scale: up.max_scale,
        build_timeout: up.build_timeout,
        drain: up.drain,
        stop_grace: up.stop_grace,
        connections_per_client: up
            .connections_per_client
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        program: std::env::current_exe().context("cannot find this program's own file")?,
        failpoint: std::env::var("ROWHOUSE_FAILPOINT")
            .ok()
            .and_then(|text| Failpoint::parse(&text)),
    };
    let domain = config.domain.clone();
    let has_repository = config.repository.is_some();
    let house = House::open(config, inherited_listener()).await?;
    let port = house.address().port();
    let table = context.folder.table();
    output::announce(&format!("rowhouse is at work: apps answer at http://NAME.{domain}:{port}"));
    output::announce(&format!("table: {}", table.display()));
    let repo = if has_repository { "" } else { " --repo URL" };
    output::announce(&format!(
        "add an app: {}",
        context.location.command(&format!("put hello{repo} --version main"))
    ));
    output::announce(&format!(
        "or: sqlite3 {} \"insert into apps (name, version, scale{}) values ('hello', 'main', \
         1{})\"",
        quoted(&table.display().to_string()),
        if has_repository { "" } else { ", repo" },
        if has_repository { "" } else { ", 'URL'" },
    ));
    orphans::tell(house.orphans(), &context.location, output::announce);
    let ended = run(house, || true).await?;
    let instances = instances(ended.instances);
    match ended.how {
        Shutdown::StopInstances => {
            output::announce(&format!(
                "stopped {}; their rows stay, and `{}` brings them back",
                instances,
                context.location.command("up")
            ));
        }
        Shutdown::HandOver => {
            output::announce(&format!(
                "handing over to a new process; {}",
                run_on(ended.instances)
            ));
            return Err(hand_over(ended.listener));
        }
        Shutdown::LeaveInstances => {
            output::announce(&format!(
                "{}; `{}` adopts what runs, `{}` stops it",
                run_on(ended.instances),
                context.location.command("up"),
                context.location.command("down")
            ));
        }
    }
    Ok(Exit::Done)
}

/// Runs a platform until a signal: Ctrl-C stops the instances, SIGTERM leaves them. A second Ctrl-C
/// waits for nothing. `is_told` says whether a row's change is worth a line now.
pub(crate) async fn run(
    house: House,
    is_told: impl Fn() -> bool + Send + 'static,
) -> anyhow::Result<Ended> {
    let told_before = std::sync::Mutex::new(BTreeMap::new());
    let changed = move |row: &Row| {
        let line = row_text::line(row);
        let mut before = told_before.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if before.insert(row.key.clone(), line.clone()).as_ref() != Some(&line) && is_told() {
            output::announce(&line);
        }
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {
                output::note("stopping the instances; again Ctrl-C to leave at once");
                tokio::spawn(async move {
                    interrupt.recv().await;
                    output::leave();
                });
                Shutdown::StopInstances
            }
            _ = terminate.recv() => {
                output::note("ending; the instances go on running");
                Shutdown::LeaveInstances
            }
            _ = hang_up.recv() => Shutdown::HandOver,
        }
    };
    Ok(house.run(shutdown, changed).await?)
}

/// Set for a successor whose standard input is the listening socket.
const HANDED_OVER: &str = "ROWHOUSE_LISTENER_ON_STDIN";

/// The listening socket of the process that this one took over from.
fn inherited_listener() -> Option<TcpListener> {
    std::env::var_os(HANDED_OVER)?;
    std::io::stdin().as_fd().try_clone_to_owned().ok().map(TcpListener::from)
}

/// Becomes this program's file as it is now, which may be a newer one. Returns only what went
/// wrong.
fn hand_over(listener: TcpListener) -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    // The kernel names a file that was replaced so; what stands in its place is meant.
    let name = program.display().to_string();
    let program = name.strip_suffix(" (deleted)").map_or(program.clone(), PathBuf::from);
    output::finish();
    let error = std::process::Command::new(&program)
        .args(std::env::args_os().skip(1))
        .env(HANDED_OVER, "1")
        .stdin(OwnedFd::from(listener))
        .exec();
    anyhow::Error::new(error).context(format!("cannot become `{}`", program.display()))
}

fn run_on(count: usize) -> String {
    let go = if count == 1 { "goes" } else { "go" };
    format!("{} {go} on running", instances(count))
}

pub(crate) fn instances(count: usize) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}

fn default_repository(text: &str) -> anyhow::Result<Repository> {
    Repository::parse(&repository::typed(text)?)
        .map_err(|refused| bad_input(refused.to_string(), "give another one with `--repo`"))
}
