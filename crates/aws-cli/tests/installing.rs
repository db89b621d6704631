//! `rowhouse aws install`, `uninstall` and `package` on an account of an emulator.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use emulator::until;
use room::{DOMAIN, Room, texts};

const PUT: &str = "aws dynamodb put-item --table-name apps-db --item '{\"Name\":{\"S\":\"shop\"},\
    \"Version\":{\"S\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},\"Scale\":{\"N\":\"2\"}}'";

#[tokio::test]
async fn a_platform_is_installed_used_and_removed_without_a_trace() {
    let room = Room::new().await;
    let before = room.inventory();
    let nothing = room.done(&["uninstall"]);
    assert!(nothing.starts_with("nothing is installed"), "{nothing}");

    let install = ["install", "--domain", DOMAIN, "--repo", "https://git.example.com/apps.git"];
    let first = room.aws(&install);
    let (printed, said) = texts(&first);
    assert!(first.status.success(), "{said}");
    assert!(printed.contains(&format!("apps answer at https://NAME.{DOMAIN}")), "{printed}");
    for expected in [
        "of example.com",
        "26 US dollars a month",
        "CREATE_COMPLETE",
        "Reactor (AWS::Lambda::Function)",
    ] {
        assert!(said.contains(expected), "`{expected}`: {said}");
    }
    // Once more, in full and with nothing asked for: there is nothing to do.
    for again in [&install[..], &["install"]] {
        let printed = room.done(again);
        assert!(printed.contains("already up to date"), "{printed}");
    }
    // What is not asked for stays as it is.
    room.done(&["install", "--max-scale", "5"]);
    let stack = room.shell("aws cloudformation describe-stacks --stack-name rowhouse-platform");
    assert!(stack.contains("https://git.example.com/apps.git"), "{stack}");
    let function = room.shell("aws lambda get-function --function-name AppDemoReactorLambda");
    assert!(function.contains("\\\"MaxScale\\\": 5"), "{function}");
    let bucket = "$(aws cloudformation describe-stacks --stack-name rowhouse-platform --output \
        text --query \
                  \"Stacks[0].Outputs[?OutputKey=='ArtifactBucket'].OutputValue\")";
    let programs = room.shell(&format!("aws s3 ls s3://{bucket}/programs/"));
    assert_eq!(programs.lines().count(), 1, "{programs}");

    room.shell(PUT);
    until("the app is deployed", async || {
        room.sweep();
        let row = room.shell(
            "aws dynamodb get-item --table-name apps-db --key '{\"Name\":{\"S\":\"shop\"}}'",
        );
        row.contains("\"deployed\"").then_some(())
    })
    .await;

    // Another domain moves the app: nobody is here to be asked.
    let moved = room.aws(&["install", "--domain", "other.example.com"]);
    assert_eq!(moved.status.code(), Some(1));
    let said = texts(&moved).1;
    for expected in [
        "shop: https://shop.apps.example.com becomes https://shop.other.example.com",
        "nobody can be asked here",
        "`rowhouse aws install --domain other.example.com --yes` says that it is meant",
        "a second platform in another region",
    ] {
        assert!(said.contains(expected), "`{expected}`: {said}");
    }
    let stack = room.shell("aws cloudformation describe-stacks --stack-name rowhouse-platform");
    assert!(!stack.contains("other.example.com"), "{stack}");

    let refused = room.aws(&["uninstall", "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = texts(&refused).1;
    assert!(said.contains("there are apps: shop") && said.contains("--delete-apps"), "{said}");
    let unasked = room.aws(&["uninstall", "--delete-apps"]);
    assert_eq!(unasked.status.code(), Some(1));
    assert!(texts(&unasked).1.contains("`--yes`"), "{:?}", texts(&unasked));
    room.done(&["uninstall", "--delete-apps", "--yes"]);
    assert_eq!(room.inventory(), before);
    assert!(room.done(&["uninstall"]).contains("already"));
}

#[tokio::test]
async fn a_platform_that_was_made_by_hand_is_left_alone() {
    let room = Room::new().await;
    room.shell(
        "aws dynamodb create-table --table-name apps-db --billing-mode PAY_PER_REQUEST \
         --attribute-definitions AttributeName=Name,AttributeType=S --key-schema \
         AttributeName=Name,KeyType=HASH
         aws dynamodb update-table --table-name apps-db --deletion-protection-enabled",
    );
    room.shell(PUT);
    let before = room.inventory();
    let refused = room.aws(&["install", "--domain", DOMAIN]);
    assert_eq!(refused.status.code(), Some(1));
    let said = texts(&refused).1;
    assert!(said.contains("table `apps-db`") && said.contains("docs/aws-by-hand.md"), "{said}");
    assert_eq!(room.inventory(), before);
    // What an installation has left that was stopped at its very begin.
    room.shell("aws s3 mb s3://rowhouse-code-000000000000-eu-west-1");
    room.done(&["uninstall", "--delete-apps", "--yes"]);
    assert_eq!(room.inventory(), before);
    let row = "aws dynamodb get-item --table-name apps-db --key '{\"Name\":{\"S\":\"shop\"}}'";
    assert!(room.shell(row).contains("Version"));
    let table = room.shell("aws dynamodb describe-table --table-name apps-db");
    assert!(table.contains("\"DeletionProtectionEnabled\": true"), "{table}");
}

#[tokio::test]
async fn what_cannot_be_installed_is_told_before_anything_is_made() {
    let room = Room::new().await;
    room.shell(
        "zone=$(aws route53 list-hosted-zones --output text --query 'HostedZones[0].Id')
         aws route53 change-resource-record-sets --hosted-zone-id $zone --change-batch \
         '{\"Changes\":[{\"Action\":\"CREATE\",\"ResourceRecordSet\":{\"Name\":\
         \"*.taken.example.com\",\"Type\":\"CNAME\",\"TTL\":60,\
         \"ResourceRecords\":[{\"Value\":\"elsewhere.example.org\"}]}}]}'",
    );
    let before = room.inventory();
    std::fs::write(
        room.path("own.yaml"),
        "Parameters: {AppName: {Type: String}}\n\
         Resources: {Topic: {Type: AWS::SNS::Topic}}\nOutputs: {Target: {Value: x}}\n",
    )
    .unwrap();
    for (arguments, problem) in [
        (&["install"][..], "needs a domain"),
        (&["install", "--domain", "apps"], "`apps` is no domain"),
        (&["install", "--domain", "my_apps.example.com"], "`my_apps.example.com` is no domain"),
        (
            &["install", "--domain", "Taken.example.com"],
            "has a record `*.taken.example.com` of type CNAME already",
        ),
        (
            &["install", "--domain", "apps.example.org"],
            "no hosted zone that `apps.example.org` is in",
        ),
        (&["install", "--domain", DOMAIN, "--hosted-zone", "Z0"], "hosted zone `Z0`"),
    ] {
        let output = room.aws(arguments);
        let said = texts(&output).1;
        assert!(said.contains(problem), "{arguments:?}: {said}");
        assert_eq!(room.inventory(), before);
    }
    let own = room.aws(&["install", "--domain", DOMAIN, "--app-template", "own.yaml"]);
    let said = texts(&own).1;
    assert_eq!(own.status.code(), Some(1), "{said}");
    for problem in ["lacks the parameter `Target`", "lacks the output `Commit`"] {
        assert!(said.contains(problem), "{said}");
    }
    // What is too large is not repeated.
    std::fs::write(room.path("own.yaml"), format!("# {}\n", "x".repeat(60_000))).unwrap();
    let own = room.aws(&["install", "--domain", DOMAIN, "--app-template", "own.yaml"]);
    let said = texts(&own).1;
    assert!(said.contains("it has 60003 bytes, and AWS takes 51,200"), "{said}");
    assert!(said.len() < 2000, "{said}");
    assert_eq!(room.inventory(), before);
}

#[tokio::test]
async fn a_profile_that_is_named_wins_over_the_keys_of_the_environment() {
    let room = Room::new().await;
    std::fs::create_dir(room.path(".aws")).unwrap();
    std::fs::write(
        room.path(".aws/credentials"),
        "[prod]\naws_access_key_id = 111122223333\naws_secret_access_key = test\n",
    )
    .unwrap();
    std::fs::write(room.path(".aws/config"), "[profile bare]\nregion = eu-west-1\n").unwrap();
    for (script, expected) in [
        ("rowhouse aws uninstall", "account 000000000000 in eu-west-1"),
        ("rowhouse aws --profile prod uninstall", "account 111122223333 in eu-west-1"),
        ("rowhouse aws --profile prod --region eu-west-3 uninstall", "in eu-west-3"),
        ("rowhouse --aws --profile prod rm shop", "account 111122223333 in eu-west-1"),
        ("AWS_REGION= rowhouse aws uninstall", "account 000000000000 in eu-west-1"),
        (
            "AWS_REGION= AWS_DEFAULT_REGION= rowhouse aws --profile bare uninstall",
            "cannot tell who you are to AWS: there are no credentials",
        ),
    ] {
        let output = room.run(std::process::Command::new("bash").args(["-c", script]));
        let said = texts(&output).1;
        assert!(said.lines().next().unwrap().contains(expected), "{script}: {said}");
    }
    for (script, expected) in [
        ("rowhouse aws --profile prd uninstall", ["no profile `prd`", "there are: bare, prod"]),
        ("AWS_PROFILE=prd rowhouse aws uninstall", ["no profile `prd`", "bare, prod"]),
        ("rowhouse aws --profile '' uninstall", ["no profile ``", "bare, prod"]),
        ("rowhouse aws --region Europe uninstall", ["`Europe` is no region", "--region eu-"]),
        ("rowhouse aws --region '' uninstall", ["`` is no region", "--region eu-west-1"]),
        (
            "AWS_EC2_METADATA_DISABLED=true AWS_REGION= AWS_DEFAULT_REGION= rowhouse aws uninstall",
            ["no region is set", "--region eu-west-1"],
        ),
    ] {
        let output = room.run(std::process::Command::new("bash").args(["-c", script]));
        let said = texts(&output).1;
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        for expected in expected {
            assert!(said.contains(expected), "{script}: `{expected}`: {said}");
        }
    }
}

#[tokio::test]
async fn a_platform_that_never_came_up_is_taken_up_again() {
    let room = Room::new().await;
    let broken = "Resources:\n  One: {Type: AWS::SSM::Parameter, Properties: {Name: /a, Type: \
        String, Value: x}}\n  \
                  Two: {Type: AWS::SSM::Parameter, DependsOn: One, Properties: {Name: /a, Type: \
                  String, Value: x}}\n";
    let stack = room.emulator.create("rowhouse-platform", broken, &[]).await;
    assert_eq!(emulator::status(&stack), "ROLLBACK_COMPLETE");
    let doctor = room.aws(&["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&texts(&doctor).0).unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert_eq!(found["Checks"][1]["State"], "broken", "{found}");
    assert_eq!(found["Checks"][1]["Cure"], "`rowhouse aws install` takes it up again");
    let again = room.aws(&["install", "--domain", DOMAIN]);
    let said = texts(&again).1;
    assert!(again.status.success(), "{said}");
    assert!(said.contains("ROLLBACK_COMPLETE: it never came up, and is removed"), "{said}");

    // What goes wrong afterwards is found, with the cure.
    let healthy = room.done(&["doctor"]);
    assert!(!healthy.contains("warning") && !healthy.contains("broken"), "{healthy}");
    room.shell(
        "uuid=$(aws lambda list-event-source-mappings --query 'EventSourceMappings[0].UUID' \
         --output text)\n\
         aws lambda update-event-source-mapping --uuid $uuid --no-enabled\n\
         aws lambda update-function-configuration --function-name AppDemoReactorLambda \
         --environment \
         '{\"Variables\":{\"ROWHOUSE_CONFIG\":\"{}\"}}'\n\
         queue=$(aws cloudformation describe-stacks --stack-name rowhouse-platform --output text \
         --query \"Stacks[0].Outputs[?OutputKey=='DeadLetterQueue'].OutputValue\")\n\
         aws sqs send-message --endpoint-url $AWS_ENDPOINT_URL --message-body lost --queue-url \
         $queue",
    );
    let (printed, _) = texts(&room.aws(&["doctor"]));
    for (problem, cure) in [
        ("ROWHOUSE_CONFIG: missing field `app_database`", "install --max-scale N"),
        ("AppDemoReactorLambda fails: ROWHOUSE_CONFIG: missing field", "mend what it names"),
        ("the mapping of the table's stream is Disabled", "--enabled"),
        ("gave up on 1 event", "purge-queue"),
    ] {
        assert!(printed.contains(problem) && printed.contains(cure), "`{problem}`: {printed}");
    }
    room.done(&["install", "--max-scale", "4"]);
    let (printed, _) = texts(&room.aws(&["doctor"]));
    assert!(printed.contains("is complete") && printed.contains("has swept"), "{printed}");
}

#[tokio::test]
async fn who_does_not_want_to_wait_leaves_and_the_next_one_takes_it_up() {
    let room = Room::new().await;
    let waits = "Resources:\n  Handle: {Type: AWS::CloudFormation::WaitConditionHandle}\n  Wait: \
        {Type: \
                 AWS::CloudFormation::WaitCondition, Properties: {Handle: !Ref Handle, Timeout: \
                 600, Count: 1}}\n  \
                 ArtifactBucket: {Type: AWS::S3::Bucket}\n\
                 Outputs: {ArtifactBucket: {Value: !Ref ArtifactBucket}}\n";
    std::fs::write(room.path("waits.yaml"), waits).unwrap();
    room.shell(
        "aws cloudformation create-stack --stack-name rowhouse-platform --template-body \
        file://waits.yaml",
    );
    let said = async |file: &str, text: &str| {
        until(text, async || {
            std::fs::read_to_string(room.path(file)).unwrap().contains(text).then_some(())
        })
        .await;
    };
    let mut first = room.begin(&["install", "--domain", DOMAIN], "first");
    said("first", "CREATE_IN_PROGRESS   rowhouse-platform").await;
    room.shell(&format!("kill -INT {}", first.id()));
    assert_eq!(first.wait().unwrap().code(), Some(130));
    said("first", "what was begun in AWS goes on without this command").await;
    said("first", "the same command again takes it up").await;

    let mut second = room.begin(&["install", "--domain", DOMAIN], "second");
    said("second", "CREATE_IN_PROGRESS already: taking it up").await;
    room.shell(
        "handle=$(aws cloudformation describe-stack-resource --stack-name rowhouse-platform \
         --logical-resource-id \
         Handle --query StackResourceDetail.PhysicalResourceId --output text)\n\
         curl --silent --fail --request PUT --header 'Content-Type:' --data-binary \
         '{\"Status\":\"SUCCESS\",\"UniqueId\":\"1\",\"Data\":\"\",\"Reason\":\"\"}' $handle",
    );
    let is_done = second.wait().unwrap().success();
    assert!(is_done, "{}", std::fs::read_to_string(room.path("second")).unwrap());
    said("second", "UPDATE_COMPLETE      rowhouse-platform").await;
    assert!(room.done(&["install"]).contains("already up to date"));
}
