//! `rowhouse aws doctor`: what the platform is made of, whether it works, and the cure where it
//! does not. It reads, and has the reactor sweep once, as the clock does every minute.

use aws_sdk_dynamodb::types::{StreamViewType, TableDescription};
use aws_sdk_lambda::types::{FunctionResponseType, LogType};
use aws_sdk_sqs::types::QueueAttributeName;
use rowhouse_aws::config::{Config, VARIABLE};
use rowhouse_aws::{DynamoTable, Failure, Identity, Life};
use rowhouse_command::rows::orphans;
use rowhouse_core::counted;
use serde_json::{Value, json};

use crate::account::{Account, told};
use crate::args::{Doctor, Place};
use crate::commands::install::TEMPLATE;
use crate::failure::Exit;
use crate::finding::{self, Finding, State};
use crate::stack::{self, PLATFORM, REACTOR, Standing, TABLE};
use crate::{certificate, client, drift, quota, without_row, zone};

const CERTIFICATES: &str = "CreateElbBackendCertificates";
const INSTALL: &str = "`rowhouse aws install`";

/// Runs every check; exit status 1 where something is broken.
pub(crate) async fn doctor(place: &Place, doctor: &Doctor) -> anyhow::Result<Exit> {
    let (findings, seen) = match Account::open(place).await {
        Ok(account) => {
            let mut findings = vec![Finding::fine(
                "credentials",
                format!("account {} in {}, as {}", account.id, account.region, account.caller),
            )];
            findings.extend(of_account(&account, doctor.drift).await);
            (findings, json!({ "Account": account.id, "Region": account.region }))
        }
        Err(error) => (vec![Finding::unknown("credentials", &error)], json!({})),
    };
    Ok(finding::tell(&findings, seen, doctor.json))
}

async fn of_account(account: &Account, with_drift: bool) -> Vec<Finding> {
    let lambda = aws_sdk_lambda::Client::new(&account.config);
    let mut findings = Vec::new();
    let platform = match stack::find(account, PLATFORM).await {
        Ok(platform) => platform,
        Err(error) => return vec![Finding::unknown("platform", &error)],
    };
    match &platform {
        Some(platform) => {
            findings.push(of_platform(platform));
            findings.push(template(account).await);
            if with_drift {
                findings.push(drift::finding(account).await);
            }
        }
        None if lambda.get_function().function_name(REACTOR).send().await.is_ok() => {
            findings.push(Finding::fine("platform", "made by hand, with no stack of its own"));
        }
        None => {
            findings.push(Finding::bad(
                "platform",
                State::Broken,
                "there is none in this account and region",
                format!(
                    "{INSTALL} with `--domain DOMAIN` makes it, or choose another region \
                     with `--region`"
                ),
            ));
            return findings;
        }
    }
    let made = if platform.is_some() { Made::ByStack } else { Made::ByHand };
    let (reactor, config) = reactor(&lambda, made).await;
    let name = config.as_ref().map_or(TABLE, |config| &config.app_database);
    let (table, stream) = table(account, made, name).await;
    findings.push(table);
    findings.extend(reactor);
    findings.extend(without_row(account, made, name, config.as_ref()).await);
    findings.push(certificates(&lambda, made).await);
    if let Some(stream) = &stream {
        findings.push(mapping(&lambda, made, stream, config.as_ref()).await);
    }
    if let Some(platform) = &platform {
        findings.push(dead_letters(account, platform).await);
        findings.push(of_zone(account, platform).await);
    }
    findings.extend(further(account, platform.as_ref(), config.as_ref()).await);
    findings
}

/// What the apps share: the certificate, and the account's quotas. An installation by hand keeps
/// its configuration in the function's package, where only the function can read it.
async fn further(
    account: &Account,
    platform: Option<&Standing>,
    config: Option<&Config>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of = |name: &str| platform.and_then(|one| one.parameters.get(name)).map(String::as_str);
    if let Some(config) = config {
        let zone = of("HostedZoneId").unwrap_or(&config.route53_hosted_zone_id);
        let arn = &config.apps_domain_ssl_certificate;
        findings.push(certificate::finding(account, arn, zone).await);
    }
    let table = config.map_or(TABLE, |config| &config.app_database);
    findings.extend(quota::findings(account, table, of("InstanceType")).await);
    findings
}

