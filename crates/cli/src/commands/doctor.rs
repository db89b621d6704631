//! `rowhouse doctor`: what the platform needs, whether it is there, and the cure where it is not.

use std::net::TcpStream;
use std::process::Command;

use rowhouse_machine::folder::Presence;
use serde_json::json;

use crate::context::Context;
use crate::failure::Exit;
use crate::output;

/// How one check went.
struct Finding {
    what: &'static str,
    state: State,
    said: String,
    cure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fine,
    /// Only some apps need it.
    Missing,
    Broken,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Fine => "ok",
            State::Missing => "missing",
            State::Broken => "broken",
        }
    }
}

/// Runs every check; exit status 1 where something is broken.
pub(crate) fn doctor(context: &Context, as_json: bool) -> Exit {
    let findings = vec![
        reactor(context),
        space(context),
        tool("git", &["--version"], State::Broken, "install it: on Debian `apt install git`"),
        tool(
            "sqlite3",
            &["--version"],
            State::Missing,
            "only to write rows by hand: on Debian `apt install sqlite3`",
        ),
        tool(
            "python3",
            &["--version"],
            State::Missing,
            "for Python apps: on Debian `apt install python3 python3-venv`",
        ),
        tool("uv", &["--version"], State::Missing, "for quicker Python builds: `pip install uv`"),
        tool(
            "node",
            &["--version"],
            State::Missing,
            "for Node apps: on Debian `apt install nodejs npm`",
        ),
        tool("npm", &["--version"], State::Missing, "for Node apps: on Debian `apt install npm`"),
        tool("cargo", &["--version"], State::Missing, "for Rust apps: https://rustup.rs"),
        isolation(),
    ];
    let broken = findings.iter().any(|finding| finding.state == State::Broken);
    if as_json {
        let checks: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({ "Check": finding.what, "State": finding.state.word(), "Said": finding.said, "Cure": finding.cure })
            })
            .collect();
        output::json(&json!({ "Data": context.folder.root(), "Checks": checks }), true);
    } else {
        output::line(&format!("data folder: {}", context.folder.root().display()));
        for finding in &findings {
            output::line(&format!(
                "{:8} {:10} {}",
                finding.state.word(),
                finding.what,
                finding.said
            ));
            if let Some(cure) = finding.cure.as_ref().filter(|_| finding.state != State::Fine) {
                output::line(&format!("{:19} → {cure}", ""));
            }
        }
    }
    if broken { Exit::Yours } else { Exit::Done }
}

fn reactor(context: &Context) -> Finding {
    let up = Some(format!("`{}` starts one", context.command("up")));
    match context.folder.presence() {
        Presence::AtWork(Some(holder)) => {
            let answers = TcpStream::connect(&holder.listen).is_ok();
            Finding {
                what: "reactor",
                state: if answers { State::Fine } else { State::Broken },
                said: format!(
                    "at work since {:.0}, process {}; its proxy {} on {}",
                    holder.since,
                    holder.pid,
                    if answers { "answers" } else { "does not answer" },
                    holder.listen
                ),
                cure: (!answers)
                    .then(|| format!("`{}`, then start it again", context.command("down"))),
            }
        }
        Presence::AtWork(None) => Finding {
            what: "reactor",
            state: State::Fine,
            said: "just starting".to_owned(),
            cure: None,
        },
        Presence::Absent(since) => Finding {
            what: "reactor",
            state: State::Missing,
            said: since.map_or_else(
                || "not at work".to_owned(),
                |since| format!("not at work since {since:.0} at the latest"),
            ),
            cure: up,
        },
    }
}

fn space(context: &Context) -> Finding {
    let free = rustix::fs::statvfs(context.folder.root())
        .map_or(0, |disk| disk.f_bavail * disk.f_frsize / (1 << 20));
    Finding {
        what: "disk",
        state: if free < 200 { State::Broken } else { State::Fine },
        said: format!("{free} MB free for the data folder"),
        cure: Some("free some, or move the data folder with `--data DIR`".to_owned()),
    }
}

fn tool(what: &'static str, arguments: &[&str], otherwise: State, cure: &str) -> Finding {
    let output = Command::new(what).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let said = text.lines().next().unwrap_or_default().chars().take(60).collect();
            Finding { what, state: State::Fine, said, cure: None }
        }
        Ok(_) | Err(_) => Finding {
            what,
            state: otherwise,
            said: "not found".to_owned(),
            cure: Some(cure.to_owned()),
        },
    }
}

fn isolation() -> Finding {
    Finding {
        what: "isolation",
        state: State::Missing,
        said: "apps run as this user, without a sandbox between them".to_owned(),
        cure: Some("run only apps on one machine that may know of each other".to_owned()),
    }
}
