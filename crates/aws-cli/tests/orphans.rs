//! What runs without a row is named by whoever asks, and ends by `rm`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use emulator::until;
use room::{DOMAIN, Room, texts};
use serde_json::{Value, json};

/// A platform with apps of these names, which have come up.
async fn room_with(names: &[&str]) -> Room {
    let room = Room::new().await;
    room.done(&["install", "--domain", DOMAIN, "--repo", "https://git.example.com/apps.git"]);
    for name in names {
        let commit = "a".repeat(40);
        let item = json!({ "Name": {"S": name}, "Version": {"S": commit}, "Scale": {"N": "1"} });
        room.shell(&format!("aws dynamodb put-item --table-name apps-db --item '{item}'"));
        until("it is deployed", async || {
            room.sweep();
            (row(&room, name)["status"]["S"] == "deployed").then_some(())
        })
        .await;
    }
    room
}

fn row(room: &Room, name: &str) -> Value {
    let key = json!({ "Name": { "S": name } });
    let text = room
        .shell(&format!("aws dynamodb get-item --table-name apps-db --key '{key}' --no-paginate"));
    serde_json::from_str::<Value>(&text).unwrap_or_default()["Item"].take()
}

/// Nothing rings any more but the clock.
fn silence(room: &Room) {
    room.shell(
        "id=$(aws lambda list-event-source-mappings --output text --query \
         'EventSourceMappings[0].UUID')\n\
         aws lambda update-event-source-mapping --uuid $id --no-enabled",
    );
}

fn listed(room: &Room) -> Value {
    let output = room.rows(&["ls", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Removes apps while the clock rings, and nothing else does.
async fn rm(room: &Room, names: &[&str]) {
    let mut child = room.begin_rows(&[&["rm"], names].concat());
    until("the command has ended", async || {
        room.shell(
            "for which in short full; do\n\
             aws lambda invoke --function-name AppDemoReactorLambda --payload \
             \"{\\\"rowhouse\\\":\\\"$which-sweep\\\"}\" /dev/null\n\
             done",
        );
        child.try_wait().unwrap()
    })
    .await;
    let (printed, said) = texts(&child.wait_with_output().unwrap());
    for name in names {
        assert!(printed.contains(&format!("{name}  deleted\n")), "{printed}{said}");
        assert!(room.emulator.stack(&format!("demo-app-{name}")).await.is_none());
        assert_eq!(row(room, name), Value::Null, "the row that it was removed by");
    }
}

#[tokio::test]
async fn apps_of_a_lost_table_are_named_by_everybody_and_end_by_rm_alone() {
    let room = room_with(&["alpha", "beta"]).await;
    let fine = room.done(&["doctor"]);
    assert!(fine.contains("every app that runs has a row, or was removed"), "{fine}");
    silence(&room);
    room.shell(
        "aws dynamodb update-table --table-name apps-db --no-deletion-protection-enabled\n\
         aws dynamodb delete-table --table-name apps-db\n\
         aws dynamodb create-table --table-name apps-db --billing-mode PAY_PER_REQUEST \
         --attribute-definitions AttributeName=Name,AttributeType=S \
         --key-schema AttributeName=Name,KeyType=HASH --stream-specification \
         StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
    );
    // Before the reactor has met it, and after.
    for _ in 0..2 {
        assert_eq!(listed(&room)["Orphans"], json!(["alpha", "beta"]));
        assert_eq!(listed(&room)["Removed"], json!([]));
        room.sweep();
    }
    let said = texts(&room.rows(&["ls"])).1;
    for name in ["alpha", "beta"] {
        assert!(said.contains(&format!("`{name}` has no row, and nobody removed one")), "{said}");
        assert!(said.contains(&format!("`rowhouse --aws rm {name}`")), "{said}");
    }
    let examined = texts(&room.aws(&["doctor"])).0;
    assert!(examined.contains("which nobody removed: alpha, beta"), "{examined}");
    assert!(examined.contains("`rowhouse --aws rm alpha beta`"), "{examined}");
    rm(&room, &["alpha"]).await;
    assert_eq!(listed(&room)["Orphans"], json!(["beta"]));
    assert!(room.emulator.stack("demo-app-beta").await.is_some());
}

#[tokio::test]
async fn apps_whose_removal_nobody_has_heard_are_named_and_end_by_rm_at_once() {
    let room = room_with(&["alpha", "beta", "gamma"]).await;
    silence(&room);
    for name in ["alpha", "beta"] {
        let key = json!({ "Name": { "S": name } });
        room.shell(&format!("aws dynamodb delete-item --table-name apps-db --key '{key}'"));
    }
    assert_eq!(listed(&room)["Removed"], json!(["alpha", "beta"]));
    assert_eq!(listed(&room)["Orphans"], json!([]));
    let said = texts(&room.rows(&["ls"])).1;
    assert!(said.contains("the row of `alpha` was removed, and it still runs"), "{said}");
    let examined = texts(&room.aws(&["doctor"])).0;
    assert!(examined.contains("though their rows were removed: alpha, beta"), "{examined}");
    rm(&room, &["alpha", "beta"]).await;
    assert_eq!(listed(&room)["Removed"], json!([]));
    assert!(room.emulator.stack("demo-app-gamma").await.is_some());
}

#[tokio::test]
async fn a_reactor_that_may_not_look_at_its_table_is_named_with_what_it_cannot_tell() {
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
         sed -i '/dynamodb:DescribeTable/d' policy.json\n\
         aws iam put-role-policy --role-name $role --policy-name $policy --policy-document \
         file://policy.json",
    );
    let printed = room.done(&["doctor"]);
    assert!(printed.contains("the reactor may not look at apps-db"), "{printed}");
    assert!(printed.contains("another table made anew under that name"), "{printed}");
    assert!(printed.contains("dynamodb:DescribeTable"), "{printed}");
}
