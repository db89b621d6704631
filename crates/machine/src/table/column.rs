//! How attributes stand in the columns of the table: what a writer may have put there, and what it
//! means.

use rowhouse_core::{
    Attribute, Commit, Generation, Report, Row, RowKey, Status, StoredRow, Target, UserAttributes,
    Value,
};
use rusqlite::types::ValueRef;

/// The columns that `read_row` reads: all that there are, for a table of an earlier format lacks
/// some of today's, and may get them between two statements. What a user has in columns of an own
/// is never loaded.
pub(crate) const COLUMNS: &str = "*";

/// The column of a user attribute.
pub(crate) fn column(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::Version => "version",
        Attribute::Scale => "scale",
        Attribute::Repo => "repo",
        Attribute::Path => "path",
        Attribute::Env => "env",
        Attribute::BuildEnv => "build_env",
        Attribute::Health => "health",
        Attribute::HealthTimeout => "health_timeout",
        Attribute::Follow => "follow",
        Attribute::Redeploy => "redeploy",
        Attribute::Procfile => "procfile",
        Attribute::Workers => "workers",
        Attribute::Cron => "cron",
        Attribute::Domains => "domains",
        Attribute::Memory => "memory",
        Attribute::Protocol => "protocol",
        Attribute::Hook => "hook",
    }
}

/// Reads a row, whatever stands in it.
pub(crate) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredRow> {
    let mut user = UserAttributes::new();
    for attribute in Attribute::ALL {
        match row.get_ref(column(attribute)) {
            Ok(stored) => {
                user.extend(read_value(attribute, stored).map(|value| (attribute, value)));
            }
            Err(rusqlite::Error::InvalidColumnName(_)) => {}
            Err(error) => return Err(error),
        }
    }
    // The reactor's columns too may hold anything; what is not ours reads as never written.
    let text = |name| -> rusqlite::Result<Option<String>> {
        Ok(match row.get_ref(name)? {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
        })
    };
    let number = |name| -> rusqlite::Result<u64> {
        Ok(row
            .get_ref(name)?
            .as_i64()
            .ok()
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or(0))
    };
    let name = row.get_ref("name")?;
    let key = read_name(name).unwrap_or_else(|| RowKey(literal(name)));
    let report = Report {
        status: text("status")?.and_then(|word| Status::parse(&word)),
        url: text("load_balancer")?,
        reason: text("reason")?,
        revision: text("revision")?.and_then(|commit| Commit::parse(&commit)),
        healthy: u32::try_from(number("healthy")?).unwrap_or(0),
        generation: text("generation")?.map(Generation::stored),
        target: text("target")?.map(Target::stored),
    };
    let row = Row { key, user, report, seq: number("seq")? };
    Ok(StoredRow { row, changed_at: text("changed_at")? })
}

/// Reads the name of a row; what is no text, or none in UTF-8, is the name of none.
pub(crate) fn read_name(stored: ValueRef<'_>) -> Option<RowKey> {
    match stored {
        ValueRef::Text(bytes) => str::from_utf8(bytes).ok().map(|name| RowKey(name.to_owned())),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

/// What is no name, as SQL writes it: the bytes of a name are never taken for that name, and a
/// reader can paste what is to be deleted.
pub(crate) fn literal(stored: ValueRef<'_>) -> String {
    let bytes = |bytes: &[u8]| format!("x'{}'", data_encoding::HEXLOWER.encode(bytes));
    match stored {
        ValueRef::Blob(blob) => bytes(blob),
        ValueRef::Text(text) => format!("cast({} as text)", bytes(text)),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => "null".to_owned(),
    }
}

/// Reads what stands in a column; null is absent. Objects and lists are JSON in text.
fn read_value(attribute: Attribute, stored: ValueRef<'_>) -> Option<Value> {
    match stored {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Value::Whole(number)),
        ValueRef::Real(number) => Some(Value::Real(number)),
        ValueRef::Blob(_) => Some(Value::Other("a blob")),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            Some(read_json(attribute, &text).unwrap_or(Value::Text(text)))
        }
    }
}

/// What a text means to an attribute that is JSON; `None`: it is a text.
fn read_json(attribute: Attribute, text: &str) -> Option<Value> {
    use serde_json::Value as Json;
    match attribute {
        Attribute::Env
        | Attribute::BuildEnv
        | Attribute::Procfile
        | Attribute::Workers
        | Attribute::Cron => match serde_json::from_str(text).ok()? {
            json @ Json::Object(_) => Some(json_value(json)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => None,
        },
        Attribute::Domains => match serde_json::from_str(text).ok()? {
            Json::Array(items) => Some(Value::List(items.into_iter().map(json_value).collect())),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                None
            }
        },
        Attribute::Version
        | Attribute::Scale
        | Attribute::Repo
        | Attribute::Path
        | Attribute::Health
        | Attribute::HealthTimeout
        | Attribute::Follow
        | Attribute::Redeploy
        | Attribute::Memory
        | Attribute::Protocol
        | Attribute::Hook => None,
    }
}

fn json_value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Bool(flag) => Value::Boolean(flag),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::Whole)
            .or_else(|| number.as_f64().map(Value::Real))
            .unwrap_or(Value::Other("a number")),
        serde_json::Value::Object(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| (key, json_value(value))).collect())
        }
        serde_json::Value::Array(_) => Value::Other("a list"),
        serde_json::Value::Null => Value::Other("null"),
    }
}

/// A value as it is written.
pub(crate) fn sql_value(value: &Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Sql;
    match value {
        Value::Text(text) => Sql::Text(text.clone()),
        Value::Whole(number) => Sql::Integer(*number),
        Value::Real(number) => Sql::Real(*number),
        Value::Boolean(flag) => Sql::Integer(i64::from(*flag)),
        Value::Map(_) | Value::List(_) => Sql::Text(to_json(value).to_string()),
        Value::Other(_) => Sql::Null,
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => serde_json::json!(text),
        Value::Whole(number) => serde_json::json!(number),
        Value::Real(number) => serde_json::json!(number),
        Value::Boolean(flag) => serde_json::json!(flag),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
        }
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Other(_) => serde_json::Value::Null,
    }
}
