//! `AppDemoReactorLambda`: the reactor as a Lambda function.

use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::{LambdaEvent, service_fn};
use rowhouse_aws::config::Config;
use rowhouse_aws::{Reactor, client, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    let config = Config::load().inspect_err(|error| tracing::error!(%error, "cannot start"))?;
    let reactor = &Reactor::new(&client::shared_config().await, &config);
    let handle = |event: LambdaEvent<Value>| async move {
        let deadline = deadline(event.context.deadline());
        let answer = reactor.handle(&event.payload, deadline).await;
        answer.map_err(lambda_runtime::Error::from)
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// When an invocation must have ended, on this process's own clock.
fn deadline(at: SystemTime) -> Instant {
    let left = at.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
    Instant::now() + left
}
