//! The whole loop in an emulator of AWS: a row, its stream, the reactor, a stack, its events, and the row again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use aws_sdk_dynamodb::types::AttributeValue;
use installation::{DOMAIN, Installation, Mischief, sweep};

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
    let certificates = house.emulator.keys(&house.outputs["CertificateBucket"]).await;
    assert_eq!(certificates.len(), 1, "{certificates:?}");
    let manifests = house.emulator.keys(&house.outputs["ArtifactBucket"]).await;
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
        ("shell", Some(text("$(id)")), Some(number("1")), "`Version` is"),
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
