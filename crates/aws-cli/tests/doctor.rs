//! `rowhouse aws doctor` names what is wrong, with the cure.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use room::{DOMAIN, Room, texts};

/// Changes the reactor's configuration: a line of Python about `config`.
fn configure(room: &Room, change: &str) {
    room.shell(&format!(
        "aws lambda get-function-configuration --function-name AppDemoReactorLambda > \
         function.json\n\
         python3 - <<'END'\n\
         import json\n\
         variables = json.load(open('function.json'))['Environment']['Variables']\n\
         config = json.loads(variables['ROWHOUSE_CONFIG'])\n\
         {change}\n\
         variables['ROWHOUSE_CONFIG'] = json.dumps(config)\n\
         json.dump({{'Variables': variables}}, open('environment.json', 'w'))\n\
         END\n\
         aws lambda update-function-configuration --function-name AppDemoReactorLambda \
         --environment file://environment.json\n"
    ));
}

/// What it prints where something is broken.
fn broken(room: &Room, arguments: &[&str]) -> String {
    let output = room.aws(arguments);
    let (printed, said) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{printed}\n{said}");
    printed
}

#[tokio::test]
async fn bad_configuration_is_named_by_its_key_and_by_what_the_function_says() {
    let room = Room::new().await;
    room.done(&["install", "--domain", DOMAIN]);
    for (change, undo, problems) in [
        (
            "config['Colour'] = 'red'",
            "del config['Colour']",
            &[
                "unknown field `Colour`",
                "AppDemoReactorLambda fails: ROWHOUSE_CONFIG: unknown field `Colour`",
            ][..],
        ),
        (
            "config['CloudFormationNotificationArn'] += 'x'; config['ListenerArn'] = \
             'arn:aws:s3:::x'",
            "config['CloudFormationNotificationArn'] = \
             config['CloudFormationNotificationArn'][:-1]",
            &["`ListenerArn` is `arn:aws:s3:::x`: it must be empty, or an ARN of \
                 `elasticloadbalancing`"],
        ),
        (
            "config['app_database'] = 'nowhere'; config['ListenerArn'] = ''",
            "config['app_database'] = 'apps-db'",
            &[
                "there is no table `nowhere`",
                "AppDemoReactorLambda fails: cannot list: table `nowhere`",
            ],
        ),
    ] {
        configure(&room, change);
        let printed = broken(&room, &["doctor"]);
        for problem in problems {
            assert!(printed.contains(problem), "`{problem}`: {printed}");
        }
        configure(&room, undo);
    }
    let printed = room.done(&["doctor"]);
    assert!(printed.contains("is complete") && printed.contains("has swept"), "{printed}");
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_by_the_function_itself() {
    let room = Room::with(&[("AUTH", "true")]).await;
    room.done(&["install", "--domain", DOMAIN]);
    room.shell(
        "role=$(aws lambda get-function-configuration --function-name AppDemoReactorLambda --query \
         Role --output text)\n\
         role=${role##*/}\n\
         policy=$(aws iam list-role-policies --role-name $role --query 'PolicyNames[0]' --output \
         text)\n\
         aws iam get-role-policy --role-name $role --policy-name $policy --query PolicyDocument > \
         policy.json\n\
         sed -i 's/dynamodb:Scan/dynamodb:DescribeTable/' policy.json\n\
         aws iam put-role-policy --role-name $role --policy-name $policy --policy-document \
         file://policy.json",
    );
    let printed = broken(&room, &["doctor"]);
    for expected in [
        "AppDemoReactorLambda fails: cannot list: table `apps-db`",
        "AccessDenied",
        "has the policy of its role",
    ] {
        assert!(printed.contains(expected), "`{expected}`: {printed}");
    }
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_found_where_it_is_asked_for() {
    let room = Room::new().await;
    room.done(&["install", "--domain", DOMAIN]);
    let printed = room.done(&["doctor", "--drift"]);
    assert!(printed.contains("as its template says"), "{printed}");
    room.shell(
        "queue=$(aws cloudformation describe-stacks --stack-name rowhouse-platform --output text \
         --query \"Stacks[0].Outputs[?OutputKey=='DeadLetterQueue'].OutputValue\")\n\
         aws sqs set-queue-attributes --endpoint-url $AWS_ENDPOINT_URL --queue-url $queue \
         --attributes MessageRetentionPeriod=60",
    );
    let printed = room.done(&["doctor", "--drift"]);
    assert!(printed.contains("DeadLetters (/MessageRetentionPeriod)"), "{printed}");
    assert!(printed.contains("describe-stack-resource-drifts"), "{printed}");
    assert!(!room.done(&["doctor"]).contains("drift"));
}
