//! The AWS account, by the AWS CLI that Amazon Linux has: no shell, fixed arguments, a time limit. Options are those
//! that its versions 1 and 2 share.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::instance::notes::Notes;

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

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Success,
    Failure,
}

impl Signal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Signal::Success => "SUCCESS",
            Signal::Failure => "FAILURE",
        }
    }
}

impl Account {
    /// Fetches an object into a file.
    pub(crate) async fn get(&self, bucket: &str, key: &str, file: &Path) -> Result<(), String> {
        let mut command = self.aws(&["s3api", "get-object"]);
        command.args(["--bucket", bucket, "--key", key]).arg(file);
        run(command).await
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
        run(command).await
    }

    /// Tells the stack how the rollout ended here.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), String> {
        let mut command = self.aws(&["cloudformation", "signal-resource"]);
        command.args(["--stack-name", &self.stack, "--logical-resource-id", &self.resource]);
        command.args(["--unique-id", &self.instance, "--status", signal.as_str()]);
        run(command).await
    }

    fn aws(&self, words: &[&str]) -> Command {
        let mut command = Command::new("aws");
        command.args(words).args(["--region", &self.region, "--output", "json"]);
        command.env("AWS_PAGER", "").env("AWS_RETRY_MODE", "standard");
        command
    }
}

/// Runs a command to its end; an error is the last line that it has said.
async fn run(mut command: Command) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("cannot run `aws`: {error}"))?;
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let output = ended
        .map_err(|_| format!("`aws` took longer than {} s", LIMIT.as_secs()))?
        .map_err(|error| format!("cannot run `aws`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(last.map_or_else(|| format!("`aws` ended with {}", output.status), str::to_owned))
}
