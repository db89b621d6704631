//! Whether somebody has changed by hand what the platform's stack is made of: CloudFormation
//! compares each resource with its template,
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html>.

use std::time::{Duration, Instant};

use aws_sdk_cloudformation::types::{
    StackDriftDetectionStatus, StackResourceDrift, StackResourceDriftStatus,
};

use crate::account::{Account, told};
use crate::finding::{Finding, State};
use crate::output;
use crate::stack::{self, PLATFORM};

const WHAT: &str = "drift";
const PATIENCE: Duration = Duration::from_mins(5);

/// Has the resources compared, which changes nothing.
pub(crate) async fn finding(account: &Account) -> Finding {
    match drifts(account).await {
        Ok((drifts, gap)) if drifts.is_empty() && gap.is_some() => Finding::bad(
            WHAT,
            State::Warning,
            format!("not all could be compared: {}", gap.unwrap_or_default()),
            "ask with an administrator's profile: `rowhouse aws doctor --drift --profile NAME`",
        ),
        Ok((drifts, _)) => of(&drifts),
        Err(error) => Finding::unknown(WHAT, &error),
    }
}

/// What has changed, and why not all could be compared, where that is so.
async fn drifts(account: &Account) -> anyhow::Result<(Vec<StackResourceDrift>, Option<String>)> {
    let stacks = &account.cloudformation;
    let began = stacks.detect_stack_drift().stack_name(PLATFORM).send().await;
    let began = began.map_err(|error| told("cannot have the stack compared", &error))?;
    let id = began.stack_drift_detection_id().unwrap_or_default();
    let deadline = Instant::now() + PATIENCE;
    let gap = loop {
        let asked =
            stacks.describe_stack_drift_detection_status().stack_drift_detection_id(id).send();
        let asked = asked.await.map_err(|error| told("cannot ask for the comparison", &error))?;
        match asked.detection_status() {
            Some(StackDriftDetectionStatus::DetectionInProgress) => {}
            // It has compared what it could.
            Some(StackDriftDetectionStatus::DetectionFailed) => {
                break Some(output::clean(asked.detection_status_reason().unwrap_or_default()));
            }
            Some(_) | None => break None,
        }
        anyhow::ensure!(Instant::now() < deadline, "AWS still compares after five minutes");
        tokio::time::sleep(stack::pause(account)).await;
    };
    let changed = [StackResourceDriftStatus::Modified, StackResourceDriftStatus::Deleted];
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let listed = stacks
            .describe_stack_resource_drifts()
            .stack_name(PLATFORM)
            .set_stack_resource_drift_status_filters(Some(changed.to_vec()))
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| told("cannot list what has changed", &error))?;
        found.extend(listed.stack_resource_drifts().iter().cloned());
        next = listed.next_token().map(str::to_owned);
        if next.is_none() {
            return Ok((found, gap));
        }
    }
}

fn of(drifts: &[StackResourceDrift]) -> Finding {
    if drifts.is_empty() {
        return Finding::fine(WHAT, "what the stack made is as its template says");
    }
    let said: Vec<String> = drifts.iter().map(said).collect();
    Finding::bad(
        WHAT,
        State::Warning,
        format!("changed by hand: {}", said.join("; ")),
        format!(
            "set it back by hand, since an update leaves alone what its template has not \
             changed: `aws cloudformation describe-stack-resource-drifts --stack-name {PLATFORM}` \
             shows what is and what should be"
        ),
    )
}

/// Properties alone: values may be secrets.
fn said(drift: &StackResourceDrift) -> String {
    let name = drift.logical_resource_id().unwrap_or_default();
    if drift.stack_resource_drift_status() == Some(&StackResourceDriftStatus::Deleted) {
        return format!("{name} is gone");
    }
    let differences = drift.property_differences().iter();
    let paths: Vec<&str> = differences.filter_map(|one| one.property_path()).collect();
    format!("{name} ({})", paths.join(", "))
}
