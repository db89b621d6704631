//! The manifest: what an instance is made from, an immutable object named by its digest. Only the digest stands in
//! a template, so that no text of a user reaches a shell, and only its change replaces instances.

use rowhouse_core::{AppName, Commit, Environment, Plan};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What an instance is made from. `Env` and `BuildEnv` hold secrets: their `Debug` shows names alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Manifest {
    pub name: AppName,
    pub version: String,
    pub repo: String,
    pub path: String,
    pub commit: Commit,
    pub env: Environment,
    pub build_env: Environment,
    pub health: Option<String>,
    pub health_timeout: u32,
    /// Raised to deploy the same again: then instances are new, too.
    pub redeploy: u64,
}

impl Manifest {
    /// Of a plan. `Scale` is no part of it.
    pub fn of(plan: &Plan) -> Manifest {
        let app = &plan.app;
        Manifest {
            name: app.name.clone(),
            version: app.version.as_str().to_owned(),
            repo: app.repository.clone(),
            path: app.path.clone(),
            commit: plan.deployment.commit.clone(),
            env: app.env.clone(),
            build_env: app.build_env.clone(),
            health: app.health.clone(),
            health_timeout: app.health_timeout,
            redeploy: app.redeploy,
        }
    }

    /// The object's bytes: the same for the same manifest.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers have a JSON form")
    }
}

/// SHA-256 of an object, in 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a String takes all text");
    }
    text
}

/// Where the manifest of that digest lies in the bucket of artifacts.
pub(crate) fn key(digest: &str) -> String {
    format!("manifests/{digest}.json")
}
