//! `rowhouse doctor`: what the platform needs, whether it is there, and the cure where it is not.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rowhouse_command::finding::{self, Finding, State};
use rowhouse_command::rows::orphans;
use rowhouse_core::counted;
use rowhouse_machine::damage;
use rowhouse_machine::folder::{DataFolder, FolderError, Presence};
use rowhouse_machine::limits::allowance;
use rowhouse_machine::limits::probe::{self as limits_probe, Asks, Offered};
use rowhouse_machine::process::supervised::unconfined;
use rowhouse_machine::sandbox::layers::Gap;
use rowhouse_machine::sandbox::probe;
use rowhouse_machine::stack::journal;
use rowhouse_machine::table::reader::{self, Reader};
use rowhouse_machine::taken::{self, Size};
use rowhouse_machine::users::Users;
use serde_json::json;

use crate::context::{Context, Missing, OPEN, folder_hint};
use crate::failure::Exit;
use crate::output::quoted;
use crate::output::{clean, cut};

/// Where `rowhouse up` listens if nobody says otherwise.
const USUAL_ADDRESS: &str = "127.0.0.1:8080";
/// How long what is taken is counted.
const LOOKED_FOR: Duration = Duration::from_secs(1);
/// Longer than anybody reads who does not wait for something in between.
const READS_FOR: Duration = Duration::from_secs(1);
/// So many apps are named that take most.
const LARGEST: usize = 3;
/// More than this (bytes) is worth a word on how to get it back.
const WORTH_A_WORD: u64 = 1 << 20;
/// Less free space (MB) than this is no room for a build.
const LITTLE_SPACE: u64 = 200;

/// Runs every check; exit status 1 where something is broken.
pub(crate) fn doctor(data: Option<&Path>, as_json: bool) -> anyhow::Result<Exit> {
    let context = Context::open(data, Missing::Refuse);
    let mut findings = match &context {
        Ok(context) => of_folder(context),
        Err(error) => match error.downcast_ref::<FolderError>() {
            Some(folder) => vec![Finding::bad(
                "folder",
                State::Broken,
                clean(&format!("{error:#}")),
                folder_hint(folder),
            )],
            None => return context.map(|_| Exit::Done),
        },
    };
    findings.extend(tools());
    findings.push(kernel());
    findings.extend(isolation(context.as_ref().ok().map(|context| &context.folder)));
    let root = context.as_ref().ok().map(|context| context.folder.root());
    findings.extend(limits(root));
    Ok(finding::tell(&findings, json!({ "Data": root }), as_json))
}

fn of_folder(context: &Context) -> Vec<Finding> {
    vec![
        writable(context),
        access(context),
        space(context),
        taken(context),
        table(context),
        readers(context),
        names(context),
        journal(context),
        reactor(context),
        without_row(context),
    ]
}

fn access(context: &Context) -> Finding {
    let root = context.folder.root().display().to_string();
    match context.folder.open_to_others() {
        None => Finding::fine("access", "only its owner may enter the data folder"),
        Some(mode) => Finding::bad(
            "access",
            State::Warning,
            format!("the data folder is open to others (mode {mode:o}): {OPEN}"),
            format!("`chmod 700 {}` closes it", clean(&quoted(&root))),
        ),
    }
}

fn writable(context: &Context) -> Finding {
    let root = context.folder.root();
    let shown = clean(&root.display().to_string());
    let probe = root.join("state").join(format!("doctor-{}", std::process::id()));
    let written = std::fs::write(&probe, "a few bytes");
    // Where it was not written there is nothing to remove.
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Finding::fine("folder", format!("{shown} is writable")),
        Err(error) => Finding::bad(
            "folder",
            State::Broken,
            format!("{shown}: {error}"),
            "make it writable for this user, or choose another with `--data DIR`",
        ),
    }
}

