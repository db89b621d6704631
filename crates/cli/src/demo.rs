//! `rowhouse demo`: from nothing to a URL of two instances, and three commands to try next.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_command::client::{Changes, Rows as _};
use rowhouse_command::rows::Waiting;
use rowhouse_command::rows::wait::{self, Progress};
use rowhouse_core::{Attribute, Repository, RowKey, Value, counted};
use rowhouse_machine::config::{Apartness, Config};
use rowhouse_machine::folder::FolderError;
use rowhouse_machine::limits::allowance::Allowed;
use rowhouse_machine::limits::probe::Offered;
use rowhouse_machine::up::House;

use crate::commands::signals::Signals;
use crate::commands::up::{HangUp, Worked};
use crate::commands::{down, up};
use crate::context::{Context, Missing, default_data, named};
use crate::demo_repository::{NAME, make_repository};
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::output::quoted;

const USUAL_PORT: u16 = 8080;

/// Runs the demo until Ctrl-C.
pub(crate) async fn run(data: Option<&Path>, listen: Option<SocketAddr>) -> anyhow::Result<Exit> {
    output::work_on()?;
    let data = match named(data)? {
        Some(data) => std::path::absolute(data)?,
        None => default_data("rowhouse-demo")?,
    };
    let context = clean(&data).await?;
    let repository = context.folder.root().join(NAME);
    make_repository(&repository)?;
    let listen = listen.unwrap_or_else(|| {
        let address = free_address();
        if address.port() != USUAL_PORT {
            let port = address.port();
            output::note(&format!("port {USUAL_PORT} is taken, so the demo listens on {port}"));
        }
        address
    });
    let config = Config {
        data: context.folder.root().to_owned(),
        listen,
        domain: "localhost".to_owned(),
        only: None,
        supply: None,
        repository: Some(Repository::parse(&repository.display().to_string())?),
        path: None,
        max_scale: 3,
        build_timeout: Duration::from_mins(15),
        drain: Duration::from_secs(30),
        stop_grace: Duration::from_secs(10),
        steady: Duration::from_secs(2),
        connections_per_client: None,
        apart: Apartness::Enforced,
        uids: None,
        shared: Vec::new(),
        allowed: Allowed::default(),
        limited_by: Offered::All,
        program: std::env::current_exe().context("cannot find this program's own file")?,
        failpoint: None,
    };
    let house = House::open(config, None).await?;
    let is_shown = Arc::new(AtomicBool::new(false));
    let is_told = Arc::clone(&is_shown);
    let show = async {
        match show(&context).await {
            // The house stays open until it is told to end.
            Ok(Exit::Done) => {
                is_shown.store(true, Ordering::Relaxed);
                std::future::pending().await
            }
            // The app is the demo's own, so its failure is ours.
            Ok(Exit::Yours | Exit::Ours) => Ok(Exit::Ours),
            Err(error) => Err(error),
        }
    };
    let failed = tokio::select! {
        // What the demo shows goes first.
        biased;
        exit = show => exit,
        worked = up::run(
            house,
            Signals::listen()?,
            HangUp::Stops,
            move || is_told.load(Ordering::Relaxed),
        ) => {
            let Worked::Ended(ended) = worked? else { unreachable!("it hands over to nobody") };
            let instances = counted(ended.instances, "instance");
            output::announce(&format!("the demo has ended, and stopped {instances}"));
            return Ok(Exit::Done);
        }
    };
    down::stop_instances(&context).await;
    let doctor = context.location.command("doctor");
    output::hint(&format!("`{doctor}` checks what the demo needs: git, cargo and a C compiler"));
    failed
}

/// What stands in a folder of a demo, and in no other.
const MARKER: &str = "state/demo";

/// Starts clean; what an earlier demo has left is stopped and removed, and said to be.
async fn clean(data: &Path) -> anyhow::Result<Context> {
    let shown = quoted(&data.display().to_string());
    let marker = data.join(MARKER);
    let is_empty = std::fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !marker.is_file() {
        return Err(bad_input(
            format!("the folder `{}` holds something that is no demo", data.display()),
            "name an empty one, or a new one, with `--data DIR`",
        ));
    }
    let context = Context::open(Some(data), Missing::Make)?;
    let hold = match context.folder.hold() {
        Err(FolderError::Held { .. }) => {
            return Err(bad_input(
                format!("a demo is running already in {shown}"),
                format!("`rowhouse down --data {shown}` ends it"),
            ));
        }
        hold => hold?,
    };
    if !is_empty {
        down::stop_instances(&context).await;
        output::note(&format!("starting clean: removing what an earlier demo has left in {shown}"));
        let cleared = context.folder.clear(&hold);
        cleared
            .and_then(|()| match std::fs::remove_dir_all(data.join(NAME)) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
            .with_context(|| format!("cannot remove what is in `{}`", data.display()))?;
    }
    std::fs::write(&marker, "The next `rowhouse demo` removes what this one has made here.\n")
        .with_context(|| format!("cannot write `{}`", marker.display()))?;
    Context::open(Some(data), Missing::Make)
}

fn free_address() -> SocketAddr {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (USUAL_PORT..USUAL_PORT + 100)
        .map(address)
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap_or_else(|| address(USUAL_PORT))
}

async fn show(context: &Context) -> anyhow::Result<Exit> {
    output::note("putting the row {Name: hello, Version: v1, Scale: 2} into the table");
    output::note("the app is compiled first, which takes some seconds");
    let waiting = Waiting { no_wait: false, timeout: Duration::from_mins(20) };
    let progress = Progress::new(context, "hello", &waiting).await?;
    let key = RowKey("hello".to_owned());
    let wanted = Changes::from([
        (Attribute::Version, Some(Value::Text("v1".to_owned()))),
        (Attribute::Scale, Some(Value::Whole(2))),
    ]);
    let row = context.write(&key, None, &wanted).await?;
    let row = row.context("somebody else has put the row `hello` into the demo's table")?;
    let exit = wait::outcome(context, &row, progress, &waiting).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let url = context.get(&key).await?.and_then(|stored| stored.row.report.url).unwrap_or_default();
    let program = program();
    let command = |words: &str| format!("    {program} {words} {}", context.data_option());
    for line in [
        "",
        &format!("hello is running: {url}"),
        "",
        "Open it, then try these in another terminal and watch the page:",
        "",
        "  another version, without losing a request",
        &command("put hello --version v2"),
        "  another number of instances",
        &command("scale hello 3"),
        "  break it, and see it survive",
        &command("put hello --version broken"),
        "",
        "Ctrl-C ends the demo.",
        "",
    ] {
        output::announce(line);
    }
    Ok(Exit::Done)
}

/// This program, as a shell in the same folder can call it.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "rowhouse".to_owned() };
    let is_on_path = std::env::var_os("PATH").is_some_and(|folders| {
        std::env::split_paths(&folders)
            .any(|folder| folder.join("rowhouse").canonicalize().is_ok_and(|found| found == path))
    });
    if is_on_path { "rowhouse".to_owned() } else { quoted(&path.display().to_string()) }
}
