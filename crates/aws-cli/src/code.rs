//! The code that the platform runs, packed and uploaded: each file under a key that its content
//! decides.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rowhouse_aws::package::{self, Architecture};
use rowhouse_core::ObjectDigest;
use tempfile::TempDir;

use crate::account::Account;
use crate::app_template::AppTemplate;
use crate::{bucket, output, programs};

/// What was uploaded.
pub(crate) struct Code {
    /// Keys of the functions' zips in the bucket of code.
    pub(crate) reactor: String,
    pub(crate) certificates: String,
    /// Digest of the program that instances run.
    pub(crate) program: String,
    folder: TempDir,
}

impl Code {
    /// The program that instances run.
    pub(crate) fn program_file(&self) -> PathBuf {
        self.folder.path().join("programs").join(&self.program)
    }
}

/// Packs the functions, and uploads them to the bucket of code.
pub(crate) async fn upload(
    account: &Account,
    architecture: Architecture,
    template: Option<&AppTemplate>,
) -> anyhow::Result<Code> {
    let programs = programs::programs(architecture)?;
    let folder = TempDir::new().context("cannot make a temporary folder")?;
    let own = template.map(|template| template.text.as_str());
    let packaged = package::lay(folder.path(), &programs, architecture, None, own)?;
    let bucket = bucket::of_code(account);
    output::note(&format!("uploading the functions to the bucket {bucket}"));
    let reactor = under_digest(account, &bucket, folder.path(), package::REACTOR).await?;
    let certificates = under_digest(account, &bucket, folder.path(), package::CERTIFICATES).await?;
    if let Some(template) = template {
        let file = folder.path().join("template");
        std::fs::write(&file, &template.text).context("cannot write the template")?;
        bucket::upload(account, &bucket, &template.key(), &file).await?;
    }
    Ok(Code { reactor, certificates, program: packaged.program, folder })
}

async fn under_digest(
    account: &Account,
    bucket: &str,
    folder: &Path,
    name: &str,
) -> anyhow::Result<String> {
    let file = folder.join(name);
    let bytes =
        std::fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let key = format!("functions/{}/{name}", ObjectDigest::of(&bytes));
    bucket::upload(account, bucket, &key, &file).await?;
    Ok(key)
}
