//! An account of AWS for the benchmarks: ministack, and the AWS CLI on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bench::process::Process;
use crate::tools::{emulators, module_from_pypi};

pub const REGION: &str = "eu-west-1";
const PATIENCE: Duration = Duration::from_mins(2);

/// A running emulator with an empty account. It ends with the value that stands for it.
pub struct Account {
    _emulator: Process,
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
}

impl Account {
    pub fn start() -> anyhow::Result<Account> {
        let programs = emulators()?;
        // Of the version that ministack asks for.
        module_from_pypi("boto3", "boto3==1.43.106")?;
        let folder = tempfile::tempdir()?;
        for name in ["s3", "state", "temporary"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let port = free_port()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(programs.join("ministack"));
        command
            .envs([("BIND_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0"), ("SFTP_ENABLED", "0")])
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", REGION)
            .env("LOG_LEVEL", "WARNING")
            .env("S3_DATA_DIR", folder.path().join("s3"))
            .env("STATE_DIR", folder.path().join("state"))
            .env("TMPDIR", folder.path().join("temporary"));
        // What the functions in it have as theirs.
        identify(&mut command, &endpoint);
        let emulator = Process::start(&mut command)?;
        let account = Account { _emulator: emulator, folder, programs, port };
        account.wait("the emulator", || account.aws(&["s3api", "list-buckets"]).is_ok())?;
        Ok(account)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The Python in which boto3 is.
    pub fn python(&self) -> PathBuf {
        self.programs.join("python3")
    }

    /// What the AWS CLI prints.
    pub fn aws(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.join("aws"));
        identify(command.args(arguments), &self.endpoint());
        printed(&mut command)
    }

    /// What a Python script prints, in which `boto3` finds the account.
    pub fn script(&self, text: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.python());
        identify(command.args(["-c", text]), &self.endpoint());
        printed(&mut command)
    }

    /// Waits for a condition, looking every 50 milliseconds.
    pub fn wait(&self, what: &str, condition: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                bail!("waited too long for {what}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Gives a program the account's credentials, and none that this machine may have.
pub fn identify<'command>(command: &'command mut Command, endpoint: &str) -> &'command mut Command {
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
        .envs([("AWS_REGION", REGION), ("AWS_DEFAULT_REGION", REGION), ("AWS_PAGER", "")])
        .envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
}

/// What a command prints that succeeds.
pub fn printed(command: &mut Command) -> anyhow::Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