fn of_platform(platform: &Standing) -> Finding {
    let said = format!("the stack {PLATFORM} is {}", platform.status.as_str());
    match platform.status.life() {
        Life::Up => Finding::fine("platform", said),
        Life::Creating | Life::Updating | Life::CleaningUp | Life::RollingBack | Life::Deleting => {
            Finding::bad(
                "platform",
                State::Warning,
                said,
                format!("{INSTALL} shows how it goes on"),
            )
        }
        Life::Broken | Life::Stuck => {
            Finding::bad("platform", State::Broken, said, format!("{INSTALL} takes it up again"))
        }
        Life::DeletionFailed | Life::Lost | Life::Gone => Finding::bad(
            "platform",
            State::Broken,
            said,
            "`rowhouse aws uninstall` removes what is left",
        ),
    }
}

/// Whether the stack was made from the template that is in this program.
async fn template(account: &Account) -> Finding {
    match account.cloudformation.get_template().stack_name(PLATFORM).send().await {
        Ok(answer) if answer.template_body().map(str::trim) == Some(TEMPLATE.trim()) => {
            Finding::fine("template", "the stack is made from this version's template")
        }
        Ok(_) => Finding::bad(
            "template",
            State::Warning,
            "the stack is made from another version's template",
            format!("{INSTALL} brings it up to date"),
        ),
        Err(error) => {
            Finding::unknown("template", &told("cannot read the stack's template", &error))
        }
    }
}

/// How the platform was made, on which it depends how it is mended.
#[derive(Clone, Copy)]
enum Made {
    ByStack,
    ByHand,
}

impl Made {
    /// The cure where something is missing that a step of the guide makes.
    fn again(self, step: &str) -> String {
        match self {
            Made::ByHand => format!("docs/aws-by-hand.md, {step}"),
            Made::ByStack => format!(
                "`rowhouse aws doctor --drift` lists what was changed by hand: set it back, or \
                 `rowhouse aws uninstall` and {INSTALL} make it anew"
            ),
        }
    }
}

/// The table, and the ARN of its stream.
async fn table(account: &Account, made: Made, name: &str) -> (Finding, Option<String>) {
    let broken = |said: String, cure: &str| Finding::bad("table", State::Broken, said, cure);
    let asked = account.dynamodb.describe_table().table_name(name).send().await;
    let table = match asked {
        Ok(answer) => answer.table.unwrap_or_else(|| TableDescription::builder().build()),
        Err(error) if Failure::of(&error).code == "ResourceNotFoundException" => {
            let said = format!("there is no table `{name}`");
            let cure = made.again("step 1, makes it; the key `app_database` names the reactor's");
            return (broken(said, &cure), None);
        }
        Err(error) => return (Finding::unknown("table", &told("cannot look at it", &error)), None),
    };
    let stream = table.stream_specification();
    let view =
        stream.filter(|stream| stream.stream_enabled()).and_then(|one| one.stream_view_type());
    let finding = match view {
        Some(StreamViewType::NewAndOldImages) => {
            Finding::fine("table", format!("{name}, with a stream of both images"))
        }
        Some(other) => broken(
            format!(
                "the stream of {name} gives {}: the reactor needs NEW_AND_OLD_IMAGES",
                other.as_str()
            ),
            "disable the stream and enable it again with `aws dynamodb update-table`",
        ),
        None => broken(
            format!("{name} has no stream, so nobody hears of its changes"),
            &format!(
                "`aws dynamodb update-table --table-name {name} --stream-specification \
                 StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES`"
            ),
        ),
    };
    (finding, table.latest_stream_arn)
}

/// The reactor, and its configuration where it stands in the function's environment.
async fn reactor(lambda: &aws_sdk_lambda::Client, made: Made) -> (Vec<Finding>, Option<Config>) {
    let asked = lambda.get_function_configuration().function_name(REACTOR).send().await;
    let function = match asked {
        Ok(function) => function,
        Err(error) => return (vec![no_function("reactor", made, REACTOR, &error)], None),
    };
    let variables = function.environment().and_then(|environment| environment.variables());
    let text = variables.and_then(|variables| variables.get(VARIABLE));
    let mut findings = Vec::new();
    let config = match text.map(|text| Config::parse(text, VARIABLE)) {
        None => None,
        Some(Ok(config)) => {
            findings.push(Finding::fine("config", format!("{VARIABLE} of {REACTOR} is complete")));
            Some(config)
        }
        Some(Err(error)) => {
            findings.push(Finding::bad(
                "config",
                State::Broken,
                error.to_string(),
                "it was changed by hand: `rowhouse aws install --max-scale N`, with another N \
                 than now, writes it anew",
            ));
            None
        }
    };
    findings.push(sweep(lambda).await);
    (findings, config)
}

