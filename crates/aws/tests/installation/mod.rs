//! An installation for a test: the platform stack of `platform.yaml` in an emulator, with the very
//! programs that Lambda runs, and a bridge that publishes the events of stacks as CloudFormation
//! does, which ministack does not.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_cloudformation::types::StackEvent;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::date_time::Format;
use serde_json::{Value, json};

use crate::emulator::fault::Faults;
use crate::emulator::stream::Mapping;
use crate::emulator::{Emulator, credential, free_port, outputs, query, status, until};

pub(crate) const DOMAIN: &str = "apps.example.com";
const PLATFORM: &str = include_str!("../../../../templates/platform.yaml");
const TABLE: &str = "apps-db";
const REACTOR: &str = "AppDemoReactorLambda";

/// What happens to the events of stacks on their way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mischief {
    pub(crate) doubled: bool,
    pub(crate) reversed: bool,
    /// None arrives.
    pub(crate) dropped: bool,
}

/// How an installation differs from the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Difference<'a> {
    /// More files of the reactor's package, by name.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Settings of the emulator, such as `AUTH=true`.
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Texts of `platform.yaml`, and what stands in their places.
    pub(crate) replaced: &'a [(&'a str, &'a str)],
    /// More parameters of `platform.yaml`.
    pub(crate) parameters: &'a [(&'a str, &'a str)],
    /// Whether the functions reach AWS through a proxy that can fail.
    pub(crate) has_faults: bool,
}

/// A platform in an emulator.
pub(crate) struct Installation {
    pub(crate) faults: Option<Faults>,
    pub(crate) emulator: Emulator,
    pub(crate) table: aws_sdk_dynamodb::Client,
    pub(crate) outputs: HashMap<String, String>,
    web: reqwest::Client,
    mischief: Arc<Mutex<Mischief>>,
    bridge: tokio::task::JoinHandle<()>,
}

impl Installation {
    pub(crate) async fn start() -> Installation {
        Installation::start_with(Difference::default()).await
    }

    pub(crate) async fn start_with(difference: Difference<'_>) -> Installation {
        let port = free_port();
        let mut endpoint = format!("http://127.0.0.1:{port}");
        let mut faults = None;
        if difference.has_faults {
            let proxy = Faults::before(&endpoint).await;
            proxy.endpoint().clone_into(&mut endpoint);
            faults = Some(proxy);
        }
        // What the functions in it have as theirs.
        let mut environment = vec![("AWS_ENDPOINT_URL", endpoint.as_str())];
        environment.extend(difference.environment);
        let emulator = Emulator::start_on(port, &environment).await;
        let reactor = Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda"));
        let certificates = Path::new(env!("CARGO_BIN_EXE_create-elb-backend-certificates"));
        let (bucket, reactor) = emulator.upload_with("reactor", reactor, difference.files).await;
        let (_, certificates) = emulator.upload("certificates", certificates).await;
        let web = crate::emulator::web();
        let zone = hosted_zone(&web, emulator.endpoint()).await;
        let program = "a".repeat(64);
        let mut template = PLATFORM.to_owned();
        for (text, instead) in difference.replaced {
            assert!(template.contains(text), "`{text}` does not stand in the template");
            template = template.replace(text, instead);
        }
        let mut parameters = vec![
            ("Domain", DOMAIN),
            ("HostedZoneId", &zone),
            ("CodeBucket", &bucket),
            ("ReactorCode", &reactor),
            ("CertificateCode", &certificates),
            ("AppProgram", &program),
            ("Repository", "https://git.example.com/apps.git"),
            ("Emulator", "true"),
        ];
        parameters.extend(difference.parameters);
        let stack = emulator.create("rowhouse-platform", &template, &parameters).await;
        let reasons = emulator.reasons("rowhouse-platform").await;
        assert_eq!(status(&stack), "CREATE_COMPLETE", "{reasons:?}");
        let outputs = outputs(&stack);
        let mischief = Arc::new(Mutex::new(Mischief::default()));
        let bridge = Bridge {
            stacks: emulator.cloudformation.clone(),
            web: web.clone(),
            endpoint: emulator.endpoint().to_owned(),
            topic: outputs["Topic"].clone(),
            mischief: Arc::clone(&mischief),
            published: HashSet::new(),
        };
        let table = aws_sdk_dynamodb::Client::new(&emulator.config);
        let bridge = tokio::spawn(bridge.run());
        Installation { faults, emulator, table, outputs, web, mischief, bridge }
    }

