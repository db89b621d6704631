//! Every statement of every policy that is delivered: either the emulator asks for it, and then the
//! loop misses it as soon as it is taken away; or it does not, and then a table says what the
//! statement is for, and by which source.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "../src/repository/tests/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use emulator::function::Function;
use emulator::{query, until};
use installation::{Difference, Installation, Mischief, sweep};
use percent_encoding::percent_decode_str;
use rowhouse_aws::DynamoTable;
use serde_json::{Value, json};
use server::{PASSWORD, Server};

const BY_HAND: &str = include_str!("../../../templates/lambda_policy.json");

/// Those that the emulator asks for: where they stand, and their names. The tests below take each
/// away.
const ENFORCED: [(&str, &[&str]); 3] = [
    (
        "platform.yaml ReactorRole",
        &[
            "Rows",
            "History",
            "Overview",
            "ListenerPriorities",
            "StartOperations",
            "OtherOperations",
            "Manifests",
            "Collisions",
            "Orphans",
            "ReasonsOfFailures",
            "TellMissingFromForbidden",
            "TokensOfPrivateRepositories",
        ],
    ),
    ("platform.yaml CertificateRole", &["Certificates"]),
    ("lambda_policy.json", &["Rows", "History", "Overview", "Reactor"]),
];

/// Those that it does not ask for: where they stand, their names, the call that AWS would refuse
/// without them, and whose word that is. `LDG` is the Lambda Developer Guide, `CFN-UG` the
/// CloudFormation User Guide, `registry` the permissions that a resource type's schema lists for
/// its handlers, `SAR` the Service Authorization Reference.
const TABLED: &[(&str, &str, &str, &str)] = &[
    // Lambda and CloudFormation act with the function's rights, which the emulator never looks at.
    (
        "platform.yaml ReactorRole",
        "RowChanges",
        "GetRecords, by the event source mapping",
        "LDG with-ddb",
    ),
    (
        "platform.yaml ReactorRole",
        "HandOverServiceRole",
        "CreateStack with RoleARN",
        "CFN-UG using-iam-servicerole",
    ),
    (
        "platform.yaml ReactorRole",
        "StackEvents",
        "CreateStack with NotificationARNs",
        "awslabs/aws-service-catalog-puppet#19",
    ),
    (
        "platform.yaml ReactorRole",
        "KeyOfTheBucket",
        "PutObject and GetObject, encrypted by KMS",
        "S3 UsingKMSEncryption",
    ),
    (
        "platform.yaml ReactorRole",
        "DeadLetters",
        "SendMessage, by Lambda after the last try",
        "LDG invocation-async-retain-records",
    ),
    (
        "platform.yaml ReactorRole",
        "Logs",
        "PutLogEvents, by Lambda",
        "LDG monitoring-cloudwatchlogs",
    ),
    (
        "platform.yaml ReactorRole",
        "trust",
        "AssumeRole, by Lambda",
        "LDG lambda-intro-execution-role",
    ),
    // Without it AWS says "forbidden" of what is not there, and the emulator "not found" all the
    // same.
    (
        "platform.yaml CertificateRole",
        "TellMissingFromForbidden",
        "GetObject of a pair that is not there",
        "S3 API_GetObject",
    ),
    (
        "platform.yaml CertificateRole",
        "KeyOfTheBucket",
        "PutObject and GetObject, encrypted by KMS",
        "S3 UsingKMSEncryption",
    ),
    (
        "platform.yaml CertificateRole",
        "Logs",
        "PutLogEvents, by Lambda",
        "LDG monitoring-cloudwatchlogs",
    ),
    (
        "platform.yaml CertificateRole",
        "trust",
        "AssumeRole, by Lambda",
        "LDG lambda-intro-execution-role",
    ),
    // It takes RoleARN and does not use it: everything is made with its own rights.
    (
        "platform.yaml AppServiceRole",
        "trust",
        "AssumeRole, by CloudFormation for our stacks",
        "CFN-UG cross-service-confused-deputy-prevention",
    ),
    (
        "platform.yaml AppServiceRole",
        "BackendCertificate",
        "Invoke, for Custom::BackendCertificate",
        "CFN-UG template-custom-resources-lambda",
    ),
    (
        "platform.yaml AppServiceRole",
        "LogGroup",
        "CreateLogGroup and what follows it",
        "registry AWS::Logs::LogGroup",
    ),
    (
        "platform.yaml AppServiceRole",
        "NewTargetGroup",
        "CreateTargetGroup",
        "registry AWS::ElasticLoadBalancingV2::TargetGroup",
    ),
    (
        "platform.yaml AppServiceRole",
        "TargetGroup",
        "ModifyTargetGroup, DeleteTargetGroup",
        "registry AWS::ElasticLoadBalancingV2::TargetGroup",
    ),
    (
        "platform.yaml AppServiceRole",
        "ListenerRule",
        "CreateRule, ModifyRule, DeleteRule",
        "registry AWS::ElasticLoadBalancingV2::ListenerRule",
    ),
    (
        "platform.yaml AppServiceRole",
        "NewLaunchTemplate",
        "CreateLaunchTemplate",
        "registry AWS::EC2::LaunchTemplate",
    ),
    (
        "platform.yaml AppServiceRole",
        "LaunchTemplate",
        "CreateLaunchTemplateVersion, DeleteLaunchTemplate",
        "registry AWS::EC2::LaunchTemplate",
    ),
    (
        "platform.yaml AppServiceRole",
        "TagWhatIsMade",
        "CreateTags, with what makes them",
        "registry AWS::EC2::LaunchTemplate",
    ),
    (
        "platform.yaml AppServiceRole",
        "Group",
        "CreateAutoScalingGroup and what follows it",
        "registry AWS::AutoScaling::AutoScalingGroup",
    ),
    (
        "platform.yaml AppServiceRole",
        "InstancesOnlyHere",
        "RunInstances, asked of who gives a group a template",
        "Auto Scaling ec2-auto-scaling-launch-template-permissions",
    ),
    (
        "platform.yaml AppServiceRole",
        "InstancesOnlyWithImdsV2",
        "RunInstances, as above",
        "SAR ec2:MetadataHttpTokens",
    ),
    (
        "platform.yaml AppServiceRole",
        "InstanceProfile",
        "RunInstances with a profile",
        "Auto Scaling ec2-auto-scaling-launch-template-permissions",
    ),
    (
        "platform.yaml AppServiceRole",
        "RoleOfAutoScaling",
        "CreateAutoScalingGroup, the first of an account",
        "Auto Scaling autoscaling-service-linked-role",
    ),
    ("platform.yaml AppServiceRole", "Look", "Describe…, by each handler", "registry, as above"),
    // No instance runs there.
    ("platform.yaml InstanceRole", "trust", "AssumeRole, by EC2", "EC2 iam-roles-for-amazon-ec2"),
    (
        "platform.yaml InstanceRole",
        "Read",
        "GetObject of program, manifest and certificate",
        "SAR s3:GetObject",
    ),
    (
        "platform.yaml InstanceRole",
        "WriteOnce",
        "PutObject with If-None-Match",
        "S3 conditional-writes-enforce",
    ),
    (
        "platform.yaml InstanceRole",
        "RenewTurns",
        "PutObject with If-Match",
        "S3 conditional-writes-enforce",
    ),
    (
        "platform.yaml InstanceRole",
        "TokensOfPrivateRepositories",
        "GetSecretValue of the tokens that are named",
        "SAR secretsmanager:GetSecretValue",
    ),
    ("platform.yaml InstanceRole", "SayWhyItFailed", "PutObject of a reason", "SAR s3:PutObject"),
    (
        "platform.yaml InstanceRole",
        "TellMissingFromForbidden",
        "GetObject of what is not there",
        "S3 API_GetObject",
    ),
    (
        "platform.yaml InstanceRole",
        "KeyOfTheBuckets",
        "GetObject and PutObject, encrypted by KMS",
        "S3 UsingKMSEncryption",
    ),
    ("platform.yaml InstanceRole", "WriteLogs", "PutLogEvents", "SAR logs:PutLogEvents"),
    (
        "platform.yaml InstanceRole",
        "SignalStacksOfApps",
        "SignalResource",
        "SAR cloudformation:SignalResource",
    ),
    (
        "platform.yaml InstanceRole",
        "SessionManager",
        "OpenDataChannel and the like, by the agent",
        "SSM getting-started-create-iam-instance-profile",
    ),
    // Policies of resources: there, services reach each other without being allowed to.
    (
        "platform.yaml StackEventsPolicy",
        "OwnAccountOnly",
        "Publish, by CloudFormation for the reactor",
        "SNS sns-access-policy-use-cases",
    ),
    (
        "platform.yaml DeadLettersPolicy",
        "UndeliveredStackEvents",
        "SendMessage, by SNS",
        "SNS sns-configure-dead-letter-queue",
    ),
    ("platform.yaml Key", "IamDecides", "any use of the key", "KMS key-policy-default"),
    (
        "platform.yaml ArtifactBucketPolicy",
        "OnlyTls",
        "anything over HTTP",
        "S3 security-best-practices",
    ),
    (
        "platform.yaml CertificateBucketPolicy",
        "OnlyTls",
        "anything over HTTP",
        "S3 security-best-practices",
    ),
    ("platform.yaml StackEventsMayRing", "permission", "Invoke, by SNS", "LDG with-sns"),
    (
        "platform.yaml ShortSweepMayRing",
        "permission",
        "Invoke, by EventBridge",
        "EventBridge eb-use-resource-based",
    ),
    (
        "platform.yaml FullSweepMayRing",
        "permission",
        "Invoke, by EventBridge",
        "EventBridge eb-use-resource-based",
    ),
    // The emulator has no classic load balancer, so no app of this kind comes up there.
    (
        "app-dedicated.yaml InstanceRole",
        "trust",
        "AssumeRole, by EC2",
        "EC2 iam-roles-for-amazon-ec2",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "ReadProgramManifestCertificate",
        "GetObject of these three",
        "SAR s3:GetObject",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "ShareBuildsAndReleases",
        "GetObject and PutObject of builds",
        "SAR s3:PutObject",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "WriteOnce",
        "PutObject with If-None-Match",
        "S3 conditional-writes-enforce",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "RenewTurns",
        "PutObject with If-Match",
        "S3 conditional-writes-enforce",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "TokensOfPrivateRepositories",
        "GetSecretValue of the tokens that are named",
        "SAR secretsmanager:GetSecretValue",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "SayWhyItFailed",
        "PutObject of a reason",
        "SAR s3:PutObject",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "TellMissingFromForbidden",
        "GetObject of what is not there",
        "S3 API_GetObject",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "KeysOfTheBuckets",
        "GetObject and PutObject, encrypted by KMS",
        "S3 UsingKMSEncryption",
    ),
    ("app-dedicated.yaml InstanceRole", "WriteLogs", "PutLogEvents", "SAR logs:PutLogEvents"),
    (
        "app-dedicated.yaml InstanceRole",
        "SignalItsStack",
        "SignalResource",
        "SAR cloudformation:SignalResource",
    ),
    (
        "app-dedicated.yaml InstanceRole",
        "SessionManager",
        "OpenDataChannel and the like, by the agent",
        "SSM getting-started-create-iam-instance-profile",
    ),
    // By hand there is no service role: CloudFormation calls with the reactor's rights, or an
    // instance with its own.
    (
        "lambda_policy.json",
        "KeysOfTheBuckets",
        "PutObject and GetObject, encrypted by KMS",
        "S3 UsingKMSEncryption",
    ),
    (
        "lambda_policy.json",
        "StacksOfApps",
        "whatever app-dedicated.yaml makes",
        "registry, for each type",
    ),
    ("lambda_policy.json", "DeleteOnlyOfApps", "what its deletion deletes", "registry"),
    ("lambda_policy.json", "Look", "Describe…, by each handler", "registry"),
    (
        "lambda_policy.json",
        "StartInstances",
        "RunInstances, asked of who gives a group a template",
        "Auto Scaling ec2-auto-scaling-launch-template-permissions",
    ),
    ("lambda_policy.json", "NotWithImdsV1", "RunInstances, refused", "SAR ec2:MetadataHttpTokens"),
    (
        "lambda_policy.json",
        "RolesWithinThisPolicy",
        "CreateRole, within the boundary",
        "IAM access_policies_boundaries",
    ),
    (
        "lambda_policy.json",
        "RolesAndProfiles",
        "CreateInstanceProfile and what follows it",
        "registry AWS::IAM::InstanceProfile",
    ),
    (
        "lambda_policy.json",
        "RolesOnlyForInstances",
        "RunInstances with a profile",
        "Auto Scaling ec2-auto-scaling-launch-template-permissions",
    ),
    (
        "lambda_policy.json",
        "RolesOfServices",
        "the first group and balancer of an account",
        "Auto Scaling autoscaling-service-linked-role",
    ),
    (
        "lambda_policy.json",
        "InstancesOnly",
        "what instances call, within the boundary",
        "IAM access_policies_boundaries",
    ),
    (
        "lambda_policy.json",
        "InstancesSessions",
        "OpenDataChannel and the like, within the boundary",
        "SSM getting-started-create-iam-instance-profile",
    ),
];

