//! `rowhouse instance`: an EC2 instance of one app. Beside it, under another user who has no way to the account, runs
//! `rowhouse up --only NAME`, which builds the app and runs it; the table is the API here, too.
//!
//! This half has the account's rights and the private key. It fetches the manifest and the certificate, and what the
//! other half could not get or should not do again: a build, the source of a private repository, the word that
//! `release:` was run. It writes the one row, opens TLS while the app is healthy, and tells CloudFormation how the
//! rollout ended: once.

mod account;
mod bucket;
mod certificate;
mod front;
mod notes;
mod probe;
mod shared_build;
mod source;
mod traffic;
mod turn;
mod watch;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rowhouse_command::argument::{address, duration};
use rowhouse_command::failure::Exit;
use rowhouse_command::output;
use rowhouse_core::{AppName, Commit, Manifest};
use rowhouse_machine::supply::{Order, Supply};
use tokio::signal::unix::{SignalKind, signal};

use crate::account::{Account, Signal};
use crate::bucket::Address;
use crate::front::Front;
use crate::notes::Notes;
use crate::shared_build::SharedBuild;
use crate::turn::Turn;
use crate::watch::Watch;

/// The platform's folder where the option names none.
const DATA: &str = "/var/lib/rowhouse";
/// Where cloud-init keeps the name of the machine.
const INSTANCE_ID: &str = "/var/lib/cloud/data/instance-id";

#[derive(Debug, Args)]
pub struct Instance {
    /// The app
    #[arg(long, value_parser = AppName::parse)]
    app: AppName,
    /// The commit that it runs
    #[arg(long, value_parser = commit)]
    commit: Commit,
    /// The app answers at APP.DOMAIN
    #[arg(long)]
    domain: String,
    /// Bucket of manifests, builds and reasons of failures
    #[arg(long)]
    bucket: String,
    /// Digest of the manifest
    #[arg(long, value_parser = digest)]
    manifest: String,
    /// Address of the certificate and its key
    #[arg(long, value_parser = Address::parse, value_name = "s3://BUCKET/KEY")]
    certificate: Address,
    #[arg(long)]
    region: String,
    /// The stack to signal, by its id, and the resource in it
    #[arg(long)]
    stack: String,
    #[arg(long)]
    resource: String,
    /// Folder of this half: nobody else may read it
    #[arg(long, default_value = "/var/lib/rowhouse-instance", value_name = "DIR")]
    notes: PathBuf,
    /// Folder of what is laid out for the platform, which its user reads
    #[arg(long, default_value = "/var/lib/rowhouse-supply", value_name = "DIR")]
    supply: PathBuf,
    /// Where TLS is spoken while the app is healthy
    #[arg(long, default_value = "[::]:8443", value_parser = address)]
    listen: SocketAddr,
    /// Where the platform beside this one listens
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address)]
    platform: SocketAddr,
    /// What the machine is called in signals [default: as cloud-init knows it]
    #[arg(long = "instance-id", value_name = "ID")]
    id: Option<String>,
    /// How long the app must answer without fail before it counts
    #[arg(long, default_value = "10s", value_parser = duration)]
    steady: Duration,
    /// How long anything may take before it counts as failed; less than the stack waits
    #[arg(long, default_value = "25m", value_parser = duration)]
    patience: Duration,
    /// How long an instance that goes first may be silent before another one takes its place
    #[arg(long, default_value = "90s", value_parser = duration)]
    lease: Duration,
    /// How long open requests may take when this is told to end
    #[arg(long, default_value = "30s", value_parser = duration)]
    drain: Duration,
    /// Also repositories that are not on the web, for tests
    #[arg(long)]
    any_repository: bool,
}

/// Why a rollout failed, in words for the row.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

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
    // It may have been said meanwhile that it went well: then the service begins anew, and the rollout has not failed.
    if notes.said(&instance.manifest).is_some() {
        return Ok(Exit::Ours);
    }
    {
        let key = format!("failures/{}/{}.txt", instance.app, instance.commit);
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
async fn say(account: &Account, notes: &Notes, manifest: &str, signal: Signal) {
    let mut pause = Duration::from_secs(1);
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
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_mins(1));
    }
    if let Err(error) = notes.has_said(manifest, signal) {
        output::warning(&format!("a signal could not be noted: {error}"));
    }
}

fn commit(text: &str) -> Result<Commit, String> {
    Commit::parse(text).ok_or_else(|| "a commit has 40 hex digits".to_owned())
}

fn digest(text: &str) -> Result<String, String> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = text.len() == 64 && text.bytes().all(digit);
    fits.then(|| text.to_owned()).ok_or_else(|| "a digest has 64 lower-case hex digits".to_owned())
}

/// What a manifest must be for this machine.
fn check(manifest: &Manifest, instance: &Instance) -> Result<(), Refused> {
    if manifest.name != instance.app || manifest.commit != instance.commit {
        return Err(Refused(format!(
            "the manifest is of `{}` at {}, and this machine was started for `{}` at {}",
            manifest.name, manifest.commit, instance.app, instance.commit
        )));
    }
    if !manifest.repo.starts_with("https://") && !instance.any_repository {
        return Err(Refused(
            "the repository of the manifest is not on the web (`https://`)".to_owned(),
        ));
    }
    Ok(())
}
