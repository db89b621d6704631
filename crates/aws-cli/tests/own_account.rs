//! `cargo xtask test-aws` on an account of an emulator: the command itself works, and leaves
//! nothing behind.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use emulator::until;
use room::{DOMAIN, Room, texts, xtask};

const VERSION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn arguments(room: &Room) -> Vec<String> {
    let program = room.path("bin/rowhouse-aws").display().to_string();
    ["test-aws", "--yes", "--domain", DOMAIN, "--version", VERSION, "--rowhouse-aws", &program]
        .map(str::to_owned)
        .to_vec()
}

#[tokio::test]
async fn the_whole_loop_runs_on_an_account_and_nothing_is_left() {
    let room = Room::new().await;
    let before = room.inventory();
    let output = room.run(&mut xtask(&arguments(&room)));
    let (printed, said) = texts(&output);
    assert!(output.status.success(), "{printed}\n{said}");
    for expected in [
        "less than one US dollar",
        "This is an emulator: no instance boots in it",
        "hello deployed",
        "== two instances",
        "nothing is left in account 000000000000 in eu-west-1",
    ] {
        assert!(printed.contains(expected), "`{expected}`: {printed}\n{said}");
    }
    assert_eq!(room.inventory(), before);

    // Nobody is at a terminal here.
    let unasked: Vec<String> =
        arguments(&room).into_iter().filter(|word| word != "--yes").collect();
    let (_, said) = texts(&room.run(&mut xtask(&unasked)));
    assert!(said.contains("`--yes` says that it is meant"), "{said}");
    // What is there already is somebody's.
    room.done(&["install", "--domain", DOMAIN]);
    let output = room.run(&mut xtask(&arguments(&room)));
    let said = texts(&output).1;
    assert!(!output.status.success());
    assert!(said.contains("there is a platform in account 000000000000"), "{said}");
    assert!(room.shell("aws cloudformation describe-stacks").contains("rowhouse-platform"));
}

#[tokio::test]
async fn a_failure_and_ctrl_c_end_with_the_removal_of_what_was_made() {
    let room = Room::new().await;
    let before = room.inventory();
    let mut wrong = arguments(&room);
    wrong.extend(["--repo", "ext::sh"].map(str::to_owned));
    let output = room.run(&mut xtask(&wrong));
    let (printed, said) = texts(&output);
    assert!(!output.status.success(), "{printed}");
    assert!(said.contains("the app is invalid `Repo` is"), "{said}\n{printed}");
    assert!(printed.contains("removing what was made"), "{printed}");
    assert_eq!(room.inventory(), before);

    let mut child = room.started(xtask(&arguments(&room)), "said");
    // Not before: the emulator confuses what is deleted while it is made.
    until("the app is changed", async || {
        std::fs::read_to_string(room.path("said")).unwrap().contains("change it").then_some(())
    })
    .await;
    room.shell(&format!("kill -INT {}", child.id()));
    assert!(!child.wait().unwrap().success());
    let printed = std::fs::read_to_string(room.path("said")).unwrap();
    assert!(printed.contains("interrupted"), "{printed}");
    assert_eq!(room.inventory(), before, "{printed}");
}
