//! The instances of an app, as its auto scaling group lists them.

use aws_sdk_autoscaling::types::{AutoScalingGroup, Instance};
use rowhouse_aws::Failure;
use rowhouse_command::client::{InstanceState, ListedInstance};

use crate::account::Account;

const GROUP: &str = "AWS::AutoScaling::AutoScalingGroup";

/// Those of the groups of a stack.
pub(crate) async fn of_stack(
    account: &Account,
    stack: &str,
) -> Result<Vec<ListedInstance>, Failure> {
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
    Ok(instances.map(listed).collect())
}

fn listed(instance: &Instance) -> ListedInstance {
    let life = instance.lifecycle_state().map_or("", |state| state.as_str());
    let health = instance.health_status().unwrap_or_default();
    let state = match (life, health) {
        ("InService", "Healthy") => InstanceState::Running,
        ("InService", other) => InstanceState::Other(other.to_lowercase()),
        (life, _) => InstanceState::Other(life.to_lowercase()),
    };
    ListedInstance {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        pid: None,
        port: None,
        state,
        revision: None,
        started_at: None,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::LifecycleState;

    use super::*;

    #[test]
    fn an_instance_runs_where_its_group_says_that_it_serves_and_is_healthy() {
        let state = |life: LifecycleState, health: &str| {
            let instance = Instance::builder().lifecycle_state(life).health_status(health);
            listed(&instance.build()).state.to_string()
        };
        assert_eq!(state(LifecycleState::InService, "Healthy"), "running");
        assert_eq!(state(LifecycleState::InService, "Unhealthy"), "unhealthy");
        assert_eq!(state(LifecycleState::TerminatingWait, "Healthy"), "terminating:wait");
    }
}
