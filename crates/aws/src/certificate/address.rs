//! Where a pair lies in S3, which is also the physical id of the resource: whoever deletes needs
//! nothing else.

use std::fmt;

use rowhouse_core::shortened;
use sha2::{Digest, Sha256};

use crate::certificate::request::{Properties, Request, is_bucket};

/// All that the function may touch.
const FOLDER: &str = "backend-certificates/";

/// An object of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Address {
    /// The address for a resource of a stack. The same request has the same one; another app,
    /// domain, bucket or renewal has another, and so has another stack of the same name.
    pub(crate) fn of(request: &Request, properties: &Properties) -> Result<Address, String> {
        let Request { stack_id, logical_resource_id: resource, .. } = request;
        let stack = stack_id.rsplit('/').next().unwrap_or_default();
        if !is_plain(stack) || !is_plain(resource) {
            return Err(format!(
                "the stack is {} and the resource {}: both must end in letters, digits and dashes",
                shortened(stack_id),
                shortened(resource)
            ));
        }
        let Properties { app_name, app_domain, bucket, renewal } = properties;
        let digest: [u8; 32] = Sha256::digest(app_domain.as_bytes()).into();
        let [first, second, third, fourth, ..] = digest;
        let domain = u32::from_be_bytes([first, second, third, fourth]);
        let key = format!("{FOLDER}{app_name}/{stack}-{resource}-{domain:08x}-{renewal}.json");
        Ok(Address { bucket: bucket.clone(), key })
    }

    /// Reads a physical id; `None`: it names nothing of ours.
    pub(crate) fn parse(physical_id: &str) -> Option<Address> {
        let (bucket, key) = physical_id.strip_prefix("s3://")?.split_once('/')?;
        let is_ours = key.strip_prefix(FOLDER).is_some_and(|rest| {
            let is_file = |name: &str| name.strip_suffix(".json").is_some_and(is_plain);
            rest.split_once('/').is_some_and(|(app, name)| is_plain(app) && is_file(name))
        });
        (is_bucket(bucket) && is_ours)
            .then(|| Address { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.key)
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_speak_of_the_folder_that_the_pairs_are_in() {
        let by_hand = include_str!("../../../../templates/lambda_policy.json");
        assert!(by_hand.contains(&format!("my-certificates/{FOLDER}*")));
        let platform = include_str!("../../../../templates/platform.yaml");
        assert!(platform.contains(&format!("${{CertificateBucket.Arn}}/{FOLDER}*")));
    }
    use serde_json::json;

    fn address(stack: &str, resource: &str, changed: &str, value: &str) -> Result<Address, String> {
        let event = json!({
            "RequestType": "Create", "RequestId": "1", "ResponseURL": "", "StackId": stack,
            "LogicalResourceId": resource,
        });
        let mut properties = json!({
            "AppName": "shop", "AppDomain": "shop.example.com", "Bucket": "keys", "Renewal": "1",
        });
        properties[changed] = value.into();
        Address::of(&Request::parse(event).unwrap(), &Properties::parse(&properties).unwrap())
    }

    const STACK: &str = "arn:aws:cloudformation:eu-west-1:111122223333:stack/demo-app-shop/0f2c-11";

    #[test]
    fn whatever_changes_the_pair_changes_the_address_and_nothing_else_does() {
        let same = address(STACK, "Certificate", "Other", "x").unwrap();
        assert_eq!(same, address(STACK, "Certificate", "Renewal", "1").unwrap());
        for other in [
            address(STACK, "Certificate", "AppName", "shop2"),
            address(STACK, "Certificate", "AppDomain", "shop.example.org"),
            address(STACK, "Certificate", "Bucket", "keys2"),
            address(STACK, "Certificate", "Renewal", "2"),
            address(STACK, "Second", "Other", "x"),
            address(&STACK.replace("0f2c", "0f2d"), "Certificate", "Other", "x"),
        ] {
            assert_ne!(other.unwrap(), same);
        }
    }

    #[test]
    fn an_address_is_read_back_from_its_physical_id() {
        let address = address(STACK, "Certificate", "Other", "x").unwrap();
        assert!(address.key.starts_with("backend-certificates/shop/0f2c-11-Certificate-"));
        assert_eq!(Address::parse(&address.to_string()), Some(address));
    }

    #[test]
    fn nothing_outside_our_folder_is_ours() {
        for id in [
            "",
            "nothing-was-created",
            "2016/log/stream/[$LATEST]0",
            "s3://keys",
            "s3://keys/backend-certificates/",
            "s3://keys/backend-certificates/a.json",
            "s3://keys/backend-certificates/../other/a.json",
            "s3://keys/backend-certificates/a/../b.json",
            "s3://keys/backend-certificates/a/b",
            "s3://keys/other/backend-certificates/a/b.json",
            "s3:///backend-certificates/a/b.json",
            "s3://Keys/backend-certificates/a/b.json",
            "https://keys/backend-certificates/a/b.json",
        ] {
            assert_eq!(Address::parse(id), None, "{id}");
        }
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for (stack, resource) in
            [("arn:x/..", "Certificate"), (STACK, "a/b"), (STACK, ""), ("", "a")]
        {
            assert!(address(stack, resource, "Other", "x").is_err(), "{stack} {resource}");
        }
    }
}
