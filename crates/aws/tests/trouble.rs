//! Trouble on the way to AWS: the loop comes to the same end whatever happens to each call that the
//! functions make, and no row lies meanwhile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "../src/repository/tests/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudformation::types::Tag;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::byte_stream::ByteStream;
use emulator::fault::Faults;
use installation::{Difference, Installation, sweep};
use rowhouse_aws::config::Config;
use rowhouse_aws::{CloudFormationPlatform, MANAGED_BY};
use rowhouse_core::{AppName, Operation, Outcome, Platform as _};
use serde_json::{Value, json};
use server::{PASSWORD, Server};

/// The calls of both functions, by service and operation, and the permissions that each asks for.
const CALLS: [(&str, &str, &[&str]); 23] = [
    (
        "cloudformation",
        "CreateStack",
        &["cloudformation:CreateStack", "cloudformation:TagResource"],
    ),
    ("cloudformation", "UpdateStack", &["cloudformation:UpdateStack"]),
    ("cloudformation", "DeleteStack", &["cloudformation:DeleteStack"]),
    ("cloudformation", "DescribeStacks", &["cloudformation:DescribeStacks"]),
    ("cloudformation", "DescribeStackEvents", &["cloudformation:DescribeStackEvents"]),
    ("cloudformation", "CancelUpdateStack", &["cloudformation:CancelUpdateStack"]),
    ("cloudformation", "ContinueUpdateRollback", &["cloudformation:ContinueUpdateRollback"]),
    ("cloudformation", "RollbackStack", &["cloudformation:RollbackStack"]),
    ("dynamodb", "DescribeTable", &["dynamodb:DescribeTable"]),
    ("dynamodb", "GetItem", &["dynamodb:GetItem"]),
    ("dynamodb", "UpdateItem", &["dynamodb:UpdateItem"]),
    ("dynamodb", "Query", &["dynamodb:Query"]),
    ("dynamodb", "Scan", &["dynamodb:Scan"]),
    (
        "dynamodb",
        "TransactWriteItems",
        &["dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem"],
    ),
    ("elbv2", "DescribeRules", &["elasticloadbalancing:DescribeRules"]),
    ("secretsmanager", "GetSecretValue", &["secretsmanager:GetSecretValue"]),
    // In the bucket of artifacts.
    ("s3", "GetObject", &["s3:GetObject"]),
    ("s3", "PutObject", &["s3:PutObject"]),
    ("s3", "DeleteObject", &["s3:DeleteObject", "s3:DeleteObjectVersion"]),
    ("s3", "ListObjectsV2", &["s3:ListBucket"]),
    // In the bucket of certificates.
    ("s3", "GetObject", &["s3:GetObject"]),
    ("s3", "PutObject", &["s3:PutObject"]),
    ("s3", "DeleteObject", &["s3:DeleteObject"]),
];
/// Where the last three of them begin.
const CERTIFICATES: usize = 20;
/// Those that the loop comes to by itself only after minutes, or after an operator's mistake.
const BACK: [&str; 3] = ["CancelUpdateStack", "ContinueUpdateRollback", "RollbackStack"];

/// Each call may take an attempt's whole time before it is made once more.
const PATIENCE: Duration = Duration::from_mins(4);

/// Statements under which services act for the functions, and the emulator's own calls of these
/// none.
const OF_SERVICES: [&str; 6] =
    ["RowChanges", "HandOverServiceRole", "StackEvents", "KeyOfTheBucket", "DeadLetters", "Logs"];

/// The actions of a role's own statements in the platform's template.
fn actions(role: &str) -> BTreeSet<String> {
    let template = include_str!("../../../templates/platform.yaml");
    let text = template.split_once(&format!("\n  {role}:\n")).unwrap().1;
    // The next resource, or a comment that is about it.
    let end = text.lines().position(|line| {
        line.strip_prefix("  ").is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '))
    });
    let lines: Vec<&str> = text.lines().take(end.unwrap()).collect();
    let mut found = BTreeSet::new();
    for statement in lines.join("\n").split("- Sid: ").skip(1) {
        if OF_SERVICES.contains(&statement.lines().next().unwrap()) {
            continue;
        }
        let (_, rest) = statement.split_once("Action:").unwrap();
        let (listed, _) = rest.split_once("Resource:").unwrap();
        let words = listed.split(|one: char| one.is_whitespace() || "[],-".contains(one));
        found.extend(words.filter(|word| word.contains(':')).map(str::to_owned));
    }
    found
}

