//! By what a table is known, so that another one of the same name is not taken for it.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TableStatus;
use serde::{Deserialize, Serialize};

use crate::refusal::Failure;

/// What tells a table from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// DynamoDB's own id, which no other table ever has: one that was deleted and made anew, or
    /// restored from a backup, has another.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html>
    TableId(String),
    /// Its name, where nobody may look at more: a table made anew under it cannot be told from it.
    TableName(String),
}

impl Identity {
    /// The id or the name, as a part of a key in a bucket.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Identity::TableId(text) | Identity::TableName(text) => text,
        }
    }
}

/// By what a table is known to whoever asks.
pub(crate) async fn identity(client: &Client, table: &str) -> Result<Identity, Failure> {
    let by_name = || Identity::TableName(table.to_owned());
    let described = match client.describe_table().table_name(table).send().await {
        Ok(answer) => answer.table,
        Err(error) => {
            let failure = Failure::of(&error);
            if failure.is_denied() {
                return Ok(by_name());
            }
            let code = failure.code.clone();
            let said = failure.unreachable(&format!("cannot look at: table `{table}`"));
            return Err(Failure { code, message: said.reason });
        }
    };
    let Some(described) = described else { return Ok(by_name()) };
    match described.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => {}
        other => {
            let status = other.map_or("unknown", TableStatus::as_str);
            let message = format!("cannot be sure of the rows: table `{table}` is {status}");
            return Err(Failure { code: String::new(), message });
        }
    }
    Ok(described.table_id.map_or_else(by_name, Identity::TableId))
}
