//! Removed is not absent: another table, whatever it is called, ends nothing that no user removed;
//! what was removed within this one goes, though nobody heard of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use std::path::Path;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use emulator::fault::Faults;
use emulator::function::{Answer, Function};
use emulator::until;
use installation::{Difference, Installation, Mischief, sweep};
use serde_json::{Value, json};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const TABLE: &str = "apps-db";
const MARKER: &str = "orphans/demo-app-table.json";

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// An installation in which no event arrives and no clock rings: reactors look when the test says.
struct House {
    installation: Installation,
    config: String,
    faults: Faults,
}

impl House {
    async fn start() -> House {
        let batch = "      BatchSize: 100\n";
        let disabled = format!("{batch}      Enabled: false\n");
        let difference = Difference {
            replaced: &[
                (batch, &disabled),
                ("ScheduleExpression: rate(1 minute)", "ScheduleExpression: rate(9 days)"),
                ("ScheduleExpression: rate(15 minutes)", "ScheduleExpression: rate(9 days)"),
            ],
            ..Difference::default()
        };
        let installation = Installation::moody_with(difference).await;
        installation.be_mischievous(Mischief { dropped: true, ..Mischief::default() });
        let configuration = installation.reactor_configuration().await;
        let config = &configuration["Environment"]["Variables"]["ROWHOUSE_CONFIG"];
        let config = config.as_str().unwrap().to_owned();
        let faults = Faults::start(&installation.emulator).await;
        House { installation, config, faults }
    }

    /// A process of the reactor's function that has seen nothing yet.
    async fn reactor(&self) -> Function {
        self.reactor_of(&self.config).await
    }

    async fn reactor_of(&self, config: &str) -> Function {
        let template = installation::moody_template();
        let environment =
            [("ROWHOUSE_CONFIG", config), ("AWS_ENDPOINT_URL", self.faults.endpoint())];
        let program = Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda"));
        Function::start(program, &[("template.yaml", &template)], &environment).await
    }

    /// Apps of these names, deployed by that process.
    async fn deployed(&self, reactor: &Function, names: &[&str]) {
        for name in names {
            self.installation.put(name, &commit('a'), 1).await;
            self.until_says(reactor, name, "deployed").await;
        }
    }

    async fn until_says(&self, reactor: &Function, name: &str, status: &str) {
        until(&format!("`{name}` is {status}"), async || {
            look(reactor, name).await.unwrap();
            let row = self.installation.row(name).await;
            row.get("status").is_some_and(|says| says == status).then_some(())
        })
        .await;
    }

    /// The apps that have a stack, and the stacks' ids.
    async fn stacks(&self) -> Vec<(String, String)> {
        let listed = self.installation.emulator.cloudformation.describe_stacks();
        let listed = listed.send().await.unwrap();
        let mut found: Vec<(String, String)> = listed
            .stacks()
            .iter()
            .filter_map(|stack| {
                let name = stack.stack_name()?.strip_prefix("demo-app-")?.to_owned();
                assert_eq!(emulator::status(stack), "CREATE_COMPLETE", "{name}");
                Some((name, stack.stack_id()?.to_owned()))
            })
            .collect();
        found.sort();
        found
    }

    /// The orphans that the bucket remembers of the table that was met last.
    async fn orphans(&self) -> Vec<String> {
        let bucket = &self.installation.outputs["ArtifactBucket"];
        let marker = self.installation.emulator.text(bucket, MARKER).await;
        let marker: Value = serde_json::from_str(&marker).unwrap();
        let id = marker["TableId"].as_str().or(marker["TableName"].as_str()).unwrap().to_owned();
        let keys = self.installation.emulator.keys(bucket).await;
        let folder = format!("orphans/{id}/");
        keys.iter().filter_map(|key| key.strip_prefix(&folder).map(str::to_owned)).collect()
    }

    async fn forget(&self, key: impl Fn(&str) -> bool) {
        let bucket = &self.installation.outputs["ArtifactBucket"];
        let emulator = &self.installation.emulator;
        for found in emulator.keys(bucket).await.iter().filter(|found| key(found)) {
            emulator.s3.delete_object().bucket(bucket).key(found).send().await.unwrap();
        }
    }

    /// A table without rows, of the same form.
    async fn make_table(&self, name: &str) {
        let key = KeySchemaElement::builder().attribute_name("Name").key_type(KeyType::Hash);
        let attribute = AttributeDefinition::builder().attribute_name("Name");
        let attribute = attribute.attribute_type(ScalarAttributeType::S);
        let table = self.installation.table.create_table().table_name(name);
        let table = table.key_schema(key.build().unwrap());
        let table = table.attribute_definitions(attribute.build().unwrap());
        table.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    }

