//! The custom resource in a stack, in an emulator of AWS, with the very program that Lambda runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod emulator;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use emulator::fault::Faults;
use emulator::{Emulator, outputs, status};
use serde_json::{Value, json};

const BUCKET: &str = "keys-of-backends";

/// The function, and the role that it has where `AUTH=true`.
const FUNCTION: &str = r#"
Parameters:
  CodeBucket: {Type: String}
  CodeKey: {Type: String}
  Endpoint: {Type: String}
  Reading: {Type: String, Default: "s3:GetObject"}
  Timeout: {Type: Number, Default: 30}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - {Effect: Allow, Action: "sts:AssumeRole", Principal: {Service: lambda.amazonaws.com}}
      Policies:
        - PolicyName: pairs
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action: [!Ref Reading, "s3:PutObject", "s3:DeleteObject"]
                Resource: "arn:aws:s3:::keys-of-backends/backend-certificates/*"
              - Effect: Allow
                Action: "s3:ListBucket"
                Resource: "arn:aws:s3:::keys-of-backends"
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: CreateElbBackendCertificates
      Runtime: provided.al2023
      Handler: bootstrap
      Timeout: !Ref Timeout
      MemorySize: 128
      Role: !GetAtt Role.Arn
      Code: {S3Bucket: !Ref CodeBucket, S3Key: !Ref CodeKey}
      Environment: {Variables: {AWS_ENDPOINT_URL: !Ref Endpoint}}
Outputs:
  Function: {Value: !GetAtt Function.Arn}
"#;

const APP: &str = r#"
Parameters:
  Function: {Type: String}
  AppName: {Type: String, Default: shop}
  Bucket: {Type: String, Default: keys-of-backends}
  Renewal: {Type: String, Default: "2026"}
  Note: {Type: String, Default: ""}
Resources:
  Certificate:
    Type: Custom::CreateElbBackendCertificates
    Properties:
      ServiceToken: !Ref Function
      ServiceTimeout: 20
      AppName: !Ref AppName
      AppDomain: !Sub "${AppName}.apps.example.com"
      Bucket: !Ref Bucket
      Renewal: !Ref Renewal
      Note: !Ref Note
Outputs:
  Id: {Value: !Ref Certificate}
  PublicKey: {Value: !GetAtt Certificate.PublicKey}
  Bucket: {Value: !GetAtt Certificate.Bucket}
  Key: {Value: !GetAtt Certificate.Key}
"#;

