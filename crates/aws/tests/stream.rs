//! The stream of the table under AWS's rules, which the emulator does not keep: what fails comes
//! again, and never stands in the way of the others for good.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use std::path::Path;

use emulator::function::Function;
use emulator::stream::{Mapping, Shard};
use installation::{Difference, Installation, sweep};
use serde_json::{Value, json};

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// An installation whose stream is read by the test, and the reactor beside it.
async fn house() -> (Installation, Function, Shard, Mapping) {
    let batch = "      BatchSize: 100\n";
    let disabled = format!("{batch}      Enabled: false\n");
    let difference =
        Difference { replaced: &[(batch, &disabled)], has_faults: true, ..Difference::default() };
    let house = Installation::start_with(difference).await;
    let configuration = house.reactor_configuration().await;
    let variables = configuration["Environment"]["Variables"].as_object().unwrap();
    let mut environment: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    environment.push(("AWS_ENDPOINT_URL", house.faults.as_ref().unwrap().endpoint()));
    let program = Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda"));
    let reactor = Function::start(program, &[], &environment).await;
    let mapping = house.mapping().await;
    let shard = Shard::open(house.emulator.endpoint(), &house.stream().await).await;
    (house, reactor, shard, mapping)
}

/// Reading the row of that name fails so often.
fn reading_fails(name: &str, times: Option<u32>) -> Value {
    let mut rule = json!({
        "service": "dynamodb", "operation": "GetItem", "body": format!("Key.Name.S == '{name}'"),
        "error": { "code": "ProvisionedThroughputExceededException", "status": 400 },
    });
    if let Some(times) = times {
        rule["times"] = json!(times);
    }
    json!([rule])
}

#[tokio::test]
async fn a_record_that_is_throttled_is_retried_from_there_on() {
    let (house, reactor, mut shard, mapping) = house().await;
    let good = commit('a');
    // All three attempts of one invocation.
    house.faults.as_ref().unwrap().set(&reading_fails("second", Some(3))).await;
    for name in ["first", "second", "third"] {
        house.put(name, &good, 1).await;
    }
    shard.drain(mapping, &reactor).await;
    // What follows are the reactor's own writes, in batches of their own.
    assert_eq!(shard.batches[..2], [3, 2], "{:?}", shard.batches);
    assert!(shard.dead_letters.is_empty(), "{:?}", shard.dead_letters);
    for name in ["first", "second", "third"] {
        house.answered(name, "deployed", &good).await;
    }
}

#[tokio::test]
async fn a_record_that_always_fails_goes_to_the_dead_letters_and_the_others_move_on() {
    let (house, reactor, mut shard, mapping) = house().await;
    assert_eq!(mapping.maximum_retry_attempts, 10);
    // Each try waits for the SDK's own retries.
    let mapping = Mapping { maximum_retry_attempts: 2, ..mapping };
    let good = commit('a');
    house.faults.as_ref().unwrap().set(&reading_fails("bad", None)).await;
    for name in ["first", "bad", "last"] {
        house.put(name, &good, 1).await;
    }
    shard.drain(mapping, &reactor).await;
    house.put("later", &good, 1).await;
    shard.drain(mapping, &reactor).await;
    assert_eq!(shard.batches[..4], [3, 2, 2, 2], "{:?}", shard.batches);
    // Given up with what followed it, which was done all the same.
    assert_eq!(shard.dead_letters, [["bad", "last"]]);
    for name in ["first", "last", "later"] {
        house.answered(name, "deployed", &good).await;
    }
    assert!(!house.row("bad").await.contains_key("status"));
    // Once the cause is gone a sweep finds it.
    house.faults.as_ref().unwrap().set(&json!([])).await;
    assert_eq!(reactor.invoke(&sweep("short-sweep")).await, Ok(Value::Null));
    house.answered("bad", "deployed", &good).await;
}

#[tokio::test]
async fn a_mapping_made_by_hand_that_hears_of_no_single_record_is_told_by_an_error() {
    let (house, _, mut shard, mapping) = house().await;
    assert!(mapping.reports_failures && mapping.bisects, "{mapping:?}");
    let mapping = Mapping { reports_failures: false, maximum_retry_attempts: 1, ..mapping };
    let configuration = house.reactor_configuration().await;
    let config = configuration["Environment"]["Variables"]["ROWHOUSE_CONFIG"].as_str().unwrap();
    let config = config.replace("\"PartialBatch\": true", "\"PartialBatch\": false");
    assert!(config.contains("\"PartialBatch\": false"), "{config}");
    let faults = house.faults.as_ref().unwrap();
    let environment =
        [("ROWHOUSE_CONFIG", config.as_str()), ("AWS_ENDPOINT_URL", faults.endpoint())];
    let program = Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda"));
    let reactor = Function::start(program, &[], &environment).await;
    let good = commit('a');
    faults.set(&reading_fails("bad", None)).await;
    for name in ["first", "bad", "last"] {
        house.put(name, &good, 1).await;
    }
    shard.drain(mapping, &reactor).await;
    // Halved until the bad one is alone.
    assert_eq!(shard.batches[..5], [3, 1, 2, 1, 1], "{:?}", shard.batches);
    assert_eq!(shard.dead_letters, [["bad"]]);
    for name in ["first", "last"] {
        house.answered(name, "deployed", &good).await;
    }
}