fn space(context: &Context) -> Finding {
    let free = rustix::fs::statvfs(context.folder.root())
        .map_or(0, |disk| disk.f_bavail * disk.f_frsize / (1 << 20));
    let said = format!("{free} MB free for the data folder");
    if free < LITTLE_SPACE {
        let cure = "free some, or move the data folder with `--data DIR`";
        Finding::bad("disk", State::Broken, said, cure)
    } else {
        Finding::fine("disk", said)
    }
}

/// What the parts of the folder take, and how to get it back.
fn taken(context: &Context) -> Finding {
    let parts = taken::parts(&context.folder, LOOKED_FOR);
    let all = parts.iter().fold(Size::NOTHING, |all, part| all.with(part.size));
    if all.is_whole && all.bytes < WORTH_A_WORD {
        return Finding::fine("room", clean(&format!("{all} taken by what apps and builds keep")));
    }
    let told: Vec<String> = parts
        .iter()
        .filter(|part| part.size != Size::NOTHING)
        .map(|part| {
            let largest = part.apps.iter().take(LARGEST);
            let largest: Vec<String> =
                largest.map(|(name, size)| format!("{name} {size}")).collect();
            let of = if largest.is_empty() {
                String::new()
            } else {
                format!(" ({})", largest.join(", "))
            };
            format!("{} {}{of}", part.what, part.size)
        })
        .collect();
    let said = format!("{all} taken: {}", told.join("; "));
    let root = quoted(&context.folder.root().display().to_string());
    let rm = context.location.command("rm NAME");
    Finding::noted(
        "room",
        &said,
        format!(
            "`rm -r {root}/build-homes/*/.cache` empties caches of package managers, after which \
             builds take longer; old builds and mirrors are removed by sweeps; `{rm}` gives back \
             all of an app, its data and caches after a week"
        ),
    )
}

fn table(context: &Context) -> Finding {
    let count = context.table().and_then(|table| Ok(table.list()?.len()));
    match count {
        Ok(count) => Finding::fine("table", format!("{} in rowhouse.db", counted(count, "row"))),
        Err(error) => Finding::bad(
            "table",
            State::Broken,
            clean(&format!("{error:#}")),
            "restore `rowhouse.db`, or move it away: an empty one is made in its place, and what \
             runs \
             runs on",
        ),
    }
}

/// Who has read from the table and does not come to an end: its log grows meanwhile.
fn readers(context: &Context) -> Finding {
    let path = context.folder.table();
    let mut old = reader::old_readers(&path);
    if !old.is_empty() {
        // Most read for a moment.
        std::thread::sleep(READS_FOR);
        old = &old & &reader::old_readers(&path);
    }
    let size = Size { bytes: reader::log_size(&path), is_whole: true };
    if old.is_empty() {
        return Finding::fine("readers", format!("nobody holds the table's log, which has {size}"));
    }
    let named: Vec<String> = old.iter().map(name_of).collect();
    Finding::bad(
        "readers",
        State::Warning,
        format!("the table's log has {size}, and cannot be emptied: {}", named.join("; ")),
        "end what they read (`commit` or `.quit` in `sqlite3`), or end them: until then the log \
         grows with every change, and nothing is lost",
    )
}

fn name_of(reader: &Reader) -> String {
    let Some(pid) = reader.pid else {
        return "a process of another container reads from a state of before".to_owned();
    };
    let command = cut(&clean(&reader.command), 58);
    format!("process {pid} (`{command}`) reads from a state of before")
}

/// Rows that no name leads to.
fn names(context: &Context) -> Finding {
    match context.table().and_then(|table| Ok(table.nameless()?)) {
        Ok(names) if names.is_empty() => Finding::fine("names", "every row has a name"),
        Ok(names) => Finding::bad(
            "names",
            State::Warning,
            format!("the names of these rows are no text in UTF-8: {}", names.join(", ")),
            format!(
                "give them others, or delete them: `delete from apps where name in ({})`",
                clean(&names.join(", "))
            ),
        ),
        Err(error) => Finding::bad(
            "names",
            State::Broken,
            clean(&format!("{error:#}")),
            "see what is said of the table",
        ),
    }
}

