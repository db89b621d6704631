//! Tidying: what expires is removed, and nothing that runs, or may be asked for again soon, ever
//! is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rowhouse_core::{AppName, Commit, Repository, Sweep, Unreachable};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tracing::warn;

use crate::build::request::{BuildId, BuildKey, BuildRequest};
use crate::machine::Machine;
use crate::process::log;
use crate::room::remove;
use crate::stack::Ongoing;
use crate::stack::live::LiveStack;
use crate::stack::stacks::Stacks;
use crate::table::SqliteTable;
use crate::users::Users;

/// Builds of no app that stay for a while: of one that was deleted and is put again, say.
const KEPT_UNUSED_BUILDS: usize = 5;
/// Logs of an app's earlier instances and builds that stay.
const KEPT_LOGS: usize = 20;
/// How long an app's data, home and logs stay after its row is gone, in days.
const KEPT_DATA_DAYS: u32 = 7;

/// Tidies whenever there is something to do, until it is dropped or no sweep is told of any more:
/// builds after a rollout, and all that has expired after a full sweep; after one it is told, too,
/// which stacks without a row it left alone.
pub(crate) async fn run(
    machine: Arc<Machine>,
    stacks: Arc<Stacks>,
    table: Arc<SqliteTable>,
    mut swept: UnboundedReceiver<Sweep>,
) {
    let mut told = BTreeSet::new();
    users(&machine, &stacks).await;
    // A task of its own, so that one that panics is the last of nothing else; it ends with this.
    let mut chore = JoinSet::new();
    loop {
        let sweep = tokio::select! {
            sweep = swept.recv() => match sweep {
                Some(sweep) => Some(sweep),
                None => return,
            },
            () = machine.superfluous.notified() => None,
        };
        if let Some(sweep) = &sweep {
            tell_orphans(&machine, sweep, &mut told).await;
        }
        let (machine, stacks) = (Arc::clone(&machine), Arc::clone(&stacks));
        let table = Arc::clone(&table);
        chore.spawn(async move {
            users(&machine, &stacks).await;
            match sweep {
                Some(_) => after_sweep(&machine, &stacks, &table).await,
                None => builds(&machine, &stacks).await,
            }
        });
        while let Some(ended) = chore.join_next().await {
            if let Err(error) = ended {
                warn!(reason = %error, "tidying did not come to its end");
            }
        }
    }
}

/// Names the stacks that no row wants and that this sweep left: once, as long as that is so.
async fn tell_orphans(machine: &Machine, sweep: &Sweep, told: &mut BTreeSet<AppName>) {
    let orphans = sweep.orphans.iter().map(|name| {
        let text = format!(
            "it has no row, and nobody removed one: it runs on; a row of its name adopts it, and \
             `rowhouse rm {name}` deletes it"
        );
        (name, text)
    });
    let left = sweep.left.iter().map(|name| {
        let text = format!(
            "its row was removed, as were more than a sweep may end at once: it goes with a later \
             one, and `rowhouse rm {name}` deletes it now"
        );
        (name, text)
    });
    let mut named = BTreeSet::new();
    for (name, text) in orphans.chain(left) {
        if !told.contains(name) {
            machine.journal.tell(name, "orphan", text).await;
        }
        named.insert(name.clone());
    }
    *told = named;
}

/// Removes what has expired.
async fn after_sweep(machine: &Arc<Machine>, stacks: &Stacks, table: &SqliteTable) {
    if let Err(error) = table.prune_history().await {
        warn!(reason = %error, "cannot tidy the history");
    }
    builds(machine, stacks).await;
    if let Err(error) = folders_of_the_deleted(machine, stacks, table).await {
        warn!(reason = %error, "cannot tidy the folders of deleted apps");
    }
    mirrors(machine, stacks).await;
}