    pub(crate) fn be_mischievous(&self, mischief: Mischief) {
        *self.mischief.lock().unwrap() = mischief;
    }

    /// Puts a whole row, as the console and the AWS CLI do.
    pub(crate) async fn put(&self, name: &str, version: &str, scale: u32) {
        self.put_item(&[
            ("Name", AttributeValue::S(name.to_owned())),
            ("Version", AttributeValue::S(version.to_owned())),
            ("Scale", AttributeValue::N(scale.to_string())),
        ])
        .await;
    }

    pub(crate) async fn put_item(&self, item: &[(&str, AttributeValue)]) {
        let item = item.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.table.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        let name = AttributeValue::S(name.to_owned());
        self.table.delete_item().table_name(TABLE).key("Name", name).send().await.unwrap();
    }

    /// The row's attributes as texts; empty where there is none.
    pub(crate) async fn row(&self, name: &str) -> BTreeMap<String, String> {
        let key = AttributeValue::S(name.to_owned());
        let request =
            self.table.get_item().table_name(TABLE).key("Name", key).consistent_read(true);
        let item = request.send().await.unwrap().item.unwrap_or_default();
        let text = |value: &AttributeValue| {
            let text = value.as_s().or_else(|_| value.as_n());
            text.map_or_else(|other| format!("{other:?}"), Clone::clone)
        };
        item.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// Waits until the row says this of this commit.
    pub(crate) async fn answered(
        &self,
        name: &str,
        status: &str,
        revision: &str,
    ) -> BTreeMap<String, String> {
        until(&format!("`{name}` is {status}"), async || {
            let row = self.row(name).await;
            let says = |attribute: &str| row.get(attribute).map_or("", String::as_str);
            (says("status") == status && says("Revision") == revision).then_some(row.clone())
        })
        .await
    }

    /// Waits until there is no stack of that app.
    pub(crate) async fn gone(&self, name: &str) {
        until(&format!("the stack of `{name}` is gone"), async || {
            self.stack(name).await.is_none().then_some(())
        })
        .await;
    }

    /// The stack of an app.
    pub(crate) async fn stack(&self, name: &str) -> Option<aws_sdk_cloudformation::types::Stack> {
        self.emulator.stack(&format!("demo-app-{name}")).await
    }

    /// Invokes the reactor itself, as a schedule does.
    pub(crate) async fn ring(&self, event: &Value) -> Value {
        let url =
            format!("{}/2015-03-31/functions/{REACTOR}/invocations", self.emulator.endpoint());
        let answer = self.web.post(url).body(event.to_string()).send().await.unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// The reactor's function, as Lambda describes it.
    pub(crate) async fn reactor_configuration(&self) -> Value {
        self.get(&format!("/2015-03-31/functions/{REACTOR}/configuration")).await
    }

    /// The event source mapping between the table and the reactor.
    pub(crate) async fn mapping(&self) -> Mapping {
        let answer = self.get("/2015-03-31/event-source-mappings/").await;
        let mapping = &answer["EventSourceMappings"][0];
        Mapping {
            batch_size: usize::try_from(mapping["BatchSize"].as_u64().unwrap()).unwrap(),
            maximum_retry_attempts: u32::try_from(
                mapping["MaximumRetryAttempts"].as_u64().unwrap(),
            )
            .unwrap(),
            reports_failures: mapping["FunctionResponseTypes"]
                == json!(["ReportBatchItemFailures"]),
            bisects: mapping["BisectBatchOnFunctionError"] == true,
        }
    }

    /// The ARN of the table's stream.
    pub(crate) async fn stream(&self) -> String {
        let described = self.table.describe_table().table_name(TABLE).send().await.unwrap();
        described.table().unwrap().latest_stream_arn().unwrap().to_owned()
    }

    /// The certificate function, as Lambda describes it.
    pub(crate) async fn certificate_configuration(&self) -> Value {
        self.get("/2015-03-31/functions/CreateElbBackendCertificates/configuration").await
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.emulator.endpoint());
        let sent = self.web.get(url).header("authorization", credential("lambda")).send();
        let text = sent.await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
    }

    /// How many entries the history of an app has, and the statuses of these, oldest first.
    pub(crate) async fn history(&self, name: &str) -> Vec<String> {
        let entries = self
            .table
            .query()
            .table_name("apps-history")
            // Releases stand before all times.
            .key_condition_expression("#Name = :Name and #At >= :Begin")
            .expression_attribute_names("#Name", "Name")
            .expression_attribute_names("#At", "At")
            .expression_attribute_values(":Name", AttributeValue::S(name.to_owned()))
            .expression_attribute_values(":Begin", AttributeValue::S("0".to_owned()))
            .send()
            .await
            .unwrap();
        let status =
            |item: &HashMap<String, AttributeValue>| item["status"].as_s().unwrap().clone();
        entries.items().iter().map(status).collect()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.bridge.abort();
    }
}

async fn hosted_zone(web: &reqwest::Client, endpoint: &str) -> String {
    let body = format!(
        "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\">\
         <Name>{DOMAIN}</Name><CallerReference>1</CallerReference></CreateHostedZoneRequest>"
    );
    let sent = web
        .post(format!("{endpoint}/2013-04-01/hostedzone"))
        .header("authorization", credential("route53"))
        .header("content-type", "text/xml")
        .body(body)
        .send();
    let text = sent.await.unwrap().text().await.unwrap();
    let id = text.split("<Id>").nth(1).and_then(|rest| rest.split("</Id>").next());
    id.unwrap_or_else(|| panic!("{text}")).trim_start_matches("/hostedzone/").to_owned()
}

/// Publishes the events of stacks to the topic, as CloudFormation does.
struct Bridge {
    stacks: aws_sdk_cloudformation::Client,
    web: reqwest::Client,
    endpoint: String,
    topic: String,
    mischief: Arc<Mutex<Mischief>>,
    published: HashSet<String>,
}

impl Bridge {
    async fn run(mut self) {
        loop {
            let listed = self.stacks.list_stacks().send().await;
            let stacks = listed.ok().and_then(|listed| listed.stack_summaries).unwrap_or_default();
            for id in stacks.iter().filter_map(|stack| stack.stack_id()) {
                self.publish_events(id).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn publish_events(&mut self, stack: &str) {
        let Ok(answer) = self.stacks.describe_stack_events().stack_name(stack).send().await else {
            return;
        };
        let mut news: Vec<StackEvent> = answer
            .stack_events
            .unwrap_or_default()
            .into_iter()
            .take_while(|event| !self.published.contains(event.event_id().unwrap_or_default()))
            .collect();
        self.published.extend(news.iter().filter_map(|event| event.event_id().map(str::to_owned)));
        let mischief = *self.mischief.lock().unwrap();
        if mischief.dropped {
            return;
        }
        if !mischief.reversed {
            news.reverse();
        }
        for event in &news {
            for _ in 0..if mischief.doubled { 2 } else { 1 } {
                self.publish(&message(event)).await;
            }
        }
    }

    async fn publish(&self, message: &str) {
        let form = [
            ("Action", "Publish"),
            ("Version", "2010-03-31"),
            ("TopicArn", &self.topic),
            ("Subject", "AWS CloudFormation Notification"),
            ("Message", message),
        ];
        query(&self.web, &self.endpoint, "sns", &form).await;
    }
}

/// The text that CloudFormation sends, by messages recorded in public repositories.
fn message(event: &StackEvent) -> String {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let is_of_stack = event.resource_type() == Some("AWS::CloudFormation::Stack");
    let id = text(event.stack_id());
    let time =
        event.timestamp().map(|time| time.fmt(Format::DateTime).unwrap()).unwrap_or_default();
    let properties =
        event.resource_properties().map_or("null".to_owned(), |text| format!("{text}\n"));
    let mut fields = vec![
        ("StackId", id.clone()),
        ("Timestamp", time),
        ("EventId", text(event.event_id())),
        ("LogicalResourceId", text(event.logical_resource_id())),
        ("Namespace", id.split(':').nth(4).unwrap_or_default().to_owned()),
        ("PhysicalResourceId", text(event.physical_resource_id())),
    ];
    if is_of_stack {
        fields.push(("PrincipalId", "AIDACKCEVSQ6C2EXAMPLE".to_owned()));
    }
    fields.extend([
        ("ResourceProperties", properties),
        ("ResourceStatus", event.resource_status().map_or("", |status| status.as_str()).to_owned()),
        ("ResourceStatusReason", text(event.resource_status_reason())),
        ("ResourceType", text(event.resource_type())),
        ("StackName", text(event.stack_name())),
        ("ClientRequestToken", event.client_request_token().unwrap_or("null").to_owned()),
    ]);
    let lines: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
    lines.concat()
}

/// A sweep, as the schedule asks for it.
pub(crate) fn sweep(word: &str) -> Value {
    json!({ "rowhouse": word })
}

/// A template of an operator's own, with the parameters and outputs of `app.yaml`: commits of zeros
/// never come up, those of ones wait until they are let go, those of twos find their priority
/// taken, those of threes have a certificate and those of fours instances that fail. The emulator
/// lets two rules have the same priority; what AWS says then is what this one says of the listener.
pub(crate) fn moody_template() -> String {
    let app = include_str!("../../../../templates/app.yaml");
    let parameters = app.split("\nConditions:\n").next().unwrap();
    let outputs = app.split("\nOutputs:\n").nth(1).unwrap();
    let of = |digit: &str| digit.repeat(40);
    let (never, waits, contested) = (of("0"), of("1"), of("2"));
    let (certified, fails) = (of("3"), of("4"));
    format!(
        "{parameters}
Conditions:
  NeverComesUp: !Equals [!Ref Commit, '{never}']
  Waits: !Equals [!Ref Commit, '{waits}']
  Contested: !Equals [!Ref Commit, '{contested}']
  Certified: !Equals [!Ref Commit, '{certified}']
  Fails: !Equals [!Ref Commit, '{fails}']

Resources:
  Running:
    Type: AWS::SSM::Parameter
    Properties: {{Name: !Sub '/running/${{AppName}}', Type: String, Value: !Ref Target}}
  Broken:
    Type: AWS::SSM::Parameter
    Condition: NeverComesUp
    Properties: {{Name: /taken, Type: String, Value: x}}
  Handle:
    Type: AWS::CloudFormation::WaitConditionHandle
    Condition: Waits
  Wait:
    Type: AWS::CloudFormation::WaitCondition
    Condition: Waits
    DependsOn: Running
    Properties: {{Handle: !Ref Handle, Timeout: '600', Count: 1}}
  After: {{Type: AWS::CloudFormation::WaitConditionHandle, Condition: Waits, DependsOn: Wait}}
  Rule:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Condition: Contested
    Properties:
      ListenerArn: !Sub 'Priority ${{Priority}} is currently in use'
      Priority: !Ref Priority
      Conditions: [{{Field: host-header, HostHeaderConfig: {{Values: [x.example.com]}}}}]
      Actions: [{{Type: fixed-response, FixedResponseConfig: {{StatusCode: '404'}}}}]
  BackendCertificate:
    Type: Custom::BackendCertificate
    Condition: Certified
    Properties:
      ServiceToken: !Ref CreateElbBackendCertificatesArn
      ServiceTimeout: 20
      AppName: !Ref AppName
      AppDomain: !Sub '${{AppName}}.${{AppsDomain}}'
      Bucket: !Ref CertificateBucket
      Renewal: '1'
  Instances:
    Type: AWS::SSM::Parameter
    Condition: Fails
    Properties: {{Name: /taken, Type: String, Value: x}}

Outputs:
{outputs}"
    )
}

/// A template of an operator's own whose instances wait for a signal.
pub(crate) fn signalled_template() -> String {
    let app = include_str!("../../../../templates/app.yaml");
    let parameters = app.split("\nConditions:\n").next().unwrap();
    let outputs = app.split("\nOutputs:\n").nth(1).unwrap();
    format!(
        "{parameters}
Resources:
  Instances:
    Type: AWS::CloudFormation::WaitCondition
    CreationPolicy: {{ResourceSignal: {{Count: 1, Timeout: PT10M}}}}

Outputs:
{outputs}"
    )
}

impl Installation {
    /// One whose apps come up, fail or wait by their commits.
    pub(crate) async fn moody() -> Installation {
        Installation::moody_with(Difference::default()).await
    }

    /// The same that differs in something else, too.
    pub(crate) async fn moody_with(difference: Difference<'_>) -> Installation {
        let template = moody_template();
        let files = [("template.yaml", template.as_str())];
        let installation =
            Installation::start_with(Difference { files: &files, ..difference }).await;
        let taken = "Resources: {Taken: {Type: AWS::SSM::Parameter, \
                     Properties: {Name: /taken, Type: String, Value: x}}}";
        installation.emulator.create("taken", taken, &[]).await;
        installation
    }

    /// Waits until an operation on that stack waits, and says where it is let go.
    pub(crate) async fn waits(&self, stack: &str) -> String {
        until("the operation waits", async || {
            let request = self.emulator.cloudformation.describe_stack_resource().stack_name(stack);
            let found = request.logical_resource_id("Handle").send().await.ok()?;
            found.stack_resource_detail()?.physical_resource_id().map(str::to_owned)
        })
        .await
    }

    /// Lets an operation on an app's stack go on that waits.
    pub(crate) async fn let_go(&self, name: &str) {
        self.let_go_of(&format!("demo-app-{name}")).await;
    }

    /// Lets an operation on that stack go on that waits.
    pub(crate) async fn let_go_of(&self, stack: &str) {
        let handle = self.waits(stack).await;
        let_go_by(&self.web, &handle).await;
    }
}

/// Tells a handle that what it stands for is done.
pub(crate) async fn let_go_by(web: &reqwest::Client, handle: &str) {
    let word = json!({ "Status": "SUCCESS", "UniqueId": "1", "Data": "", "Reason": "" });
    until("the wait ends", async || {
        let sent = web.put(handle).body(word.to_string()).send().await.unwrap();
        sent.status().is_success().then_some(())
    })
    .await;
}

impl Installation {
    /// As `answered`, with the schedule's help.
    pub(crate) async fn answered_with_sweeps(&self, name: &str, status: &str, revision: &str) {
        until(&format!("`{name}` is {status}"), async || {
            let row = self.row(name).await;
            let says = |attribute: &str| row.get(attribute).map_or("", String::as_str);
            if says("status") == status && says("Revision") == revision {
                return Some(());
            }
            assert_ne!(says("status"), "deploy_failed", "{row:?}");
            self.ring(&sweep("short-sweep")).await;
            None
        })
        .await;
    }
}
