//! The commands on rows on an account of an emulator: what people type, from an empty account to an
//! empty one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "../../aws/src/repository/tests/server.rs"]
mod server;

use std::process::Output;

use emulator::until;
use room::{DOMAIN, Room, texts};
use serde_json::Value;
use server::Server;

#[tokio::test]
async fn an_app_comes_changes_and_goes_by_the_same_commands_as_on_a_machine() {
    let server = Server::start();
    let authority = server.folder.path().join("authority.pem");
    std::fs::write(&authority, &server.authority).unwrap();
    let room = Room::trusting(&authority).await;
    let before = room.inventory();
    let nothing = room.rows(&["ls"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(texts(&nothing).1.contains("`rowhouse aws install"), "{nothing:?}");

    let repo = server.address("site.git");
    room.done(&[
        "install",
        "--domain",
        DOMAIN,
        "--repo",
        &repo,
        "--allowed-repository-hosts",
        "localhost",
    ]);
    let commit = server.commit("main").as_str().to_owned();

    let bad = room.rows(&["put", "hello", "--version", "main", "--scale", "9"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(texts(&bad).1.contains("from 0 to 3"), "{bad:?}");

    let put = sweeping(&room, &["put", "hello", "--version", "main", "--scale", "2"]).await;
    assert!(
        put.contains("hello  deployed  2/2") && put.contains(&format!("https://hello.{DOMAIN}")),
        "{put}"
    );

    let show: Value =
        serde_json::from_str(&succeeded(&room, &["show", "hello", "--json"])).unwrap();
    assert_eq!(show["status"], "deployed");
    assert_eq!(show["Revision"], commit);
    assert_eq!(show["LoadBalancer"], format!("https://hello.{DOMAIN}"));
    assert_eq!(show["Reactor"]["AtWork"], true);
    let people = succeeded(&room, &["show", "hello"]);
    assert!(people.contains("status         deployed"), "{people}");

    let again = room.rows(&["put", "hello", "--version", "main", "--scale", "2"]);
    assert!(texts(&again).1.contains("`hello` is already so"), "{again:?}");
    let scaled = sweeping(&room, &["scale", "hello", "1", "--timeout", "2m"]).await;
    assert!(scaled.contains("1/1"), "{scaled}");
    let listed: Value = serde_json::from_str(&succeeded(&room, &["ls", "--json"])).unwrap();
    assert_eq!(listed["Apps"][0]["Scale"], 1);

    let history = succeeded(&room, &["history", "hello"]);
    assert_eq!(history.lines().count(), 3, "{history}");
    let events: Value =
        serde_json::from_str(&succeeded(&room, &["events", "hello", "--json"])).unwrap();
    let events = events["Events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["Kind"] == "create_complete"), "{events:?}");
    assert!(succeeded(&room, &["events"]).contains("update_complete"));
    let unprinted = room.rows(&["logs", "hello"]);
    assert!(texts(&unprinted).1.contains("has printed nothing yet"), "{unprinted:?}");
    room.shell(
        "aws logs create-log-stream --log-group-name /rowhouse/hello --log-stream-name i-1/app
         aws logs put-log-events --log-group-name /rowhouse/hello --log-stream-name i-1/app \
         --log-events timestamp=$(date +%s000),message='it listens'",
    );
    let printed = succeeded(&room, &["logs", "hello"]);
    assert!(printed.contains("i-1/app  it listens"), "{printed}");

    // A repository that nobody may read is not waited for.
    let private = server.address("private/site.git");
    let refused = ended(&room, &["put", "closed", "--version", "main", "--repo", &private]).await;
    assert_eq!(refused.status.code(), Some(1));
    let said = texts(&refused).1;
    assert!(said.contains("it answered 401") && said.contains("rowhouse/git/localhost"), "{said}");
    assert!(said.contains("`closed` was not deployed: cannot read repository"), "{said}");
    assert_eq!(sweeping(&room, &["rm", "closed"]).await, "closed  deleted\n");

    // What somebody else has written goes by the same word.
    room.shell(
        "aws dynamodb put-item --table-name apps-db --item '{\"Name\":{\"S\":\"Foo_bar\"}}'",
    );
    let put = ["put", "hello", "--follow", "true", "--env", "GREETING=hello"];
    let invalid = ended(&room, &put).await;
    assert_eq!(invalid.status.code(), Some(0), "{invalid:?}");
    let row = room
        .shell("aws dynamodb get-item --table-name apps-db --key '{\"Name\":{\"S\":\"hello\"}}'");
    let row: Value = serde_json::from_str(&row).unwrap();
    assert_eq!(row["Item"]["Follow"], serde_json::json!({ "BOOL": true }));
    assert_eq!(sweeping(&room, &["rm", "Foo_bar"]).await, "Foo_bar  deleted\n");
    goes_back_and_forth(&room, &commit).await;
    let redeployed = sweeping(&room, &["redeploy", "hello"]).await;
    assert!(redeployed.contains("hello  deployed"), "{redeployed}");

    let unknown = room.rows(&["rm", "helo"]);
    assert!(texts(&unknown).1.contains("did you mean `hello`?"), "{unknown:?}");
    let gone = sweeping(&room, &["rm", "hello"]).await;
    assert_eq!(gone, "hello  deleted\n");
    room.shell(
        "id=$(aws lambda list-event-source-mappings --output text --query \
         'EventSourceMappings[0].UUID')
         aws lambda update-event-source-mapping --uuid $id --no-enabled",
    );
    let unheard = texts(&room.rows(&["ls"])).1;
    assert!(unheard.contains("the stream of the table is off"), "{unheard}");
    assert!(unheard.contains("`rowhouse aws doctor` says what to do"), "{unheard}");
    room.done(&["uninstall", "--yes"]);
    assert_eq!(room.inventory(), before);
}

fn succeeded(room: &Room, arguments: &[&str]) -> String {
    let output = room.rows(arguments);
    let (printed, said) = texts(&output);
    assert!(output.status.success(), "{arguments:?}: {printed}{said}");
    printed
}

/// Between releases, with all that they had.
async fn goes_back_and_forth(room: &Room, commit: &str) {
    // Back to the newest release of that commit that differs, with all that it had.
    let back = sweeping(room, &["rollback", "hello", commit]).await;
    assert!(back.contains("hello  deployed  1/1"), "{back}");
    let get = "aws dynamodb get-item --table-name apps-db --key '{\"Name\":{\"S\":\"hello\"}}'";
    let row: Value = serde_json::from_str(&room.shell(get)).unwrap();
    assert_eq!(row["Item"]["Env"], Value::Null);
    assert_eq!(row["Item"]["Version"]["S"], commit);
    assert_eq!(row["Item"]["Follow"]["BOOL"], false);
    let forth = ended(room, &["rollback", "hello"]).await;
    let (printed, said) = texts(&forth);
    assert!(printed.contains("hello  deployed  1/1"), "{printed}{said}");
    assert!(said.contains("hello: Env: GREETING=(none) → ***"), "{said}");
    let row: Value = serde_json::from_str(&room.shell(get)).unwrap();
    assert_eq!(row["Item"]["Env"]["M"]["GREETING"]["S"], "hello");
    // Who reads the history meets no release.
    let history = succeeded(room, &["history", "hello"]);
    let numbers: Vec<&str> =
        history.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["5", "4", "3", "2", "1"], "{history}");
}

/// A command that waits, while the reactor sweeps as its schedule has it do: the emulator publishes
/// no events of stacks.
async fn sweeping(room: &Room, arguments: &[&str]) -> String {
    let output = ended(room, arguments).await;
    let (printed, said) = texts(&output);
    assert!(output.status.success(), "{arguments:?}: {printed}{said}");
    printed
}

async fn ended(room: &Room, arguments: &[&str]) -> Output {
    let mut child = room.begin_rows(arguments);
    until("the command has ended", async || {
        room.sweep();
        child.try_wait().unwrap()
    })
    .await;
    child.wait_with_output().unwrap()
}
