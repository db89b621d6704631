//! `CreateElbBackendCertificates`, the function behind the custom resource.

use std::time::SystemTime;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use rowhouse_aws::{certificate, client, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let s3 = client::s3(&client::shared_config().await);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        certificate::handle(event.payload, left, &s3).await.map_err(Error::from)
    }))
    .await
}
