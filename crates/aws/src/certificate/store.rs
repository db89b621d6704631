//! The bucket of the pairs. Only S3's word that a key does not exist leads to a new one; nothing is
//! ever written over.
//!
//! Encryption is the bucket's default: naming it in the request would choose the account's key
//! instead of the bucket's own.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_types::byte_stream::ByteStream;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::certificate::address::Address;
use crate::certificate::pair::{Pair, PublicKey};
use crate::refusal::Failure;

/// More than an object of ours can have.
const SIZE_LIMIT: i64 = 64 * 1024;

/// Objects, by their addresses.
pub(crate) struct Store<'a>(pub(crate) &'a Client);

/// Whether a pair was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Stored,
    /// There was one before.
    Taken,
}

/// What an object holds, for the instances to read.
#[derive(Serialize)]
struct Written<'a> {
    certificate: &'a str,
    private_key: &'a str,
    public_key: &'a str,
}

#[derive(Deserialize)]
struct Found {
    public_key: String,
}

impl Store<'_> {
    /// The public key of the pair at an address; `None` only if S3 says that there is no such key.
    pub(crate) async fn find(&self, address: &Address) -> Result<Option<PublicKey>, String> {
        let Address { bucket, key } = address;
        let answer = self.0.get_object().bucket(bucket).key(key).send().await;
        let object = match answer.map_err(|error| Failure::of(&error)) {
            Ok(object) => object,
            Err(failure) if failure.code == "NoSuchKey" => return Ok(None),
            Err(failure) if failure.is_denied() => {
                return Err(format!(
                    "cannot read {address}: {}: the function's role needs `s3:GetObject` on it, \
                     and \
                     `s3:ListBucket` on the bucket, without which S3 does not say that there is \
                     none",
                    failure.message
                ));
            }
            Err(failure) => return Err(told("cannot read", address, &failure)),
        };
        if object.content_length().is_some_and(|length| length > SIZE_LIMIT) {
            return Err(format!("{address} is not of this function: it is too long"));
        }
        let bytes = object
            .body
            .collect()
            .await
            .map_err(|error| format!("cannot read {address}: {error}"))?;
        // The parser's own words could repeat what it read.
        let found: Found = serde_json::from_slice(&bytes.into_bytes()).map_err(|_| {
            format!("{address} is not of this function: delete it, or correct `Bucket`")
        })?;
        Ok(Some(PublicKey(found.public_key)))
    }

    /// Writes a pair where there is none.
    pub(crate) async fn keep(&self, address: &Address, pair: &Pair) -> Result<Kept, String> {
        let Address { bucket, key } = address;
        let written = Written {
            certificate: &pair.certificate,
            private_key: pair.private_key.pem(),
            public_key: &pair.public_key.0,
        };
        let body = serde_json::to_vec(&written).map_err(|error| error.to_string())?;
        let answer = self
            .0
            .put_object()
            .bucket(bucket)
            .key(key)
            .if_none_match("*")
            .content_type("application/json")
            .body(ByteStream::from(body))
            .send()
            .await;
        match answer.map_err(|error| Failure::of(&error)) {
            Ok(put) => {
                if put.server_side_encryption() != Some(&ServerSideEncryption::AwsKms) {
                    warn!(bucket, "the bucket's default encryption is not by a key of KMS");
                }
                Ok(Kept::Stored)
            }
            Err(failure) if is_taken(&failure) => Ok(Kept::Taken),
            Err(failure) => Err(told("cannot write", address, &failure)),
        }
    }

    /// Removes the pair; that there is none, or no bucket, is as good.
    pub(crate) async fn remove(&self, address: &Address) -> Result<(), String> {
        let Address { bucket, key } = address;
        let answer = self.0.delete_object().bucket(bucket).key(key).send().await;
        match answer.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(()),
            Err(failure) if matches!(failure.code.as_str(), "NoSuchKey" | "NoSuchBucket") => Ok(()),
            Err(failure) => Err(told("cannot delete", address, &failure)),
        }
    }
}

/// Somebody else wrote first, or is writing.
fn is_taken(failure: &Failure) -> bool {
    matches!(failure.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
}

fn told(doing: &str, address: &Address, failure: &Failure) -> String {
    let Failure { code, message } = failure;
    if code.is_empty() || code == message {
        format!("{doing} {address}: {message}")
    } else {
        format!("{doing} {address}: {message} ({code})")
    }
}
