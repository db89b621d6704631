//! The whole loop in an emulator of AWS: a row, its stream, the reactor, a stack, its events, and
//! the row again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use aws_sdk_cloudformation::types::ResourceSignalStatus;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::byte_stream::ByteStream;
use installation::{DOMAIN, Difference, Installation, Mischief, sweep};
use serde_json::{Value, json};

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

#[tokio::test]
async fn a_row_becomes_a_stack_and_goes_with_it() {
    let house = Installation::start().await;
    let (one, two) = (commit('a'), commit('b'));
    house.put("shop", &one, 2).await;
    let row = house.answered("shop", "deployed", &one).await;
    assert_eq!(row["LoadBalancer"], format!("https://shop.{DOMAIN}"));
    assert_eq!(row["Healthy"], "2");
    // Nothing of its own but these: network, balancer and role are shared.
    let resources = house.emulator.cloudformation.describe_stack_resources();
    let resources = resources.stack_name("demo-app-shop").send().await.unwrap();
    let mut types: Vec<&str> =
        resources.stack_resources().iter().filter_map(|one| one.resource_type()).collect();
    types.sort_unstable();
    let expected = [
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::EC2::LaunchTemplate",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "AWS::Logs::LogGroup",
        "Custom::BackendCertificate",
    ];
    assert_eq!(types, expected);
    let certificates = house.emulator.keys(&house.outputs["CertificateBucket"]).await;
    assert_eq!(certificates.len(), 1, "{certificates:?}");
    let mut manifests = house.emulator.keys(&house.outputs["ArtifactBucket"]).await;
    manifests.retain(|key| key.starts_with("manifests/"));
    assert_eq!(manifests.len(), 1, "{manifests:?}");
    assert!(
        house.emulator.text(&house.outputs["ArtifactBucket"], &manifests[0]).await.contains(&one)
    );

    // A whole-row replacement erases what the reactor said, and is answered anew.
    house.put("shop", &one, 2).await;
    house.answered("shop", "deployed", &one).await;
    house.put("shop", &two, 2).await;
    house.answered("shop", "deployed", &two).await;
    house.put("shop", &two, 0).await;
    let row = house.answered("shop", "deployed", &two).await;
    assert_eq!(row["Healthy"], "0");

    house.delete("shop").await;
    house.gone("shop").await;
    assert_eq!(house.emulator.keys(&house.outputs["CertificateBucket"]).await, [""; 0]);
    assert!(house.row("shop").await.is_empty(), "a ghost");
    let history = house.history("shop").await;
    assert_eq!(history, ["deployed", "deployed", "deployed"]);
}

