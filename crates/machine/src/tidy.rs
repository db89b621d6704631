//! Tidying: what expires is removed, and nothing that runs, or may be asked for again soon, ever is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rowhouse_core::{AppName, Commit, Repository, Unreachable};
use tracing::warn;

use crate::build::{BuildKey, BuildRequest, Builds};
use crate::instance::lock;
use crate::live::LiveStack;
use crate::log;
use crate::machine::Machine;
use crate::stack::Ongoing;
use crate::table::SqliteTable;

/// Builds of no app that stay for a while: of one that was deleted and is put again, say.
const KEPT_UNUSED_BUILDS: usize = 5;
/// Logs of an app's earlier instances and builds that stay.
const KEPT_LOGS: usize = 20;
/// How long an app's data, home and logs stay after its row is gone, in days.
const KEPT_DATA_DAYS: u32 = 7;

/// Removes what has expired, and names the stacks that no row wants and no sweep may delete.
pub(crate) async fn after_sweep(machine: &Arc<Machine>, table: &SqliteTable, orphans: &[AppName]) {
    for orphan in orphans {
        let text = format!(
            "it has no row, and too many stacks have none to delete them unasked; `rowhouse rm {orphan}` deletes it"
        );
        machine.journal.tell(orphan, "orphan", text).await;
    }
    if let Err(error) = table.prune_history().await {
        warn!(reason = %error, "cannot tidy the history");
    }
    builds(machine).await;
    if let Err(error) = folders_of_the_deleted(machine, table).await {
        warn!(reason = %error, "cannot tidy the folders of deleted apps");
    }
    mirrors(machine).await;
}

/// Removes what apps leave in folders of their own.
async fn folders_of_the_deleted(machine: &Machine, table: &SqliteTable) -> Result<(), Unreachable> {
    for key in table.deleted_before(KEPT_DATA_DAYS).await? {
        let Ok(name) = AppName::parse(key.as_str()) else { continue };
        let folder = &machine.folder;
        for folder in [folder.app_data(&name), folder.app_home(&name), folder.logs(&name)] {
            if !folder.exists() {
                continue;
            }
            // A folder may be large: meanwhile somebody may have put the app again. And a stack that no sweep may
            // delete runs on without a row.
            let has_stack = machine.stack(&name).record().await.is_some();
            if has_stack || !table.deleted_before(KEPT_DATA_DAYS).await?.contains(&key) {
                break;
            }
            if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
                warn!(folder = %folder.display(), reason = %error, "cannot remove a deleted app's folder");
            }
        }
    }
    Ok(())
}

/// Removes the oldest logs of instances that are gone.
pub(crate) fn logs(machine: &Machine, stack: &LiveStack) {
    let live: BTreeSet<String> =
        lock(&stack.instances).keys().map(|id| format!("{id}.log")).collect();
    let mut old: Vec<(SystemTime, PathBuf)> = log::logs(&machine.folder.logs(&stack.name))
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !live.contains(name.trim_end_matches(".1"))
        })
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(KEPT_LOGS);
    for (_, path) in old.into_iter().take(surplus) {
        // The next rollout tries again.
        let _ = std::fs::remove_file(path);
    }
}

/// What stacks run, aim at, or have run lately, and the requests for what they run and aim at.
async fn kept(machine: &Machine) -> (BTreeSet<BuildKey>, Vec<BuildRequest>) {
    let (mut builds, mut requests) = (BTreeSet::new(), Vec::new());
    for stack in machine.all_stacks() {
        let Some(record) = stack.record().await else { continue };
        builds.extend(record.builds.iter().filter_map(|key| BuildKey::parse(key)));
        let aimed = match &record.ongoing {
            Some(Ongoing::Create { plan, .. } | Ongoing::Update { plan, .. }) => Some(plan),
            Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => None,
        };
        for plan in [aimed, record.running.as_ref()].into_iter().flatten() {
            let request = machine.build_request(plan);
            builds.insert(request.key());
            requests.push(request);
        }
    }
    (builds, requests)
}

/// Lets go of the commits whose builds are gone.
async fn mirrors(machine: &Machine) {
    let (builds, requests) = kept(machine).await;
    let named = requests.iter().map(|request| request.repository.clone()).collect();
    let is_needed = |repository: &Repository, commit: &Commit| {
        requests.iter().filter(|request| request.repository == *repository).any(|request| {
            let key = Builds::key(repository, &request.path, commit, &request.build_env);
            builds.contains(&key)
        })
    };
    if let Err(error) = machine.mirrors.tidy(&named, is_needed).await {
        warn!(reason = %error, "cannot tidy the mirrors");
    }
}

/// Removes builds that no stack runs, aims at, or has run lately.
pub(crate) async fn builds(machine: &Arc<Machine>) {
    let (keep, _) = kept(machine).await;
    let machine = Arc::clone(machine);
    let pruned =
        tokio::task::spawn_blocking(move || machine.builds.prune(&keep, KEPT_UNUSED_BUILDS)).await;
    match pruned {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(reason = %error, "cannot remove old builds"),
        Err(error) => warn!(reason = %error, "cannot remove old builds"),
    }
}
