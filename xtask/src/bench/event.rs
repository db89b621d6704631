//! Events as Lambda gives them to the functions.

use serde_json::{Value, json};

use crate::bench::account::REGION;

/// A change of a row, from the table's stream.
pub fn stream(kind: &str, old: Option<&Value>, new: Option<&Value>) -> Value {
    json!({ "Records": [record(kind, old, new)] })
}

/// Rows that were put, in one batch.
pub fn batch(rows: &[Value]) -> Value {
    let records: Vec<Value> = rows.iter().map(|row| record("INSERT", None, Some(row))).collect();
    json!({ "Records": records })
}

fn record(kind: &str, old: Option<&Value>, new: Option<&Value>) -> Value {
    let name = new.or(old).map_or(&Value::Null, |row| &row["Name"]);
    let mut change = json!({
        "Keys": { "Name": name },
        "SequenceNumber": "100000000000000000001",
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    for (key, image) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = image {
            change[key] = image.clone();
        }
    }
    json!({
        "eventID": "1",
        "eventName": kind,
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": change,
    })
}

/// What CloudFormation tells of a stack, or of the resource of that id in it.
pub fn stack(id: &str, physical: &str) -> Value {
    let name = id.split('/').nth(1).unwrap_or_default();
    let message = format!(
        "StackId='{id}'\nTimestamp='2026-11-24T12:00:00.000Z'\nEventId='1'\n\
         LogicalResourceId='{name}'\n\
         Namespace='000000000000'\nPhysicalResourceId='{physical}'\nResourceProperties='null'\n\
         ResourceStatus='UPDATE_COMPLETE'\nResourceStatusReason=''\n\
         ResourceType='AWS::CloudFormation::Stack'\nStackName='{name}'\nClientRequestToken='null'\n"
    );
    json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Message": message } }] })
}

/// CloudFormation's request for a key of an app.
pub fn certificate(number: usize, bucket: &str, answer: &str) -> Value {
    json!({
        "RequestType": "Create",
        "RequestId": number.to_string(),
        "ResponseURL": answer,
        "StackId": format!(
            "arn:aws:cloudformation:eu-west-1:000000000000:stack/demo-app-key-{number}/1"
        ),
        "LogicalResourceId": "Certificate",
        "ResourceType": "Custom::CreateElbBackendCertificates",
        "ResourceProperties": {
            "AppName": format!("key-{number}"),
            "AppDomain": format!("key-{number}.apps.example.com"),
            "Bucket": bucket,
        },
    })
}
