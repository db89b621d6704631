//! What the bucket remembers of the table: which one the reactor met last, and which stacks had no
//! row then.
//!
//! `orphans/<prefix of stacks>table.json` names the table; `orphans/<its id>/<name>` is an empty
//! object for each stack. All of them are there before the table is named.

use std::collections::BTreeSet;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rowhouse_core::AppName;

use crate::identity::Identity;
use crate::refusal::Failure;

/// How many objects are written side by side.
const SIDE_BY_SIDE: usize = 8;

/// The bucket that remembers.
#[derive(Clone, Debug)]
pub struct Memory {
    objects: Client,
    bucket: String,
    /// Of the object that names the table: another installation may have the same bucket.
    marker: String,
}

/// Which table was met last.
#[derive(Clone, Debug, Default)]
pub struct Marker {
    /// `None`: none was, or what stands there is unreadable.
    pub met: Option<Identity>,
    /// By which the object is known; `None`: there is none.
    tag: Option<String>,
}

/// How a conditional write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    Done,
    /// Somebody else was faster.
    Lost,
}

impl Memory {
    /// That of an installation whose artifacts lie in `bucket`; `prefix`: what names of its stacks
    /// begin with.
    pub fn new(objects: Client, bucket: &str, prefix: &str) -> Memory {
        let marker = format!("orphans/{prefix}table.json");
        Memory { objects, bucket: bucket.to_owned(), marker }
    }

    /// Reads which table was met last.
    ///
    /// # Errors
    /// The bucket does not answer, or whoever asks may not read it.
    pub async fn marker(&self) -> Result<Marker, Failure> {
        let sent = self.objects.get_object().bucket(&self.bucket).key(&self.marker).send().await;
        let object = match sent.map_err(|error| Failure::of(&error)) {
            Ok(object) => object,
            Err(failure) if failure.code == "NoSuchKey" => return Ok(Marker::default()),
            Err(failure) => return Err(self.told("cannot read", &self.marker, failure)),
        };
        let tag = object.e_tag().map(str::to_owned);
        let body = object.body.collect().await.map_err(|error| {
            let failure = Failure { code: String::new(), message: error.to_string() };
            self.told("cannot read", &self.marker, failure)
        })?;
        Ok(Marker { met: serde_json::from_slice(&body.into_bytes()).ok(), tag })
    }

    /// The stacks that had no row when the reactor met this table, but for those whose rows have
    /// come since.
    ///
    /// # Errors
    /// As for [`Memory::marker`].
    pub async fn names(&self, table: &Identity) -> Result<BTreeSet<AppName>, Failure> {
        let folder = folder(table);
        let listed = self.objects.list_objects_v2().bucket(&self.bucket).prefix(&folder);
        let mut pages = listed.into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| self.told("cannot list", &folder, Failure::of(&error)))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            names.extend(
                keys.filter_map(|key| AppName::parse(key.strip_prefix(folder.as_str())?).ok()),
            );
        }
        Ok(names)
    }

    /// Remembers these, too; one that is remembered already stays as it is.
    pub(crate) async fn remember(
        &self,
        table: &Identity,
        names: &BTreeSet<AppName>,
    ) -> Result<(), Failure> {
        let puts: Vec<_> = names.iter().map(|name| self.remember_one(key(table, name))).collect();
        stream::iter(puts).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    async fn remember_one(&self, key: String) -> Result<(), Failure> {
        let put = self.objects.put_object().bucket(&self.bucket).key(&key);
        match put.if_none_match("*").send().await.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(()),
            Err(failure) if is_lost(&failure) => Ok(()),
            Err(failure) => Err(self.told("cannot write", &key, failure)),
        }
    }

    /// Forgets one, whose row was seen.
    pub(crate) async fn forget(&self, table: &Identity, name: &AppName) -> Result<(), Failure> {
        let key = key(table, name);
        let sent = self.objects.delete_object().bucket(&self.bucket).key(&key).send().await;
        sent.map(drop).map_err(|error| self.told("cannot delete", &key, Failure::of(&error)))
    }

    /// Names the table that was met, if the marker is as it was read.
    pub(crate) async fn mark(&self, table: &Identity, seen: &Marker) -> Result<Marked, Failure> {
        let body = serde_json::to_vec(table).expect("two words are JSON");
        let put = self.objects.put_object().bucket(&self.bucket).key(&self.marker);
        let put = put.content_type("application/json").body(ByteStream::from(body));
        let put = match &seen.tag {
            Some(tag) => put.if_match(tag),
            None => put.if_none_match("*"),
        };
        match put.send().await.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(Marked::Done),
            Err(failure) if is_lost(&failure) => Ok(Marked::Lost),
            Err(failure) => Err(self.told("cannot write", &self.marker, failure)),
        }
    }

    fn told(&self, doing: &str, key: &str, Failure { code, message }: Failure) -> Failure {
        let said = if code.is_empty() { message } else { format!("{code}: {message}") };
        let message = format!("{doing} `{key}` in bucket `{}`: {said}", self.bucket);
        Failure { code, message }
    }
}

fn folder(table: &Identity) -> String {
    format!("orphans/{}/", table.as_str())
}

fn key(table: &Identity, name: &AppName) -> String {
    format!("{}{name}", folder(table))
}

/// Whether the object was not as the writer thought.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
fn is_lost(failure: &Failure) -> bool {
    matches!(
        failure.code.as_str(),
        "PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchKey"
    )
}