#[test]
fn the_calls_that_meet_trouble_here_are_those_that_the_functions_may_make() {
    let tried = |calls: &[(&str, &str, &[&str])]| -> BTreeSet<String> {
        calls.iter().flat_map(|(_, _, asks)| asks.iter().map(|asked| (*asked).to_owned())).collect()
    };
    let mut allowed = actions("ReactorRole");
    // Asked for by the mapping, together with the stream's own.
    assert!(allowed.remove("dynamodb:ListStreams"));
    assert_eq!(tried(&CALLS[..CERTIFICATES]), allowed);
    let mut allowed = actions("CertificateRole");
    assert!(allowed.remove("s3:ListBucket"), "it tells missing from forbidden, and is no call");
    assert_eq!(tried(&CALLS[CERTIFICATES..]), allowed);
}

/// What happens to a call, and how often. A function asks three times, so four are more than one
/// invocation bears.
fn faults() -> [(&'static str, Value, u32); 5] {
    let error = |code: &str, status: u16| json!({ "error": { "code": code, "status": status } });
    [
        ("throttled", error("ThrottlingException", 400), 4),
        ("failed", error("ServiceUnavailable", 503), 2),
        // A little longer than an attempt may take.
        ("timed out", json!({ "timeout_ms": 11_000 }), 1),
        ("reset", json!({ "reset": true }), 2),
        ("done, and the answer lost", json!({ "response": { "abort_bytes": 1 } }), 1),
    ]
}

fn fault(of: &str) -> (Value, u32) {
    let found = faults().into_iter().find(|(name, _, _)| *name == of);
    found.map(|(_, fault, times)| (fault, times)).unwrap()
}

/// This fault for these calls.
fn rules(
    house: &Installation,
    calls: impl Fn(&str) -> bool,
    (fault, times): &(Value, u32),
) -> Value {
    let mut rules = Vec::new();
    for (index, (service, operation, _)) in CALLS.iter().enumerate() {
        if !calls(operation) {
            continue;
        }
        let mut rule = fault.clone();
        rule["service"] = json!(service);
        rule["operation"] = json!(operation);
        rule["times"] = json!(times);
        if *service == "s3" {
            let is_certificate = index >= CERTIFICATES;
            let bucket = if is_certificate { "CertificateBucket" } else { "ArtifactBucket" };
            rule["resource"] = json!(house.outputs[bucket]);
            // CloudFormation asks for a certificate once: what the function cannot do in one
            // invocation has failed.
            rule["times"] = json!(if is_certificate { (*times).min(2) } else { *times });
        }
        rules.push(rule);
    }
    Value::Array(rules)
}

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

async fn put_private(house: &Installation, server: &Server, scale: u32) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let item = [
        ("Name", text("private")),
        ("Version", text("main")),
        ("Scale", AttributeValue::N(scale.to_string())),
        ("Repo", text(&server.address("private/site.git"))),
    ];
    house.put_item(&item).await;
}

/// Looks with the schedule's help until the row says this, and then whether it is true.
async fn says(house: &Installation, name: &str, status: &str, revision: &str) {
    emulator::until_within(PATIENCE, &format!("`{name}` is {status}"), async || {
        let row = house.row(name).await;
        let says = |attribute: &str| row.get(attribute).map_or("", String::as_str);
        if says("status") == status && says("Revision") == revision {
            return Some(());
        }
        // Nothing that fails on the way is the row's fault.
        assert!(says("status") != "deploy_failed" || status == "deploy_failed", "{row:?}");
        house.ring(&sweep("short-sweep")).await;
        None
    })
    .await;
    let runs = house.stack(name).await.map(|stack| emulator::outputs(&stack));
    let runs = runs.and_then(|mut outputs| outputs.remove("Commit")).unwrap_or_default();
    assert_eq!(runs, revision, "the row of `{name}` lies");
}