/// The function itself knows best: what it lacks, it says.
async fn sweep(lambda: &aws_sdk_lambda::Client) -> Finding {
    let event = json!({ "rowhouse": "short-sweep" }).to_string();
    let invoke = lambda.invoke().function_name(REACTOR).log_type(LogType::Tail);
    let answer = match invoke.payload(event.into_bytes().into()).send().await {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::unknown("reactor", &told(&format!("cannot call {REACTOR}"), &error));
        }
    };
    if answer.function_error().is_none() {
        return Finding::fine("reactor", format!("{REACTOR} has swept"));
    }
    let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
    let said: Value = serde_json::from_slice(payload).unwrap_or_default();
    let log = answer.log_result().and_then(|log| aws_smithy_types::base64::decode(log).ok());
    let log = String::from_utf8(log.unwrap_or_default()).unwrap_or_default();
    let told = said["errorMessage"].as_str().unwrap_or_default().to_owned();
    // Where it did not come as far as to answer, its log knows why.
    let has_answered = !said["errorType"].as_str().unwrap_or_default().starts_with("Runtime.");
    let log = if has_answered { "" } else { &log };
    let why = cause(&told).or_else(|| cause(log)).unwrap_or(told);
    Finding::bad(
        "reactor",
        State::Broken,
        format!("{REACTOR} fails: {why}"),
        "mend what it names; `aws logs tail /aws/lambda/AppDemoReactorLambda` has more, and \
         docs/aws-by-hand.md says what each key is, and has the policy of its role",
    )
}

/// The last error among lines of the function's log, in which some are JSON.
fn cause(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let begin = line.find('{')?;
        let mut values = serde_json::Deserializer::from_str(&line[begin..]).into_iter::<Value>();
        let line = values.next()?.ok()?;
        let error = line["error"].as_str().or_else(|| line["message"].as_str())?;
        (line["level"] == "ERROR").then(|| error.to_owned())
    })
}

async fn certificates(lambda: &aws_sdk_lambda::Client, made: Made) -> Finding {
    let asked = lambda.get_function_configuration().function_name(CERTIFICATES).send().await;
    match asked {
        Ok(_) => Finding::fine("certificates", format!("{CERTIFICATES} is there")),
        Err(error) => no_function("certificates", made, CERTIFICATES, &error),
    }
}

fn no_function<E, R>(
    what: &'static str,
    made: Made,
    name: &str,
    error: &aws_smithy_runtime_api::client::result::SdkError<E, R>,
) -> Finding
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    if Failure::of(error).code == "ResourceNotFoundException" {
        let said = format!("there is no function `{name}`");
        return Finding::bad(what, State::Broken, said, made.again("step 6, makes it"));
    }
    Finding::unknown(what, &told(&format!("cannot look at {name}"), error))
}

/// The apps that run on without a row, and by what the reactor knows its table.
async fn without_row(
    account: &Account,
    made: Made,
    table: &str,
    config: Option<&Config>,
) -> Vec<Finding> {
    let rows = DynamoTable::new(account.dynamodb.clone(), table.to_owned(), None);
    let place = without_row::Place {
        table: &rows,
        prefix: config.map_or(stack::APPS, |config| &config.stack_prefix),
        bucket: config.map(Config::artifacts),
    };
    let seen = match without_row::look(account, place).await {
        Ok(seen) => seen,
        Err(error) => return vec![Finding::unknown("orphans", &error)],
    };
    let mut findings = vec![orphans::finding(&seen.without, &client::location(account))];
    if let Some(Identity::TableName(name)) = &seen.met {
        findings.push(Finding::bad(
            "table",
            State::Warning,
            format!(
                "the reactor may not look at {name}, and cannot tell it from another table made \
                 anew under that name: what has no row in that one would be taken for removed, and \
                 be deleted by the sweeps, some at a time"
            ),
            format!(
                "allow its role `dynamodb:DescribeTable` on the table: {}",
                made.again("step 5, has its policy")
            ),
        ));
    }
    findings
}