/// An emulator with the function in it, the bucket, and the function's name for templates.
async fn platform(emulator: &Emulator, endpoint: &str) -> (String, Vec<(&'static str, String)>) {
    let program = Path::new(env!("CARGO_BIN_EXE_create-elb-backend-certificates"));
    let (bucket, key) = emulator.upload("certificates", program).await;
    emulator.make_bucket(BUCKET).await;
    let values = vec![("CodeBucket", bucket), ("CodeKey", key), ("Endpoint", endpoint.to_owned())];
    let stack = emulator.create("platform", FUNCTION, &borrowed(&values)).await;
    assert_eq!(status(&stack), "CREATE_COMPLETE");
    (outputs(&stack).remove("Function").unwrap(), values)
}

fn borrowed<'a>(values: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    values.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The public key in a certificate, as another implementation reads it.
fn public_key(certificate: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["x509", "-noout", "-pubkey"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test needs the command `openssl`");
    child.stdin.take().unwrap().write_all(certificate.as_bytes()).unwrap();
    let pem = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[tokio::test]
async fn a_pair_lives_as_long_as_its_stack_and_is_replaced_by_a_renewal() {
    let emulator = Emulator::start().await;
    let (function, _) = platform(&emulator, emulator.endpoint()).await;

    let stack = emulator.create("demo-app-shop", APP, &[("Function", &function)]).await;
    assert_eq!(status(&stack), "CREATE_COMPLETE", "{:?}", emulator.reasons("demo-app-shop").await);
    let first = outputs(&stack);
    assert_eq!(first["Id"], format!("s3://{BUCKET}/{}", first["Key"]));
    assert_eq!(emulator.keys(BUCKET).await, [first["Key"].as_str()]);
    let stored = emulator.text(BUCKET, &first["Key"]).await;
    let read: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(public_key(read["certificate"].as_str().unwrap()), first["PublicKey"]);
    assert!(read["private_key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));

    // Another property of the resource, which means nothing to the pair.
    let values = [("Function", function.as_str()), ("Note", "x")];
    let stack = emulator.update("demo-app-shop", APP, &values).await;
    assert_eq!((status(&stack), outputs(&stack)), ("UPDATE_COMPLETE", first.clone()));
    assert_eq!(emulator.text(BUCKET, &first["Key"]).await, stored);

    let values = [("Function", function.as_str()), ("Renewal", "2027")];
    let stack = emulator.update("demo-app-shop", APP, &values).await;
    let second = outputs(&stack);
    assert_eq!(status(&stack), "UPDATE_COMPLETE");
    assert_ne!(second["PublicKey"], first["PublicKey"]);
    let old_is_gone =
        async || (emulator.keys(BUCKET).await == [second["Key"].as_str()]).then_some(());
    emulator::until("the old pair is deleted", old_is_gone).await;

    let stack = emulator.delete(&stack).await;
    assert_eq!(status(&stack), "DELETE_COMPLETE");
    assert_eq!(emulator.keys(BUCKET).await, [""; 0]);

    let log = emulator.log();
    assert!(!log.contains("PRIVATE KEY"), "a key in the log");
}

/// Where an answer is put: its address, and what was put there.
fn answered() -> (String, std::thread::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/answer", listener.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
                length = text.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        serde_json::from_slice(&body).unwrap()
    });
    (url, answer)
}

#[tokio::test]
async fn doubled_requests_at_once_are_told_of_the_same_pair() {
    let emulator = Emulator::start().await;
    emulator.make_bucket(BUCKET).await;
    let request = async || {
        let (url, answer) = answered();
        let event = json!({
            "RequestType": "Create",
            "RequestId": "1",
            "ResponseURL": url,
            "StackId": "arn:aws:cloudformation:eu-west-1:1:stack/demo-app-shop/0f2c",
            "LogicalResourceId": "Certificate",
            "ResourceProperties": {
                "AppName": "shop", "AppDomain": "shop.apps.example.com", "Bucket": BUCKET,
            },
        });
        let time = Duration::from_secs(30);
        rowhouse_aws::certificate::handle(event, time, &emulator.s3).await.unwrap();
        answer.join().unwrap()
    };
    let (first, second) = tokio::join!(request(), request());
    assert_eq!(first["Status"], json!("SUCCESS"), "{first}");
    assert_eq!(first, second);
    let stored = emulator.text(BUCKET, first["Data"]["Key"].as_str().unwrap()).await;
    assert!(stored.contains(first["Data"]["PublicKey"].as_str().unwrap()));
}

#[tokio::test]
async fn a_bad_property_fails_the_stack_at_once_with_the_reason() {
    let emulator = Emulator::start().await;
    let (function, _) = platform(&emulator, emulator.endpoint()).await;
    for (stack, name, value, says) in [
        ("one", "AppName", "Shop", "the property `AppName`: `Name` is `Shop`"),
        ("two", "Bucket", "arn:aws:s3:::keys", "the property `Bucket` is `arn:aws:s3:::keys`"),
        ("three", "Renewal", "a/b", "the property `Renewal` is `a/b`"),
        ("four", "Bucket", "no-such-bucket", "(NoSuchBucket)"),
    ] {
        let started = Instant::now();
        let values = [("Function", function.as_str()), (name, value)];
        let stack_end = emulator.create(stack, APP, &values).await;
        assert_eq!(status(&stack_end), "ROLLBACK_COMPLETE");
        let reasons = emulator.reasons(stack).await;
        assert!(reasons.iter().any(|reason| reason.contains(says)), "{says}: {reasons:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    assert_eq!(emulator.keys(BUCKET).await, [""; 0]);
}

#[tokio::test]
async fn a_pair_that_may_not_be_read_is_not_written_over() {
    let emulator = Emulator::start_with(&[("AUTH", "true")]).await;
    let (function, mut platform) = platform(&emulator, emulator.endpoint()).await;
    let stack = emulator.create("demo-app-shop", APP, &[("Function", &function)]).await;
    assert_eq!(status(&stack), "CREATE_COMPLETE", "{:?}", emulator.reasons("demo-app-shop").await);
    let key = &outputs(&stack)["Key"];
    let stored = emulator.text(BUCKET, key).await;

    platform.push(("Reading", "s3:GetObjectTagging".to_owned()));
    let role = emulator.update("platform", FUNCTION, &borrowed(&platform)).await;
    assert_eq!(status(&role), "UPDATE_COMPLETE");
    let values = [("Function", function.as_str()), ("Note", "x")];
    let stack = emulator.update("demo-app-shop", APP, &values).await;
    assert!(status(&stack).starts_with("UPDATE_ROLLBACK"), "{}", status(&stack));
    let reasons = emulator.reasons("demo-app-shop").await;
    assert!(reasons.iter().any(|reason| reason.contains("needs `s3:GetObject`")), "{reasons:?}");
    assert_eq!(emulator.text(BUCKET, key).await, stored);
    assert_eq!(emulator.keys(BUCKET).await, [key.as_str()]);
}

#[tokio::test]
async fn throttling_and_lost_answers_leave_one_pair_and_the_truth_about_it() {
    let emulator = Emulator::start().await;
    let faults = Faults::start(&emulator).await;
    let (function, _) = platform(&emulator, faults.endpoint()).await;
    faults
        .set(&json!([
            {"service": "s3", "operation": "GetObject", "times": 2,
             "error": {"code": "SlowDown", "status": 503}},
            {"service": "s3", "operation": "PutObject", "times": 1, "response": {"abort_bytes": 1}},
        ]))
        .await;
    let stack = emulator.create("demo-app-shop", APP, &[("Function", &function)]).await;
    assert_eq!(status(&stack), "CREATE_COMPLETE", "{:?}", emulator.reasons("demo-app-shop").await);
    let told = outputs(&stack);
    let stored = emulator.text(BUCKET, &told["Key"]).await;
    let read: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(read["public_key"], json!(told["PublicKey"]));
    assert_eq!(public_key(read["certificate"].as_str().unwrap()), told["PublicKey"]);
    let fired = faults.fired().await.to_string();
    assert!(fired.contains("GetObject") && fired.contains("PutObject"), "{fired}");

    faults
        .set(&json!([
            {"service": "s3", "operation": "GetObject",
             "error": {"code": "SlowDown", "status": 503}},
        ]))
        .await;
    let values = [("Function", function.as_str()), ("Note", "x")];
    let stack = emulator.update("demo-app-shop", APP, &values).await;
    assert!(status(&stack).starts_with("UPDATE_ROLLBACK"), "{}", status(&stack));
    let reasons = emulator.reasons("demo-app-shop").await;
    assert!(reasons.iter().any(|reason| reason.contains("SlowDown")), "{reasons:?}");
    assert_eq!(emulator.text(BUCKET, &told["Key"]).await, stored);
    assert_eq!(emulator.keys(BUCKET).await, [told["Key"].as_str()]);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_fails_the_stack_before_the_functions_time_is_up() {
    let emulator = Emulator::start().await;
    let faults = Faults::start(&emulator).await;
    let (_, mut platform) = platform(&emulator, faults.endpoint()).await;
    platform.push(("Timeout", "5".to_owned()));
    let stack = emulator.update("platform", FUNCTION, &borrowed(&platform)).await;
    let function = outputs(&stack).remove("Function").unwrap();
    faults.set(&json!([{"service": "s3", "operation": "GetObject", "timeout_ms": 30_000}])).await;
    let started = Instant::now();
    let stack = emulator.create("demo-app-shop", APP, &[("Function", &function)]).await;
    assert_eq!(status(&stack), "ROLLBACK_COMPLETE");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let reasons = emulator.reasons("demo-app-shop").await;
    assert!(
        reasons.iter().any(|reason| reason.contains("not done within 2 seconds")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn deleting_what_never_was_or_is_gone_succeeds_and_what_may_not_be_deleted_fails() {
    let emulator = Emulator::start().await;
    let faults = Faults::start(&emulator).await;
    let (function, _) = platform(&emulator, faults.endpoint()).await;
    for gone in [true, false] {
        let stack = emulator.create("demo-app-shop", APP, &[("Function", &function)]).await;
        let key = outputs(&stack).remove("Key").unwrap();
        if gone {
            emulator.s3.delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
        } else {
            let error = json!({"code": "AccessDenied", "status": 403});
            faults
                .set(&json!([{"service": "s3", "operation": "DeleteObject", "error": error}]))
                .await;
        }
        let stack = emulator.delete(&stack).await;
        let expected = if gone { "DELETE_COMPLETE" } else { "DELETE_FAILED" };
        assert_eq!(status(&stack), expected);
    }
    let reasons = emulator.reasons("demo-app-shop").await;
    assert!(reasons.iter().any(|reason| reason.contains("cannot delete s3://")), "{reasons:?}");
}
