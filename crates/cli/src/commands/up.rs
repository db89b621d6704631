//! `rowhouse up`: the platform at work, and a line for each app that changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use anyhow::Context as _;
use rowhouse_command::rows::{orphans, repository, row_text};
use rowhouse_core::{Repository, Row, counted};
use rowhouse_machine::config::{Apartness, Config, Failpoint};
use rowhouse_machine::limits::Mebibytes;
use rowhouse_machine::limits::allowance::Allowed;
use rowhouse_machine::limits::probe::Offered;
use rowhouse_machine::sandbox::layers::{Gap, Layers};
use rowhouse_machine::succession::{Predecessor, Successor};
use rowhouse_machine::supply::Supply;
use rowhouse_machine::up::{Ended, House, Leaving, Shutdown, UpError};
use rowhouse_machine::users::Uids;
use rustix::process::Signal;

use crate::args::Up;
use crate::commands::hand_over;
use crate::commands::notify;
use crate::commands::signals::Signals;
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
        steady: up.steady,
        connections_per_client: up
            .connections_per_client
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        allowed: Allowed {
            memory: up.memory.map(Mebibytes),
            build_memory: up.build_memory.map(Mebibytes),
            build_cpus: up.build_cpu,
            processes: up.processes,
            disk: up.disk.map(Mebibytes),
        },
        limited_by: if up.without_control_groups { Offered::NoGroups } else { Offered::All },
        apart: if up.trust_apps { Apartness::Trusted } else { Apartness::Enforced },
        uids: up.uids.map(of_root).transpose()?,
        shared: up.share.iter().map(|path| shared(path)).collect::<anyhow::Result<_>>()?,
        program: std::env::current_exe().context("cannot find this program's own file")?,
        failpoint: std::env::var("ROWHOUSE_FAILPOINT")
            .ok()
            .and_then(|text| Failpoint::parse(&text)),
    };
    let domain = config.domain.clone();
    let has_repository = config.repository.is_some();
    // Before the platform is said to be this process: whoever reads that may signal it.
    let signals = Signals::listen()?;
    let house = House::open(config, Predecessor::of_this_process()?).await.map_err(refused)?;
    notify::ready();
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
    tell_gaps(house.layers(), &house.means().gaps(), context);
    orphans::tell(house.orphans(), &context.location, output::announce);
    match run(house, signals, HangUp::HandsOver, || true).await? {
        Worked::Ended(ended) => tell_end(context, &ended),
        Worked::HandedOver(leaving, successor, signals) => {
            return hand_over::see_off(&context.folder, leaving, *successor, signals).await;
        }
    }
    Ok(Exit::Done)
}

/// Says where apps are not kept apart.
fn tell_gaps(layers: Option<&Layers>, of_limits: &[Gap], context: &Context) {
    let gaps = layers.map(Layers::gaps);
    let said = match (gaps.as_deref(), of_limits) {
        (None, _) => "apps are trusted: nothing keeps them apart (`--trust-apps`)".to_owned(),
        (Some([]), []) => return,
        (Some([gap, ..]), _) | (Some([]), [gap, ..]) => {
            let command = context.location.command("doctor");
            format!("{}; `{command}` tells what else, and the cure", gap.lacking)
        }
    };
    output::announce(&said);
}

/// Whose fault it is that a platform does not start.
fn refused(error: UpError) -> anyhow::Error {
    if let UpError::Uids(error) = error {
        let hint =
            "choose others with `--uids FIRST-LAST`, or leave it away for some that are free";
        return bad_input(error.to_string(), hint);
    }
    error.into()
}

/// Only root may have others run as somebody else.
fn of_root(uids: Uids) -> anyhow::Result<Uids> {
    if rustix::process::geteuid().is_root() {
        Ok(uids)
    } else {
        let message = format!("`--uids {uids}` is for a platform that root starts");
        Err(bad_input(message, "leave it away, or start the platform as root"))
    }
}

/// What is shared, as apps name it.
fn shared(path: &Path) -> anyhow::Result<PathBuf> {
    let found = std::path::absolute(path).and_then(|path| path.metadata().map(|_| path));
    found.map_err(|error| {
        let message = format!("`{}` cannot be shared: {error}", path.display());
        bad_input(message, "name a file or folder that is there, or leave `--share` away")
    })
}

