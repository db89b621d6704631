//! `cargo xtask bench lambda`: what the functions cost at their start, beside Python with boto3
//! under the same Runtime API in the same run; what they weigh; and the calls of AWS that each kind
//! of event takes, counted on the wire.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use crate::bench::account::{Account, identify, printed};
use crate::bench::event;
use crate::bench::figure::median;
use crate::bench::front::Front;
use crate::bench::runtime_api::Function;
use crate::bench::wire::{self, Wire};
use crate::tools::{root, run};

const STARTS: usize = 20;
const DOMAIN: &str = "apps.example.com";
pub const REACTOR: &str = "AppDemoReactorLambda";
const CERTIFICATES: &str = "CreateElbBackendCertificates";
const BUCKET: &str = "keys-of-the-bench";
const NAME: &str = "shop";

/// Installs the platform in an emulator, takes the functions out of their packages, and measures
/// them.
pub fn run_all() -> anyhow::Result<()> {
    let account = Account::start()?;
    let package = package(account.folder())?;
    let config = install(&account)?;
    let reactor = unpacked(&package, REACTOR)?;
    let certificates = unpacked(&package, CERTIFICATES)?;

    let wire = Wire::before(account.port())?;
    let mut command = Command::new(reactor.join("bootstrap"));
    identify(&mut command, &wire.endpoint()).env("ROWHOUSE_CONFIG", &config);
    let function = Function::start(&mut command)?;
    function.ready()?;
    println!("\ncalls of AWS by kind of event, counted on the wire");
    calls(&account, &wire, &function)?;
    let (peak, threads) = function.memory();
    println!("{:34} {peak:.1} MB at the peak after all of them, {threads} threads", "");
    drop(function);

    starts(&account, &config, &reactor, &certificates)
}

/// The package, as the command makes it; says what the zips weigh.
pub fn package(folder: &Path) -> anyhow::Result<PathBuf> {
    let out = folder.join("package");
    let path = out.display().to_string();
    run(
        "cargo",
        &["run", "--quiet", "--locked", "-p", "rowhouse-aws-cli", "--", "package", "--out", &path],
    )?;
    println!();
    for name in [REACTOR, CERTIFICATES] {
        #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
        let size = fs::metadata(out.join(format!("{name}.zip")))?.len() as f64 / 1e6;
        println!("{name}.zip: {size:.2} MB");
    }
    Ok(out)
}

/// A package's content, in a folder of its own.
pub fn unpacked(package: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = package.join(name);
    let file = fs::File::open(package.join(format!("{name}.zip")))?;
    zip::ZipArchive::new(file)?.extract(&folder)?;
    Ok(folder)
}

