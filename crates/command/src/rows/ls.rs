//! `rowhouse ls`: all apps.

use rowhouse_core::Attribute;
use serde_json::json;

use crate::client::Client;
use crate::failure::Exit;
use crate::output;
use crate::rows::{reactor, row_json, row_text};

pub(crate) async fn ls(client: &impl Client, as_json: bool) -> anyhow::Result<Exit> {
    // Stderr and JSON tell it alike: a reader of statuses knows first whether anybody keeps them
    // true.
    reactor::warn_if_absent(client);
    let rows = client.list().await?;
    if as_json {
        let reactor = reactor::to_json(&client.reactor());
        let apps: Vec<_> = rows.iter().map(|stored| row_json::row(stored, false)).collect();
        output::json(&json!({ "Reactor": reactor, "Apps": apps }), true);
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        output::note("there is no app yet");
        output::hint(&format!("`{}` makes one", client.location().command("put NAME --repo URL")));
        return Ok(Exit::Done);
    }
    // Its own last column, so that a script finds the others where they always are.
    let absent = reactor::absent_since(&client.reactor());
    let lines: Vec<_> = rows
        .iter()
        .map(|stored| {
            let row = &stored.row;
            let cells = vec![
                row_text::name(row),
                row_text::status(row).to_owned(),
                row_text::instances(row),
                row_text::user(row, Attribute::Version),
                row_text::revision(row).to_owned(),
                row.report.url.clone().unwrap_or_else(|| "-".to_owned()),
            ];
            cells.into_iter().chain(absent.clone()).collect()
        })
        .collect();
    let mut head = vec!["name", "status", "healthy", "version", "revision", "url"];
    if absent.is_some() {
        head.push("nobody at work since");
    }
    output::table(&head, &lines);
    for stored in &rows {
        if let Some(why) = row_text::why(&stored.row) {
            output::note(&why);
        }
    }
    Ok(Exit::Done)
}