fn tell_end(context: &Context, ended: &Ended) {
    let instances = counted(ended.instances, "instance");
    let command = |text| context.location.command(text);
    output::announce(&match ended.how {
        Shutdown::StopInstances => {
            format!(
                "stopped {instances}; their rows stay, and `{}` brings them back",
                command("up")
            )
        }
        Shutdown::LeaveInstances => format!(
            "{}; `{}` adopts what runs, `{}` stops it",
            run_on(ended.instances),
            command("up"),
            command("down")
        ),
    });
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// This program's file, as it is then, takes over.
    HandsOver,
    /// What Ctrl-C means.
    Stops,
}

/// How a platform's work came to its end in this process.
#[derive(Debug)]
pub(crate) enum Worked {
    Ended(Ended),
    HandedOver(Leaving, Box<Successor>, Signals),
}

/// Runs a platform until a signal: Ctrl-C stops the instances, SIGTERM leaves them. A second Ctrl-C
/// waits for nothing. `is_told` says whether a row's change is worth a line now.
pub(crate) async fn run(
    mut house: House,
    mut signals: Signals,
    hang_up: HangUp,
    is_told: impl Fn() -> bool,
) -> anyhow::Result<Worked> {
    let told_before = std::cell::RefCell::new(BTreeMap::new());
    let changed = |row: &Row| {
        let line = row_text::line(row);
        let before = told_before.borrow_mut().insert(row.key.clone(), line.clone());
        if before.as_ref() != Some(&line) && is_told() {
            output::announce(&line);
        }
    };
    loop {
        let asked = house.work(asked(&mut signals, hang_up), &changed).await?;
        match asked.unwrap_or(Asked::End(Shutdown::LeaveInstances)) {
            Asked::End(how) => return Ok(Worked::Ended(house.end(how).await)),
            Asked::HandOver(mut successor) => match house.hand_over(&mut successor).await {
                Ok(()) => {
                    let leaving = house.leave(&mut successor).await;
                    return Ok(Worked::HandedOver(leaving, successor, signals));
                }
                Err(error) => hand_over::tell_refused(&error.into()),
            },
        }
    }
}

/// What somebody outside wants of the platform.
enum Asked {
    End(Shutdown),
    HandOver(Box<Successor>),
}

/// Waits until a signal asks for an end, or for a successor that has proved itself.
async fn asked(signals: &mut Signals, hang_up: HangUp) -> Asked {
    let mut starting = None;
    let mut is_asked_again = false;
    loop {
        let start = async {
            match &mut starting {
                Some(starting) => Pin::as_mut(starting).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            started = start => {
                starting = None;
                if is_asked_again {
                    // The program's file may be another one than that which has started. Whoever
                    // is the platform then hears of it.
                    is_asked_again = false;
                    hand_over::ask_again();
                }
                match started {
                    Ok(successor) => return Asked::HandOver(Box::new(successor)),
                    Err(error) => hand_over::tell_refused(&error),
                }
            }
            signal = signals.next() => match (signal, hang_up) {
                (Signal::HUP, HangUp::HandsOver) if starting.is_some() => is_asked_again = true,
                (Signal::HUP, HangUp::HandsOver) => starting = Some(Box::pin(hand_over::start())),
                (Signal::TERM, _) => {
                    output::note("ending; the instances go on running");
                    return Asked::End(Shutdown::LeaveInstances);
                }
                (_, _) => {
                    output::note("stopping the instances; again Ctrl-C to leave at once");
                    Signals::leave_at_the_next_interrupt();
                    return Asked::End(Shutdown::StopInstances);
                }
            },
        }
    }
}

fn run_on(count: usize) -> String {
    let go = if count == 1 { "goes" } else { "go" };
    format!("{} {go} on running", counted(count, "instance"))
}

fn default_repository(text: &str) -> anyhow::Result<Repository> {
    Repository::parse(&repository::typed(text)?)
        .map_err(|refused| bad_input(refused.to_string(), "give another one with `--repo`"))
}
