//! `rowhouse demo`: from nothing to a URL of two instances, and three commands to try next.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rowhouse_core::{Attribute, Value};
use rowhouse_machine::folder::Presence;
use rowhouse_machine::up::{Config, House};

use crate::args::Waiting;
use crate::commands::{down, up};
use crate::context::{Context, default_data};
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::wait::{self, Progress};

/// The app of the first minute: a real app of this repository.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../../examples/hello/Cargo.toml")),
    ("Cargo.lock", include_str!("../../../examples/hello/Cargo.lock")),
    ("src/main.rs", include_str!("../../../examples/hello/src/main.rs")),
    ("src/page.html", include_str!("../../../examples/hello/src/page.html")),
];
const MAIN: &str = "src/main.rs";

/// Runs the demo until Ctrl-C.
pub(crate) async fn run(data: Option<&Path>, listen: Option<SocketAddr>) -> anyhow::Result<Exit> {
    let data = match data {
        Some(data) => data.to_owned(),
        None => default_data("rowhouse-demo")?,
    };
    let context = clean(&data).await?;
    let repository = make_repository(&data.join("hello-repository"))?;
    let listen = listen.unwrap_or_else(free_address);
    if listen.port() != 8080 {
        output::note(&format!("port 8080 is taken, so this listens on {}", listen.port()));
    }
    let config = Config {
        data: context.folder.root().to_owned(),
        listen,
        domain: "localhost".to_owned(),
        repository: Some(repository.display().to_string()),
        path: None,
        max_scale: 3,
        build_timeout: Duration::from_mins(15),
        drain: Duration::from_secs(30),
        program: std::env::current_exe().context("cannot find this program's own file")?,
        failpoint: None,
    };
    let house = House::open(config, None).await?;
    let is_shown = Arc::new(AtomicBool::new(false));
    let is_told = Arc::clone(&is_shown);
    let show = async {
        let shown = show(&context).await;
        is_shown.store(true, Ordering::Relaxed);
        match shown {
            // The house stays open until it is told to end.
            Ok(Exit::Done) => std::future::pending().await,
            Ok(exit) => Ok(exit),
            Err(error) => Err(error),
        }
    };
    tokio::select! {
        // What the demo shows goes first.
        biased;
        exit = show => exit,
        ended = up::run(house, move || is_told.load(Ordering::Relaxed)) => {
            let instances = ended?.instances;
            output::line(&format!("the demo has ended, and stopped {instances} instances"));
            Ok(Exit::Done)
        }
    }
}

/// Starts clean; what an earlier demo has left is stopped and removed, and said to be.
async fn clean(data: &Path) -> anyhow::Result<Context> {
    let marker = data.join("rowhouse.db");
    let is_empty = std::fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !data.join("hello-repository").exists() {
        return Err(bad_input(
            format!("the folder `{}` holds something that is no demo", data.display()),
            "name an empty one, or a new one, with `--data DIR`",
        ));
    }
    let context = Context::open(Some(data))?;
    if let Presence::AtWork(_) = context.folder.presence() {
        let down = format!("rowhouse down --data {}", data.display());
        return Err(bad_input("a demo is running already", format!("`{down}` ends it")));
    }
    if marker.exists() {
        down::stop_instances(&context).await?;
        output::note(&format!("removing the demo of an earlier run in {}", data.display()));
        std::fs::remove_dir_all(data)
            .with_context(|| format!("cannot remove `{}`", data.display()))?;
    }
    Context::open(Some(data))
}

fn free_address() -> SocketAddr {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (8080..8180)
        .map(address)
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap_or_else(|| address(8080))
}

/// A small repository of versions: `v1`, `v2` in another colour, and `broken`.
fn make_repository(folder: &Path) -> anyhow::Result<PathBuf> {
    let git = |arguments: &[&str]| -> anyhow::Result<()> {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Rowhouse",
                "-c",
                "user.email=demo@localhost",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(folder)
            .output()
            .context("cannot run `git`: install it, on Debian with `apt install git`")?;
        if !output.status.success() {
            bail!(
                "git {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    };
    let write = |name: &str, text: &str| -> anyhow::Result<()> {
        let path = folder.join(name);
        let parent = path.parent().context("a file has a folder")?;
        std::fs::create_dir_all(parent)?;
        std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
    };
    std::fs::create_dir_all(folder)?;
    git(&["init", "--quiet", "--initial-branch=main"])?;
    let commit = |tag: &str| -> anyhow::Result<()> {
        git(&["add", "--all"])?;
        git(&["commit", "--quiet", "--message", tag])?;
        git(&["tag", tag])
    };
    for (name, text) in FILES {
        write(name, text)?;
    }
    commit("v1")?;
    let main = FILES[2].1;
    write(
        MAIN,
        &main.replacen("const COLOUR: &str = \"#2f6f4f\"", "const COLOUR: &str = \"#5a3fa0\"", 1),
    )?;
    commit("v2")?;
    write(
        MAIN,
        "fn main() {\n    eprintln!(\"this version is broken on purpose\");\n    std::process::exit(1);\n}\n",
    )?;
    commit("broken")?;
    git(&["reset", "--quiet", "--hard", "v2"])?;
    Ok(folder.to_owned())
}

async fn show(context: &Context) -> anyhow::Result<Exit> {
    let mut table = context.table()?;
    // The platform is at work with the first turn of its loop.
    while !context.is_at_work() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    output::note("putting the row {Name: hello, Version: v1, Scale: 2} into the table");
    let progress = Progress::new(context, "hello")?;
    let key = rowhouse_core::RowKey("hello".to_owned());
    let row = table.edit(&key, |_| {
        Ok::<_, std::convert::Infallible>(
            [
                (Attribute::Version, Some(Value::Text("v1".to_owned()))),
                (Attribute::Scale, Some(Value::Whole(2))),
            ]
            .into(),
        )
    })?;
    let Ok(row) = row;
    let waiting = Waiting { no_wait: false, timeout: Duration::from_mins(20) };
    let exit = wait::outcome(context, &table, &row, progress, &waiting).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let url = table.get(&key)?.and_then(|stored| stored.row.report.url).unwrap_or_default();
    let program = std::env::current_exe()
        .map_or_else(|_| "rowhouse".to_owned(), |path| path.display().to_string());
    let command =
        |words: &str| format!("    {program} {words} --data {}", context.folder.root().display());
    output::line("");
    output::line(&format!("hello is running: {url}"));
    output::line("");
    output::line("Try these in another terminal, and watch the page:");
    output::line("");
    output::line("  another version, without losing a request:");
    output::line(&command("put hello --version v2"));
    output::line("  another number of instances:");
    output::line(&command("scale hello 3"));
    output::line("  break it, and see it survive:");
    output::line(&command("put hello --version broken"));
    output::line("");
    output::line("Ctrl-C ends the demo.");
    Ok(Exit::Done)
}