fn template(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The statements that a template holds, as places and names. One without a name is a role's trust;
/// a permission of Lambda is a statement, too.
fn statements(file: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut resource, text) = (String::new(), template(file));
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'))
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            name.clone_into(&mut resource);
        }
        let place = || format!("{file} {resource}");
        let line = line.trim();
        if let Some(name) = line.strip_prefix("- Sid: ") {
            found.push((place(), name.to_owned()));
        } else if line.starts_with("- Effect: ") {
            found.push((place(), "trust".to_owned()));
        } else if line == "Type: AWS::Lambda::Permission" {
            found.push((place(), "permission".to_owned()));
        }
    }
    found
}

#[test]
fn every_statement_is_taken_away_in_a_test_or_has_its_reason() {
    let mut delivered: Vec<(String, String)> = ["platform.yaml", "app.yaml", "app-dedicated.yaml"]
        .into_iter()
        .flat_map(statements)
        .collect();
    let by_hand: Value = serde_json::from_str(BY_HAND).unwrap();
    delivered.extend(by_hand["Statement"].as_array().unwrap().iter().map(|statement| {
        ("lambda_policy.json".to_owned(), statement["Sid"].as_str().unwrap().to_owned())
    }));
    let count = delivered.len();
    let delivered: BTreeSet<(String, String)> = delivered.into_iter().collect();
    assert_eq!(delivered.len(), count, "two statements of one policy have the same name");
    // None is overlooked by how it is written.
    let effects = ["platform.yaml", "app.yaml", "app-dedicated.yaml", "lambda_policy.json"]
        .map(|file| template(file).matches("Effect").count());
    let permissions = delivered.iter().filter(|(_, name)| name == "permission").count();
    assert_eq!(effects.iter().sum::<usize>() + permissions, count);
    let named = |place: &str, name: &str| (place.to_owned(), name.to_owned());
    let enforced: BTreeSet<(String, String)> = ENFORCED
        .iter()
        .flat_map(|(place, names)| names.iter().map(|name| named(place, name)))
        .collect();
    let tabled: BTreeSet<(String, String)> =
        TABLED.iter().map(|(place, name, _, _)| named(place, name)).collect();
    assert_eq!(tabled.len(), TABLED.len(), "a line of the table stands there twice");
    assert!(enforced.is_disjoint(&tabled), "{:?}", enforced.intersection(&tabled));
    let known: BTreeSet<(String, String)> = enforced.union(&tabled).cloned().collect();
    assert_eq!(delivered, known);
    assert!(TABLED.iter().all(|(_, _, call, source)| !call.is_empty() && !source.is_empty()));
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>:
/// 6,144 characters, white space not
/// counted.
#[test]
fn the_policy_made_by_hand_fits_into_a_managed_policy_whatever_things_are_called() {
    let text = BY_HAND
        .replace("REGION", "ap-southeast-1")
        .replace("ACCOUNT", "123456789012")
        .replace("my-artifacts", &"a".repeat(63))
        .replace("my-certificates", &"a".repeat(63));
    let count = text.chars().filter(|character| !character.is_whitespace()).count();
    assert!(count <= 6_144, "{count}");
}

/// A role's policy in the emulator, which can be swapped.
struct Rights<'a> {
    house: &'a Installation,
    web: reqwest::Client,
    role: String,
    arn: String,
    policy: &'static str,
    document: Value,
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no `{from}` in {text}")).1;
    rest.split_once(to).unwrap().0
}

