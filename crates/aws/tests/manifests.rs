//! Manifests hold what apps are given in `Env`: they go when nothing is made from them any more,
//! and never while something may be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use aws_sdk_dynamodb::types::AttributeValue;
use installation::Installation;
use jiff::{SignedDuration, Timestamp};
use rowhouse_aws::Manifests;
use rowhouse_aws::config::Config;

/// Somebody's own file among them.
const NOTES: &str = "manifests/notes.json";

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

async fn manifests(house: &Installation) -> Manifests {
    let configuration = house.reactor_configuration().await;
    let config = configuration["Environment"]["Variables"]["ROWHOUSE_CONFIG"].as_str().unwrap();
    Manifests::new(&house.emulator.config, &Config::parse(config, "the function's").unwrap())
}

/// Those that are kept, by the commits that they are of.
async fn kept(house: &Installation) -> Vec<String> {
    let bucket = &house.outputs["ArtifactBucket"];
    let mut commits = Vec::new();
    for key in house.emulator.keys(bucket).await {
        if key.starts_with("manifests/") && key != NOTES {
            let text = house.emulator.text(bucket, &key).await;
            let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
            let name = manifest["Name"].as_str().unwrap();
            commits.push(format!("{name} {}", &manifest["Commit"].as_str().unwrap()[..1]));
        }
    }
    commits.sort();
    commits
}

#[tokio::test]
async fn manifests_go_when_no_stack_names_them_and_may_not_go_back_to_them() {
    let house = Installation::moody().await;
    let manifests = manifests(&house).await;
    let now = Timestamp::now();
    let later = now + SignedDuration::from_hours(25);
    for digit in ['a', 'b', 'a'] {
        house.put("shop", &commit(digit), 1).await;
        house.answered("shop", "deployed", &commit(digit)).await;
    }
    let secret = AttributeValue::M(
        [("TOKEN".to_owned(), AttributeValue::S("quite-secret".to_owned()))].into(),
    );
    let item = [
        ("Name", AttributeValue::S("gone".to_owned())),
        ("Version", AttributeValue::S(commit('a'))),
        ("Scale", AttributeValue::N("1".to_owned())),
        ("Env", secret),
    ];
    house.put_item(&item).await;
    house.answered("gone", "deployed", &commit('a')).await;
    house.delete("gone").await;
    house.gone("gone").await;
    // An update that hangs, and that may go back.
    house.put("hangs", &commit('a'), 1).await;
    house.answered("hangs", "deployed", &commit('a')).await;
    house.put("hangs", &commit('1'), 1).await;
    house.answered("hangs", "deploying", &commit('a')).await;
    house.waits("demo-app-hangs").await;
    let bucket = &house.outputs["ArtifactBucket"];
    let foreign = house.emulator.s3.put_object().bucket(bucket).key(NOTES);
    foreign.body(b"mine".to_vec().into()).send().await.unwrap();

    let all = ["gone a", "hangs 1", "hangs a", "shop a", "shop b"];
    manifests.tidy(now).await.unwrap();
    assert_eq!(kept(&house).await, all, "they are young");
    manifests.tidy(later).await.unwrap();
    assert_eq!(kept(&house).await, ["hangs 1", "hangs a", "shop a"]);
    // Nor is any left that somebody could read as an earlier version.
    let versions = house.emulator.s3.list_object_versions().bucket(bucket).prefix("manifests/");
    let versions = versions.send().await.unwrap();
    let keys: std::collections::BTreeSet<&str> =
        versions.versions().iter().filter_map(|version| version.key()).collect();
    assert_eq!(keys.len(), 4, "three, and a stranger's: {keys:?}");
    house.let_go("hangs").await;
    house.answered("hangs", "deployed", &commit('1')).await;
    manifests.tidy(later).await.unwrap();
    assert_eq!(kept(&house).await, ["hangs 1", "shop a"]);
    // What goes back to an earlier version writes it anew.
    house.put("shop", &commit('b'), 1).await;
    house.answered("shop", "deployed", &commit('b')).await;
    assert_eq!(kept(&house).await, ["hangs 1", "shop a", "shop b"]);
}