    /// The table is deleted, and another one of its name is there.
    async fn make_table_anew(&self) {
        let table = &self.installation.table;
        let lift = table.update_table().table_name(TABLE).deletion_protection_enabled(false);
        lift.send().await.unwrap();
        table.delete_table().table_name(TABLE).send().await.unwrap();
        self.make_table(TABLE).await;
    }
}

/// Rings for a name, as the table's stream does.
async fn look(reactor: &Function, name: &str) -> Answer {
    let event = json!({ "Records": [{
        "eventSource": "aws:dynamodb",
        "dynamodb": { "Keys": { "Name": { "S": name } }, "SequenceNumber": "1" }
    }] });
    let answer = reactor.invoke(&event).await?;
    if answer["batchItemFailures"] == json!([]) { Ok(answer) } else { Err(answer) }
}

/// Whatever rings, these run on.
async fn ring_all(reactor: &Function, names: &[&str]) {
    for name in names {
        look(reactor, name).await.unwrap();
    }
    for _ in 0..2 {
        reactor.invoke(&sweep("short-sweep")).await.unwrap();
        reactor.invoke(&sweep("full-sweep")).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_removed_goes_with_the_sweeps_though_every_record_of_it_was_lost() {
    let house = House::start().await;
    let reactor = house.reactor().await;
    let names: Vec<String> = (0..8).map(|number| format!("app-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    house.deployed(&reactor, &names).await;
    for name in &names {
        house.installation.delete(name).await;
    }
    for left in (0..8_u8).rev() {
        reactor.invoke(&sweep("full-sweep")).await.unwrap();
        until("one of them is gone", async || {
            let listed = house.installation.emulator.cloudformation.describe_stacks();
            let listed = listed.send().await.unwrap();
            let count = listed.stacks().iter().filter(|stack| {
                stack.stack_name().is_some_and(|name| name.starts_with("demo-app-"))
            });
            let count = u8::try_from(count.count()).unwrap();
            assert!(count >= left, "a sweep ended more than one of {} stacks", left + 1);
            (count == left).then_some(())
        })
        .await;
        let log = reactor.log();
        let told = log.lines().rev().find(|line| line.contains("StacksWithoutRow")).unwrap();
        let told: Value = serde_json::from_str(told).unwrap();
        assert_eq!(told["StacksWithoutRow"], f64::from(left), "what it leaves is counted");
    }
    assert!(reactor.log().contains("they go with later ones"), "{}", reactor.log());
}

#[tokio::test]
async fn a_table_made_anew_under_the_same_name_ends_nothing_and_says_what_runs_on() {
    let house = House::start().await;
    let warm = house.reactor().await;
    house.deployed(&warm, &NAMES).await;
    let stacks = house.stacks().await;
    let asleep = house.reactor().await;
    ring_all(&asleep, &NAMES).await;
    house.make_table_anew().await;
    // Both who knew the table of before, and who did not.
    for reactor in [&warm, &house.reactor().await] {
        ring_all(reactor, &NAMES).await;
        assert_eq!(house.stacks().await, stacks);
        assert!(reactor.log().contains("\"orphans\":\"alpha beta gamma\""), "{}", reactor.log());
    }
    assert_eq!(house.orphans().await, NAMES);

    // A row that comes again adopts what runs, and is the user's to delete.
    house.deployed(&warm, &["alpha"]).await;
    assert_eq!(house.stacks().await, stacks);
    assert_eq!(house.orphans().await, ["beta", "gamma"]);
    house.installation.delete("alpha").await;
    look(&warm, "alpha").await.unwrap();
    house.installation.gone("alpha").await;

    // As `rm` does: a row with nothing in it, the answer, and its deletion. Who answers may have
    // been asleep since the table of before, and who looks then need not be who has answered.
    let beta = [("Name", AttributeValue::S("beta".to_owned()))];
    house.installation.put_item(&beta).await;
    house.until_says(&asleep, "beta", "invalid").await;
    house.installation.delete("beta").await;
    look(&warm, "beta").await.unwrap();
    house.installation.gone("beta").await;
    ring_all(&warm, &NAMES).await;
    assert_eq!(house.stacks().await, stacks[2..]);
    assert_eq!(house.orphans().await, ["gamma"]);
}

#[tokio::test]
async fn a_restored_table_and_the_way_back_end_nothing() {
    let house = House::start().await;
    let reactor = house.reactor().await;
    house.deployed(&reactor, &["alpha", "beta"]).await;
    // An older state, as a backup restores it: under another name, and without the later row.
    house.make_table("apps-restored").await;
    let row = house.installation.table.get_item().table_name(TABLE);
    let row = row.key("Name", AttributeValue::S("alpha".to_owned())).send().await.unwrap();
    let put = async |item: std::collections::HashMap<String, AttributeValue>| {
        let put = house.installation.table.put_item().table_name("apps-restored");
        put.set_item(Some(item)).send().await.unwrap();
    };
    put(row.item.clone().unwrap()).await;
    let config = house.config.replace(TABLE, "apps-restored");
    let restored = house.reactor_of(&config).await;
    ring_all(&restored, &NAMES).await;
    assert_eq!(house.orphans().await, ["beta"]);
    let mut gamma = row.item.unwrap();
    gamma.insert("Name".to_owned(), AttributeValue::S("gamma".to_owned()));
    put(gamma).await;
    until("gamma is there", async || {
        look(&restored, "gamma").await.unwrap();
        let stack = house.installation.stack("gamma").await?;
        (emulator::status(&stack) == "CREATE_COMPLETE").then_some(())
    })
    .await;
    let stacks = house.stacks().await;
    assert_eq!(stacks.len(), 3);
    // And back to the first one, which knows nothing of gamma.
    ring_all(&house.reactor().await, &NAMES).await;
    assert_eq!(house.stacks().await, stacks);
    assert_eq!(house.orphans().await, ["gamma"]);
}

#[tokio::test]
async fn reactors_that_meet_a_table_at_the_same_time_agree() {
    let house = House::start().await;
    house.deployed(&house.reactor().await, &NAMES).await;
    let stacks = house.stacks().await;
    for _ in 0..3 {
        house.make_table_anew().await;
        house.installation.put("beta", &commit('a'), 1).await;
        let reactors = [house.reactor().await, house.reactor().await, house.reactor().await];
        let looks = reactors.iter().zip(NAMES).map(async |(reactor, name)| {
            // One that was in another's way is invoked again, by the stream and by the clock.
            let _ = look(reactor, name).await;
            look(reactor, name).await.unwrap();
            reactor.invoke(&sweep("full-sweep")).await.unwrap();
        });
        futures_util::future::join_all(looks).await;
        assert_eq!(house.stacks().await, stacks);
        assert_eq!(house.orphans().await, ["alpha", "gamma"]);
    }
}

#[tokio::test]
async fn a_reactor_that_dies_while_it_meets_a_table_leaves_everything_to_the_next_one() {
    let house = House::start().await;
    house.deployed(&house.reactor().await, &NAMES).await;
    let stacks = house.stacks().await;
    // And how many of these calls go well before that: there are three stacks to be written down,
    // and then the marker.
    let steps = [
        ("dynamodb", "DescribeTable", 0),
        ("s3", "GetObject", 0),
        ("s3", "ListObjectsV2", 0),
        ("cloudformation", "DescribeStacks", 0),
        ("dynamodb", "Scan", 0),
        ("s3", "PutObject", 0),
        ("s3", "PutObject", 1),
        ("s3", "PutObject", 3),
    ];
    for (service, operation, passing) in steps {
        // Not done, and done without an answer.
        for fault in [json!({ "reset": true }), json!({ "response": { "abort_bytes": 1 } })] {
            house.make_table_anew().await;
            let rule = |mut rule: Value| {
                rule["service"] = json!(service);
                rule["operation"] = json!(operation);
                rule
            };
            let passes = rule(json!({ "latency": 1, "times": passing }));
            let mut rules = vec![passes, rule(fault.clone())];
            rules.drain(..usize::from(passing == 0));
            let met = house.faults.fired().await.as_array().unwrap().len();
            house.faults.set(&json!(rules)).await;
            let dies = house.reactor().await;
            let _ = dies.invoke(&sweep("full-sweep")).await;
            let _ = look(&dies, "alpha").await;
            let fired = house.faults.fired().await.as_array().unwrap().len();
            assert!(fired > met + passing, "`{operation}` was never asked for");
            drop(dies);
            house.faults.set(&json!([])).await;
            assert_eq!(house.stacks().await, stacks, "{operation}: {fault}");
            // A row may have come in between.
            house.installation.put("beta", &commit('a'), 1).await;
            let next = house.reactor().await;
            ring_all(&next, &NAMES).await;
            assert_eq!(house.stacks().await, stacks, "{operation}: {fault}");
            assert_eq!(house.orphans().await, ["alpha", "gamma"], "{operation}: {fault}");
        }
    }
}

#[tokio::test]
async fn what_the_bucket_has_forgotten_is_listed_anew_and_ends_nothing() {
    let house = House::start().await;
    let reactor = house.reactor().await;
    house.deployed(&reactor, &NAMES).await;
    let stacks = house.stacks().await;
    house.make_table_anew().await;
    ring_all(&reactor, &NAMES).await;
    let bucket = &house.installation.outputs["ArtifactBucket"];
    for spoil in ["the marker", "all", "a cut marker"] {
        match spoil {
            "the marker" => house.forget(|key| key == MARKER).await,
            "all" => house.forget(|key| key.starts_with("orphans/")).await,
            _ => {
                let put = house.installation.emulator.s3.put_object().bucket(bucket).key(MARKER);
                put.body(b"{\"TableId\":\"3".to_vec().into()).send().await.unwrap();
            }
        }
        ring_all(&reactor, &NAMES).await;
        let another = house.reactor().await;
        ring_all(&another, &NAMES).await;
        assert_eq!(house.stacks().await, stacks, "{spoil}");
        assert_eq!(house.orphans().await, NAMES, "{spoil}");
    }
}

#[tokio::test]
async fn where_the_table_may_not_be_described_its_name_stands_for_it() {
    let house = House::start().await;
    house.deployed(&house.reactor().await, &NAMES).await;
    let stacks = house.stacks().await;
    let denied = json!({ "code": "AccessDeniedException", "status": 400, "message": "no" });
    let rule = json!({ "service": "dynamodb", "operation": "DescribeTable", "error": denied });
    house.faults.set(&json!([rule])).await;
    // It was known by its id, so that this is met for the first time.
    house.installation.delete("alpha").await;
    let reactor = house.reactor().await;
    ring_all(&reactor, &NAMES).await;
    assert_eq!(house.stacks().await, stacks);
    assert_eq!(house.orphans().await, ["alpha"]);
    // From then on what is deleted goes.
    house.installation.delete("beta").await;
    look(&reactor, "beta").await.unwrap();
    house.installation.gone("beta").await;
    house.faults.set(&json!([])).await;
    ring_all(&house.reactor().await, &NAMES).await;
    assert_eq!(house.orphans().await, ["alpha"]);
}

#[tokio::test]
async fn a_role_that_knows_nothing_of_orphans_deletes_nothing_and_answers_every_row() {
    let house = House::start().await;
    let denied = json!({ "code": "AccessDenied", "status": 403, "message": "no" });
    let rule = json!({ "service": "s3", "operation": "GetObject", "error": denied });
    house.faults.set(&json!([rule])).await;
    let reactor = house.reactor().await;
    house.deployed(&reactor, &["alpha", "beta"]).await;
    let stacks = house.stacks().await;
    house.installation.delete("alpha").await;
    assert!(look(&reactor, "alpha").await.is_err(), "a record that failed is told");
    reactor.invoke(&sweep("full-sweep")).await.unwrap();
    assert_eq!(house.stacks().await, stacks);
    assert!(reactor.log().contains(&format!("cannot read `{MARKER}`")), "{}", reactor.log());
    house.deployed(&reactor, &["gamma"]).await;
}

#[tokio::test]
async fn to_know_the_table_costs_three_calls_a_minute_and_one_for_each_reading_of_no_row() {
    let house = House::start().await;
    house.faults.set(&json!([{ "latency": 1 }])).await;
    let reactor = house.reactor().await;
    let calls = async |name: &str, before: &mut usize| {
        look(&reactor, name).await.unwrap();
        let fired = house.faults.fired().await;
        let mut calls: Vec<String> = fired.as_array().unwrap()[..]
            .iter()
            .map(|call| call["operation"].as_str().unwrap().to_owned())
            .collect();
        calls.sort();
        let count = calls.len() - *before;
        *before = calls.len();
        (count, calls)
    };
    let mut before = 0;
    look(&reactor, "nobody").await.unwrap();
    before += house.faults.fired().await.as_array().unwrap().len();
    house.installation.put("shop", &commit('a'), 1).await;
    let (put, all) = calls("shop", &mut before).await;
    assert_eq!(put, 6, "{all:?}");
    until("it is up", async || {
        let stack = house.installation.stack("shop").await?;
        (emulator::status(&stack) == "CREATE_COMPLETE").then_some(())
    })
    .await;
    calls("shop", &mut before).await;
    assert_eq!(calls("shop", &mut before).await.0, 2, "nothing is to be done");
    house.installation.delete("shop").await;
    let (deleted, all) = calls("shop", &mut before).await;
    assert_eq!(deleted, 6, "{all:?}");
}
