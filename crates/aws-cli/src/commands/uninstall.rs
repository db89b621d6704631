//! `rowhouse aws uninstall`: the platform and all that it made, removed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use rowhouse_aws::{Failure, Life, StackStatus};
use rowhouse_core::{Status, counted};

use crate::account::{Account, told};
use crate::args::Uninstall;
use crate::failure::{Exit, bad_input};
use crate::stack::{self, APPS, PLATFORM, Standing, TABLE};
use crate::{bucket, certificate, output, question};

const AGAIN: &str = "rowhouse aws uninstall";
/// How long a stack is waited for that the reactor has claimed: it makes it within seconds, or not
/// at all.
const ABOUT_TO_BE_MADE: Duration = Duration::from_secs(30);

pub(crate) async fn uninstall(account: &Account, uninstall: &Uninstall) -> anyhow::Result<Exit> {
    account.announce();
    let place = format!("account {} in {}", account.id, account.region);
    let code = bucket::of_code(account);
    let platform = stack::find(account, PLATFORM).await?;
    let has_code = bucket::exists(account, &code).await?;
    if platform.is_none() && !has_code {
        output::line(&format!("nothing is installed in {place} already"));
        return Ok(Exit::Done);
    }
    // A platform that was made by hand has the same names, and is none of this one's.
    let owns_table = match &platform {
        Some(platform) => owns_table(&resources(account, &platform.id).await?),
        None => false,
    };
    let rows = if owns_table { rows(account).await? } else { Vec::new() };
    let apps = if owns_table { apps(account).await? } else { Vec::new() };
    let names: BTreeSet<&str> = rows
        .iter()
        .map(String::as_str)
        .chain(apps.iter().map(|(name, _)| name.trim_start_matches(APPS)))
        .collect();
    if !names.is_empty() && !uninstall.delete_apps {
        let names: Vec<&str> = names.into_iter().collect();
        return Err(bad_input(
            format!("there are apps: {}", output::clean(&names.join(", "))),
            "`rowhouse aws uninstall --delete-apps` deletes them, too",
        ));
    }
    if !uninstall.yes {
        let apps = if names.is_empty() {
            String::new()
        } else {
            format!(", {}", counted(names.len(), "app"))
        };
        let question = format!(
            "Remove the platform of {place}: tables and history, load balancer, buckets{apps}?"
        );
        if !question::is_wanted(&question, "`--yes` says that it is meant").await? {
            output::note("nothing was removed");
            return Ok(Exit::Yours);
        }
    }
    if owns_table {
        let claimed = delete_rows(account, &rows).await?;
        delete_apps(account, claimed).await?;
    }
    let mut records = Vec::new();
    if let Some(platform) = platform {
        if let Some(arn) = platform.outputs.get("Certificate") {
            records = certificate::record_names(account, arn).await;
        }
        delete_stack(account, &platform, AGAIN).await?;
    }
    bucket::delete(account, &code).await?;
    output::line(&format!("removed the platform of {place}"));
    output::note(
        "AWS keeps the encryption key for 7 days, and a last backup of the tables for 35, free \
         of charge",
    );
    if !records.is_empty() {
        output::note(&format!(
            "the record {} stays in the hosted zone: AWS made it to know the domain as yours, \
             takes it again for another certificate, and never removes it",
            output::clean(&records.join(", "))
        ));
    }
    Ok(Exit::Done)
}

/// The names of all rows; none where there is no table.
pub(crate) async fn rows(account: &Account) -> anyhow::Result<Vec<String>> {
    let mut pages = account
        .dynamodb
        .scan()
        .table_name(TABLE)
        .projection_expression("#Name")
        .expression_attribute_names("#Name", "Name")
        .consistent_read(true)
        .into_paginator()
        .send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => {
                let name = |item: &std::collections::HashMap<String, AttributeValue>| {
                    item.get("Name")?.as_s().ok().cloned()
                };
                names.extend(page.items().iter().filter_map(name));
            }
            Err(error) if is_missing(&Failure::of(&error)) => return Ok(Vec::new()),
            Err(error) => return Err(told(&format!("cannot read the table `{TABLE}`"), &error)),
        }
    }
    Ok(names)
}

fn is_missing(failure: &Failure) -> bool {
    failure.code == "ResourceNotFoundException"
}

/// The stacks of apps, by name. A stack of somebody else's is left alone, whatever it is called.
async fn apps(account: &Account) -> anyhow::Result<Vec<(String, Standing)>> {
    let mut stacks = stack::all(account).await?;
    stacks.retain(|(name, standing)| name.starts_with(APPS) && standing.is_ours());
    Ok(stacks)
}

/// Deletes rows; the names of those that the reactor had claimed. Without a row it claims nothing
/// more.
async fn delete_rows(account: &Account, rows: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let mut claimed = BTreeSet::new();
    for row in rows {
        let name = AttributeValue::S(row.clone());
        let delete = account.dynamodb.delete_item().table_name(TABLE).key("Name", name);
        let deleted = delete.return_values(ReturnValue::AllOld).send().await;
        let deleted =
            deleted.map_err(|error| told(&format!("cannot delete the row `{row}`"), &error))?;
        let status = deleted.attributes().and_then(|old| old.get("status")?.as_s().ok());
        if status.is_some_and(|status| status == Status::Deploying.as_str()) {
            claimed.insert(format!("{APPS}{row}"));
        }
    }
    Ok(claimed)
}