/// The same trouble once more; where it takes long, for those calls alone that have not met it.
async fn again(faults: &Faults, rules: &Value, what: &str) {
    let fired = faults.fired().await.to_string();
    let has_met =
        |rule: &Value| fired.contains(&format!("\"{}\"", rule["operation"].as_str().unwrap()));
    let is_left = |rule: &&Value| what != "timed out" || !has_met(rule);
    faults.set(&rules.as_array().unwrap().iter().filter(is_left).cloned().collect()).await;
}

/// Apps of every kind come up, change and go, whatever this fault does to each call.
async fn survives(what: &str) {
    let server = Server::start();
    let authority = server.folder.path().join("authority.pem");
    std::fs::write(&authority, &server.authority).unwrap();
    let variable = "          ROWHOUSE_STACK: !Ref AWS::StackName\n";
    let trusting = format!("{variable}          SSL_CERT_FILE: {}\n", authority.display());
    let difference = Difference {
        has_faults: true,
        replaced: &[(variable, &trusting)],
        parameters: &[("AllowedRepositoryHosts", "localhost")],
        ..Difference::default()
    };
    let house = Installation::moody_with(difference).await;
    let secrets = aws_sdk_secretsmanager::Client::new(&house.emulator.config);
    let name = format!("rowhouse/git/localhost/{}", server.port);
    let token = format!("me:{PASSWORD}");
    secrets.create_secret().name(&name).secret_string(token).send().await.unwrap();
    let faults = house.faults.as_ref().unwrap();
    let fault = fault(what);
    let rules = rules(&house, |operation| !BACK.contains(&operation), &fault);

    faults.set(&rules).await;
    let main = server.commit("main").as_str().to_owned();
    let (one, two) = (commit('a'), commit('b'));
    let (contested, certified, fails) = (commit('2'), commit('3'), commit('4'));
    for (name, version) in
        [("good", &one), ("contested", &contested), ("certified", &certified), ("failing", &fails)]
    {
        house.put(name, version, 1).await;
    }
    put_private(&house, &server, 1).await;
    says(&house, "good", "deployed", &one).await;
    says(&house, "certified", "deployed", &certified).await;
    says(&house, "private", "deployed", &main).await;
    says(&house, "contested", "deploy_failed", "").await;
    says(&house, "failing", "deploy_failed", "").await;
    let first = house.stack("good").await.unwrap();

    again(faults, &rules, what).await;
    house.put("good", &two, 1).await;
    house.put("failing", &two, 1).await;
    put_private(&house, &server, 2).await;
    says(&house, "good", "deployed", &two).await;
    says(&house, "failing", "deployed", &two).await;
    says(&house, "private", "deployed", &main).await;
    let same = house.stack("good").await.unwrap();
    assert_eq!(first.stack_id(), same.stack_id(), "a second stack");

    again(faults, &rules, what).await;
    // One by one: a sweep ends few at once, and the emulator takes a record that failed for done.
    for name in ["good", "contested", "certified", "private", "failing"] {
        house.delete(name).await;
        emulator::until_within(PATIENCE, "the stack is gone", async || {
            if house.stack(name).await.is_none() {
                return Some(());
            }
            house.ring(&sweep("full-sweep")).await;
            None
        })
        .await;
        assert!(house.row(name).await.is_empty(), "a ghost");
    }
    assert_eq!(house.emulator.keys(&house.outputs["CertificateBucket"]).await, [""; 0]);
    let fired = faults.fired().await.to_string();
    for rule in rules.as_array().unwrap() {
        let operation = rule["operation"].as_str().unwrap();
        assert!(fired.contains(operation), "`{operation}` was never {what}: {fired}");
    }
}

#[tokio::test]
async fn throttled_calls_end_as_they_should() {
    Box::pin(survives("throttled")).await;
}

#[tokio::test]
async fn calls_that_fail_on_the_other_side_end_as_they_should() {
    Box::pin(survives("failed")).await;
}

#[tokio::test]
async fn calls_that_time_out_end_as_they_should() {
    Box::pin(survives("timed out")).await;
}

