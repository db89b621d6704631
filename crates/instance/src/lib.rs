//! `rowhouse instance`: an EC2 instance of one app. Beside it, under another user who has no way to
//! the account, runs `rowhouse up --only NAME`, which builds the app and runs it; the table is the
//! API here, too.
//!
//! This half has the account's rights and the private key. It fetches the manifest and the
//! certificate, and what the other half could not get or should not do again: a build, the source
//! of a private repository, the word that `release:` was run. It writes the one row, opens TLS
//! while the app is healthy, and tells CloudFormation how the rollout ended: once.

mod account;
mod address;
mod bucket;
mod certificate;
mod front;
mod notes;
mod options;
mod probe;
mod refused;
mod shared_build;
mod signal;
mod source;
mod traffic;
mod turn;
mod watch;

pub use options::Instance;

use std::convert::Infallible;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_command::failure::Exit;
use rowhouse_command::output;
use rowhouse_core::{Manifest, ObjectDigest, failure_key};
use rowhouse_machine::pause::Pause;
use rowhouse_machine::supply::{Order, Supply};
use tokio::signal::unix::{SignalKind, signal};

use crate::account::Account;
use crate::address::Address;
use crate::front::Front;
use crate::notes::Notes;
use crate::refused::Refused;
use crate::shared_build::SharedBuild;
use crate::signal::Signal;
use crate::turn::Turn;
use crate::watch::Watch;

/// The platform's folder where the option names none.
const DATA: &str = "/var/lib/rowhouse";
/// Where cloud-init keeps the name of the machine.
const INSTANCE_ID: &str = "/var/lib/cloud/data/instance-id";