/// Deletes the stacks of apps, which have no rows any more: as the reactor does, but also where it
/// has failed. Those that it had claimed may be about to be made, and are waited for: they need the
/// platform to be deleted.
async fn delete_apps(account: &Account, mut claimed: BTreeSet<String>) -> anyhow::Result<()> {
    let mut asked = BTreeSet::new();
    let mut told_of = BTreeSet::new();
    let deadline = Instant::now() + ABOUT_TO_BE_MADE;
    loop {
        let stacks = apps(account).await?;
        claimed.retain(|name| !stacks.iter().any(|(found, _)| found == name));
        if stacks.is_empty() && (claimed.is_empty() || Instant::now() > deadline) {
            return Ok(());
        }
        for (name, standing) in &stacks {
            if told_of.insert((name.clone(), standing.status.as_str())) {
                output::note(&format!("        {:20} {name}", standing.status.as_str()));
            }
            match standing.status.life() {
                Life::DeletionFailed if asked.contains(name) => {
                    return Err(bad_input(
                        format!("the stack `{name}` cannot be deleted"),
                        format!(
                            "`aws cloudformation describe-stack-events --stack-name {name}` says \
                             why; then `{AGAIN}` again"
                        ),
                    ));
                }
                Life::Updating
                | Life::CleaningUp
                | Life::RollingBack
                | Life::Deleting
                | Life::Gone => {}
                Life::Up
                | Life::Creating
                | Life::DeletionFailed
                | Life::Broken
                | Life::Stuck
                | Life::Lost => {
                    let delete = account.cloudformation.delete_stack().stack_name(&standing.id);
                    let deleted = delete.send().await;
                    deleted.map_err(|error| told(&format!("cannot delete `{name}`"), &error))?;
                    asked.insert(name.clone());
                }
            }
        }
        tokio::time::sleep(stack::pause(account)).await;
    }
}

/// Deletes the stack of the platform: what protects the table is lifted, and its buckets are
/// emptied before.
pub(crate) async fn delete_stack(
    account: &Account,
    platform: &Standing,
    again: &str,
) -> anyhow::Result<()> {
    // What is being made may wait for days, such as a certificate for its domain, and can be
    // deleted at once.
    if stack::is_moving(platform.status) && platform.status.life() != Life::Creating {
        stack::follow(account, &platform.id, None).await?;
    }
    if stack::find(account, &platform.id).await?.is_none_or(|one| one.status.life() == Life::Gone) {
        return Ok(());
    }
    let resources = resources(account, &platform.id).await?;
    if owns_table(&resources) {
        lift_protection(account).await?;
    }
    for bucket in resources.iter().filter(|resource| resource.kind == "AWS::S3::Bucket") {
        bucket::empty(account, &bucket.id).await?;
    }
    let mark = stack::mark(account, &platform.id).await?;
    let deleted = account.cloudformation.delete_stack().stack_name(&platform.id).send().await;
    deleted.map_err(|error| told(&format!("cannot delete the stack `{PLATFORM}`"), &error))?;
    let ended = stack::follow(account, &platform.id, mark).await?;
    if ended.status == StackStatus::DeleteComplete {
        return Ok(());
    }
    Err(bad_input(
        format!("the stack came to {}: {}", ended.status.as_str(), ended.failures.join("; ")),
        format!("mend the cause, then `{again}` again: it takes up what is there"),
    ))
}

async fn lift_protection(account: &Account) -> anyhow::Result<()> {
    let lift = account.dynamodb.update_table().table_name(TABLE).deletion_protection_enabled(false);
    match lift.send().await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&Failure::of(&error)) => Ok(()),
        Err(error) => Err(told(&format!("cannot lift the protection of `{TABLE}`"), &error)),
    }
}

/// What a stack is made of: a resource that is there.
struct Resource {
    kind: String,
    id: String,
}

async fn resources(account: &Account, stack: &str) -> anyhow::Result<Vec<Resource>> {
    let mut pages =
        account.cloudformation.list_stack_resources().stack_name(stack).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| told("cannot list what the stack is made of", &error))?;
        found.extend(page.stack_resource_summaries().iter().filter_map(|resource| {
            let status = resource.resource_status().map_or("", |status| status.as_str());
            // What could not be made has no id, or that of somebody else's of the same name.
            let is_there = status != "DELETE_COMPLETE" && status != "CREATE_FAILED";
            let kind = resource.resource_type()?.to_owned();
            let id = resource.physical_resource_id().filter(|_| is_there)?.to_owned();
            Some(Resource { kind, id })
        }));
    }
    Ok(found)
}

/// Whether the table of rows is the stack's own.
fn owns_table(resources: &[Resource]) -> bool {
    resources.iter().any(|one| one.kind == "AWS::DynamoDB::Table" && one.id == TABLE)
}
