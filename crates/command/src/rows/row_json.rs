//! Rows as JSON: the contract of `--json`, with the attribute names of the table on either
//! platform.

use jiff::Timestamp;
use rowhouse_core::{Attribute, Commit, StoredEntry, StoredRow, Value, without_password};
use serde_json::{Map, json};

use crate::client::ListedInstance;

/// One row; secrets are masked unless `reveal`. Attributes that stand nowhere are left out.
pub fn row(stored: &StoredRow, reveal: bool) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    let row = &stored.row;
    object.insert("Name".to_owned(), json!(row.key.0));
    for (attribute, value) in &row.user {
        object.insert(attribute.name().to_owned(), self::value(*attribute, value, reveal));
    }
    let report = &row.report;
    let mut insert = |name: &str, value: serde_json::Value| {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    };
    insert("status", json!(report.status.map(rowhouse_core::Status::as_str)));
    insert("LoadBalancer", json!(report.url));
    insert("Reason", json!(report.reason));
    insert("Revision", json!(report.revision.as_ref().map(Commit::as_str)));
    insert("Healthy", json!(report.healthy));
    insert("Generation", json!(report.generation));
    insert("Target", json!(report.target));
    insert("Seq", json!(row.seq));
    insert("ChangedAt", json!(stored.changed_at));
    insert("Answered", json!(row.is_answered()));
    object
}

fn value(attribute: Attribute, value: &Value, reveal: bool) -> serde_json::Value {
    let is_masked = attribute.is_secret() && !reveal;
    match value {
        Value::Map(entries) if is_masked => {
            entries.keys().map(|key| (key.clone(), json!("***"))).collect()
        }
        // What is no object may hold half a secret.
        Value::Text(_) | Value::Whole(_) | Value::Real(_) | Value::Boolean(_) | Value::List(_)
            if is_masked =>
        {
            json!("***")
        }
        Value::Text(text) if attribute == Attribute::Repo && !reveal => {
            json!(without_password(text))
        }
        Value::Text(text) => json!(text),
        Value::Whole(0 | 1) if attribute == Attribute::Follow => json!(*value == Value::Whole(1)),
        Value::Whole(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Boolean(flag) => json!(flag),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, entry)| (key.clone(), self::value(attribute, entry, reveal)))
            .collect(),
        Value::List(items) => {
            items.iter().map(|item| self::value(attribute, item, reveal)).collect()
        }
        Value::Other(kind) => json!(kind),
    }
}

/// One entry of a history.
pub fn entry(entry: &StoredEntry) -> serde_json::Value {
    json!({
        "Release": entry.number,
        "At": entry.at,
        "Version": entry.version,
        "Repo": entry.repository.as_deref().map(without_password),
        "Path": entry.path,
        "Revision": entry.revision,
        "Scale": entry.scale,
        "status": entry.status,
        "Reason": entry.reason,
        "Generation": entry.generation,
        "Target": entry.target,
        "EnvDigest": entry.env,
    })
}

/// One instance of an app. What its platform does not know is null.
pub fn instance(instance: &ListedInstance) -> serde_json::Value {
    json!({
        "Id": instance.id,
        "Pid": instance.pid,
        "Port": instance.port,
        "State": instance.state.to_string(),
        "Revision": instance.revision,
        "StartedAt": instance.started_at.map(time),
    })
}

/// A time to the millisecond.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use crate::client::InstanceState;

    use super::*;

    #[test]
    fn what_is_secret_of_a_row_is_masked_whatever_its_type_and_shown_to_who_asks() {
        let text = |text: &str| Value::Text(text.to_owned());
        let list = Value::List(vec![text("www.example.com"), text("example.com")]);
        let user = [
            (Attribute::Env, Value::Map([("KEY".to_owned(), text("hunter2"))].into())),
            (Attribute::BuildEnv, text("{hunter2")),
            (Attribute::Procfile, Value::Map([("web".to_owned(), text("./serve"))].into())),
            (Attribute::Workers, Value::Map([("worker".to_owned(), Value::Whole(2))].into())),
            (Attribute::Domains, list),
            (Attribute::Hook, text("hunter2")),
        ];
        let row = |user: rowhouse_core::UserAttributes| StoredRow {
            row: rowhouse_core::Row {
                key: rowhouse_core::RowKey("shop".to_owned()),
                user,
                report: rowhouse_core::Report::default(),
                seq: 0,
            },
            changed_at: None,
        };
        let stored = row(user.into());
        let told = json!(self::row(&stored, false)).to_string();
        assert!(!told.contains("hunter2"), "{told}");
        for part in [
            r#""Env":{"KEY":"***"}"#,
            r#""Hook":"***""#,
            r#""Procfile":{"web":"./serve"}"#,
            r#""Workers":{"worker":2}"#,
            r#""Domains":["www.example.com","example.com"]"#,
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert!(json!(self::row(&stored, true)).to_string().contains(r#""Hook":"hunter2""#));
        for hook in [Value::Whole(4711), Value::Real(4711.5), Value::Boolean(true)] {
            let stored = row([(Attribute::Hook, hook)].into());
            assert_eq!(self::row(&stored, false)["Hook"], "***");
        }
    }

    #[test]
    fn an_instance_is_told_as_it_always_was_to_the_byte() {
        let running = ListedInstance {
            id: "1-2".to_owned(),
            pid: Some(7),
            port: Some(4711),
            state: InstanceState::Running,
            revision: Commit::parse(&"c".repeat(40)),
            started_at: Some("2026-01-02T03:04:05.6789Z".parse().unwrap()),
        };
        assert_eq!(
            instance(&running).to_string(),
            format!(
                "{}{}{}",
                r#"{"Id":"1-2","Pid":7,"Port":4711,"Revision":""#,
                "c".repeat(40),
                r#"","StartedAt":"2026-01-02T03:04:05.678Z","State":"running"}"#
            )
        );
        let on_aws = ListedInstance {
            id: "i-1".to_owned(),
            pid: None,
            port: None,
            state: InstanceState::Other("terminating:wait".to_owned()),
            revision: None,
            started_at: None,
        };
        assert_eq!(
            instance(&on_aws).to_string(),
            concat!(
                r#"{"Id":"i-1","Pid":null,"Port":null,"Revision":null,"StartedAt":null,"#,
                r#""State":"terminating:wait"}"#
            )
        );
    }
}
