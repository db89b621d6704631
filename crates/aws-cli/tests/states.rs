//! From each state that the platform's stack can be found in, the command leads on, or names the
//! one that does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use emulator::until;
use room::{DOMAIN, Room, texts};

/// A function behind a custom resource that fails the requests which stand in its environment.
const MOODY: &str = r#"
cat > moody.py <<'END'
import json, os, urllib.request
def handler(event, context):
    failed = event["RequestType"] in os.environ.get("FAILS", "")
    answer = {key: event[key] for key in ["RequestId", "StackId", "LogicalResourceId"]}
    status = "FAILED" if failed else "SUCCESS"
    answer.update(PhysicalResourceId="moody", Reason="it is moody", Status=status)
    urllib.request.urlopen(urllib.request.Request(
        event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"))
END
python3 -c "import zipfile; zipfile.ZipFile('moody.zip', 'w').write('moody.py')"
aws lambda create-function --function-name moody --runtime python3.11 \
  --handler moody.handler --timeout 10 \
  --zip-file fileb://moody.zip --role arn:aws:iam::000000000000:role/moody
cat > moody.yaml <<'END'
Parameters:
  Note: {Type: String, Default: first}
Resources:
  ArtifactBucket: {Type: AWS::S3::Bucket}
  Moody:
    Type: Custom::Moody
    Properties:
      ServiceToken: !Sub 'arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:moody'
      ServiceTimeout: 10
      Note: !Ref Note
Outputs:
  ArtifactBucket: {Value: !Ref ArtifactBucket}
END
"#;

/// A room in which the platform's stack has a resource of that function.
async fn moody() -> Room {
    let room = Room::new().await;
    room.shell(MOODY);
    room.shell(
        "aws cloudformation create-stack --stack-name rowhouse-platform --template-body \
         file://moody.yaml\n\
         aws cloudformation wait stack-create-complete --stack-name rowhouse-platform",
    );
    room
}

fn fail(room: &Room, requests: &str) {
    room.shell(&format!(
        "aws lambda update-function-configuration --function-name moody --environment \
         'Variables={{FAILS={requests}}}'"
    ));
}

/// Waits until the stack rests, and says how.
async fn rested(room: &Room) -> String {
    let stack = room.emulator.ended("rowhouse-platform").await;
    emulator::status(&stack).to_owned()
}

fn is_well(room: &Room) {
    let printed = room.done(&["doctor"]);
    assert!(!printed.contains("broken"), "{printed}");
}

#[tokio::test]
async fn a_rollback_that_failed_is_gone_on_with_once_its_cause_is_mended() {
    let room = moody().await;
    fail(&room, "Update");
    room.shell(
        "aws cloudformation update-stack --stack-name rowhouse-platform --template-body \
         file://moody.yaml \
         --parameters ParameterKey=Note,ParameterValue=second",
    );
    assert_eq!(rested(&room).await, "UPDATE_ROLLBACK_FAILED");
    let doctor = texts(&room.aws(&["doctor"])).0;
    assert!(
        doctor.contains("UPDATE_ROLLBACK_FAILED") && doctor.contains("takes it up"),
        "{doctor}"
    );
    let stuck = room.aws(&["install", "--domain", DOMAIN]);
    let said = texts(&stuck).1;
    assert_eq!(stuck.status.code(), Some(1), "{said}");
    for expected in ["UPDATE_ROLLBACK_FAILED: going on with it", "Moody: ", "--resources-to-skip"] {
        assert!(said.contains(expected), "`{expected}`: {said}");
    }
    fail(&room, "None");
    room.done(&["install", "--domain", DOMAIN]);
    is_well(&room);
}

#[tokio::test]
async fn a_deletion_that_failed_is_taken_up_by_the_command_that_install_names() {
    let room = moody().await;
    fail(&room, "Delete");
    let failed = room.aws(&["uninstall", "--yes"]);
    let said = texts(&failed).1;
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("DELETE_FAILED") && said.contains("it is moody"), "{said}");
    assert!(said.contains("`rowhouse aws uninstall` again"), "{said}");
    let refused = texts(&room.aws(&["install", "--domain", DOMAIN])).1;
    assert!(refused.contains("is DELETE_FAILED"), "{refused}");
    assert!(refused.contains("`rowhouse aws uninstall` removes it"), "{refused}");
    fail(&room, "None");
    room.done(&["uninstall", "--yes"]);
    room.done(&["install", "--domain", DOMAIN]);
    is_well(&room);
}

#[tokio::test]
async fn a_change_set_that_nobody_executed_makes_way() {
    let room = Room::new().await;
    room.shell(MOODY);
    room.shell(
        "aws cloudformation create-change-set --stack-name rowhouse-platform --change-set-name \
         first \
         --change-set-type CREATE --template-body file://moody.yaml",
    );
    let stack = room.emulator.cloudformation.describe_stacks().stack_name("rowhouse-platform");
    let stack = stack.send().await.unwrap().stacks.unwrap().remove(0);
    assert_eq!(emulator::status(&stack), "REVIEW_IN_PROGRESS");
    let installed = room.aws(&["install", "--domain", DOMAIN]);
    let said = texts(&installed).1;
    assert!(installed.status.success(), "{said}");
    assert!(said.contains("REVIEW_IN_PROGRESS: it never came up, and is removed"), "{said}");
    is_well(&room);
}

#[tokio::test]
async fn a_stack_that_the_reactor_was_about_to_make_goes_before_the_platform() {
    let room = Room::new().await;
    let table = "Resources:\n  AppsTable:\n    Type: AWS::DynamoDB::Table\n    Properties:\n      \
        TableName: apps-db\n      \
                 BillingMode: PAY_PER_REQUEST\n      AttributeDefinitions: [{AttributeName: Name, \
                 AttributeType: S}]\n      \
                 KeySchema: [{AttributeName: Name, KeyType: HASH}]\n";
    let before = room.inventory();
    room.emulator.create("rowhouse-platform", table, &[]).await;
    let item = "{\"Name\":{\"S\":\"shop\"},\"status\":{\"S\":\"deploying\"}}";
    room.shell(&format!("aws dynamodb put-item --table-name apps-db --item '{item}'"));
    let mut removal = room.begin(&["uninstall", "--delete-apps", "--yes"], "said");
    until("the row is gone", async || {
        room.shell("aws dynamodb scan --table-name apps-db").contains("\"Count\": 0").then_some(())
    })
    .await;
    // The reactor, which had read the row before.
    let (tag, value) = rowhouse_aws::MANAGED_BY;
    room.shell(&format!(
        "aws cloudformation create-stack --stack-name demo-app-shop --tags Key={tag},Value={value} \
         --template-body 'Resources: {{Topic: {{Type: AWS::SNS::Topic}}}}'"
    ));
    assert!(
        removal.wait().unwrap().success(),
        "{}",
        std::fs::read_to_string(room.path("said")).unwrap()
    );
    assert_eq!(room.inventory(), before);
}
