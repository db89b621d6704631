//! The stacks of apps that have no row, told apart by what the reactor remembers of its table.

use std::collections::BTreeSet;

use rowhouse_aws::{DynamoTable, Failure, Identity, Life, Memory};
use rowhouse_command::client::WithoutRow;
use rowhouse_core::AppName;

use crate::account::{Account, told_of};
use crate::stack::{self, Standing};

/// Where an installation keeps what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'a DynamoTable,
    /// What names of apps' stacks begin with.
    pub(crate) prefix: &'a str,
    /// The bucket of artifacts, where the configuration names it: apps' stacks do as well.
    pub(crate) bucket: Option<&'a str>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) without: WithoutRow,
    /// The table that the reactor met last; `None`: none, or nobody can tell.
    pub(crate) met: Option<Identity>,
}

/// Looks for them.
///
/// # Errors
/// Something does not answer, or whoever asks may not look.
pub(crate) async fn look(account: &Account, place: Place<'_>) -> anyhow::Result<Seen> {
    let told = |failure: Failure| told_of("cannot tell which apps have no row", &failure);
    // The stacks first: one that is made meanwhile has its row by then.
    let stacks = stack::list(account).await.map_err(told)?;
    let name = |stack: &str| AppName::parse(stack.strip_prefix(place.prefix)?).ok();
    let apps: Vec<(AppName, Standing)> = stacks
        .into_iter()
        .filter(|(_, stack)| stack.is_ours())
        .filter_map(|(stack, standing)| Some((name(&stack)?, standing)))
        .collect();
    let of_apps = || apps.iter().find_map(|(_, stack)| stack.parameters.get("ArtifactBucket"));
    let Some(bucket) = place.bucket.or_else(|| of_apps().map(String::as_str)) else {
        return Ok(Seen::default());
    };
    let rows = place.table.all_stored().await.map_err(told)?;
    let rows: BTreeSet<&str> = rows.iter().map(|stored| stored.row.key.as_str()).collect();
    let memory = Memory::new(account.s3.clone(), bucket, place.prefix);
    let met = memory.marker().await.map_err(told)?.met;
    let without: Vec<AppName> = apps
        .iter()
        .filter(|(name, stack)| {
            !rows.contains(name.as_str()) && stack.status.life() != Life::Deleting
        })
        .map(|(name, _)| name.clone())
        .collect();
    if without.is_empty() {
        return Ok(Seen { without: WithoutRow::default(), met });
    }
    let table = place.table.identity().await.map_err(told)?;
    let without = match met.as_ref().filter(|met| may_be(met, &table)) {
        Some(met) => {
            let remembered = memory.names(met).await.map_err(told)?;
            let (orphans, removed) =
                without.into_iter().partition(|name| remembered.contains(name));
            WithoutRow { orphans, removed }
        }
        // It lists them as soon as it meets the table.
        None => WithoutRow { orphans: without, removed: Vec::new() },
    };
    Ok(Seen { without, met })
}

/// Whether the table that the reactor met may be this one: either of the two may not be allowed to
/// know more of it than its name.
fn may_be(met: &Identity, table: &Identity) -> bool {
    match (met, table) {
        (Identity::TableId(met), Identity::TableId(table)) => met == table,
        (_, _) => true,
    }
}
