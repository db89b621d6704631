//! Trouble on the way to AWS and with permissions: the loop comes to the same end, and no row lies meanwhile.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;
mod installation;

use installation::{Difference, Installation, sweep};
use serde_json::{Value, json};

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// A create, an update and a deletion, whatever these faults do to them once or twice each.
async fn survives(rules: &Value) {
    survives_there(rules, Difference::default()).await;
}

async fn survives_there(rules: &Value, difference: Difference<'_>) {
    let house = Installation::start_with(Difference { has_faults: true, ..difference }).await;
    let faults = house.faults.as_ref().unwrap();
    faults.set(rules).await;
    let (one, two) = (commit('a'), commit('b'));
    // The emulator takes a record that failed for done, so that the sweep must find the orphan; and no sweep deletes
    // anything while the table reads empty.
    house.put("another", "", 1).await;
    house.put("shop", &one, 1).await;
    // What a function could not do in its time is looked at by the sweeps.
    house.answered_with_sweeps("shop", "deployed", &one).await;
    let first = house.stack("shop").await.unwrap();
    faults.set(rules).await;
    house.put("shop", &two, 1).await;
    house.answered_with_sweeps("shop", "deployed", &two).await;
    let same = house.stack("shop").await.unwrap();
    assert_eq!(first.stack_id(), same.stack_id(), "a second stack");
    faults.set(rules).await;
    house.delete("shop").await;
    emulator::until("the stack is gone", async || {
        if house.stack("shop").await.is_none() {
            return Some(());
        }
        house.ring(&sweep("full-sweep")).await;
        None
    })
    .await;
    assert!(house.row("shop").await.is_empty(), "a ghost");
    let fired = faults.fired().await.to_string();
    for rule in rules.as_array().unwrap() {
        let operation = rule["operation"].as_str().unwrap();
        assert!(fired.contains(operation), "`{operation}` never failed: {fired}");
    }
}

fn each(operations: &[(&str, &str)], fault: &Value) -> Value {
    let rules = operations.iter().map(|(service, operation)| {
        let mut rule = fault.clone();
        rule["service"] = json!(service);
        rule["operation"] = json!(operation);
        rule
    });
    rules.collect()
}

const CALLS: [(&str, &str); 7] = [
    ("cloudformation", "CreateStack"),
    ("cloudformation", "UpdateStack"),
    ("cloudformation", "DeleteStack"),
    ("cloudformation", "DescribeStacks"),
    ("dynamodb", "GetItem"),
    ("dynamodb", "UpdateItem"),
    ("s3", "PutObject"),
];

#[tokio::test]
async fn throttled_calls_end_as_they_should() {
    let fault = json!({ "times": 4, "error": { "code": "ThrottlingException", "status": 400, "message": "Rate exceeded" } });
    survives(&each(&CALLS, &fault)).await;
}

#[tokio::test]
async fn calls_that_fail_on_the_other_side_end_as_they_should() {
    let fault = json!({ "times": 2, "error": { "code": "ServiceUnavailable", "status": 503 } });
    survives(&each(&CALLS, &fault)).await;
}

#[tokio::test]
async fn calls_that_are_done_but_whose_answer_is_lost_end_as_they_should() {
    survives(&each(&CALLS, &json!({ "times": 1, "response": { "abort_bytes": 1 } }))).await;
}

#[tokio::test]
async fn connections_that_are_reset_end_as_they_should() {
    survives(&each(&CALLS, &json!({ "times": 2, "reset": true }))).await;
}

#[tokio::test]
async fn tables_of_the_least_capacity_are_enough_though_they_refuse_what_is_too_much() {
    let least = "BillingMode: PROVISIONED\n      \
                 ProvisionedThroughput: {ReadCapacityUnits: 1, WriteCapacityUnits: 1}";
    let replaced = Some(("BillingMode: PAY_PER_REQUEST", least));
    let calls = ["GetItem", "UpdateItem", "TransactWriteItems", "Query", "Scan"]
        .map(|operation| ("dynamodb", operation));
    // The emulator counts no capacity; this is what DynamoDB says where it is used up.
    let fault = json!({ "times": 4, "error": {
        "code": "ProvisionedThroughputExceededException", "status": 400,
        "message": "The level of configured provisioned throughput for the table was exceeded",
    } });
    survives_there(&each(&calls, &fault), Difference { replaced, ..Difference::default() }).await;
}

#[tokio::test]
async fn the_roles_of_the_template_are_enough() {
    let auth = [("AUTH", "true")];
    let house =
        Installation::start_with(Difference { environment: &auth, ..Difference::default() }).await;
    let (one, two) = (commit('a'), commit('b'));
    house.put("shop", &one, 1).await;
    house.answered("shop", "deployed", &one).await;
    house.put("shop", &two, 2).await;
    house.answered("shop", "deployed", &two).await;
    house.ring(&sweep("full-sweep")).await;
    house.delete("shop").await;
    house.gone("shop").await;
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_in_the_row() {
    let auth = [("AUTH", "true")];
    for (permission, instead, said) in [
        ("cloudformation:CreateStack", "cloudformation:ListStacks", "cannot create the stack"),
        ("elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTags", "the rules"),
    ] {
        let house = Installation::start_with(Difference {
            environment: &auth,
            replaced: Some((permission, instead)),
            ..Difference::default()
        })
        .await;
        house.put("shop", &commit('a'), 1).await;
        let row = house.answered("shop", "deploy_failed", "").await;
        assert!(row["Reason"].contains(said), "{row:?}");
        assert!(row["Reason"].contains("the reactor's role does not allow it"), "{row:?}");
    }
}