#[tokio::test]
async fn connections_that_are_reset_end_as_they_should() {
    Box::pin(survives("reset")).await;
}

#[tokio::test]
async fn calls_that_are_done_but_whose_answer_is_lost_end_as_they_should() {
    Box::pin(survives("done, and the answer lost")).await;
}

#[tokio::test]
async fn tables_of_the_least_capacity_are_enough_though_they_refuse_what_is_too_much() {
    let least = "BillingMode: PROVISIONED\n      \
                 ProvisionedThroughput: {ReadCapacityUnits: 1, WriteCapacityUnits: 1}";
    let replaced = [("BillingMode: PAY_PER_REQUEST", least)];
    let difference = Difference { has_faults: true, replaced: &replaced, ..Difference::default() };
    let house = Installation::start_with(difference).await;
    // The emulator counts no capacity; this is what DynamoDB says where it is used up.
    let fault = json!({ "times": 4, "error": {
        "code": "ProvisionedThroughputExceededException", "status": 400,
        "message": "The level of configured provisioned throughput for the table was exceeded",
    } });
    let calls = ["GetItem", "UpdateItem", "TransactWriteItems", "Query", "Scan"];
    let rules = calls.map(|operation| {
        let mut rule = fault.clone();
        rule["service"] = json!("dynamodb");
        rule["operation"] = json!(operation);
        rule
    });
    let rules = Value::from(rules.to_vec());
    let faults = house.faults.as_ref().unwrap();
    let (one, two) = (commit('a'), commit('b'));
    for version in [&one, &two] {
        faults.set(&rules).await;
        house.put("shop", version, 1).await;
        says(&house, "shop", "deployed", version).await;
    }
    let fired = faults.fired().await.to_string();
    assert!(calls.iter().all(|operation| fired.contains(operation)), "{fired}");
}

/// What names of stranded stacks begin with.
const STRANDED: &str = "stranded-";

/// A stack of ours as an operator or a slow update leaves it, on which only that call leads on.
async fn strand(house: &Installation, name: &str, call: &str) {
    let running = |value: &str| {
        format!(
            "Resources:
  Running:
    Type: AWS::SSM::Parameter
    Properties: {{Name: /{name}, Type: String, Value: {value}}}"
        )
    };
    let certificate = |note: &str| {
        format!(
            "
  Certificate:
    Type: Custom::BackendCertificate
    Properties:
      ServiceToken: {}
      ServiceTimeout: 20
      AppName: {name}
      AppDomain: {name}.apps.example.com
      Bucket: {}
      Renewal: '1'
      Note: {note}",
            house.outputs["CertificateFunction"], house.outputs["CertificateBucket"]
        )
    };
    let broken = |after: &str| {
        format!(
            "
  Broken:
    Type: AWS::SSM::Parameter
    DependsOn: {after}
    Properties: {{Name: /taken, Type: String, Value: x}}"
        )
    };
    let waits = |after: &str| {
        format!(
            "
  Handle: {{Type: AWS::CloudFormation::WaitConditionHandle, DependsOn: {after}}}
  Wait:
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: {after}
    Properties: {{Handle: !Ref Handle, Timeout: '60', Count: 1}}
  After: {{Type: AWS::CloudFormation::WaitConditionHandle, DependsOn: Wait}}"
        )
    };
    let (first, second, stranded) = match call {
        "CancelUpdateStack" => {
            (running("one"), running("two") + &waits("Running"), "UPDATE_IN_PROGRESS")
        }
        "RollbackStack" => (running("one"), running("two") + &broken("Running"), "UPDATE_FAILED"),
        _ => (
            running("one") + &certificate("one"),
            running("two") + &certificate("two") + &waits("Certificate") + &broken("Wait"),
            "UPDATE_ROLLBACK_FAILED",
        ),
    };
    let (stacks, stack) = (&house.emulator.cloudformation, format!("{STRANDED}{name}"));
    let tag = Tag::builder().key(MANAGED_BY.0).value(MANAGED_BY.1).build();
    let request = stacks.create_stack().stack_name(&stack).template_body(first).tags(tag);
    request.send().await.unwrap();
    let created = house.emulator.ended(&stack).await;
    assert_eq!(emulator::status(&created), "CREATE_COMPLETE");
    let request = stacks.update_stack().stack_name(&stack).template_body(second);
    request.disable_rollback(call == "RollbackStack").send().await.unwrap();
    // The way back asks the function for the pair once more, and finds something else in its place.
    let bucket = &house.outputs["CertificateBucket"];
    let folder = format!("backend-certificates/{name}/");
    let keys = house.emulator.keys(bucket).await;
    let key = keys.iter().find(|key| key.starts_with(&folder));
    let put = async |text: String| {
        let body = ByteStream::from(text.into_bytes());
        let put = house.emulator.s3.put_object().bucket(bucket).key(key.unwrap()).body(body);
        put.send().await.unwrap();
    };
    let mut pair = None;
    if let Some(key) = key {
        house.waits(&stack).await;
        pair = Some(house.emulator.text(bucket, key).await);
        put("{}".to_owned()).await;
        house.let_go_of(&stack).await;
    }
    emulator::until(&format!("`{name}` is {stranded}"), async || {
        let stack = house.emulator.stack(&stack).await?;
        (emulator::status(&stack) == stranded).then_some(())
    })
    .await;
    if let Some(pair) = pair {
        put(pair).await;
    }
}