/// Makes the folders of apps their users', where the last process has ended that was root.
async fn users(machine: &Arc<Machine>, stacks: &Stacks) {
    let unsettled = machine.users.as_ref().map(Users::unsettled).unwrap_or_default();
    for name in unsettled {
        let is_there =
            stacks.held().contains_key(&name) || stacks.stack(&name).record().await.is_some();
        if !is_there {
            // Put again, it is looked after before its first process starts.
            continue;
        }
        if let Err(error) = machine.user(&name).await {
            warn!(app = %name, reason = %error, "cannot settle who owns its folders");
        }
    }
}

/// Removes what apps leave in folders of their own.
async fn folders_of_the_deleted(
    machine: &Machine,
    stacks: &Stacks,
    table: &SqliteTable,
) -> Result<(), Unreachable> {
    for key in table.deleted_before(KEPT_DATA_DAYS).await? {
        let Ok(name) = AppName::parse(key.as_str()) else { continue };
        let folder = &machine.folder;
        for folder in [
            folder.app_data(&name),
            folder.app_home(&name),
            folder.build_home(&name),
            folder.logs(&name),
        ] {
            if !folder.exists() {
                continue;
            }
            // A folder may be large: meanwhile somebody may have put the app again. And a stack
            // that no sweep may delete runs on without a row.
            let has_stack =
                stacks.held().contains_key(&name) || stacks.stack(&name).record().await.is_some();
            if has_stack || !table.deleted_before(KEPT_DATA_DAYS).await?.contains(&key) {
                break;
            }
            if let Err(error) = remove(folder.clone()).await {
                let folder = folder.display();
                warn!(%folder, reason = %error, "cannot remove a deleted app's folder");
            }
        }
    }
    Ok(())
}

/// Removes the oldest logs of instances that are gone.
pub(crate) fn logs(stack: &LiveStack) {
    let live: BTreeSet<String> =
        stack.instances().iter().map(|instance| format!("{}.log", instance.id())).collect();
    let mut old: Vec<(SystemTime, PathBuf)> = log::logs(&stack.machine.folder.logs(&stack.name))
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
async fn kept(machine: &Machine, stacks: &Stacks) -> (BTreeSet<BuildId>, Vec<BuildRequest>) {
    let (mut builds, mut requests) = (BTreeSet::new(), Vec::new());
    for stack in stacks.all() {
        let Some(record) = stack.record().await else { continue };
        let keys = record.builds.iter().filter_map(|key| BuildKey::parse(key));
        builds.extend(keys.map(|key| BuildId { app: stack.name.clone(), key }));
        let aimed = match &record.ongoing {
            Some(Ongoing::Create { plan, .. } | Ongoing::Update { plan, .. }) => Some(plan),
            Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => None,
        };
        for plan in [aimed, record.running.as_ref()].into_iter().flatten() {
            let request = machine.build_request(plan);
            builds.insert(request.id());
            requests.push(request);
        }
    }
    (builds, requests)
}

/// Lets go of the commits whose builds are gone.
async fn mirrors(machine: &Machine, stacks: &Stacks) {
    if !stacks.held().is_empty() {
        return;
    }
    let (builds, requests) = kept(machine, stacks).await;
    let named = requests.iter().map(|request| request.repository.clone()).collect();
    let is_needed = |repository: &Repository, commit: &Commit| {
        let mut requests = requests.iter().filter(|request| request.repository == *repository);
        requests.any(|request| {
            let key = request.key_at(commit);
            builds.contains(&BuildId { app: request.app.clone(), key })
        })
    };
    if let Err(error) = machine.mirrors.tidy(&named, is_needed).await {
        warn!(reason = %error, "cannot tidy the mirrors");
    }
}

/// Removes builds that no stack runs, aims at, or has run lately.
async fn builds(machine: &Arc<Machine>, stacks: &Stacks) {
    if !stacks.held().is_empty() {
        // Nobody knows what they run.
        return;
    }
    let (keep, _) = kept(machine, stacks).await;
    let machine = Arc::clone(machine);
    let pruned =
        tokio::task::spawn_blocking(move || machine.builds.prune(&keep, KEPT_UNUSED_BUILDS)).await;
    match pruned {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(reason = %error, "cannot remove old builds"),
        Err(error) => warn!(reason = %error, "cannot remove old builds"),
    }
}
