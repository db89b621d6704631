//! `rowhouse history`: how the rollouts of an app ended.

use rowhouse_core::{Commit, RowKey};
use serde_json::json;

use crate::client::Client;
use crate::failure::Exit;
use crate::output;
use crate::output::{clean, cut};
use crate::rows::args::One;
use crate::rows::{names, row_json, row_text};

pub(crate) async fn history(client: &impl Client, one: &One) -> anyhow::Result<Exit> {
    let key = RowKey(one.name.clone());
    let entries = client.history(&key).await?;
    // It outlives the row.
    let row = client.get(&key).await?.map(|stored| stored.row);
    if entries.is_empty() && row.is_none() {
        return Err(names::no_such_app(client, &one.name).await?);
    }
    if one.json {
        let entries: Vec<_> = entries.iter().map(row_json::entry).collect();
        output::json(&json!({ "Name": one.name, "History": entries }), true);
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        output::note("no rollout has ended yet");
        if let Some(why) = row.as_ref().and_then(row_text::why) {
            output::note(&why);
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            vec![
                entry.number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
                seconds(&entry.at),
                entry.status.unwrap_or_default(),
                entry.version.as_deref().map_or_else(|| "-".to_owned(), row_text::version),
                entry.revision.as_ref().map_or("-", Commit::short).to_owned(),
                entry.scale.map_or_else(|| "-".to_owned(), |scale| scale.to_string()),
                cut(&clean(&entry.reason.unwrap_or_default()), 120),
            ]
        })
        .collect();
    output::table(&["release", "at", "status", "version", "revision", "scale", "reason"], &rows);
    Ok(Exit::Done)
}

/// A time to the second.
pub(crate) fn seconds(at: &str) -> String {
    at.parse::<jiff::Timestamp>().map_or_else(|_| at.to_owned(), |at| format!("{at:.0}"))
}