/// Runs until it is told to end, or until the rollout has failed and that was said.
pub async fn run(data: Option<&Path>, instance: Instance) -> anyhow::Result<Exit> {
    let id = match &instance.id {
        Some(id) => id.clone(),
        None => std::fs::read_to_string(INSTANCE_ID)
            .with_context(|| format!("cannot read `{INSTANCE_ID}`"))?
            .trim()
            .to_owned(),
    };
    let notes = Notes::open(&instance.notes)?;
    // What one that was ended in the middle has left.
    source::forget(&notes);
    let account = Account {
        region: instance.region.clone(),
        bucket: instance.bucket.clone(),
        stack: instance.stack.clone(),
        resource: instance.resource.clone(),
        instance: id.clone(),
    };
    let said = notes.said(&instance.manifest);
    if said == Some(Signal::Failure) {
        output::note("this rollout has failed, and that was said: there is nothing to do");
        return Ok(Exit::Done);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let front = OnceLock::new();
    let place = Place {
        data: data.unwrap_or(Path::new(DATA)),
        instance: &instance,
        account: &account,
        notes: &notes,
    };
    let worked = tokio::select! {
        worked = work(&place, &front) => Some(worked),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let Some(worked) = worked else {
        if let Some(front) = front.get() {
            front.drain(instance.drain).await;
        }
        return Ok(Exit::Done);
    };
    let Err(Refused(reason)) = worked;
    output::problem(&output::clean(&reason));
    // It may have been said meanwhile that it went well: then the service begins anew, and the
    // rollout has not failed.
    if notes.said(&instance.manifest).is_some() {
        return Ok(Exit::Ours);
    }
    {
        let key = failure_key(&instance.app, &instance.commit);
        let text = format!("{id}: {reason}\n");
        if let Err(error) = account.put_text(&key, &text, &notes).await {
            output::warning(&format!("the reason could not be stored: {error}"));
        }
        say(&account, &notes, &instance.manifest, Signal::Failure).await;
    }
    Ok(Exit::Done)
}

/// What this half works with.
struct Place<'a> {
    /// The platform's folder.
    data: &'a Path,
    instance: &'a Instance,
    account: &'a Account,
    notes: &'a Notes,
}

/// Does everything; comes back only with a reason.
async fn work(place: &Place<'_>, opened: &OnceLock<Front>) -> Result<Infallible, Refused> {
    let Place { instance, account, notes, .. } = place;
    let manifest = bucket::manifest(instance, account, notes).await?;
    let certificate = bucket::certificate(&instance.certificate, account, notes).await?;
    let host = format!("{}.{}", instance.app, instance.domain);
    let tls = certificate.tls().map_err(|why| wrong(&instance.certificate, &why))?;
    let front = Front::start(instance.listen, instance.platform, &tls)
        .map_err(|error| Refused(format!("cannot start to serve TLS: {error}")))?;
    let front = opened.get_or_init(|| front);
    let probe = probe::Probe::new(&certificate, &host, instance.listen.port())
        .map_err(|why| wrong(&instance.certificate, &why))?;
    if notes.said(&instance.manifest).is_none() {
        let turn = turn::take(instance, &manifest, account, notes).await?;
        let is_released = matches!(turn, Turn::After);
        let outcome = match &turn {
            Turn::After => roll_out(place, &manifest, is_released, front, &probe).await,
            Turn::First(claim) => tokio::select! {
                outcome = roll_out(place, &manifest, is_released, front, &probe) => outcome,
                never = claim.keep() => match never {},
            },
        };
        if let Turn::First(claim) = turn {
            claim.end(outcome.as_ref().map_err(|Refused(reason)| reason.as_str()).copied()).await;
        }
        outcome?;
        output::note(&format!("`{}` answers at {}", instance.app, instance.commit.short()));
        say(account, notes, &instance.manifest, Signal::Success).await;
    }
    watch(place, &manifest, front).await?.serve().await
}

/// Lays out what the platform needs, writes the row, and waits until its app answers.
async fn roll_out(
    place: &Place<'_>,
    manifest: &Manifest,
    is_released: bool,
    front: &Front,
    probe: &probe::Probe,
) -> Result<(), Refused> {
    let Place { data, instance, account, notes } = place;
    let ours = |error: std::io::Error| {
        Refused(format!("cannot write into `{}`: {error}", instance.supply.display()))
    };
    open(&instance.supply).map_err(ours)?;
    let supply = Supply::new(&instance.supply);
    let build = SharedBuild::of(manifest, data, account, notes, &supply).await?;
    let is_built = build.fetch().await;
    if !is_built {
        source::lay_out(manifest, account, notes, &supply).await?;
    }
    let commit = manifest.commit.clone();
    supply.give(&Order { commit, wants_build: !is_built, is_released }).map_err(ours)?;
    let mut watch = watch(place, manifest, front).await?;
    let shared = async {
        if !is_built {
            build.collect().await;
        }
        std::future::pending::<Infallible>().await
    };
    let shared = std::pin::pin!(shared);
    let up = async {
        watch.until_steady(probe, instance.steady, instance.patience).await?;
        // The next instance finds it.
        build.settled().await;
        Ok(())
    };
    tokio::select! {
        outcome = up => outcome,
        never = shared => match never {},
    }
}

async fn watch<'a>(
    place: &Place<'_>,
    manifest: &Manifest,
    front: &'a Front,
) -> Result<Watch<'a>, Refused> {
    let instance = place.instance;
    Watch::begin(place.data, manifest, instance.platform, front, instance.patience).await
}

/// Makes a folder that its group may read, unless it is there.
fn open(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)
}

fn wrong(address: &Address, why: &str) -> Refused {
    Refused(format!("the certificate `{address}` cannot be used: {why}"))
}

/// Signals, until that has arrived or nobody waits for it.
async fn say(account: &Account, notes: &Notes, manifest: &ObjectDigest, signal: Signal) {
    let mut pause = Pause::new(Duration::from_secs(1), Duration::from_mins(1));
    loop {
        match account.signal(signal).await {
            Ok(()) => break,
            // A machine that replaces another one comes up when its stack is at rest.
            Err(error) if error.contains("ValidationError") => {
                output::note(&format!("nobody waits for a signal: {}", output::clean(&error)));
                break;
            }
            Err(error) => output::warning(&format!("cannot signal: {}", output::clean(&error))),
        }
        tokio::time::sleep(pause.due()).await;
    }
    if let Err(error) = notes.has_said(manifest, signal) {
        output::warning(&format!("a signal could not be noted: {error}"));
    }
}
