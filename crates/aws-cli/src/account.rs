//! The account and region that a command works on, and AWS's errors in our words.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use rowhouse_aws::{Failure, client};

use crate::args::Place;
use crate::failure::bad_input;
use crate::output;
use crate::output::quoted;

/// Whose account it is, and the clients of its services.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) region: String,
    /// Who asks, as STS knows them.
    pub(crate) caller: String,
    /// Profile and region as somebody gave them, for commands to paste: empty, or options with a
    /// space before each.
    pub(crate) options: String,
    pub(crate) config: SdkConfig,
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) s3: aws_sdk_s3::Client,
}

impl Account {
    /// With credentials, profile and region as the AWS CLI finds them.
    pub(crate) async fn open(place: &Place) -> anyhow::Result<Account> {
        let config = config(place).await;
        let region = config.region().map(|region| region.as_ref().to_owned()).ok_or_else(|| {
            bad_input("no region is set", "name one with `--region eu-west-1`, or set `AWS_REGION`")
        })?;
        let asked = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await;
        let identity = asked.map_err(|error| told("cannot tell who you are to AWS", &error))?;
        Ok(Account {
            id: identity.account().context("AWS named no account")?.to_owned(),
            caller: identity.arn().unwrap_or_default().to_owned(),
            region,
            options: options(place),
            cloudformation: aws_sdk_cloudformation::Client::new(&config),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            s3: client::s3(&config),
            config,
        })
    }

    /// Whether this is an emulator of AWS: no endpoint of AWS goes without TLS.
    pub(crate) fn is_emulator(&self) -> bool {
        self.config.endpoint_url().is_some_and(|url| url.starts_with("http://"))
    }
}

fn options(place: &Place) -> String {
    let given = [("--profile", &place.profile), ("--region", &place.region)];
    let given = given.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)));
    let words: Vec<String> =
        given.map(|(option, value)| format!(" {option} {}", quoted(value))).collect();
    words.concat()
}

async fn config(place: &Place) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_mins(1))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(client::http())
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(timeouts);
    if let Some(region) = &place.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &place.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// An answer of AWS that is an error: what was tried, what it said, and what to do where that is
/// known.
pub(crate) fn told<E, R>(doing: &str, error: &SdkError<E, R>) -> anyhow::Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: Debug + 'static,
{
    told_of(doing, &Failure::of(error))
}

/// The same of a failure that was read from the error before.
pub(crate) fn told_of(doing: &str, failure: &Failure) -> anyhow::Error {
    let message = if failure.message.contains("credentials found in chain") {
        "there are no credentials".to_owned()
    } else {
        output::clean(&failure.message)
    };
    // Some messages say themselves what was done.
    let text = if doing.is_empty() { message } else { format!("{doing}: {message}") };
    let hint = match failure.code.as_str() {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            "your session has ended: `aws sso login`, or renew your credentials"
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" => {
            "AWS does not know these credentials: `aws configure`, or choose others with \
             `--profile NAME`"
        }
        _ if failure.is_denied() => {
            "ask whoever owns the account for this right, or use an administrator's profile with \
             `--profile NAME`"
        }
        "" if has_no_credentials(&failure.message) => {
            "`aws configure` or `aws sso login` gives you credentials; `--profile NAME` chooses \
             among them"
        }
        _ => return anyhow::anyhow!(text),
    };
    bad_input(text, hint)
}

fn has_no_credentials(message: &str) -> bool {
    message.contains("credential") || message.contains("token is expired")
}
