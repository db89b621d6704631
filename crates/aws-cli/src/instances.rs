//! The instances of an app, as its auto scaling group lists them.

use aws_sdk_autoscaling::types::AutoScalingGroup;
use rowhouse_aws::Failure;
use serde_json::{Value, json};

use crate::account::Account;

const GROUP: &str = "AWS::AutoScaling::AutoScalingGroup";

/// Those of the groups of a stack.
pub(crate) async fn of_stack(account: &Account, stack: &str) -> Result<Vec<Value>, Failure> {
    let asked = account.cloudformation.describe_stack_resources().stack_name(stack).send().await;
    let resources = asked.map_err(|error| Failure::of(&error))?;
    let groups: Vec<String> = resources
        .stack_resources()
        .iter()
        .filter(|resource| resource.resource_type() == Some(GROUP))
        .filter_map(|resource| resource.physical_resource_id().map(str::to_owned))
        .collect();
    // Without a name, AWS would list the groups of everybody.
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let client = aws_sdk_autoscaling::Client::new(&account.config);
    let asked = client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(groups));
    let answer = asked.send().await;
    let answer = answer.map_err(|error| Failure::of(&error))?;
    let instances = answer.auto_scaling_groups().iter().flat_map(AutoScalingGroup::instances);
    Ok(instances
        .map(|instance| {
            let life = instance.lifecycle_state().map_or("", |state| state.as_str());
            let health = instance.health_status().unwrap_or_default();
            let state = match (life, health) {
                ("InService", "Healthy") => "running".to_owned(),
                ("InService", other) => other.to_lowercase(),
                (life, _) => life.to_lowercase(),
            };
            json!({
                "Id": instance.instance_id(),
                "Pid": null,
                "Port": null,
                "State": state,
                "Revision": null,
                "StartedAt": null,
            })
        })
        .collect())
}
