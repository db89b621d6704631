//! The row of the app, written and read by the AWS CLI, as anybody may.

use serde_json::{Value, json};

use crate::test_aws::place::Place;
use crate::test_aws::wish::Wish;

const TABLE: &str = "apps-db";

pub(super) fn put(place: &Place, wish: &Wish, scale: u32, greeting: &str) -> anyhow::Result<()> {
    let item = json!({
        "Name": { "S": wish.name },
        "Version": { "S": wish.version },
        "Scale": { "N": scale.to_string() },
        "Repo": { "S": wish.repository },
        "Path": { "S": wish.path },
        "Env": { "M": { "GREETING": { "S": greeting } } },
    });
    let item = item.to_string();
    place.aws(&["dynamodb", "put-item", "--table-name", TABLE, "--item", &item])?;
    Ok(())
}

pub(super) fn get(place: &Place, wish: &Wish) -> anyhow::Result<Value> {
    let key = key(wish);
    let text = place.aws(&[
        "dynamodb",
        "get-item",
        "--table-name",
        TABLE,
        "--consistent-read",
        "--key",
        &key,
        "--output",
        "json",
    ])?;
    let answer: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
    Ok(answer["Item"].clone())
}

pub(super) fn delete(place: &Place, wish: &Wish) -> anyhow::Result<()> {
    place.aws(&["dynamodb", "delete-item", "--table-name", TABLE, "--key", &key(wish)])?;
    Ok(())
}

/// An attribute as text.
pub(super) fn text(row: &Value, name: &str) -> Option<String> {
    let value = &row[name];
    value["S"].as_str().or_else(|| value["N"].as_str()).map(str::to_owned)
}

fn key(wish: &Wish) -> String {
    json!({ "Name": { "S": wish.name } }).to_string()
}
