//! The account and region that a command works on, and AWS's errors in our words.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::os_shim_internal::{Env, Fs};
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
        check_profile(place).await?;
        let region = region(place).await?;
        let config = config(place, &region).await;
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

    /// What a command that changes something says before all else: whose account it is about to
    /// change, and as whom.
    pub(crate) fn announce(&self) {
        let caller = output::clean(&self.caller);
        output::note(&format!("account {} in {}, as {caller}", self.id, self.region));
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

/// Refuses a profile that there is not, before anything is done in another account.
async fn check_profile(place: &Place) -> anyhow::Result<()> {
    let of_variable = || std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
    let Some(wanted) = place.profile.clone().or_else(of_variable) else { return Ok(()) };
    #[expect(clippy::default_trait_access, reason = "what names the type is deprecated")]
    let files = Default::default();
    let read = aws_config::profile::load(&Fs::real(), &Env::real(), &files, None).await;
    let known = read.map_err(|error| {
        let reason = anyhow::Error::new(error);
        bad_input(
            format!("cannot read the profiles of the AWS CLI: {reason:#}"),
            "mend that file: `~/.aws/config` or `~/.aws/credentials`",
        )
    })?;
    no_such_profile(&wanted, &known).map_or(Ok(()), Err)
}

fn no_such_profile(wanted: &str, known: &ProfileSet) -> Option<anyhow::Error> {
    if known.get_profile(wanted).is_some() {
        return None;
    }
    let mut names: Vec<&str> = known.profiles().collect();
    names.sort_unstable();
    let hint = if names.is_empty() {
        format!("there are none yet: `aws configure --profile {}` makes it", quoted(wanted))
    } else {
        format!("there are: {}", output::clean(&names.join(", ")))
    };
    let text = format!("there is no profile `{}` in the AWS CLI's files", output::clean(wanted));
    Some(bad_input(text, hint))
}

/// The region that is given, else that of the environment, else the profile's, else that of the
/// instance that this runs on. A variable that is empty says nothing.
async fn region(place: &Place) -> anyhow::Result<String> {
    let of_environment = || {
        let values = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().map(std::env::var);
        values.flatten().find(|value| !value.is_empty())
    };
    let region = match place.region.clone().or_else(of_environment) {
        Some(region) => Some(region),
        None => of_profile(place).await,
    };
    let hint = "name one with `--region eu-west-1`, or set `AWS_REGION`";
    match region {
        Some(region) if is_region(&region) => Ok(region),
        None => Err(bad_input("no region is set", hint)),
        Some(region) => {
            Err(bad_input(format!("`{}` is no region of AWS", output::clean(&region)), hint))
        }
    }
}

async fn of_profile(place: &Place) -> Option<String> {
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &place.profile {
        profile = profile.profile_name(name);
    }
    let mut region = profile.build().region().await;
    if region.is_none() {
        let provider = ProviderConfig::default().with_http_client(client::http());
        region = ImdsRegionProvider::builder().configure(&provider).build().region().await;
    }
    region.map(|region| region.as_ref().to_owned()).filter(|region| !region.is_empty())
}

/// Whether a name can be a region's: it becomes a part of the services' host names.
fn is_region(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

async fn config(place: &Place, region: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_mins(1))
        .build();
    let region = Region::new(region.to_owned());
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(client::http())
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(timeouts)
        .region(region.clone());
    if let Some(profile) = &place.profile {
        // The usual chain would take the environment's keys first, which may be another account's.
        let provider =
            ProviderConfig::default().with_http_client(client::http()).with_region(Some(region));
        let credentials = ProfileFileCredentialsProvider::builder()
            .configure(&provider)
            .profile_name(profile)
            .build();
        loader = loader.profile_name(profile).credentials_provider(credentials);
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
    // The first is the whole chain's word, the second that of a profile alone.
    let without = ["credentials found in chain", "credential provider was not enabled"];
    let message = if without.iter().any(|words| failure.message.contains(words)) {
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
