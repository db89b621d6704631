//! What CloudFormation tells of stacks, by an emulator that tells it; with the original's eight
//! keys and nothing else, so that an app has a classic load balancer of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use aws_sdk_cloudformation::types::{Capability, Stack};
use aws_sdk_dynamodb::types::AttributeValue;
use emulator::function::Function;
use emulator::moto::Moto;
use emulator::stream::{Mapping, Shard};
use emulator::{call, outputs, query, status, until, web};
use rowhouse_aws::config;
use serde_json::{Value, json};

/// What the original's installation is made of, by hand there.
const BY_HAND: &str = "
Resources:
  Rows:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: apps-db
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: Name, AttributeType: S}]
      KeySchema: [{AttributeName: Name, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: heard}}
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      TopicName: AppDemoCloudFormationSns
      Subscription: [{Protocol: sqs, Endpoint: !GetAtt Queue.Arn}]
  Zone: {Type: AWS::Route53::HostedZone, Properties: {Name: apps.example.com}}
  Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: keys-of-backends}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Allow, Action: 'sts:AssumeRole', Principal: {Service: \
        lambda.amazonaws.com}}]
  Certificates:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: CreateElbBackendCertificates
      Runtime: provided.al2023
      Handler: bootstrap
      Role: !GetAtt Role.Arn
      Code: {ZipFile: x}
Outputs:
  Stream: {Value: !GetAtt Rows.StreamArn}
  Topic: {Value: !Ref Topic}
  Queue: {Value: !Ref Queue}
  Zone: {Value: !Ref Zone}
  Certificates: {Value: !GetAtt Certificates.Arn}
";

async fn stack(moto: &Moto, name: &str) -> Option<Stack> {
    let stacks = aws_sdk_cloudformation::Client::new(&moto.config);
    let answer = stacks.describe_stacks().stack_name(name).send().await.ok()?;
    answer.stacks().first().cloned()
}

/// The file as `rowhouse aws package` lays it down, filled in.
fn eight_keys(made: &HashMap<String, String>) -> String {
    let mut text = config::template();
    for (key, value) in [
        ("arn:aws:acm:REGION:ACCOUNT:certificate/ID", &made["Certificate"]),
        ("BUCKET", &"keys-of-backends".to_owned()),
        (
            "arn:aws:lambda:REGION:ACCOUNT:function:CreateElbBackendCertificates",
            &made["Certificates"],
        ),
        ("ZONE", &made["Zone"]),
        ("arn:aws:sns:REGION:ACCOUNT:AppDemoCloudFormationSns", &made["Topic"]),
    ] {
        assert!(text.contains(key), "{text}");
        text = text.replace(key, value);
    }
    let keys: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys.as_object().unwrap().len(), 8, "{text}");
    text
}

/// The next message that the topic published, as Lambda hands it to a function.
async fn heard(web: &reqwest::Client, moto: &Moto, queue: &str) -> Option<Value> {
    let form = [("Action", "ReceiveMessage"), ("Version", "2012-11-05"), ("QueueUrl", queue)];
    let answer = query(web, &moto.endpoint, "sqs", &form).await;
    let between =
        |from: &str, to: &str| Some(answer.split_once(from)?.1.split_once(to)?.0.to_owned());
    let body = between("<Body>", "</Body>")?;
    let receipt = between("<ReceiptHandle>", "</ReceiptHandle>")?;
    let form = [
        ("Action", "DeleteMessage"),
        ("Version", "2012-11-05"),
        ("QueueUrl", queue),
        ("ReceiptHandle", &receipt),
    ];
    query(web, &moto.endpoint, "sqs", &form).await;
    let body = body.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    let envelope: Value = serde_json::from_str(&body.replace("&amp;", "&")).unwrap();
    assert_eq!(envelope["Subject"], "AWS CloudFormation Notification");
    Some(json!({
        "Records": [{ "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": envelope }],
    }))
}