/// What brings the table's changes to the reactor.
async fn mapping(
    lambda: &aws_sdk_lambda::Client,
    made: Made,
    stream: &str,
    config: Option<&Config>,
) -> Finding {
    let listed = lambda.list_event_source_mappings().function_name(REACTOR).send().await;
    let mappings = match listed {
        Ok(answer) => answer.event_source_mappings.unwrap_or_default(),
        Err(error) => return Finding::unknown("mapping", &told("cannot list mappings", &error)),
    };
    let broken = |said: String, cure: String| Finding::bad("mapping", State::Broken, said, cure);
    let Some(mapping) = mappings.iter().find(|one| one.event_source_arn() == Some(stream)) else {
        return broken(
            "the table's stream is not hooked to the reactor".to_owned(),
            made.again("step 7, makes the mapping"),
        );
    };
    let state = mapping.state().unwrap_or("unknown");
    let uuid = mapping.uuid().unwrap_or_default();
    if matches!(state, "Disabled" | "Disabling") {
        return broken(
            format!("the mapping of the table's stream is {state}"),
            format!("`aws lambda update-event-source-mapping --uuid {uuid} --enabled`"),
        );
    }
    let types = mapping.function_response_types();
    let asks = types.contains(&FunctionResponseType::ReportBatchItemFailures);
    if config.is_some_and(|config| config.partial_batch) && !asks {
        return broken(
            "`PartialBatch` is true, but the mapping does not ask for it: failed records are lost"
                .to_owned(),
            format!(
                "`aws lambda update-event-source-mapping --uuid {uuid} --function-response-types \
                 ReportBatchItemFailures`"
            ),
        );
    }
    match mapping.last_processing_result() {
        Some(result) if result.starts_with("PROBLEM") => broken(
            format!("the table's stream: {result}"),
            format!("the reactor's role must read the stream: {}", made.again("step 5")),
        ),
        Some(_) | None => Finding::fine("mapping", format!("the table's stream is {state}")),
    }
}

async fn dead_letters(account: &Account, platform: &Standing) -> Finding {
    let what = "dead letters";
    let Some(queue) = platform.outputs.get("DeadLetterQueue") else {
        return Finding::bad(
            what,
            State::Warning,
            "the stack names no queue",
            format!("{INSTALL} mends it"),
        );
    };
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    let sqs = aws_sdk_sqs::Client::new(&account.config);
    let asked = sqs.get_queue_attributes().queue_url(queue).attribute_names(name.clone()).send();
    match asked.await {
        Err(error) => Finding::unknown(what, &told("cannot look at the queue", &error)),
        Ok(answer) => {
            let waiting = answer.attributes().and_then(|all| all.get(&name));
            match waiting.map(|count| count.parse::<u64>()) {
                None | Some(Ok(0)) => Finding::fine(what, "none"),
                Some(Err(error)) => {
                    let error = anyhow::Error::new(error);
                    Finding::unknown(what, &error.context("cannot read how many events wait"))
                }
                Some(Ok(count)) => Finding::bad(
                    what,
                    State::Warning,
                    format!(
                        "the reactor gave up on {}; sweeps have made up for that",
                        counted(count, "event")
                    ),
                    format!("its log says why; then `aws sqs purge-queue --queue-url {queue}`"),
                ),
            }
        }
    }
}

async fn of_zone(account: &Account, platform: &Standing) -> Finding {
    let of = |name: &str| platform.parameters.get(name).map_or("", String::as_str);
    let zone = match zone::given(account, of("HostedZoneId"), of("Domain")).await {
        Ok(zone) => zone,
        Err(error) => return Finding::unknown("zone", &error),
    };
    let is_in = format!("{} is in {}", of("Domain"), zone.name);
    if account.is_emulator() {
        return Finding::fine("zone", format!("{is_in}; of an emulator, public DNS knows nothing"));
    }
    match zone::delegated(&zone).await {
        Ok(Ok(())) => Finding::fine("zone", format!("{is_in}, which public DNS leads to")),
        Ok(Err(why)) => {
            let cure = format!("where {} is registered, name these name servers", zone.name);
            Finding::bad("zone", State::Broken, why, cure)
        }
        Err(error) => Finding::bad(
            "zone",
            State::Warning,
            format!("{is_in}; cannot ask public DNS: {error}"),
            format!("`dig NS {}` must name {}", zone.name, zone.name_servers.join(", ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_last_error_of_the_log() {
        let log = "START RequestId: 1\n\
                   {\"level\":\"ERROR\",\"message\":\"first\"}\n\
                   {\"level\":\"ERROR\",\"message\":\"cannot start\",\"error\":\"no \
                   `AppsDomain`\"}\n\
                   exited: {\"level\":\"INFO\",\"message\":\"later\"}\nEND";
        assert_eq!(cause(log).as_deref(), Some("no `AppsDomain`"));
        assert_eq!(cause("START\nEND"), None);
    }
}