fn journal(context: &Context) -> Finding {
    let bad = |said: String, cure: String| Finding::bad("journal", State::Broken, said, cure);
    let known = match journal::fault_of(&context.folder.journal()) {
        Ok(Some(fault)) => return bad("its file is damaged".to_owned(), journal::damage(&fault)),
        Ok(None) => context.journal().and_then(|journal| Ok(journal.known()?)),
        Err(error) => Err(error.into()),
    };
    let known = match known {
        Ok(known) => known,
        Err(error) => return Finding::unknown("journal", &error),
    };
    if let Some(name) = known.lost().chain(&known.held).next() {
        return bad(format!("the record of `{name}` is damaged"), damage::words(name));
    }
    match known.damaged.first().map(|damaged| &damaged.app) {
        None => Finding::fine("journal", "every record can be read"),
        Some(Some(name)) => bad(
            format!("the record of `{name}` is damaged"),
            "it has a copy, which `rowhouse up` takes in its place".to_owned(),
        ),
        Some(None) => bad(
            "there is a record of which nobody can tell whose it is".to_owned(),
            "`rowhouse up`, when it starts, keeps it, and leaves alone what runs without one"
                .to_owned(),
        ),
    }
}

fn reactor(context: &Context) -> Finding {
    match context.folder.presence() {
        Presence::AtWork(Some(holder)) => {
            let said = |answers: &str| {
                format!(
                    "at work since {:.0}, process {}; its proxy {answers} on {}",
                    holder.since, holder.pid, holder.listen
                )
            };
            if TcpStream::connect(&holder.listen).is_ok() {
                Finding::fine("reactor", said("answers"))
            } else {
                let cure = format!("`{}`, then start it again", context.location.command("down"));
                Finding::bad("reactor", State::Broken, said("does not answer"), cure)
            }
        }
        Presence::AtWork(None) => Finding::fine("reactor", "just starting"),
        Presence::Absent(since) => {
            let since = since.map_or_else(String::new, |since| format!(" since {since:.0}"));
            let (state, listen) = match TcpListener::bind(USUAL_ADDRESS) {
                Ok(_) => ("is free", String::new()),
                Err(_) => ("is taken", " --listen 127.0.0.1:8081".to_owned()),
            };
            Finding::bad(
                "reactor",
                State::Warning,
                format!("not at work{since}; the port {USUAL_ADDRESS} {state}"),
                format!("`{}` starts one", context.location.command(&format!("up{listen}"))),
            )
        }
    }
}

/// Stacks without a row: the table was lost, an older one is back, or a removal was not heard.
fn without_row(context: &Context) -> Finding {
    match context.found_without_row() {
        Ok(without) => orphans::finding(&without, &context.location),
        Err(error) => Finding::bad(
            "orphans",
            State::Broken,
            clean(&format!("{error:#}")),
            "look at the files in the data folder, and who may write them",
        ),
    }
}

fn tools() -> Vec<Finding> {
    let apps = State::Missing;
    vec![
        tool("git", State::Broken, "install it: on Debian `apt install git`"),
        sqlite3(),
        tool("python3", apps, "for Python apps: on Debian `apt install python3 python3-venv`"),
        tool("uv", apps, "for quicker Python builds: `pip install uv`"),
        tool("node", apps, "for Node apps: on Debian `apt install nodejs npm`"),
        tool("npm", apps, "for Node apps: on Debian `apt install npm`"),
        tool("yarn", apps, "for Node apps with a `yarn.lock`: `npm install --global yarn`"),
        tool("pnpm", apps, "for Node apps with a `pnpm-lock.yaml`: `npm install --global pnpm`"),
        tool("bun", apps, "for Node apps with a `bun.lock`: `npm install --global bun`"),
        tool("go", apps, "for Go apps, by `build:`: on Debian `apt install golang`"),
        tool("cargo", apps, "for Rust apps, and the demo: https://rustup.rs"),
        tool("cc", apps, "for Rust apps, the demo, and packages in C: on Debian `apt install gcc`"),
    ]
}

