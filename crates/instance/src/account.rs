//! The AWS account, by the AWS CLI that Amazon Linux has: no shell, fixed arguments, a time limit.
//! Options are those that its versions 1 and 2 share.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::notes::Notes;
use crate::signal::Signal;

/// How long one call may take, its own retries included.
const LIMIT: Duration = Duration::from_mins(5);

/// Where this machine belongs.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) region: String,
    pub(crate) bucket: String,
    pub(crate) stack: String,
    pub(crate) resource: String,
    pub(crate) instance: String,
}

/// An object, as S3 tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Object {
    /// It changes with the content.
    #[serde(rename = "ETag")]
    pub(crate) tag: String,
    /// Bytes.
    #[serde(default)]
    pub(crate) content_length: u64,
    /// What its writer has noted beside it.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// When an object may be written: S3 decides it, so that of two writers one loses.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
#[derive(Clone, Copy, Debug)]
pub(crate) enum Precondition<'a> {
    /// There is none.
    Absent,
    /// It is as it was when it had this tag.
    Unchanged(&'a str),
}

impl Account {
    /// Fetches an object into a file.
    pub(crate) async fn get(&self, bucket: &str, key: &str, file: &Path) -> Result<Object, String> {
        let mut command = self.aws(&["s3api", "get-object"]);
        command.args(["--bucket", bucket, "--key", key]).arg(file);
        object(&run(command).await?)
    }

    /// Looks at an object; `None`: there is none.
    pub(crate) async fn look(&self, key: &str) -> Result<Option<Object>, String> {
        let mut command = self.aws(&["s3api", "head-object"]);
        command.args(["--bucket", &self.bucket, "--key", key]);
        match run(command).await {
            Ok(said) => object(&said).map(Some),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores a file, with these notes beside it, and returns its tag; `None`: the condition does
    /// not hold.
    pub(crate) async fn put(
        &self,
        key: &str,
        file: &Path,
        condition: Precondition<'_>,
        metadata: &str,
    ) -> Result<Option<String>, String> {
        let mut command = self.aws(&["s3api", "put-object"]);
        command.args(["--bucket", &self.bucket, "--key", key, "--body"]).arg(file);
        match condition {
            Precondition::Absent => command.args(["--if-none-match", "*"]),
            Precondition::Unchanged(tag) => command.args(["--if-match", tag]),
        };
        if !metadata.is_empty() {
            command.args(["--metadata", metadata]);
        }
        match run(command).await {
            Ok(said) => object(&said).map(|object| Some(object.tag)),
            Err(error) if has_lost(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A secret's text; `None`: there is none, or it is not ours to read.
    pub(crate) async fn secret(&self, name: &str) -> Result<Option<String>, String> {
        let mut command = self.aws(&["secretsmanager", "get-secret-value"]);
        command.args(["--secret-id", name]);
        match run(command).await {
            Ok(said) => {
                #[derive(Deserialize)]
                #[serde(rename_all = "PascalCase")]
                struct Secret {
                    secret_string: Option<String>,
                }
                // The parser's own words could repeat what it read.
                let secret: Secret = serde_json::from_str(&said)
                    .map_err(|_| format!("the secret `{name}` cannot be read"))?;
                Ok(secret.secret_string)
            }
            Err(error) if error.contains("(ResourceNotFoundException)") => Ok(None),
            Err(error) if error.contains("(AccessDeniedException)") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores a text.
    pub(crate) async fn put_text(
        &self,
        key: &str,
        text: &str,
        notes: &Notes,
    ) -> Result<(), String> {
        let file = notes.write("sent.txt", text.as_bytes()).map_err(|error| error.to_string())?;
        let mut command = self.aws(&["s3api", "put-object"]);
        command.args(["--bucket", &self.bucket, "--key", key]);
        command.args(["--content-type", "text/plain; charset=utf-8", "--body"]).arg(file);
        run(command).await.map(drop)
    }

    /// Tells the stack how the rollout ended here.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), String> {
        let mut command = self.aws(&["cloudformation", "signal-resource"]);
        command.args(["--stack-name", &self.stack, "--logical-resource-id", &self.resource]);
        command.args(["--unique-id", &self.instance, "--status", signal.as_str()]);
        run(command).await.map(drop)
    }

    fn aws(&self, words: &[&str]) -> Command {
        let mut command = Command::new("aws");
        command.args(words).args(["--region", &self.region, "--output", "json"]);
        command.env("AWS_PAGER", "").env("AWS_RETRY_MODE", "standard");
        command
    }
}

fn object(said: &str) -> Result<Object, String> {
    serde_json::from_str(said).map_err(|error| format!("`aws` answered what is not known: {error}"))
}

/// How the AWS CLI says that there is no such object: by name, or, of a request without a body, by
/// number.
fn is_missing(error: &str) -> bool {
    error.contains("(NoSuchKey)") || error.contains("(404)")
}

/// Somebody else has written meanwhile: 412, or 404 where it was deleted. After 409, at the very
/// same time, nobody knows: it is to be tried again.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
fn has_lost(error: &str) -> bool {
    is_missing(error) || error.contains("(PreconditionFailed)")
}

/// Runs a command to its end, and returns what it said; an error is the last line of its
/// complaints.
async fn run(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("cannot run `aws`: {error}"))?;
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let output = ended
        .map_err(|_| format!("`aws` took longer than {} s", LIMIT.as_secs()))?
        .map_err(|error| format!("cannot run `aws`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(last.map_or_else(|| format!("`aws` ended with {}", output.status), str::to_owned))
}