#[tokio::test]
async fn the_originals_eight_keys_bring_up_an_app_and_the_topic_tells_when_it_is_up() {
    let (moto, web) = (Moto::start().await, web());
    let stacks = aws_sdk_cloudformation::Client::new(&moto.config);
    let request = stacks.create_stack().stack_name("by-hand").template_body(BY_HAND);
    request.capabilities(Capability::CapabilityIam).send().await.unwrap();
    let mut made = outputs(&stack(&moto, "by-hand").await.unwrap());
    // No resource of a template here.
    let wanted = json!({ "DomainName": "*.apps.example.com", "ValidationMethod": "DNS" });
    let target = "CertificateManager.RequestCertificate";
    let certificate = call(&web, &moto.endpoint, "acm", target, &wanted).await;
    let certificate = certificate["CertificateArn"].as_str().unwrap().to_owned();
    made.insert("Certificate".to_owned(), certificate);
    let (config, program) = (eight_keys(&made), "a".repeat(64));
    let files = [("config.json", config.as_str()), ("program.sha256", program.as_str())];
    let environment = [("AWS_ENDPOINT_URL", moto.endpoint.as_str())];
    let reactor = Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda"));
    let reactor = Function::start(reactor, &files, &environment).await;
    let table = aws_sdk_dynamodb::Client::new(&moto.config);
    let put = table.put_item().table_name("apps-db");
    let put = put.item("Name", AttributeValue::S("shop".to_owned()));
    let put = put.item("Version", AttributeValue::S("a".repeat(40)));
    let put = put.item("Repo", AttributeValue::S("https://git.example.com/shop.git".to_owned()));
    put.item("Scale", AttributeValue::N("2".to_owned())).send().await.unwrap();
    // As a mapping made by hand is: nothing but the defaults.
    let mapping = Mapping {
        batch_size: 100,
        maximum_retry_attempts: 0,
        reports_failures: false,
        bisects: false,
    };
    let mut shard = Shard::open(&moto.endpoint, &made["Stream"]).await;
    shard.drain(mapping, &reactor).await;
    assert!(shard.dead_letters.is_empty(), "{}", reactor.log());
    let says = async || {
        let name = AttributeValue::S("shop".to_owned());
        let item = table.get_item().table_name("apps-db").key("Name", name).send().await.unwrap();
        let item = item.item.unwrap();
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        (text("status").unwrap_or_default(), text("Reason"))
    };
    assert_eq!(says().await, ("deploying".to_owned(), None));
    let app = stack(&moto, "demo-app-shop").await.unwrap();
    assert_eq!(app.notification_arns(), [made["Topic"].as_str()]);

    // The emulator would run the function in a container. This is the request that it would hand
    // over, with an address by which it finds the region, too.
    let id = app.stack_id().unwrap();
    let back = format!(
        "{}/cloudformation_eu-west-1/cfnresponse?stack={id}&of=.eu-west-1.amazonaws.com",
        moto.endpoint
    );
    let certificates = Path::new(env!("CARGO_BIN_EXE_create-elb-backend-certificates"));
    let certificates = Function::start(certificates, &[], &environment).await;
    let answered = certificates
        .invoke(&json!({
            "RequestType": "Create",
            "RequestId": "1",
            "ResponseURL": back,
            "StackId": id,
            "LogicalResourceId": "BackendCertificate",
            "ResourceType": "Custom::BackendCertificate",
            "ServiceToken": made["Certificates"],
            "ResourceProperties": {
                "ServiceToken": made["Certificates"],
                "AppName": "shop",
                "AppDomain": "shop.apps.example.com",
                "Bucket": "keys-of-backends",
                "Renewal": "1",
            },
        }))
        .await;
    assert!(answered.is_ok(), "{answered:?}");
    until("the stack is up", async || {
        let app = stack(&moto, "demo-app-shop").await?;
        (status(&app) == "CREATE_COMPLETE").then_some(())
    })
    .await;
    let resources = stacks.describe_stack_resources().stack_name(id).send().await.unwrap();
    let made_types: BTreeSet<&str> =
        resources.stack_resources().iter().filter_map(|one| one.resource_type()).collect();
    assert!(made_types.contains("AWS::ElasticLoadBalancing::LoadBalancer"), "{made_types:?}");

    // Each message is understood, and only those of this stack make the reactor look.
    let mut messages = 0;
    until("the topic has told it", async || {
        while let Some(event) = heard(&web, &moto, &made["Queue"]).await {
            messages += 1;
            assert_eq!(reactor.invoke(&event).await, Ok(Value::Null));
        }
        (says().await.0 == "deployed").then_some(())
    })
    .await;
    assert!(messages >= 2, "{messages}");
}