impl<'a> Rights<'a> {
    /// Those of a function by its description.
    async fn of(house: &'a Installation, function: &Value, policy: &'static str) -> Rights<'a> {
        let arn = function["Role"].as_str().unwrap().to_owned();
        let role = arn.rsplit('/').next().unwrap().to_owned();
        let web = emulator::web();
        let mut rights = Rights { house, web, role, arn, policy, document: Value::Null };
        let answer = rights.call("GetRolePolicy", &[("PolicyName", policy)]).await;
        let text = between(&answer, "<PolicyDocument>", "</PolicyDocument>").to_owned();
        let text = percent_decode_str(&text).decode_utf8().unwrap().replace("&quot;", "\"");
        rights.document = serde_json::from_str(&text).unwrap();
        rights
    }

    async fn call(&self, action: &str, more: &[(&str, &str)]) -> String {
        let mut form =
            vec![("Action", action), ("Version", "2010-05-08"), ("RoleName", &self.role)];
        form.extend(more);
        query(&self.web, self.house.emulator.endpoint(), "iam", &form).await
    }

    async fn put(&self, document: &Value) {
        let text = document.to_string();
        self.call("PutRolePolicy", &[("PolicyName", self.policy), ("PolicyDocument", &text)]).await;
    }

    async fn restore(&self) {
        self.put(&self.document).await;
    }

    async fn take_away(&self, name: &str) {
        let mut document = self.document.clone();
        let statements = document["Statement"].as_array_mut().unwrap();
        let count = statements.len();
        statements.retain(|statement| statement["Sid"] != name);
        assert_eq!(statements.len() + 1, count, "there is no statement `{name}`");
        self.put(&document).await;
    }

    /// Credentials of the role, as Lambda gives them to the function.
    async fn credentials(&self) -> [String; 3] {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Action": "sts:AssumeRole",
                "Principal": {
                    "AWS": "arn:aws:iam::000000000000:root",
                    "Service": "lambda.amazonaws.com",
                }
            }]
        });
        let text = trust.to_string();
        self.call("UpdateAssumeRolePolicy", &[("PolicyDocument", &text)]).await;
        let form = [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.arn),
            ("RoleSessionName", "test"),
        ];
        let answer = query(&self.web, self.house.emulator.endpoint(), "sts", &form).await;
        ["AccessKeyId", "SecretAccessKey", "SessionToken"]
            .map(|name| between(&answer, &format!("<{name}>"), &format!("</{name}>")).to_owned())
    }
}

