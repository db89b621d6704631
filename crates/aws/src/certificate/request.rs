//! CloudFormation's request to a custom resource. Values of properties come as texts, whatever the
//! template has.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html>

use rowhouse_core::{AppName, shortened};
use serde::Deserialize;
use serde_json::Value;

/// A request that can be answered. No `Debug`: whoever knows the URL can answer in our place.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Request {
    #[serde(rename = "RequestType")]
    pub(crate) operation: RequestType,
    #[serde(rename = "RequestId")]
    pub(crate) id: String,
    #[serde(rename = "ResponseURL")]
    pub(crate) response_url: String,
    pub(crate) stack_id: String,
    pub(crate) logical_resource_id: String,
    pub(crate) physical_resource_id: Option<String>,
    #[serde(default)]
    pub(crate) resource_properties: Value,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum RequestType {
    Create,
    Update,
    Delete,
    #[serde(other)]
    Other,
}

impl RequestType {
    pub(crate) fn word(self) -> &'static str {
        match self {
            RequestType::Create => "create",
            RequestType::Update => "update",
            RequestType::Delete => "delete",
            RequestType::Other => "other",
        }
    }
}

impl Request {
    /// Reads an event; an error means that nobody can be answered.
    pub(crate) fn parse(event: Value) -> Result<Request, String> {
        serde_json::from_value(event).map_err(|error| error.to_string())
    }
}

/// The properties of the resource in the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) app_name: AppName,
    /// The host name of the app, which the certificate is for.
    pub(crate) app_domain: String,
    /// Where the pair is kept.
    pub(crate) bucket: String,
    /// Another text makes a new pair.
    pub(crate) renewal: String,
}

impl Properties {
    /// Understands the properties, or says which one is wrong and what it must be. Others are left
    /// to CloudFormation (`ServiceToken`, `ServiceTimeout`).
    pub(crate) fn parse(properties: &Value) -> Result<Properties, String> {
        let text = |name: &str| match properties.get(name) {
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("the property `{name}` must be a text")),
            None => Ok(None),
        };
        let required =
            |name: &str| text(name)?.ok_or_else(|| format!("the property `{name}` is missing"));
        let app_name = AppName::parse(required("AppName")?)
            .map_err(|reason| format!("the property `AppName`: {reason}"))?;
        let app_domain = checked(
            "AppDomain",
            required("AppDomain")?,
            is_domain,
            "a host name such as `shop.apps.example.com`",
        )?;
        let bucket = checked(
            "Bucket",
            required("Bucket")?,
            is_bucket,
            "the name of a bucket: 3 to 63 lower-case letters, digits, dots and dashes",
        )?;
        let renewal = checked(
            "Renewal",
            text("Renewal")?.unwrap_or("1"),
            is_renewal,
            "1 to 32 letters and digits, such as the year",
        )?;
        Ok(Properties { app_name, app_domain, bucket, renewal })
    }
}

fn checked(
    name: &str,
    text: &str,
    is_legal: impl Fn(&str) -> bool,
    allowed: &str,
) -> Result<String, String> {
    let wrong = || format!("the property `{name}` is {}: it must be {allowed}", shortened(text));
    is_legal(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}

pub(crate) fn is_bucket(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
        })
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && !text.contains("..")
}

fn is_renewal(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn properties(name: &str, value: Value) -> Result<Properties, String> {
        let mut properties = json!({
            "ServiceToken": "arn:aws:lambda:eu-west-1:1:function:x",
            "ServiceTimeout": "60",
            "AppName": "shop",
            "AppDomain": "shop.apps.example.com",
            "Bucket": "keys.example.com",
            "Renewal": "2026",
        });
        properties[name] = value;
        Properties::parse(&properties)
    }

    #[test]
    fn properties_are_understood_as_cloudformation_sends_them() {
        let parsed = properties("Other", "x".into()).unwrap();
        assert_eq!((parsed.app_name.as_str(), parsed.renewal.as_str()), ("shop", "2026"));
        let few = json!({"AppName": "shop", "AppDomain": "shop.example.com", "Bucket": "keys"});
        assert_eq!(Properties::parse(&few).unwrap().renewal, "1");
    }

    #[test]
    fn a_bad_property_is_named_with_what_it_must_be() {
        for (name, bad) in [
            ("AppName", vec!["", "Shop", "a/b", "../x", "a.b"]),
            ("AppDomain", vec!["", "shop", "*.example.com", "a..b", "-a.b", "a b.c", "a.b/c"]),
            ("Bucket", vec!["", "ab", "Keys", "keys/x", "arn:aws:s3:::keys", "-keys", "a..b"]),
            ("Renewal", vec!["", "a/b", "1.0", "../x", "123456789012345678901234567890123"]),
        ] {
            for value in bad {
                let reason = properties(name, value.into()).unwrap_err();
                assert!(reason.starts_with(&format!("the property `{name}`")), "{reason}");
                assert!(reason.contains("must be"), "{reason}");
            }
            assert!(properties(name, json!(["x"])).unwrap_err().ends_with("must be a text"));
        }
        let reason = Properties::parse(&json!({})).unwrap_err();
        assert_eq!(reason, "the property `AppName` is missing");
    }

    #[test]
    fn what_nobody_can_be_told_is_an_error_that_does_not_repeat_it() {
        let event = json!({"RequestType": "Create", "ResponseURL": "https://secret"});
        let Err(reason) = Request::parse(event) else { panic!("understood") };
        assert!(reason.contains("RequestId") && !reason.contains("secret"), "{reason}");
    }
}
