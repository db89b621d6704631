//! A room for a test: an emulator of AWS with an empty account, a folder with the programs as
//! somebody has put them on their `PATH`, and the AWS CLI.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::emulator::{Emulator, free_port, program};

pub(crate) const DOMAIN: &str = "apps.example.com";
const REGION: &str = "eu-west-1";
/// All that an account can have and a platform makes, one thing a line.
const INVENTORY: &str = include_str!("../../../../xtask/src/test_aws/inventory.py");

pub(crate) struct Room {
    pub(crate) emulator: Emulator,
    folder: TempDir,
    authority: Option<PathBuf>,
}

impl Room {
    /// With a hosted zone of `example.com`.
    pub(crate) async fn new() -> Room {
        Room::with(&[]).await
    }

    /// The same where programs and functions trust one authority, whose certificate is in that
    /// file.
    pub(crate) async fn trusting(authority: &Path) -> Room {
        let mut room = Room::with(&[("SSL_CERT_FILE", authority.to_str().unwrap())]).await;
        room.authority = Some(authority.to_owned());
        room
    }

    /// The same with settings of the emulator, such as `AUTH=true`.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Room {
        let port = free_port();
        // What the functions in it have as theirs.
        let endpoint = format!("http://127.0.0.1:{port}");
        let settings = [&[("AWS_ENDPOINT_URL", endpoint.as_str())], settings].concat();
        let emulator = Emulator::start_on(port, &settings).await;
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        for name in [
            "rowhouse",
            "rowhouse-aws",
            "app-demo-reactor-lambda",
            "create-elb-backend-certificates",
        ] {
            installed(name, &folder.path().join("bin").join(name));
        }
        let room = Room { emulator, folder, authority: None };
        room.shell("aws route53 create-hosted-zone --name example.com --caller-reference 1");
        room
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `rowhouse aws …`, and what came of it.
    pub(crate) fn aws(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path("bin/rowhouse"));
        command.arg("aws").args(arguments);
        self.run(&mut command)
    }

    /// `rowhouse --aws …`, and what came of it.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path("bin/rowhouse"));
        self.run(command.arg("--aws").args(arguments))
    }

    /// The same where it must succeed: what it printed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        succeeded(&self.aws(arguments))
    }

    /// A script of commands as people type them: what it printed.
    pub(crate) fn shell(&self, script: &str) -> String {
        succeeded(&self.run(Command::new("bash").args(["-ec", script])))
    }

    /// All that is in the account, but for the log of a function that wrote while it was removed:
    /// on AWS its role may make no log group.
    pub(crate) fn inventory(&self) -> Vec<String> {
        let mut python = Command::new(program("python3"));
        let printed = succeeded(&self.run(python.args(["-c", INVENTORY])));
        let is_of_emulator = |line: &&str| line.starts_with("logs logGroups /aws/lambda/");
        let mut lines: Vec<String> =
            printed.lines().filter(|line| !is_of_emulator(line)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Has the reactor sweep, as its schedules do.
    pub(crate) fn sweep(&self) {
        self.shell(
            "aws lambda invoke --function-name AppDemoReactorLambda --payload \
             '{\"rowhouse\":\"short-sweep\"}' \
             /dev/null",
        );
    }

    /// A command that is begun and left to itself; what it prints goes into that file.
    pub(crate) fn started(&self, mut command: Command, printed: &str) -> Child {
        let file = File::create(self.path(printed)).unwrap();
        let said = file.try_clone().unwrap();
        self.prepare(&mut command).stdout(file).stderr(said).spawn().unwrap()
    }

    /// The same, begun and left to itself; what it says goes into that file.
    pub(crate) fn begin(&self, arguments: &[&str], said: &str) -> Child {
        let mut command = Command::new(self.path("bin/rowhouse"));
        let file = File::create(self.path(said)).unwrap();
        self.prepare(command.arg("aws").args(arguments)).stderr(file).spawn().unwrap()
    }

    /// `rowhouse --aws …`, begun and left to itself.
    pub(crate) fn begin_rows(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(self.path("bin/rowhouse"));
        let command = self.prepare(command.arg("--aws").args(arguments));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command in the room.
    pub(crate) fn run(&self, command: &mut Command) -> Output {
        self.prepare(command).output().unwrap()
    }

    fn prepare<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        let emulators = program("aws");
        let emulators = emulators.parent().unwrap().display();
        let bin = self.path("bin");
        let path = format!("{}:{emulators}:{}", bin.display(), std::env::var("PATH").unwrap());
        command
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("AWS_ENDPOINT_URL", self.emulator.endpoint())
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs([("AWS_REGION", REGION), ("AWS_DEFAULT_REGION", REGION), ("AWS_PAGER", "")])
            .env_remove("AWS_PROFILE")
            .envs(self.authority.iter().map(|path| ("SSL_CERT_FILE", path)))
            .stdin(Stdio::null())
    }
}

/// A program of this build, as it is installed. What debuggers read would make it ten times as
/// large.
fn installed(name: &str, to: &Path) {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(built(name)).status();
    assert!(stripped.expect("the test needs the command `strip`").success());
}

/// `cargo xtask …`, as cargo runs it.
pub(crate) fn xtask(arguments: &[String]) -> Command {
    let mut command = Command::new(built("xtask"));
    command.args(arguments);
    command
}

/// A program of this build.
fn built(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_rowhouse-aws")).with_file_name(name);
    assert!(
        built.is_file(),
        "there is no `{}`: `cargo build --package rowhouse --package rowhouse-aws --package xtask` \
         makes it",
        built.display()
    );
    built
}

/// What a command printed that has succeeded.
fn succeeded(output: &Output) -> String {
    let (printed, said) = texts(output);
    assert!(output.status.success(), "{}\n{printed}\n{said}", output.status);
    printed
}

/// Both streams of a command.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