/// An installation that asks for permissions, and the reactor beside it with the rights of its
/// role: it looks when the test rings, and nothing else does.
struct House {
    installation: Installation,
    reactor: Function,
    environment: Vec<(&'static str, String)>,
    credentials: [String; 3],
}

async fn house(server: &Server) -> House {
    let batch = "      BatchSize: 100\n";
    let disabled = format!("{batch}      Enabled: false\n");
    let difference = Difference {
        environment: &[("AUTH", "true")],
        replaced: &[(batch, &disabled)],
        parameters: &[("AllowedRepositoryHosts", "localhost")],
        ..Difference::default()
    };
    let house = Installation::moody_with(difference).await;
    house.be_mischievous(Mischief { dropped: true, ..Mischief::default() });
    let configuration = house.reactor_configuration().await;
    let credentials = Rights::of(&house, &configuration, "Reactor").await.credentials().await;
    let config = configuration["Environment"]["Variables"]["ROWHOUSE_CONFIG"].as_str().unwrap();
    let authority = server.folder.path().join("authority.pem");
    std::fs::write(&authority, &server.authority).unwrap();
    let environment = vec![
        ("ROWHOUSE_CONFIG", config.to_owned()),
        ("AWS_ENDPOINT_URL", house.emulator.endpoint().to_owned()),
        ("AWS_ACCESS_KEY_ID", credentials[0].clone()),
        ("AWS_SECRET_ACCESS_KEY", credentials[1].clone()),
        ("AWS_SESSION_TOKEN", credentials[2].clone()),
        ("SSL_CERT_FILE", authority.to_str().unwrap().to_owned()),
    ];
    let reactor = reactor(&environment).await;
    House { installation: house, reactor, environment, credentials }
}

/// A process of the function, which has seen nothing yet.
async fn reactor(environment: &[(&'static str, String)]) -> Function {
    let template = installation::moody_template();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda"));
    Function::start(program, &[("template.yaml", &template)], &environment).await
}

/// Rings for a row, and what the function said meanwhile.
async fn said_of(reactor: &Function, name: &str) -> String {
    let said = reactor.log().len();
    let event = json!({ "Records": [{
        "eventSource": "aws:dynamodb",
        "dynamodb": { "Keys": { "Name": { "S": name } }, "SequenceNumber": "1" }
    }] });
    assert!(reactor.invoke(&event).await.is_ok());
    reactor.log().split_off(said)
}

impl House {
    /// Rings for a row, and what the function said meanwhile.
    async fn look(&self, name: &str) -> String {
        said_of(&self.reactor, name).await
    }

    /// Looks until the row says this.
    async fn look_until(&self, name: &str, status: &str) -> BTreeMap<String, String> {
        until(&format!("`{name}` is {status}"), async || {
            self.look(name).await;
            let row = self.installation.row(name).await;
            (row.get("status").is_some_and(|says| says == status)).then_some(row)
        })
        .await
    }

    /// Puts a row and waits until its stack has come to this.
    async fn begin(&self, name: &str, digit: char, status: &str) {
        self.installation.put(name, &digit.to_string().repeat(40), 1).await;
        self.look(name).await;
        until(&format!("the stack of `{name}` comes to {status}"), async || {
            let stack = self.installation.stack(name).await?;
            (emulator::status(&stack) == status).then_some(())
        })
        .await;
    }

    async fn put_private(&self, name: &str, server: &Server) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let item = [
            ("Name", text(name)),
            ("Version", text("main")),
            ("Scale", AttributeValue::N("1".to_owned())),
            ("Repo", text(&server.address("private/site.git"))),
        ];
        self.installation.put_item(&item).await;
    }

    /// What goes wrong without that statement: the row's reason, or what the function said.
    async fn without(&self, rights: &Rights<'_>, statement: &str, server: &Server) -> String {
        let name = &format!("without-{}", statement.to_lowercase());
        match statement {
            "OtherOperations" => {
                self.begin(name, 'a', "CREATE_COMPLETE").await;
                self.installation.delete(name).await;
            }
            "History" => self.begin(name, 'a', "CREATE_COMPLETE").await,
            "Collisions" | "TellMissingFromForbidden" => {
                self.begin(name, '2', "ROLLBACK_COMPLETE").await;
            }
            "ReasonsOfFailures" => self.begin(name, '4', "ROLLBACK_COMPLETE").await,
            "TokensOfPrivateRepositories" => self.put_private(name, server).await,
            _ => self.installation.put(name, &"a".repeat(40), 1).await,
        }
        rights.take_away(statement).await;
        let said = if statement == "Orphans" {
            // What is known is not asked for again so soon.
            said_of(&reactor(&self.environment).await, name).await
        } else {
            self.look(name).await
        };
        let reason = self.installation.row(name).await.get("Reason").cloned().unwrap_or_default();
        rights.restore().await;
        format!("{reason}\n{said}")
    }

    /// What the role is for: an app of each kind, and the calls that only trouble or time lead to.
    async fn do_everything(&self, server: &Server) {
        let said = self.reactor.log().len();
        for (name, digit, status) in [
            ("good", 'a', "deployed"),
            ("contested", '2', "deploy_failed"),
            ("failing", '4', "deploy_failed"),
        ] {
            self.installation.put(name, &digit.to_string().repeat(40), 1).await;
            self.look_until(name, status).await;
        }
        self.put_private("private", server).await;
        self.look_until("private", "deployed").await;
        self.installation.put("good", &"b".repeat(40), 2).await;
        self.look_until("good", "deployed").await;
        assert!(self.reactor.invoke(&sweep("full-sweep")).await.is_ok());
        self.installation.delete("good").await;
        until("the stack is gone", async || {
            self.look("good").await;
            self.installation.stack("good").await.is_none().then_some(())
        })
        .await;
        let [id, secret, session] = self.credentials.clone();
        let credentials = Credentials::new(id, secret, Some(session), None, "role");
        let config = self.installation.emulator.config.to_builder();
        let config =
            config.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        // Once a day.
        let table = DynamoTable::new(
            aws_sdk_dynamodb::Client::new(&config),
            "apps-db".to_owned(),
            Some("apps-history".to_owned()),
        );
        table.expire_history(&BTreeSet::new()).await.unwrap();
        // On stacks that rest, these are refused, but not for want of a permission.
        let stacks = aws_sdk_cloudformation::Client::new(&config);
        let stack = "demo-app-private";
        let refused = [
            stacks
                .cancel_update_stack()
                .stack_name(stack)
                .send()
                .await
                .err()
                .map(|error| error.code().map(str::to_owned)),
            stacks
                .continue_update_rollback()
                .stack_name(stack)
                .send()
                .await
                .err()
                .map(|error| error.code().map(str::to_owned)),
            stacks
                .rollback_stack()
                .stack_name(stack)
                .send()
                .await
                .err()
                .map(|error| error.code().map(str::to_owned)),
        ];
        for code in refused {
            assert_eq!(code.flatten().as_deref(), Some("ValidationError"));
        }
        let said = self.reactor.log().split_off(said);
        assert!(!said.contains("not authorized"), "{said}");
    }
}

/// What the refusal of a call names.
fn permission(statement: &str) -> &'static str {
    match statement {
        "Rows" => "dynamodb:GetItem",
        "History" => "dynamodb:Query",
        "Overview" => "cloudformation:DescribeStacks",
        "ListenerPriorities" => "elasticloadbalancing:DescribeRules",
        "StartOperations" => "cloudformation:CreateStack",
        "OtherOperations" => "cloudformation:DeleteStack",
        "Manifests" | "Collisions" | "Reactor" => "s3:PutObject",
        "Orphans" | "ReasonsOfFailures" | "Certificates" => "s3:GetObject",
        "TellMissingFromForbidden" => "s3:ListBucket",
        "TokensOfPrivateRepositories" => "secretsmanager:GetSecretValue",
        other => panic!("`{other}` is tried nowhere"),
    }
}

async fn keep_token(house: &Installation, server: &Server) {
    let secrets = aws_sdk_secretsmanager::Client::new(&house.emulator.config);
    let name = format!("rowhouse/git/localhost/{}", server.port);
    let token = format!("me:{PASSWORD}");
    secrets.create_secret().name(&name).secret_string(token).send().await.unwrap();
}

#[tokio::test]
async fn the_reactors_role_is_enough_and_each_of_its_statements_is_needed() {
    let server = Server::start();
    let house = house(&server).await;
    keep_token(&house.installation, &server).await;
    let configuration = house.installation.reactor_configuration().await;
    let rights = Rights::of(&house.installation, &configuration, "Reactor").await;
    house.do_everything(&server).await;
    for statement in ENFORCED[0].1 {
        let said = house.without(&rights, statement, &server).await;
        assert!(said.contains(permission(statement)), "{statement}: {said}");
    }
}

#[tokio::test]
async fn the_policy_made_by_hand_is_enough_and_each_statement_is_needed() {
    let server = Server::start();
    let house = house(&server).await;
    keep_token(&house.installation, &server).await;
    let configuration = house.installation.reactor_configuration().await;
    let mut rights = Rights::of(&house.installation, &configuration, "Reactor").await;
    let buckets = &house.installation.outputs;
    let text = BY_HAND
        .replace("REGION", "eu-west-1")
        .replace("ACCOUNT", "000000000000")
        .replace("my-artifacts", &buckets["ArtifactBucket"])
        .replace("my-certificates", &buckets["CertificateBucket"]);
    let mut by_hand: Value = serde_json::from_str(&text).unwrap();
    // By hand no two apps share a balancer, and here they do.
    let shared = rights.document["Statement"].as_array().unwrap().iter();
    let shared = shared.filter(|statement| {
        ["ListenerPriorities", "Collisions"].contains(&statement["Sid"].as_str().unwrap())
    });
    by_hand["Statement"].as_array_mut().unwrap().extend(shared.cloned());
    rights.document = by_hand;
    rights.restore().await;
    house.do_everything(&server).await;
    for statement in ENFORCED[2].1 {
        let said = house.without(&rights, statement, &server).await;
        assert!(said.contains(permission(statement)), "{statement}: {said}");
    }
}

#[tokio::test]
async fn each_statement_of_the_certificates_role_is_needed() {
    let server = Server::start();
    let house = house(&server).await;
    let configuration = house.installation.certificate_configuration().await;
    let rights = Rights::of(&house.installation, &configuration, "Certificates").await;
    for statement in ENFORCED[1].1 {
        let name = &statement.to_lowercase();
        rights.take_away(statement).await;
        house.begin(name, '3', "ROLLBACK_COMPLETE").await;
        let row = house.look_until(name, "deploy_failed").await;
        assert!(row["Reason"].contains(permission(statement)), "{statement}: {row:?}");
        rights.restore().await;
    }
    house.installation.put("good", &"3".repeat(40), 1).await;
    house.look_until("good", "deployed").await;
}
