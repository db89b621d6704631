//! The custom resource `CreateElbBackendCertificates`: a key and a certificate for TLS between a
//! load balancer and the instances of an app, kept in S3.
//!
//! CloudFormation waits for an answer, an hour if none comes: so each request is answered, whatever
//! happens, before the function's time is up.

mod address;
mod answer;
mod pair;
mod request;
mod store;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::Value;
use thiserror::Error;
use tracing::{Instrument, error, info, info_span, warn};

use crate::certificate::address::Address;
use crate::certificate::answer::{Answer, Undelivered};
use crate::certificate::pair::{Pair, PublicKey};
use crate::certificate::request::{Properties, Request, RequestType};
use crate::certificate::store::{Kept, Store};

/// Kept back from the function's time for the answer.
const RESERVE: Duration = Duration::from_secs(3);
/// How often a key that appears and vanishes under our hands is looked at.
const ROUNDS: usize = 3;
/// The id of what never came to be. Nothing has to be deleted for it.
const NOTHING: &str = "nothing-was-created";

/// CloudFormation was not answered. Lambda calls the function again, which is safe.
#[derive(Debug, Error)]
pub enum CertificateError {
    #[error("this is no request of CloudFormation for a custom resource: {0}")]
    NotUnderstood(String),
    #[error("CloudFormation did not take the answer: {0}")]
    Undelivered(String),
}

impl From<Undelivered> for CertificateError {
    fn from(Undelivered(reason): Undelivered) -> CertificateError {
        CertificateError::Undelivered(reason)
    }
}

/// What came of a request.
struct Done {
    physical_id: String,
    /// The pair that is kept there; none after a deletion.
    kept: Option<(Address, PublicKey)>,
}

/// Does what CloudFormation asks for, and answers it. `deadline`: until the function is ended.
pub async fn handle(
    event: Value,
    deadline: Duration,
    s3: &aws_sdk_s3::Client,
) -> Result<(), CertificateError> {
    let started = Instant::now();
    let request = Request::parse(event).map_err(CertificateError::NotUnderstood)?;
    let span = info_span!(
        "certificate",
        request = request.operation.word(),
        request_id = %request.id,
        stack = %request.stack_id,
        resource = %request.logical_resource_id,
    );
    async {
        let limit = deadline.saturating_sub(RESERVE).max(deadline / 2);
        // Boxed, since the SDK's futures are nested deeper than the compiler looks.
        let outcome = guarded(limit, perform(&request, &Store(s3)).boxed()).await;
        let failed_id = failed_id(&request);
        let answer = match &outcome {
            Ok(done) => Answer::success(&request, &done.physical_id, done.kept.as_ref()),
            Err(reason) => {
                error!(because = %reason, "failed");
                Answer::failure(&request, &failed_id, reason)
            }
        };
        answer.deliver(&request.response_url, deadline.saturating_sub(started.elapsed())).await
    }
    .instrument(span)
    .await?;
    Ok(())
}

/// An outcome in time, also of what panics or hangs.
async fn guarded(
    limit: Duration,
    performed: impl Future<Output = Result<Done, String>>,
) -> Result<Done, String> {
    match tokio::time::timeout(limit, AssertUnwindSafe(performed).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err("the function has a defect: its log says where".to_owned()),
        Err(_) => Err(format!(
            "it was not done within {} seconds: try again, and give the function more time or \
             memory \
             if that happens often",
            limit.as_secs()
        )),
    }
}

async fn perform(request: &Request, store: &Store<'_>) -> Result<Done, String> {
    match request.operation {
        RequestType::Create | RequestType::Update => {
            let properties = Properties::parse(&request.resource_properties)?;
            let address = Address::of(request, &properties)?;
            let public_key = pair_at(&address, &properties, store).await?;
            Ok(Done { physical_id: address.to_string(), kept: Some((address, public_key)) })
        }
        RequestType::Delete => {
            let physical_id = request.physical_resource_id.clone().unwrap_or_default();
            // By the id alone: the properties may be those of a successor.
            if let Some(address) = Address::parse(&physical_id) {
                store.remove(&address).await?;
                info!(object = %address, "deleted");
            } else {
                warn!(physical_id, "not an object of ours: there is nothing to delete");
            }
            Ok(Done { physical_id, kept: None })
        }
        RequestType::Other => {
            Err("`RequestType` must be `Create`, `Update` or `Delete`".to_owned())
        }
    }
}

/// The pair that is kept at the address, or a new one where S3 says that there is none.
async fn pair_at(
    address: &Address,
    properties: &Properties,
    store: &Store<'_>,
) -> Result<PublicKey, String> {
    let mut made = None;
    for _ in 0..ROUNDS {
        if let Some(found) = store.find(address).await? {
            info!(object = %address, "found");
            return Ok(found);
        }
        let pair = match made.take() {
            Some(pair) => pair,
            None => generated(properties.app_domain.clone()).await?,
        };
        match store.keep(address, &pair).await? {
            Kept::Stored => {
                info!(object = %address, "made");
                return Ok(pair.public_key);
            }
            // A doubled request was faster; its key is in the answer that counts.
            Kept::Taken => made = Some(pair),
        }
    }
    Err(format!("{address} is there and is not, {ROUNDS} times over: try again"))
}

/// On a thread of its own: looking for primes takes long enough to miss the deadline's alarm.
async fn generated(app_domain: String) -> Result<Pair, String> {
    tokio::task::spawn_blocking(move || Pair::generate(&app_domain))
        .await
        .map_err(|_| "the key could not be made: the function's log says why".to_owned())?
}

/// The id of a failed request. A creation that failed half-way is deleted by it; another id in an
/// answer to an update would be taken for a replacement.
fn failed_id(request: &Request) -> String {
    let named = || {
        let properties = Properties::parse(&request.resource_properties).ok()?;
        Some(Address::of(request, &properties).ok()?.to_string())
    };
    request.physical_resource_id.clone().or_else(named).unwrap_or_else(|| NOTHING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(request_type: &str, physical_id: Option<&str>, properties: &Value) -> Request {
        let mut event = json!({
            "RequestType": request_type,
            "RequestId": "1",
            "ResponseURL": "https://example.com/secret",
            "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/demo-app-shop/0f2c",
            "LogicalResourceId": "Certificate",
            "ResourceProperties": properties,
        });
        if let Some(id) = physical_id {
            event["PhysicalResourceId"] = id.into();
        }
        Request::parse(event).unwrap()
    }

    #[test]
    fn a_failed_request_has_the_id_by_which_its_remains_are_deleted() {
        let good = json!({"AppName": "shop", "AppDomain": "shop.example.com", "Bucket": "keys"});
        let id = failed_id(&request("Create", None, &good));
        assert!(id.starts_with("s3://keys/backend-certificates/shop/0f2c-Certificate-"), "{id}");
        assert_eq!(failed_id(&request("Create", None, &json!({}))), NOTHING);
        assert_eq!(failed_id(&request("Update", Some("s3://a/b"), &good)), "s3://a/b");
        assert!(Address::parse(NOTHING).is_none());
    }

    #[tokio::test]
    async fn what_panics_or_hangs_has_an_outcome_too() {
        let limit = Duration::from_millis(1);
        let reason = async |performed| guarded(limit, performed).await.err().unwrap();
        let panicking = async { panic!("a defect") };
        assert!(reason(panicking.boxed()).await.contains("its log says where"));
        assert!(reason(std::future::pending().boxed()).await.contains("within 0 seconds"));
    }
}
