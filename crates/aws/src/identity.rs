//! By what a table is known, so that another one of the same name is not taken for it.

use aws_sdk_dynamodb::types::TableStatus;
use serde::{Deserialize, Serialize};

use crate::refusal::Failure;
use crate::table::DynamoTable;

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

impl DynamoTable {
    /// By what this table is known to whoever asks.
    ///
    /// # Errors
    /// DynamoDB does not answer, or the table is being made or deleted.
    pub async fn identity(&self) -> Result<Identity, Failure> {
        let asked = self.client.describe_table().table_name(&self.name).send().await;
        let table = match asked {
            Ok(answer) => answer.table,
            Err(error) if Failure::of(&error).is_denied() => None,
            Err(error) => return Err(self.failure("cannot look at", &error)),
        };
        let Some(table) = table else { return Ok(Identity::TableName(self.name.clone())) };
        match table.table_status() {
            Some(TableStatus::Active | TableStatus::Updating) => {}
            other => {
                let status = other.map_or("unknown", TableStatus::as_str);
                return Err(self.own_failure(&format!("cannot be sure of its rows: {status}")));
            }
        }
        Ok(match table.table_id {
            Some(id) => Identity::TableId(id),
            None => Identity::TableName(self.name.clone()),
        })
    }
}
