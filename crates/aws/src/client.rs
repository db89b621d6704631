//! How the functions reach AWS: one HTTP client for all services, credentials from the environment,
//! time limits.

use std::time::Duration;

use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

/// What every client of a function begins with. Lambda gives credentials and region in the
/// environment; looking for them elsewhere would cost time at every cold start.
pub async fn shared_config() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(10))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .region(EnvironmentVariableRegionProvider::new())
        .http_client(http())
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(timeouts)
        .load()
        .await
}

/// The HTTP client of all services.
pub fn http() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// A client of S3. At an endpoint of one's own, buckets are paths: it has no names for them.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let is_own_endpoint = config.endpoint_url().is_some();
    let config =
        aws_sdk_s3::config::Builder::from(config).force_path_style(is_own_endpoint).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Chooses the cryptography of every TLS connection that is not one of the SDK's.
pub(crate) fn choose_cryptography() {
    // An error says that it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
