//! Buckets: the one of the functions' code, and how one is emptied with all its versions.

use std::path::Path;

use anyhow::Context as _;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier,
};
use aws_smithy_types::byte_stream::ByteStream;
use rowhouse_aws::Failure;

use crate::account::{Account, told};

/// The bucket that the functions' code is uploaded to. S3 has one namespace for everybody, so it is
/// ours only if the account says so: all calls name the owner that they expect.
pub(crate) fn of_code(account: &Account) -> String {
    format!("rowhouse-code-{}-{}", account.id, account.region)
}

/// Whether this account has that bucket.
pub(crate) async fn exists(account: &Account, bucket: &str) -> anyhow::Result<bool> {
    let asked =
        account.s3.head_bucket().bucket(bucket).expected_bucket_owner(&account.id).send().await;
    match asked {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(told(&format!("cannot use the bucket `{bucket}`"), &error)),
    }
}

/// Makes it, unless it is there.
pub(crate) async fn make(account: &Account, bucket: &str) -> anyhow::Result<()> {
    if exists(account, bucket).await? {
        return Ok(());
    }
    // The oldest region is no place that may be named.
    let place = (account.region != "us-east-1").then(|| {
        let region = BucketLocationConstraint::from(account.region.as_str());
        CreateBucketConfiguration::builder().location_constraint(region).build()
    });
    let made = account.s3.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
    made.send()
        .await
        .map_err(|error| told(&format!("cannot make the bucket `{bucket}`"), &error))?;
    Ok(())
}

/// Uploads a file under a key that its content decides; what is there already is left.
pub(crate) async fn upload(
    account: &Account,
    bucket: &str,
    key: &str,
    file: &Path,
) -> anyhow::Result<()> {
    let owner = &account.id;
    let there = account.s3.head_object().bucket(bucket).key(key).expected_bucket_owner(owner);
    match there.send().await {
        Ok(_) => return Ok(()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(told(&format!("cannot look into the bucket `{bucket}`"), &error)),
    }
    let body = ByteStream::from_path(file)
        .await
        .with_context(|| format!("cannot read `{}`", file.display()))?;
    let put = account.s3.put_object().bucket(bucket).key(key).expected_bucket_owner(owner);
    let put = put.body(body).send().await;
    put.map_err(|error| told(&format!("cannot upload `{key}` to the bucket `{bucket}`"), &error))?;
    Ok(())
}

/// The text of an object.
pub(crate) async fn text(account: &Account, bucket: &str, key: &str) -> anyhow::Result<String> {
    let get = account.s3.get_object().bucket(bucket).key(key).expected_bucket_owner(&account.id);
    let got = get.send().await;
    let got = got.map_err(|error| told(&format!("cannot read `{key}` in `{bucket}`"), &error))?;
    let bytes = got.body.collect().await.with_context(|| format!("cannot read `{key}`"))?;
    String::from_utf8(bytes.to_vec()).with_context(|| format!("`{key}` is no text"))
}

/// Removes every version of every object.
pub(crate) async fn empty(account: &Account, bucket: &str) -> anyhow::Result<()> {
    let owner = &account.id;
    loop {
        let listed =
            account.s3.list_object_versions().bucket(bucket).expected_bucket_owner(owner).send();
        let listed = match listed.await {
            Ok(listed) => listed,
            Err(error) if Failure::of(&error).code == "NoSuchBucket" => return Ok(()),
            Err(error) => return Err(told(&format!("cannot list the bucket `{bucket}`"), &error)),
        };
        let versions = listed.versions().iter().map(|one| (one.key(), one.version_id()));
        let markers = listed.delete_markers().iter().map(|one| (one.key(), one.version_id()));
        let objects: Vec<ObjectIdentifier> = versions
            .chain(markers)
            .filter_map(|(key, version)| {
                let object = ObjectIdentifier::builder().key(key?);
                object.set_version_id(version.map(str::to_owned)).build().ok()
            })
            .collect();
        if objects.is_empty() {
            return Ok(());
        }
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build()?;
        let request = account.s3.delete_objects().bucket(bucket).expected_bucket_owner(owner);
        let deleted = request.delete(delete).send().await;
        let deleted = deleted
            .map_err(|error| told(&format!("cannot empty the bucket `{bucket}`"), &error))?;
        if let Some(refused) = deleted.errors().first() {
            anyhow::bail!(
                "cannot empty the bucket `{bucket}`: `{}`: {}",
                refused.key().unwrap_or_default(),
                refused.message().unwrap_or_default()
            );
        }
    }
}

/// Deletes a bucket with all that is in it, if it is there.
pub(crate) async fn delete(account: &Account, bucket: &str) -> anyhow::Result<()> {
    if !exists(account, bucket).await? {
        return Ok(());
    }
    empty(account, bucket).await?;
    let deleted = account.s3.delete_bucket().bucket(bucket).expected_bucket_owner(&account.id);
    deleted
        .send()
        .await
        .map_err(|error| told(&format!("cannot delete the bucket `{bucket}`"), &error))?;
    Ok(())
}

/// HEAD answers have no text, so that the number is all there is.
fn is_missing<E>(
    error: &aws_smithy_runtime_api::client::result::SdkError<
        E,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
) -> bool {
    error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404)
}
