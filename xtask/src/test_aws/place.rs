//! The account and region that is tried on, and the commands that a user types there.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::test_aws::wish::Wish;
use crate::tools::{emulators, root, run};

const INVENTORY: &str = include_str!("inventory.py");
const PLATFORM: &str = "rowhouse-platform";
const REACTOR: &str = "AppDemoReactorLambda";

/// All that is in an account and a region, one thing a line.
type Inventory = BTreeSet<String>;

/// An account, a region, and who has asked to stop.
pub(super) struct Place {
    account: String,
    region: String,
    profile: Option<String>,
    /// Where the AWS CLI and its Python are.
    programs: PathBuf,
    rowhouse: PathBuf,
    has_enough: Arc<AtomicBool>,
}

impl Place {
    /// Finds out whose account it is, and builds the command where none is given.
    pub(super) fn open(wish: &Wish) -> anyhow::Result<Place> {
        let has_enough = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&has_enough))?;
        }
        let programs = match std::env::var_os("ROWHOUSE_EMULATORS") {
            Some(programs) => programs.into(),
            None => emulators()?,
        };
        let rowhouse = match &wish.program {
            Some(program) => program.clone(),
            None => {
                run("cargo", &["build", "--release", "--locked", "-p", "rowhouse-aws-cli"])?;
                let target = std::env::var_os("CARGO_TARGET_DIR")
                    .map_or_else(|| root().join("target"), PathBuf::from);
                target.join("release/rowhouse-aws")
            }
        };
        let mut place = Place {
            account: String::new(),
            region: String::new(),
            profile: wish.profile.clone(),
            programs,
            rowhouse,
            has_enough,
        };
        place.region = match &wish.region {
            Some(region) => region.clone(),
            None => place.region_of_the_cli()?,
        };
        let query = ["--query", "Account", "--output", "text"];
        place.account = place.aws(&[&["sts", "get-caller-identity"], &query[..]].concat())?;
        Ok(place)
    }

    /// As the AWS CLI looks for it.
    fn region_of_the_cli(&self) -> anyhow::Result<String> {
        let of = |name: &str| std::env::var(name).ok().filter(|region| !region.is_empty());
        if let Some(region) = of("AWS_REGION").or_else(|| of("AWS_DEFAULT_REGION")) {
            return Ok(region);
        }
        self.aws(&["configure", "get", "region"])
            .ok()
            .filter(|region| !region.is_empty())
            .context("no region is set: name one with `--region eu-west-1`, or set `AWS_REGION`")
    }

    pub(super) fn name(&self) -> String {
        format!("account {} in {}", self.account, self.region)
    }

    /// No endpoint of AWS goes without TLS.
    pub(super) fn is_emulator(&self) -> bool {
        std::env::var("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("http://"))
    }

    pub(super) fn has_platform(&self) -> anyhow::Result<bool> {
        self.has_stack(PLATFORM)
    }

    pub(super) fn has_app(&self, name: &str) -> anyhow::Result<bool> {
        self.has_stack(&format!("demo-app-{name}"))
    }

    fn has_stack(&self, name: &str) -> anyhow::Result<bool> {
        match self.aws(&["cloudformation", "describe-stacks", "--stack-name", name]) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("does not exist") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All that is there.
    pub(super) fn inventory(&self) -> anyhow::Result<Inventory> {
        let mut command = Command::new(self.programs.join("python3"));
        let printed = self.printed(command.args(["-c", INVENTORY]))?;
        // An emulator makes one for a function that still writes when it is removed. On AWS that
        // takes a right which the functions' roles do not have.
        let is_of_emulator =
            |line: &&str| self.is_emulator() && line.starts_with("logs logGroups /aws/lambda/");
        Ok(printed.lines().filter(|line| !is_of_emulator(line)).map(str::to_owned).collect())
    }

    /// What the AWS CLI prints.
    pub(super) fn aws(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.printed(Command::new(self.programs.join("aws")).args(arguments))
    }

    /// `rowhouse aws …`, which must succeed.
    pub(super) fn rowhouse(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut child = self.begun(arguments)?;
        loop {
            if let Some(status) = child.try_wait()? {
                anyhow::ensure!(
                    status.success(),
                    "`rowhouse aws {}`: {status}",
                    arguments.join(" ")
                );
                return Ok(());
            }
            if self.has_enough.load(Ordering::Relaxed) {
                // It leaves what goes on in AWS, and the removal waits for that.
                Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
                child.wait()?;
                bail!("interrupted in `rowhouse aws {}`", arguments.join(" "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Removes the platform and its apps, whoever wants to stop.
    pub(super) fn removed(&self) -> anyhow::Result<()> {
        let status = self.begun(&["uninstall", "--delete-apps", "--yes"])?.wait()?;
        anyhow::ensure!(status.success(), "`rowhouse aws uninstall`: {status}");
        Ok(())
    }

    fn begun(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        println!("$ rowhouse aws {}", arguments.join(" "));
        let mut command = Command::new(&self.rowhouse);
        let child = self.there(command.args(arguments)).spawn();
        child.with_context(|| format!("cannot run `{}`", self.rowhouse.display()))
    }

    /// Waits for a condition, looking every few seconds.
    pub(super) fn wait(
        &self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            if self.has_enough.load(Ordering::Relaxed) {
                bail!("interrupted while waiting until {what}");
            }
            if self.is_emulator() {
                self.sweep()?;
            }
            if condition()? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("waited {} minutes in vain until {what}", patience.as_secs() / 60);
            }
            std::thread::sleep(Duration::from_secs(if self.is_emulator() { 0 } else { 5 }));
        }
    }

    /// What the clock does every minute, and makes up for: ministack tells nobody of its stacks'
    /// events.
    fn sweep(&self) -> anyhow::Result<()> {
        let payload = "{\"rowhouse\":\"short-sweep\"}";
        self.aws(&[
            "lambda",
            "invoke",
            "--function-name",
            REACTOR,
            "--payload",
            payload,
            "/dev/null",
        ])?;
        Ok(())
    }

    /// Whether a URL answers 200 now.
    pub(super) fn is_found(&self, url: &str) -> anyhow::Result<bool> {
        let asked = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "10", "--output", "/dev/null", url])
            .stdin(Stdio::null())
            .status()
            .context("cannot run `curl`")?;
        Ok(asked.success())
    }

    fn printed(&self, command: &mut Command) -> anyhow::Result<String> {
        let output = self.there(command).output();
        let output = output.with_context(|| format!("cannot run {:?}", command.get_program()))?;
        if !output.status.success() {
            let words: Vec<_> =
                command.get_args().take(2).map(|word| word.to_string_lossy()).collect();
            bail!("`{}`: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Tells a command where it works. In a process group of its own, so that Ctrl-C is heard here
    /// alone, and what is begun is ended before it is removed.
    fn there<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        command.env("AWS_PAGER", "").stdin(Stdio::null()).process_group(0);
        if !self.region.is_empty() {
            command.envs([("AWS_REGION", &self.region), ("AWS_DEFAULT_REGION", &self.region)]);
        }
        if let Some(profile) = &self.profile {
            command.env("AWS_PROFILE", profile);
        }
        command
    }
}
