//! An emulator that others wrote says of CloudFormation what the model in `src/model.rs` says, as
//! far as it is right.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod emulator;

use aws_sdk_cloudformation::types::{Parameter, Stack};
use emulator::{Emulator, outputs, status, until};
use rowhouse_aws::Failure;

const SCENES: &str = include_str!("scenes.txt");
const STACK: &str = "demo-app-shop";

const TEMPLATE: &str = "
Parameters:
  Commit: {Type: String}
Conditions:
  NeverComesUp: !Equals [!Ref Commit, '0']
  Waits: !Equals [!Ref Commit, '1']
Resources:
  Running:
    Type: AWS::SSM::Parameter
    Properties: {Name: /running, Type: String, Value: !Ref Commit}
  Broken:
    Type: AWS::SSM::Parameter
    Condition: NeverComesUp
    Properties: {Name: /taken, Type: String, Value: x}
  Handle:
    Type: AWS::CloudFormation::WaitConditionHandle
    Condition: Waits
  Wait:
    Type: AWS::CloudFormation::WaitCondition
    Condition: Waits
    DependsOn: Running
    Properties: {Handle: !Ref Handle, Timeout: '60', Count: 1}
  After: {Type: AWS::CloudFormation::WaitConditionHandle, Condition: Waits, DependsOn: Wait}
Outputs:
  Commit: {Value: !Ref Commit}
";

async fn let_go(emulator: &Emulator) {
    let handle = emulator.cloudformation.describe_stack_resource().stack_name(STACK);
    let found = handle.logical_resource_id("Handle").send().await.unwrap();
    let handle = found.stack_resource_detail().unwrap().physical_resource_id().unwrap().to_owned();
    let word = r#"{"Status": "SUCCESS", "UniqueId": "1", "Data": "", "Reason": ""}"#;
    let web = emulator::web();
    until("the wait ends", async || {
        let sent = web.put(&handle).body(word).send().await.unwrap();
        sent.status().is_success().then_some(())
    })
    .await;
}

/// What the emulator answers to a call.
async fn asked(emulator: &Emulator, call: &str) -> String {
    let stacks = &emulator.cloudformation;
    let commit =
        |digit: &str| Parameter::builder().parameter_key("Commit").parameter_value(digit).build();
    let failed = match call.split_once(' ').unwrap_or((call, "")) {
        ("create", digit) => {
            let request = stacks.create_stack().stack_name(STACK).template_body(TEMPLATE);
            let sent = request.parameters(commit(digit)).send().await;
            sent.err().map(|error| Failure::of(&error))
        }
        ("update", digit) => {
            let request = stacks.update_stack().stack_name(STACK).template_body(TEMPLATE);
            let sent = request.parameters(commit(digit)).send().await;
            sent.err().map(|error| Failure::of(&error))
        }
        ("cancel", _) => {
            let sent = stacks.cancel_update_stack().stack_name(STACK).send().await;
            if sent.is_ok() {
                // The emulator cancels between two resources.
                let_go(emulator).await;
            }
            sent.err().map(|error| Failure::of(&error))
        }
        ("continue", _) => {
            let sent = stacks.continue_update_rollback().stack_name(STACK).send().await;
            sent.err().map(|error| Failure::of(&error))
        }
        ("delete", _) => {
            let sent = stacks.delete_stack().stack_name(STACK).send().await;
            sent.err().map(|error| Failure::of(&error))
        }
        ("let", _) => {
            let_go(emulator).await;
            None
        }
        other => panic!("{other:?} is no call"),
    };
    failed.map_or_else(|| "ok".to_owned(), |failure| failure.code)
}

/// Waits until the stack is at rest, or waits itself.
async fn settled(emulator: &Emulator) -> Option<Stack> {
    until("the stack comes to rest", async || {
        let Some(stack) = emulator.stack(STACK).await else { return Some(None) };
        let aim = stack.parameters().iter().find_map(Parameter::parameter_value);
        let waits = status(&stack) == "UPDATE_IN_PROGRESS" && aim == Some("1") && {
            let wait = emulator.cloudformation.describe_stack_resource().stack_name(STACK);
            let found = wait.logical_resource_id("Handle").send().await.ok();
            found.is_some_and(|found| {
                let detail = found.stack_resource_detail();
                detail.is_some_and(|detail| detail.physical_resource_id().is_some())
            })
        };
        (waits || !status(&stack).ends_with("_IN_PROGRESS")).then_some(Some(stack))
    })
    .await
}

/// The statuses in the stack's own events, oldest first.
async fn told(emulator: &Emulator) -> Vec<String> {
    let Ok(page) = emulator.cloudformation.describe_stack_events().stack_name(STACK).send().await
    else {
        return Vec::new();
    };
    let own = page
        .stack_events()
        .iter()
        .rev()
        .filter(|event| event.resource_type() == Some("AWS::CloudFormation::Stack"));
    own.filter_map(|event| event.resource_status().map(|status| status.as_str().to_owned()))
        .filter(|status| !status.contains("_CLEANUP_"))
        .collect()
}

#[tokio::test]
async fn the_emulator_says_what_the_model_says() {
    let emulator = Emulator::start().await;
    let taken = "Resources: {Taken: {Type: AWS::SSM::Parameter, \
                 Properties: {Name: /taken, Type: String, Value: x}}}";
    emulator.create("taken", taken, &[]).await;
    let mut before = 0;
    for line in SCENES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let call = line.split(" | ").next().unwrap();
        if call.starts_with("let") {
            settled(&emulator).await;
        }
        let answer = asked(&emulator, call).await;
        if ["cancel", "let go"].contains(&call) && answer == "ok" {
            emulator.ended(STACK).await;
        }
        let stack = settled(&emulator).await;
        let (told, stack) = (told(&emulator).await, stack.as_ref());
        let dash = || "-".to_owned();
        let aim = stack.and_then(|stack| stack.parameters().first()?.parameter_value());
        let shown = [
            call.to_owned(),
            answer,
            stack.map_or_else(dash, |stack| status(stack).to_owned()),
            aim.map_or_else(dash, str::to_owned),
            stack.and_then(|stack| outputs(stack).remove("Commit")).unwrap_or_else(dash),
        ];
        let news =
            if stack.is_some() { told[before.min(told.len())..].join(" ") } else { String::new() };
        before = if stack.is_some() { told.len() } else { 0 };
        assert_eq!(format!("{} | {news}", shown.join(" | ")).trim_end(), line.trim_end());
    }
}
