//! What wakes the reactor, told apart by shape. Nothing is read from it but names: which rows
//! changed, which stacks have an event of their own, or that it is time to sweep.

use rowhouse_core::{AppName, Attribute, RowKey};
use serde_json::Value;

use crate::message;

/// A record of the table's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    pub key: RowKey,
    /// What the stream is told when the record must come again.
    pub sequence: String,
}

/// What an invocation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// Changes of rows, those left out that are the reactor's own.
    Stream(Vec<Ring>),
    /// Stacks whose own status changed; events of their resources are left out.
    Stacks(Vec<RowKey>),
    ShortSweep,
    FullSweep,
    /// Nothing that this function knows.
    Unknown,
}

impl Doorbell {
    /// Reads an invocation's event. `prefix` is what names of our stacks begin with.
    pub fn parse(event: &Value, prefix: &str) -> Doorbell {
        if let Some(word) = event["rowhouse"].as_str() {
            return match word {
                "short-sweep" => Doorbell::ShortSweep,
                "full-sweep" => Doorbell::FullSweep,
                _ => Doorbell::Unknown,
            };
        }
        // A schedule made by hand, whose event nobody has chosen.
        if event["detail-type"] == "Scheduled Event" {
            return Doorbell::FullSweep;
        }
        let Some(records) = event["Records"].as_array() else { return Doorbell::Unknown };
        match records.first() {
            Some(first) if first["eventSource"] == "aws:dynamodb" => {
                Doorbell::Stream(records.iter().filter_map(ring).collect())
            }
            Some(first) if first["EventSource"] == "aws:sns" => Doorbell::Stacks(
                records.iter().filter_map(|record| stack(record, prefix)).collect(),
            ),
            Some(_) | None => Doorbell::Unknown,
        }
    }
}

fn ring(record: &Value) -> Option<Ring> {
    let change = &record["dynamodb"];
    let key = change["Keys"]["Name"]["S"].as_str()?.to_owned();
    let sequence = change["SequenceNumber"].as_str().unwrap_or_default().to_owned();
    (!is_echo(&change["OldImage"], &change["NewImage"]))
        .then_some(Ring { key: RowKey(key), sequence })
}

/// Whether a change is a write of the reactor: it touches no attribute of the user, and raises
/// `Seq` by one.
fn is_echo(old: &Value, new: &Value) -> bool {
    if !old.is_object() || !new.is_object() {
        return false;
    }
    let same = |attribute: Attribute| old.get(attribute.name()) == new.get(attribute.name());
    let seq = |image: &Value| match image["Seq"]["N"].as_str() {
        Some(text) => text.parse::<u64>().ok(),
        None if image.get("Seq").is_none() => Some(0),
        None => None,
    };
    let raised = seq(old).and_then(|seq| seq.checked_add(1));
    Attribute::ALL.into_iter().all(same) && raised.is_some() && raised == seq(new)
}

fn stack(record: &Value, prefix: &str) -> Option<RowKey> {
    let message = message::parse(record["Sns"]["Message"].as_str()?)?;
    let name = message.stack_name.strip_prefix(prefix)?;
    let name = AppName::parse(name).ok()?;
    message.is_of_stack.then(|| name.key())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(old: &Value, new: &Value) -> Value {
        let mut change = json!({
            "eventSource": "aws:dynamodb",
            "dynamodb": { "Keys": { "Name": { "S": "shop" } }, "SequenceNumber": "100" }
        });
        for (name, image) in [("OldImage", old), ("NewImage", new)] {
            if !image.is_null() {
                change["dynamodb"][name] = image.clone();
            }
        }
        json!({ "Records": [change] })
    }

    fn row(version: &str, seq: Option<u64>, status: &str) -> Value {
        let mut row = json!({
            "Name": { "S": "shop" }, "Version": { "S": version }, "Scale": { "N": "1" },
            "status": { "S": status }
        });
        if let Some(seq) = seq {
            row["Seq"] = json!({ "N": seq.to_string() });
        }
        row
    }

    fn rings(old: &Value, new: &Value) -> bool {
        let Doorbell::Stream(rings) = Doorbell::parse(&change(old, new), "demo-app-") else {
            panic!("it is a stream")
        };
        !rings.is_empty()
    }

    #[test]
    fn the_reactors_own_writes_do_not_ring_and_everything_else_does() {
        assert!(!rings(&row("v1", None, ""), &row("v1", Some(1), "deploying")));
        assert!(!rings(&row("v1", Some(1), "deploying"), &row("v1", Some(2), "deployed")));
        assert!(rings(&Value::Null, &row("v1", None, "")), "an insert");
        assert!(rings(&row("v1", Some(2), ""), &Value::Null), "a deletion");
        assert!(rings(&row("v1", Some(2), ""), &row("v2", Some(2), "")));
        assert!(rings(&row("v1", Some(2), ""), &row("v2", Some(3), "")), "both at once");
        assert!(rings(&row("v1", Some(2), ""), &row("v1", None, "")), "the whole row was replaced");
        assert!(rings(&row("v1", Some(2), ""), &row("v1", Some(2), "mine")), "somebody lies");
        assert!(rings(&row("v1", Some(2), ""), &row("v1", Some(4), "")));
    }

    #[test]
    fn stacks_ring_by_their_own_events_and_by_our_names_alone() {
        let event = |stack: &str, physical: &str| {
            let id = format!("arn:aws:cloudformation:eu-west-1:1:stack/{stack}/1");
            let physical = if physical.is_empty() { &id } else { physical };
            let message =
                format!("StackId='{id}'\nPhysicalResourceId='{physical}'\nStackName='x'\n");
            let event =
                json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Message": message } }] });
            Doorbell::parse(&event, "demo-app-")
        };
        assert_eq!(event("demo-app-shop", ""), Doorbell::Stacks(vec![RowKey("shop".to_owned())]));
        for (stack, physical) in
            [("demo-app-shop", "i-1"), ("other", ""), ("demo-app-", ""), ("demo-app-Shop", "")]
        {
            assert_eq!(event(stack, physical), Doorbell::Stacks(Vec::new()), "{stack}");
        }
    }

    #[test]
    fn sweeps_and_what_nobody_knows_are_told_apart() {
        let parse = |event: Value| Doorbell::parse(&event, "demo-app-");
        assert_eq!(parse(json!({ "rowhouse": "short-sweep" })), Doorbell::ShortSweep);
        assert_eq!(parse(json!({ "rowhouse": "full-sweep" })), Doorbell::FullSweep);
        assert_eq!(parse(json!({ "detail-type": "Scheduled Event" })), Doorbell::FullSweep);
        for event in [
            json!(null),
            json!({}),
            json!([]),
            json!({ "Records": [] }),
            json!({ "Records": "x" }),
            json!({ "Records": [{ "eventSource": "aws:s3" }] }),
            json!({ "rowhouse": "x" }),
        ] {
            assert_eq!(parse(event.clone()), Doorbell::Unknown, "{event}");
        }
        let odd =
            json!({ "Records": [{ "eventSource": "aws:dynamodb", "dynamodb": { "Keys": 1 } }] });
        assert_eq!(parse(odd), Doorbell::Stream(Vec::new()));
    }
}
