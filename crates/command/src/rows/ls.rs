//! `rowhouse ls`: all apps.

use rowhouse_core::{AppName, Attribute};
use serde_json::json;

use crate::client::{Client, WithoutRow};
use crate::failure::Exit;
use crate::output;
use crate::rows::{orphans, reactor, row_json, row_text};

/// A list of rows is worth something also where nobody can tell what runs without one.
async fn without_row(client: &impl Client) -> WithoutRow {
    client.without_row().await.unwrap_or_else(|error| {
        output::warning(&format!("cannot tell what runs without a row: {error:#}"));
        WithoutRow::default()
    })
}

pub(crate) async fn ls(client: &impl Client, as_json: bool) -> anyhow::Result<Exit> {
    // Stderr and JSON tell it alike: a reader of statuses knows first whether anybody keeps them
    // true.
    reactor::warn_if_absent(client);
    let rows = client.list().await?;
    let WithoutRow { orphans, removed } = without_row(client).await;
    if as_json {
        let reactor = reactor::to_json(&client.reactor());
        let apps: Vec<_> = rows.iter().map(|stored| row_json::row(stored, false)).collect();
        let orphans: Vec<&str> = orphans.iter().map(AppName::as_str).collect();
        let removed: Vec<&str> = removed.iter().map(AppName::as_str).collect();
        let all = json!({
            "Reactor": reactor, "Apps": apps, "Orphans": orphans, "Removed": removed,
        });
        output::json(&all, true);
        return Ok(Exit::Done);
    }
    orphans::tell(&orphans, client.location(), output::warning);
    orphans::tell_removed(&removed, client.location(), output::warning);
    if rows.is_empty() {
        if orphans.is_empty() && removed.is_empty() {
            let put = client.location().command("put NAME --repo URL");
            output::note("there is no app yet");
            output::hint(&format!("`{put}` makes one"));
        }
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