/// Asks for that call, as often as the loop would, until the stack is as it was.
async fn lead_back(
    house: &Installation,
    platform: &CloudFormationPlatform,
    name: &str,
    call: &str,
) {
    let (app, stack) = (AppName::parse(name).unwrap(), format!("{STRANDED}{name}"));
    let operation =
        if call == "CancelUpdateStack" { Operation::Cancel } else { Operation::ContinueRollback };
    let mut is_started = false;
    emulator::until_within(PATIENCE, &format!("`{name}` is as it was"), async || {
        let described = house.emulator.stack(&stack).await?;
        if emulator::status(&described) == "UPDATE_ROLLBACK_COMPLETE" {
            return Some(());
        }
        // Whoever cannot look looks again.
        let base = platform.observe(&app).await.ok()?.stack().map(|stack| stack.base.clone());
        let outcome = platform.perform(&app, operation.clone(), base).await;
        assert!(!matches!(outcome, Outcome::Refused { .. }), "{call} of `{name}`: {outcome:?}");
        if outcome == Outcome::Started && !is_started && call == "CancelUpdateStack" {
            // The emulator cancels between two resources.
            house.let_go_of(&stack).await;
        }
        is_started |= outcome == Outcome::Started;
        None
    })
    .await;
}

#[tokio::test]
async fn the_ways_back_are_found_through_the_same_trouble() {
    let house =
        Installation::moody_with(Difference { has_faults: true, ..Difference::default() }).await;
    let proxy = house.faults.as_ref().unwrap();
    let configuration = house.reactor_configuration().await;
    let config = configuration["Environment"]["Variables"]["ROWHOUSE_CONFIG"].as_str().unwrap();
    // The reactor in the emulator would delete stacks of its own that have no row.
    let config = config.replace("demo-app-", STRANDED);
    let config = Config::parse(&config, "the function's").unwrap();
    let shared = emulator::config(proxy.endpoint()).await;
    let platform = CloudFormationPlatform::new(&shared, config);
    let mut fired = String::new();
    for (number, (what, fault, times)) in faults().into_iter().enumerate() {
        let names = BACK.map(|call| format!("{}-{number}", call.to_lowercase()));
        proxy.set(&json!([])).await;
        for (name, call) in names.iter().zip(BACK) {
            strand(&house, name, call).await;
        }
        proxy.set(&rules(&house, |operation| BACK.contains(&operation), &(fault, times))).await;
        let ways =
            names.iter().zip(BACK).map(|(name, call)| lead_back(&house, &platform, name, call));
        futures_util::future::join_all(ways).await;
        fired = proxy.fired().await.to_string();
        for call in BACK {
            let count = fired.matches(&format!("\"operation\":\"{call}\"")).count();
            assert!(count > number, "`{call}` was never {what}: {fired}");
        }
    }
    assert!(!fired.is_empty());
}