/// The launch template of an app's stack, and its newest version.
async fn launch_template(house: &Installation, name: &str) -> (String, String) {
    let resource = house.emulator.cloudformation.describe_stack_resource();
    let resource = resource.stack_name(format!("demo-app-{name}"));
    let found = resource.logical_resource_id("LaunchTemplate").send().await.unwrap();
    let id = found.stack_resource_detail().unwrap().physical_resource_id().unwrap().to_owned();
    let mut aws = std::process::Command::new(emulator::program("aws"));
    aws.args(["--region", "eu-west-1", "--output", "text", "ec2", "describe-launch-templates"]);
    aws.args(["--launch-template-ids", &id, "--query", "LaunchTemplates[0].LatestVersionNumber"]);
    aws.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
    let output = aws.env("AWS_ENDPOINT_URL", house.emulator.endpoint()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (id, String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[tokio::test]
async fn a_rollback_leaves_the_launch_template_of_what_runs_as_it_was() {
    let (one, two, three) = (commit('a'), commit('b'), commit('c'));
    // One more resource, which comes after the instances and fails where its name is taken.
    let last = "\n  Last:\n    Type: AWS::SSM::Parameter\n    DependsOn: Instances\n    \
                Properties: {Name: !Sub '/last/${Commit}', Type: String, Value: x}\n";
    let (before, after) =
        include_str!("../../../templates/app.yaml").split_once("\n# Outputs repeat").unwrap();
    let template = format!("{before}{last}\n# Outputs repeat{after}");
    let files = [("template.yaml", template.as_str())];
    let house =
        Installation::start_with(Difference { files: &files, ..Difference::default() }).await;
    let taken = format!(
        "Resources: {{Taken: {{Type: AWS::SSM::Parameter, Properties: {{Name: /last/{two}, \
         Type: String, Value: x}}}}}}"
    );
    house.emulator.create("taken", &taken, &[]).await;

    house.put("shop", &one, 2).await;
    house.answered("shop", "deployed", &one).await;
    let first = launch_template(&house, "shop").await;
    // A change of scale makes no other one, a change of what runs does.
    house.put("shop", &one, 3).await;
    house.answered("shop", "deployed", &one).await;
    assert_eq!(launch_template(&house, "shop").await, first);
    house.put("shop", &three, 3).await;
    house.answered("shop", "deployed", &three).await;
    let second = launch_template(&house, "shop").await;
    assert_ne!(second.0, first.0);
    house.put("shop", &two, 3).await;
    house.answered("shop", "deploy_failed", &three).await;
    assert_eq!(launch_template(&house, "shop").await, second);
    assert_eq!(second.1, "1");
}

#[tokio::test]
async fn every_operation_has_the_service_role_and_the_topic_and_every_row_is_read_consistently() {
    let difference = Difference { has_faults: true, ..Difference::default() };
    let house = Installation::moody_with(difference).await;
    let without = |service: &str, operation: &str, body: &str| {
        let error = json!({ "code": "ValidationError", "status": 400, "message": "forgotten" });
        json!({ "service": service, "operation": operation, "body": body, "error": error })
    };
    let faults = house.faults.as_ref().unwrap();
    let role = &format!("RoleARN != '{}'", house.outputs["ServiceRole"]);
    let topic = &format!("\"NotificationARNs.member.1\" != '{}'", house.outputs["Topic"]);
    let mut rules = Vec::new();
    for operation in ["CreateStack", "UpdateStack", "DeleteStack"] {
        rules.push(without("cloudformation", operation, role));
        rules.push(without("cloudformation", operation, "ClientRequestToken == null"));
    }
    for operation in ["CreateStack", "UpdateStack"] {
        rules.push(without("cloudformation", operation, topic));
    }
    for operation in ["GetItem", "Scan", "Query"] {
        rules.push(without("dynamodb", operation, "ConsistentRead != `true`"));
    }
    rules.push(without("cloudformation", "CreateStack", "\"Tags.member.1.Value\" == null"));
    faults.set(&Value::Array(rules)).await;
    let (one, two, bad) = (commit('a'), commit('b'), commit('0'));
    house.put("shop", &bad, 1).await;
    house.answered("shop", "deploy_failed", "").await;
    for version in [&one, &two] {
        house.put("shop", version, 1).await;
        house.answered("shop", "deployed", version).await;
    }
    house.ring(&sweep("full-sweep")).await;
    house.delete("shop").await;
    house.gone("shop").await;
    assert_eq!(faults.fired().await, json!([]));
    // A rule that nothing forgets would never fire, and a wrong one neither: this one does.
    faults.set(&json!([without("dynamodb", "GetItem", "ConsistentRead == `true`")])).await;
    house.put("shop", &one, 1).await;
    emulator::until("the rule fires", async || (faults.fired().await != json!([])).then_some(()))
        .await;
}

#[tokio::test]
async fn bad_rows_are_answered_and_the_stream_moves_on() {
    let house = Installation::start().await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |text: &str| AttributeValue::N(text.to_owned());
    let good = commit('a');
    for (name, version, scale, said) in [
        ("missing", None, Some(number("1")), "`Version` is missing"),
        ("negative", Some(text(&good)), Some(number("-1")), "`Scale` is -1"),
        ("fraction", Some(text(&good)), Some(number("2.7")), "`Scale` is 2.7"),
        ("many", Some(text(&good)), Some(number("99")), "`Scale` is 99"),
        ("word", Some(text(&good)), Some(text("two")), "`Scale` is `two`"),
        ("list", Some(text(&good)), Some(AttributeValue::L(Vec::new())), "`Scale` is a list"),
        ("null", Some(AttributeValue::Null(true)), Some(number("1")), "`Version` is missing"),
        ("option", Some(text("--upload-pack=id")), Some(number("1")), "`Version` is"),
        ("range", Some(text("main..other")), Some(number("1")), "`Version` is"),
        ("under_score", Some(text(&good)), Some(number("1")), "`Name` is"),
        ("Upper", Some(text(&good)), Some(number("1")), "`Name` is"),
    ] {
        let mut item = vec![("Name", text(name))];
        item.extend(version.map(|version| ("Version", version)));
        item.extend(scale.map(|scale| ("Scale", scale)));
        house.put_item(&item).await;
        let row = house.answered(name, "invalid", "").await;
        assert!(row["Reason"].contains(said), "{row:?}");
    }
    house
        .put_item(&[
            ("Name", text("repo")),
            ("Version", text(&good)),
            ("Scale", number("1")),
            ("Repo", text("ext::sh -c id")),
        ])
        .await;
    assert!(house.answered("repo", "invalid", "").await["Reason"].contains("`Repo` is"));
    house.put("good", &good, 1).await;
    house.answered("good", "deployed", &good).await;
}

#[tokio::test]
async fn ten_apps_at_once_come_up_whatever_happens_to_the_events() {
    let house = Installation::start().await;
    house.be_mischievous(Mischief { doubled: true, reversed: true, dropped: false });
    let good = commit('a');
    let names: Vec<String> = (0..10).map(|number| format!("app-{number}")).collect();
    for name in &names {
        house.put(name, &good, 1).await;
    }
    for name in &names {
        house.answered(name, "deployed", &good).await;
    }
    for name in &names {
        house.delete(name).await;
    }
    for name in &names {
        house.gone(name).await;
    }
}

#[tokio::test]
async fn lost_events_are_made_up_for_by_the_sweeps() {
    let house = Installation::start().await;
    house.be_mischievous(Mischief { dropped: true, ..Mischief::default() });
    let good = commit('a');
    house.put("shop", &good, 1).await;
    emulator::until("the stack is up", async || {
        let stack = house.stack("shop").await?;
        (emulator::status(&stack) == "CREATE_COMPLETE").then_some(())
    })
    .await;
    assert_eq!(house.row("shop").await["status"], "deploying");
    house.ring(&sweep("short-sweep")).await;
    house.answered("shop", "deployed", &good).await;
}

#[tokio::test]
async fn a_forged_report_stands_for_no_longer_than_a_minute() {
    let house = Installation::start().await;
    let good = commit('a');
    house.put("shop", &good, 1).await;
    let truth = house.answered("shop", "deployed", &good).await;
    house.be_mischievous(Mischief { dropped: true, ..Mischief::default() });
    // Just as the reactor itself writes, so that the stream rings for nobody.
    let seq: u64 = truth["Seq"].parse().unwrap();
    let update = house.table.update_item().table_name("apps-db");
    let update = update.key("Name", AttributeValue::S("shop".to_owned()));
    let update = update.update_expression("SET #status = :status, Reason = :why, Seq = :seq");
    let update = update.expression_attribute_names("#status", "status");
    let forged = [
        (":status", AttributeValue::S("deploy_failed".to_owned())),
        (":why", AttributeValue::S("call this number".to_owned())),
        (":seq", AttributeValue::N((seq + 1).to_string())),
    ];
    let forged = forged.map(|(name, value)| (name.to_owned(), value));
    update.set_expression_attribute_values(Some(forged.into())).send().await.unwrap();
    house.ring(&sweep("short-sweep")).await;
    let row = house.row("shop").await;
    assert_eq!((row["status"].as_str(), row.get("Reason")), ("deployed", None), "{row:?}");
}

#[tokio::test]
async fn a_version_that_never_comes_up_is_told_once_and_the_next_one_goes_out() {
    let house = Installation::moody().await;
    let (bad, good, better) = (commit('0'), commit('a'), commit('b'));
    // It never ran: the stack can only be deleted.
    house.put("shop", &bad, 1).await;
    let row = house.answered("shop", "deploy_failed", "").await;
    assert!(row["Reason"].starts_with("Broken (AWS::SSM::Parameter): "), "{row:?}");
    let broken = house.stack("shop").await.unwrap();
    house.ring(&sweep("full-sweep")).await;
    let still = house.stack("shop").await.unwrap();
    assert_eq!(
        (emulator::status(&still), still.stack_id()),
        ("ROLLBACK_COMPLETE", broken.stack_id())
    );
    assert_eq!(house.row("shop").await["status"], "deploy_failed");
    house.put("shop", &good, 1).await;
    house.answered("shop", "deployed", &good).await;

    // It ran: what served goes on serving, and the row says so.
    house.put("shop", &bad, 1).await;
    let row = house.answered("shop", "deploy_failed", &good).await;
    assert!(row["Reason"].starts_with("Broken (AWS::SSM::Parameter): "), "{row:?}");
    let rolled_back = house.stack("shop").await.unwrap();
    assert_eq!(emulator::status(&rolled_back), "UPDATE_ROLLBACK_COMPLETE");
    // The same row once more, the reactor's words erased: the stack itself is the witness.
    house.put("shop", &bad, 1).await;
    house.answered("shop", "deploy_failed", &good).await;
    house.ring(&sweep("full-sweep")).await;
    let still = house.stack("shop").await.unwrap();
    assert_eq!(still.last_updated_time(), rolled_back.last_updated_time());
    house.put("shop", &better, 1).await;
    house.answered("shop", "deployed", &better).await;
    assert_eq!(
        house.history("shop").await,
        ["deploy_failed", "deployed", "deploy_failed", "deployed"]
    );
}

#[tokio::test]
async fn a_priority_that_is_always_taken_is_tried_three_times_and_then_told() {
    let house = Installation::moody().await;
    let (contested, good) = (commit('2'), commit('a'));
    house.put("shop", &contested, 1).await;
    let row = house.answered("shop", "deploy_failed", "").await;
    assert!(row["Reason"].contains("is currently in use"), "{row:?}");
    assert!(row["Reason"].contains("3 times in a row"), "{row:?}");
    // Two were deleted and are remembered; the third is there. (The emulator lets a second reactor
    // create a stack over one that was rolled back, which AWS does not, so tries are not counted by
    // its log.)
    let remembered = async || {
        let keys = house.emulator.keys(&house.outputs["ArtifactBucket"]).await;
        keys.iter().filter(|key| key.starts_with("collisions/shop/")).count()
    };
    assert_eq!(remembered().await, 2);
    // It rests, also when the row has forgotten what it said.
    house.put("shop", &contested, 1).await;
    house.answered("shop", "deploy_failed", "").await;
    house.ring(&sweep("full-sweep")).await;
    let stack = house.stack("shop").await.unwrap();
    assert_eq!((emulator::status(&stack), remembered().await), ("ROLLBACK_COMPLETE", 2));
    house.put("shop", &good, 1).await;
    house.answered("shop", "deployed", &good).await;
    // What ran keeps its rule's place, so that an update is not tried again.
    house.put("shop", &contested, 1).await;
    let row = house.answered("shop", "deploy_failed", &good).await;
    assert!(row["Reason"].contains("is currently in use"), "{row:?}");
}

#[tokio::test]
async fn the_newest_row_goes_out_after_what_was_under_way() {
    let house = Installation::moody().await;
    let (one, waits, two, three) = (commit('a'), commit('1'), commit('b'), commit('c'));
    house.put("shop", &one, 1).await;
    house.answered("shop", "deployed", &one).await;
    house.put("shop", &waits, 1).await;
    house.answered("shop", "deploying", &one).await;
    for version in [&two, &three] {
        house.put("shop", version, 1).await;
    }
    house.answered("shop", "deploying", &one).await;
    house.let_go("shop").await;
    house.answered("shop", "deployed", &three).await;
    let stack = house.stack("shop").await.unwrap();
    assert_eq!(emulator::outputs(&stack)["Commit"], three);
}

#[tokio::test]
async fn a_row_deleted_during_an_update_takes_its_stack_along_and_one_put_again_comes_back() {
    let house = Installation::moody().await;
    let (one, waits) = (commit('a'), commit('1'));
    house.put("shop", &one, 1).await;
    house.answered("shop", "deployed", &one).await;
    house.put("shop", &waits, 1).await;
    house.answered("shop", "deploying", &one).await;
    house.delete("shop").await;
    house.let_go("shop").await;
    house.gone("shop").await;
    assert!(house.row("shop").await.is_empty(), "a ghost");
    // Deleted and put again at once: what comes up is new.
    house.put("shop", &one, 1).await;
    house.answered("shop", "deployed", &one).await;
    house.delete("shop").await;
    house.put("shop", &one, 2).await;
    let row = house.answered("shop", "deployed", &one).await;
    assert_eq!(row["Healthy"], "2");
}

#[tokio::test]
async fn what_an_instance_said_of_its_failure_is_the_reason_of_the_row() {
    let template = installation::signalled_template();
    let files = [("template.yaml", template.as_str())];
    let difference = Difference { files: &files, ..Difference::default() };
    let house = Installation::start_with(difference).await;
    let one = commit('a');
    house.put("shop", &one, 1).await;
    // As `rowhouse instance` does it: the reason first, and then the signal.
    let key = format!("failures/shop/{one}.txt");
    let reason = ByteStream::from_static(b"i-0123: its port 20001 was never opened\n");
    let objects = &house.emulator.s3;
    let bucket = &house.outputs["ArtifactBucket"];
    emulator::until("the stack waits for a signal", async || {
        let stack = house.stack("shop").await?;
        (emulator::status(&stack) == "CREATE_IN_PROGRESS").then_some(())
    })
    .await;
    objects.put_object().bucket(bucket).key(key).body(reason).send().await.unwrap();
    emulator::until("the signal arrives", async || {
        let signal = house.emulator.cloudformation.signal_resource().stack_name("demo-app-shop");
        let signal = signal.logical_resource_id("Instances").unique_id("i-0123");
        signal.status(ResourceSignalStatus::Failure).send().await.ok()
    })
    .await;
    let row = emulator::until("the row says so", async || {
        let row = house.row("shop").await;
        row.get("status").is_some_and(|status| status == "deploy_failed").then_some(row)
    })
    .await;
    assert_eq!(row["Reason"], "i-0123: its port 20001 was never opened");
}
