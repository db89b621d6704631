//! `rowhouse open`: an app in the browser.

use std::process::{Command, Stdio};

use rowhouse_core::{Attribute, Value};

use crate::client::Client;
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::output::clean;
use crate::rows::args::Open;
use crate::rows::{names, reactor};

pub(crate) async fn open(client: &impl Client, open: &Open) -> anyhow::Result<Exit> {
    let name = &open.name;
    let stored = names::row(client, name).await?;
    // Anything may stand in the row; only a web address goes to a program.
    let is_web = |url: &String| url.starts_with("http://") || url.starts_with("https://");
    let Some(url) = stored.row.report.url.clone().filter(is_web) else {
        return Err(bad_input(
            format!("`{}` has no URL yet", clean(name)),
            format!("`{}` says why", client.location().command(&format!("show {}", clean(name)))),
        ));
    };
    reactor::warn_if_absent(client);
    if stored.row.report.healthy == 0 {
        let why = match stored.row.user.get(&Attribute::Scale) {
            Some(Value::Whole(0)) => "it is scaled to 0",
            Some(_) | None => "no instance answers now",
        };
        output::warning(&format!("`{}` does not answer: {why}", clean(name)));
        let show = client.location().command(&format!("show {}", clean(name)));
        output::hint(&format!("`{show}` says more"));
    }
    let browser = std::env::var("BROWSER").unwrap_or_default();
    let openers = ["xdg-open", "open"].into_iter().chain(browser.split(':'));
    let is_opened = has_screen() && openers.into_iter().any(|opener| opens(opener, &url));
    if !is_opened {
        output::note("no browser can be opened here");
    }
    output::line(&clean(&url));
    Ok(Exit::Done)
}

fn opens(opener: &str, url: &str) -> bool {
    let mut words = opener.split_whitespace();
    let Some(program) = words.next() else { return false };
    Command::new(program)
        .args(words)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn has_screen() -> bool {
    cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
