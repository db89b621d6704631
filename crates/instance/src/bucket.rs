//! What the machine is made from, as objects: fetched once, verified, and kept, so that a restart
//! needs no network.

use std::time::{Duration, Instant};

use rowhouse_command::output;
use rowhouse_core::{Manifest, ObjectDigest, Transport, manifest_key};
use rowhouse_machine::pause::Pause;

use crate::account::Account;
use crate::address::Address;
use crate::certificate::Certificate;
use crate::notes::Notes;
use crate::options::Instance;
use crate::refused::Refused;

/// How long an object is asked for: a machine that has just booted may wait for its network and its
/// rights.
const PATIENCE: Duration = Duration::from_mins(3);

/// The manifest that the digest names, and nothing else.
pub(crate) async fn manifest(
    instance: &Instance,
    account: &Account,
    notes: &Notes,
) -> Result<Manifest, Refused> {
    let digest = &instance.manifest;
    let name = format!("{digest}.json");
    let mut kept = notes.read(&name).filter(|bytes| ObjectDigest::of(bytes) == *digest);
    if kept.is_none() {
        let address = Address { bucket: account.bucket.clone(), key: manifest_key(digest) };
        let bytes = fetch(&address, account, notes, &name).await?;
        if ObjectDigest::of(&bytes) != *digest {
            return Err(Refused(format!("`{address}` is not what its digest says")));
        }
        kept = Some(bytes);
    }
    let bytes = kept.unwrap_or_default();
    // The parser's own words could repeat what it read.
    let manifest = serde_json::from_slice(&bytes)
        .map_err(|_| Refused("the manifest is not of this version of Rowhouse".to_owned()))?;
    check(&manifest, instance)?;
    Ok(manifest)
}

/// What a manifest must be for this machine.
fn check(manifest: &Manifest, instance: &Instance) -> Result<(), Refused> {
    if manifest.name != instance.app || manifest.commit != instance.commit {
        return Err(Refused(format!(
            "the manifest is of `{}` at {}, and this machine was started for `{}` at {}",
            manifest.name,
            manifest.commit.short(),
            instance.app,
            instance.commit.short()
        )));
    }
    if manifest.repo.transport() != Transport::Https && !instance.any_repository {
        return Err(Refused(
            "the repository of the manifest is not on the web (`https://`)".to_owned(),
        ));
    }
    Ok(())
}

/// The certificate and its key.
pub(crate) async fn certificate(
    address: &Address,
    account: &Account,
    notes: &Notes,
) -> Result<Certificate, Refused> {
    let name = format!("{}.pair", ObjectDigest::of(address.to_string().as_bytes()));
    if let Some(certificate) = notes.read(&name).and_then(|bytes| Certificate::parse(&bytes)) {
        return Ok(certificate);
    }
    let bytes = fetch(address, account, notes, &name).await?;
    Certificate::parse(&bytes)
        .ok_or_else(|| Refused(format!("`{address}` is no certificate with its key")))
}

/// Fetches an object and keeps it.
async fn fetch(
    address: &Address,
    account: &Account,
    notes: &Notes,
    name: &str,
) -> Result<Vec<u8>, Refused> {
    let ours = |error: std::io::Error| Refused(format!("cannot keep `{address}`: {error}"));
    let began = Instant::now();
    let mut pause = Pause::new(Duration::from_secs(1), Duration::from_secs(20));
    let file = notes.fresh(&format!("{name}.new")).map_err(ours)?;
    while let Err(error) = account.get(&address.bucket, &address.key, &file).await {
        let error = format!("cannot fetch `{address}`: {}", output::clean(&error));
        if began.elapsed() > PATIENCE {
            return Err(Refused(error));
        }
        output::warning(&error);
        tokio::time::sleep(pause.due()).await;
    }
    let path = notes.keep(&file, name).map_err(ours)?;
    std::fs::read(path).map_err(ours)
}