/// Versions before 3.51.3 may lose pages of a database when two programs put its log into the file
/// at once. <https://www.sqlite.org/wal.html#the_wal_reset_bug>
fn sqlite3() -> Finding {
    let cure = "only to write rows by hand: on Debian `apt install sqlite3`";
    let output = match Command::new("sqlite3").arg("--version").output() {
        Ok(output) if output.status.success() => output,
        Ok(_) | Err(_) => return tool("sqlite3", State::Missing, cure),
    };
    let text = clean(&String::from_utf8_lossy(&output.stdout));
    let version = text.split_whitespace().next().unwrap_or_default();
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    if parts.as_slice() >= [3, 51, 3].as_slice() {
        return Finding::fine("sqlite3", version);
    }
    Finding::bad(
        "sqlite3",
        State::Warning,
        format!("{version}: before 3.51.3 it may lose pages where two programs checkpoint at once"),
        "rows can be written with it; leave `pragma wal_checkpoint` and `vacuum` to when no \
         platform runs",
    )
}

fn tool(what: &'static str, otherwise: State, cure: &str) -> Finding {
    // Go has a word for it, and no option.
    let version = if what == "go" { "version" } else { "--version" };
    match Command::new(what).arg(version).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Finding::fine(what, cut(&clean(text.lines().next().unwrap_or_default()), 58))
        }
        Ok(_) => Finding::bad(what, otherwise, "does not run", cure),
        Err(_) => Finding::bad(what, otherwise, "not found", cure),
    }
}

/// What supervising processes stands on.
fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let release = clean(&release);
    let itself = rustix::process::getpid();
    let has_handles =
        rustix::process::pidfd_open(itself, rustix::process::PidfdFlags::empty()).is_ok();
    let has_proc = Path::new("/proc/self/stat").exists() && Path::new("/proc/net/tcp").exists();
    let lacks = match (has_handles, has_proc) {
        (true, true) => return Finding::fine("kernel", format!("Linux {release}")),
        (false, _) => ("no process handles (pidfd_open)", "use Linux 5.3 or newer"),
        (true, false) => ("no /proc", "mount it: `mount -t proc proc /proc`"),
    };
    Finding::bad("kernel", State::Broken, format!("Linux {release}: {}", lacks.0), lacks.1)
}

/// By what apps are held to their limits here.
fn limits(root: Option<&Path>) -> Vec<Finding> {
    let beginning = allowance::beginning(root.unwrap_or(Path::new("/")));
    let means = limits_probe::means(Offered::All, Asks::Somebody, &beginning);
    let mut findings = vec![Finding::fine("limits", means.to_string())];
    let gaps = means.gaps().into_iter();
    let bad = |gap: Gap| Finding::bad("limits", State::Warning, gap.lacking, gap.cure);
    findings.extend(gaps.map(bad));
    findings
}

/// What keeps apps apart here, and what does not; and which processes run without it.
fn isolation(folder: Option<&DataFolder>) -> Vec<Finding> {
    let what = "isolation";
    let probed = std::env::current_exe().and_then(|program| {
        let room = tempfile::tempdir()?;
        let user = Users::that_apps_could_be(room.path());
        Ok(probe::layers(&program, &room.path().join("probe"), user))
    });
    let layers = match probed {
        Ok(layers) => layers,
        Err(error) => {
            let said = format!("cannot be tried: {error}");
            return vec![Finding::bad(what, State::Broken, said, "make room in `$TMPDIR`")];
        }
    };
    let mut findings = vec![Finding::fine(what, layers.to_string())];
    for gap in layers.gaps() {
        findings.push(Finding::bad(what, State::Warning, gap.lacking, gap.cure));
    }
    let free = folder.map(unconfined).unwrap_or_default();
    if !free.is_empty() {
        findings.push(Finding::bad(
            what,
            State::Warning,
            format!("not kept apart from others: {}", free.join(", ")),
            "`rowhouse up` without `--trust-apps` replaces them by and by",
        ));
    }
    findings
}
