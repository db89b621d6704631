//! What an instance is told on its command line, by its units in the templates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rowhouse_command::argument::{address, duration};
use rowhouse_core::{AppName, Commit, ObjectDigest};

use crate::address::Address;

#[derive(Debug, Args)]
pub struct Instance {
    /// The app
    #[arg(long, value_parser = AppName::parse)]
    pub(crate) app: AppName,
    /// The commit that it runs
    #[arg(long, value_parser = commit)]
    pub(crate) commit: Commit,
    /// The app answers at APP.DOMAIN
    #[arg(long)]
    pub(crate) domain: String,
    /// Bucket of manifests, builds and reasons of failures
    #[arg(long)]
    pub(crate) bucket: String,
    /// Digest of the manifest
    #[arg(long, value_parser = digest)]
    pub(crate) manifest: ObjectDigest,
    /// Address of the certificate and its key
    #[arg(long, value_parser = Address::parse, value_name = "s3://BUCKET/KEY")]
    pub(crate) certificate: Address,
    #[arg(long)]
    pub(crate) region: String,
    /// The stack to signal, by its id, and the resource in it
    #[arg(long)]
    pub(crate) stack: String,
    #[arg(long)]
    pub(crate) resource: String,
    /// Folder of this half: nobody else may read it
    #[arg(long, default_value = "/var/lib/rowhouse-instance", value_name = "DIR")]
    pub(crate) notes: PathBuf,
    /// Folder of what is laid out for the platform, which its user reads
    #[arg(long, default_value = "/var/lib/rowhouse-supply", value_name = "DIR")]
    pub(crate) supply: PathBuf,
    /// Where TLS is spoken while the app is healthy
    #[arg(long, default_value = "[::]:8443", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Where the platform beside this one listens
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) platform: SocketAddr,
    /// What the machine is called in signals [default: as cloud-init knows it]
    #[arg(long = "instance-id", value_name = "ID")]
    pub(crate) id: Option<String>,
    /// How long the app must answer without fail before it counts
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) steady: Duration,
    /// How long anything may take before it counts as failed; less than the stack waits
    #[arg(long, default_value = "25m", value_parser = duration)]
    pub(crate) patience: Duration,
    /// How long an instance that goes first may be silent before another one takes its place
    #[arg(long, default_value = "90s", value_parser = duration)]
    pub(crate) lease: Duration,
    /// How long open requests may take when this is told to end
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(crate) drain: Duration,
    /// Also repositories that are not on the web, for tests
    #[arg(long)]
    pub(crate) any_repository: bool,
}

fn commit(text: &str) -> Result<Commit, String> {
    Commit::parse(text).ok_or_else(|| "a commit has 40 hex digits".to_owned())
}

fn digest(text: &str) -> Result<ObjectDigest, String> {
    ObjectDigest::parse(text).ok_or_else(|| "a digest has 64 lower-case hex digits".to_owned())
}
