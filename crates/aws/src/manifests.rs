//! The manifests that nothing is made from any more: they hold what apps are given in `Env`, and go
//! with the rollouts and the apps that they were for.

use std::collections::BTreeSet;

use aws_sdk_s3::Client;
use jiff::Timestamp;
use rowhouse_core::{AppName, Manifest, Unreachable};
use tracing::{info, warn};

use crate::config::Config;
use crate::platform::APP_TAG;
use crate::refusal::Failure;
use crate::sdk;
use crate::stack::Described;
use crate::status::Life;

const FOLDER: &str = "manifests/";
/// The parameter and the output that name a stack's.
const NAMED: &str = "Manifest";
/// A younger one may be that of a stack that is not listed yet. In seconds.
const KEPT: i64 = 24 * 60 * 60;

/// The folder of manifests, and the stacks that are made from them.
#[derive(Debug)]
pub struct Manifests {
    objects: Client,
    stacks: aws_sdk_cloudformation::Client,
    bucket: String,
}

/// What the stacks need.
#[derive(Debug, Default)]
struct Needed {
    /// Digests that their parameters or outputs name.
    named: BTreeSet<String>,
    /// The apps whose stacks may yet go back to one that is named nowhere.
    unsettled: BTreeSet<AppName>,
}

impl Manifests {
    /// Those of an installation, in the account and region of `shared`.
    pub fn new(shared: &aws_config::SdkConfig, config: &Config) -> Manifests {
        Manifests {
            objects: crate::client::s3(shared),
            stacks: aws_sdk_cloudformation::Client::new(shared),
            bucket: config.artifacts().to_owned(),
        }
    }

    /// Deletes those that no stack names, that are older than a day, and whose app's stack rests.
    ///
    /// # Errors
    /// What could not be listed; nothing is deleted by half a list.
    pub async fn tidy(&self, now: Timestamp) -> Result<(), Unreachable> {
        let before = now.as_second() - KEPT;
        // The objects first: what is written later is younger.
        let old = self.older_than(before).await?;
        if old.is_empty() {
            return Ok(());
        }
        let needed = self.needed().await?;
        for key in old {
            let digest = key.strip_prefix(FOLDER).and_then(|rest| rest.strip_suffix(".json"));
            if digest.is_some_and(|digest| !needed.named.contains(digest)) {
                while self.delete(&key, before, &needed).await? {}
            }
        }
        Ok(())
    }

    /// The keys of those that were written before.
    async fn older_than(&self, before: i64) -> Result<Vec<String>, Unreachable> {
        let mut found = Vec::new();
        let listed = self.objects.list_objects_v2().bucket(&self.bucket).prefix(FOLDER);
        let mut pages = listed.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("cannot list", FOLDER, &error))?;
            let old =
                page.contents().iter().filter(|object| is_older(object.last_modified(), before));
            found.extend(old.filter_map(|object| object.key().map(str::to_owned)));
        }
        Ok(found)
    }

    async fn needed(&self) -> Result<Needed, Unreachable> {
        let mut needed = Needed::default();
        let mut pages = self.stacks.describe_stacks().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| Failure::of(&error).unreachable("cannot list stacks"))?;
            // Those of another installation with the same bucket, too.
            for stack in page.stacks().iter().filter(|stack| sdk::is_ours(stack)) {
                let described = sdk::described(stack)?;
                let name = described.tags.get(APP_TAG);
                if let Some(name) = name.and_then(|name| AppName::parse(name).ok())
                    && !rests(&described)
                {
                    needed.unsettled.insert(name);
                }
                let names = [described.parameters, described.outputs];
                needed.named.extend(names.into_iter().filter_map(|mut all| all.remove(NAMED)));
            }
        }
        Ok(needed)
    }

    /// Deletes the version that was read, where the bucket has some; true: an earlier one may be in
    /// its place then. So one that is written meanwhile, for a stack that goes back to it, stays.
    async fn delete(&self, key: &str, before: i64, needed: &Needed) -> Result<bool, Unreachable> {
        let get = self.objects.get_object().bucket(&self.bucket).key(key).send().await;
        let object = match get {
            Ok(object) => object,
            Err(error) if Failure::of(&error).code == "NoSuchKey" => return Ok(false),
            Err(error) => return Err(self.failed("cannot read", key, &error)),
        };
        let (version, is_old) =
            (object.version_id().map(str::to_owned), is_older(object.last_modified(), before));
        let body = object.body.collect().await.map_err(|error| Unreachable {
            reason: format!("cannot read `{key}` in bucket `{}`: {error}", self.bucket),
        })?;
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&body.into_bytes()) else {
            warn!(key, "it is no manifest of this version, and stays");
            return Ok(false);
        };
        if !is_old || needed.unsettled.contains(&manifest.name) {
            return Ok(false);
        }
        let delete = self.objects.delete_object().bucket(&self.bucket).key(key);
        let has_versions = version.is_some();
        let deleted = delete.set_version_id(version).send().await;
        deleted.map_err(|error| self.failed("cannot delete", key, &error))?;
        info!(app = %manifest.name, key, "nothing is made from this manifest any more");
        Ok(has_versions)
    }

    fn failed<E>(
        &self,
        doing: &str,
        key: &str,
        error: &aws_sdk_s3::error::SdkError<E>,
    ) -> Unreachable
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    {
        Failure::of(error).unreachable(&format!("{doing} `{key}` in bucket `{}`", self.bucket))
    }
}

fn is_older(written: Option<&aws_smithy_types::DateTime>, before: i64) -> bool {
    written.is_some_and(|written| written.secs() < before)
}

/// Whether a stack goes nowhere by itself, nor back: then its parameters name all that it needs.
fn rests(stack: &Described) -> bool {
    match stack.status.life() {
        Life::Up | Life::Broken | Life::Gone => true,
        Life::Creating
        | Life::Updating
        | Life::CleaningUp
        | Life::RollingBack
        | Life::Deleting
        | Life::DeletionFailed
        | Life::Stuck
        | Life::Lost => false,
    }
}
