//! Runs a tool of the platform's own (git, `cargo metadata`) to its end: no input, a time limit,
//! bounded output, nothing left behind. The commands of apps are run by others.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// More output than this (bytes, of each stream) is read and forgotten.
const OUTPUT_LIMIT: usize = 16 << 20;

/// How a tool ended.
#[derive(Debug)]
pub(crate) struct ToolEnd {
    /// `None`: it was ended at its time limit.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl ToolEnd {
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Standard output as text, without the white space around it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// Runs `command` in a process group of its own and ends the whole group at the time limit, and
/// also when the caller stops waiting.
pub(crate) async fn run(mut command: Command, limit: Duration) -> io::Result<ToolEnd> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut group = Group(id);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let end = async {
        let (stdout, stderr) = tokio::join!(capture(stdout), capture(stderr));
        (child.wait().await, stdout, stderr)
    };
    let Ok((status, stdout, stderr)) = tokio::time::timeout(limit, end).await else {
        drop(group);
        child.wait().await?;
        return Ok(ToolEnd { status: None, stdout: Vec::new(), stderr: String::new() });
    };
    group.0 = None;
    let stderr = String::from_utf8_lossy(&stderr?).trim().to_owned();
    Ok(ToolEnd { status: Some(status?), stdout: stdout?, stderr })
}

/// A process group that is killed when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            // It may have ended by itself, which is what is wanted.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

async fn capture(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return Ok(kept) };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(kept);
        }
        let room = OUTPUT_LIMIT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    #[tokio::test]
    async fn a_tool_that_ends_gives_its_status_and_output() {
        let end = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(30)).await;
        let end = end.unwrap();
        assert_eq!(end.status.unwrap().code(), Some(3));
        assert_eq!((end.text().as_str(), end.stderr.as_str()), ("out", "err"));
        assert!(!end.success());
    }

    #[tokio::test]
    async fn at_the_time_limit_the_grandchildren_end_too() {
        let room = tempfile::tempdir().unwrap();
        let note = room.path().join("note");
        // The grandchild holds the write end until it is gone.
        let text = format!("mkfifo {0} && {{ sleep 1000 > {0} & wait; }}", note.display());
        let run = tokio::spawn(run(shell(&text), Duration::from_secs(1)));
        while !note.exists() {
            tokio::task::yield_now().await;
        }
        let end = tokio::task::spawn_blocking(move || std::fs::read(note));
        assert!(run.await.unwrap().unwrap().status.is_none());
        let end = tokio::time::timeout(Duration::from_secs(30), end).await;
        assert_eq!(end.unwrap().unwrap().unwrap(), b"");
    }

    #[tokio::test]
    async fn endless_output_is_bounded() {
        let end = run(shell("head -c 20000000 /dev/zero"), Duration::from_secs(30)).await.unwrap();
        assert!(end.success());
        assert_eq!(end.stdout.len(), OUTPUT_LIMIT);
    }
}