/// Installs the platform; then takes the reactor away, so that nobody answers but the process that
/// is measured.
fn install(account: &Account) -> anyhow::Result<String> {
    account.aws(&[
        "route53",
        "create-hosted-zone",
        "--name",
        "example.com",
        "--caller-reference",
        "1",
    ])?;
    let mut command = Command::new(target().join("debug/rowhouse-aws"));
    identify(command.args(["install", "--domain", DOMAIN]), &account.endpoint());
    printed(&mut command)?;
    let config = account.aws(&[
        "lambda",
        "get-function-configuration",
        "--function-name",
        REACTOR,
        "--query",
        "Environment.Variables.ROWHOUSE_CONFIG",
        "--output",
        "text",
    ])?;
    account.aws(&["lambda", "delete-function", "--function-name", REACTOR])?;
    account.aws(&["s3", "mb", &format!("s3://{BUCKET}")])?;
    Ok(config)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// One app's life, event by event.
fn calls(account: &Account, wire: &Wire, function: &Function) -> anyhow::Result<()> {
    let tell = |what: &str, event: &Value| -> anyhow::Result<()> {
        wire.taken();
        function.invoke(&event.to_string())?;
        println!("{what:34} {}", wire::line(&wire.taken()));
        Ok(())
    };
    put(account, 'a')?;
    let created = row(account)?;
    tell("a row was put: create", &event::stream("INSERT", None, Some(&created)))?;
    let answered = row(account)?;
    tell(
        "the reactor's own answer (echo)",
        &event::stream("MODIFY", Some(&created), Some(&answered)),
    )?;
    rested(account, "stack-create-complete")?;
    let stack = stack_id(account)?;
    tell("an event of a stack's resource", &event::stack(&stack, "i-0123456789"))?;
    tell("the stack came up: answer", &event::stack(&stack, &stack))?;
    tell("nothing to do", &event::stack(&stack, &stack))?;
    tell("short sweep, nothing to do", &json!({ "rowhouse": "short-sweep" }))?;
    tell("full sweep, nothing to do", &json!({ "rowhouse": "full-sweep" }))?;
    let before = row(account)?;
    put(account, 'b')?;
    tell(
        "the row was changed: update",
        &event::stream("MODIFY", Some(&before), Some(&row(account)?)),
    )?;
    rested(account, "stack-update-complete")?;
    tell("the stack was updated: answer", &event::stack(&stack, &stack))?;
    let before = row(account)?;
    let key = format!("{{\"Name\":{{\"S\":\"{NAME}\"}}}}");
    account.aws(&["dynamodb", "delete-item", "--table-name", "apps-db", "--key", &key])?;
    tell("the row was deleted: delete", &event::stream("REMOVE", Some(&before), None))?;
    rested(account, "stack-delete-complete")
}

fn put(account: &Account, digit: char) -> anyhow::Result<()> {
    let item = json!({
        "Name": { "S": NAME },
        "Version": { "S": digit.to_string().repeat(40) },
        "Scale": { "N": "2" },
        "Repo": { "S": "https://git.example.com/apps.git" },
    });
    let item = item.to_string();
    account.aws(&["dynamodb", "put-item", "--table-name", "apps-db", "--item", &item])?;
    Ok(())
}

fn row(account: &Account) -> anyhow::Result<Value> {
    let key = format!("{{\"Name\":{{\"S\":\"{NAME}\"}}}}");
    let text = account.aws(&["dynamodb", "get-item", "--table-name", "apps-db", "--key", &key])?;
    let answer: Value = serde_json::from_str(&text)?;
    Ok(answer["Item"].clone())
}

fn rested(account: &Account, condition: &str) -> anyhow::Result<()> {
    let stack = format!("demo-app-{NAME}");
    account.aws(&["cloudformation", "wait", condition, "--stack-name", &stack])?;
    Ok(())
}

fn stack_id(account: &Account) -> anyhow::Result<String> {
    let stack = format!("demo-app-{NAME}");
    let query = ["--query", "Stacks[0].StackId", "--output", "text"];
    account
        .aws(&[&["cloudformation", "describe-stacks", "--stack-name", &stack], &query[..]].concat())
}

/// What was measured of starts, figure by figure.
#[derive(Default)]
struct Starts {
    ready: Vec<f64>,
    answered: Vec<f64>,
    cpu: Vec<f64>,
    memory: Vec<f64>,
    threads: f64,
}

impl Starts {
    fn measure(
        &mut self,
        command: &mut Command,
        event: impl Fn(&Function) -> String,
    ) -> anyhow::Result<()> {
        let function = Function::start(command)?;
        let ready = function.ready()?;
        let took = function.invoke(&event(&function))?;
        let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        self.ready.push(milliseconds(ready));
        self.answered.push(milliseconds(ready + took));
        self.cpu.push(milliseconds(function.cpu()));
        let (memory, threads) = function.memory();
        self.memory.push(memory);
        self.threads = threads;
        Ok(())
    }

    fn medians(&mut self) -> [f64; 4] {
        [&mut self.ready, &mut self.answered, &mut self.cpu, &mut self.memory]
            .map(|figures| median(figures))
    }

    fn print(&mut self, what: &str) {
        let [ready, answered, cpu, memory] = self.medians();
        println!(
            "{what:34} {ready:>9.1} {answered:>9.1} {cpu:>9.1} {memory:>9.1} {:>8}",
            self.threads
        );
    }
}

/// Starts of each in turn, by TLS, as on AWS.
fn starts(
    account: &Account,
    config: &str,
    reactor: &Path,
    certificates: &Path,
) -> anyhow::Result<()> {
    let front = Front::before(account)?;
    let script = account.folder().join("start.py");
    fs::write(&script, include_str!("start.py"))?;
    settle(account, config, reactor)?;
    // The row as it was, replaced by itself: a row read, a stack read, nothing to do.
    let before = row(account)?;
    let nothing_to_do = event::stream("MODIFY", Some(&before), Some(&before)).to_string();
    let prepared = |program: &Path| {
        let mut command = Command::new(program);
        identify(&mut command, &front.endpoint()).env("ROWHOUSE_CONFIG", config);
        front.trusted(&mut command);
        command
    };
    let (mut ours, mut python, mut keys) =
        (Starts::default(), Starts::default(), Starts::default());
    for number in 0..STARTS {
        ours.measure(&mut prepared(&reactor.join("bootstrap")), |_| nothing_to_do.clone())?;
        python.measure(prepared(&account.python()).arg(&script), |_| nothing_to_do.clone())?;
        keys.measure(&mut prepared(&certificates.join("bootstrap")), |function| {
            event::certificate(number, BUCKET, &function.answer_url()).to_string()
        })?;
    }
    println!("\nstarts, by TLS, with {STARTS} each in turn; medians");
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "", "ready ms", "answer ms", "CPU ms", "peak MB", "threads"
    );
    ours.print("reactor: row read, stack read");
    python.print("Python, boto3: row read, stack read");
    keys.print("certificates: a new key");
    let (ours, python) = (ours.medians(), python.medians());
    let ratio = |index: usize| python[index] / ours[index];
    println!(
        "Python takes {:.0} times the time to its first answer, {:.0} times the CPU, {:.1} times \
         the memory",
        ratio(1),
        ratio(2),
        ratio(3)
    );
    Ok(())
}

/// Leaves a row that is deployed.
fn settle(account: &Account, config: &str, reactor: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(reactor.join("bootstrap"));
    identify(&mut command, &account.endpoint()).env("ROWHOUSE_CONFIG", config);
    let function = Function::start(&mut command)?;
    function.ready()?;
    put(account, 'a')?;
    function.invoke(&event::stream("INSERT", None, Some(&row(account)?)).to_string())?;
    rested(account, "stack-create-complete")?;
    let stack = stack_id(account)?;
    function.invoke(&event::stack(&stack, &stack).to_string())?;
    let row = row(account)?;
    let status = row["status"]["S"].as_str().context("the row has no status")?;
    anyhow::ensure!(status == "deployed", "the row is `{status}`: {row}");
    Ok(())
}
