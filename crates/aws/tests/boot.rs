//! The user data of a launch template, as the emulator has stored them, make a machine that runs
//! its app: in a root of its own, by cloud-init, with the very program that instances run.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why"
)]

mod emulator;
mod installation;
mod machine;

use std::path::{Path, PathBuf};
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::byte_stream::ByteStream;
use base64::Engine as _;
use emulator::{outputs, status, until};
use installation::{DOMAIN, Difference, Installation};
use machine::{GIT_HOST, Machine, said};

/// `app.yaml` with a wait for one signal in place of its group, which starts no instances in
/// ministack and waits for none; all else is as it is on AWS.
fn template() -> String {
    let app = include_str!("../../../templates/app.yaml");
    let (before, group) = app.split_once("\n  Instances:\n").unwrap();
    let (_, after) = group.split_once("\nOutputs:\n").unwrap();
    format!(
        "{before}
  Instances:
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: [ListenerRule, LogGroup, LaunchTemplate]
    CreationPolicy: {{ResourceSignal: {{Count: 1, Timeout: PT2M}}}}

Outputs:
  PublicKey: {{Value: !GetAtt BackendCertificate.PublicKey}}
{after}"
    )
}

/// An installation whose apps are started by hand, on machines of this test.
struct Stage {
    // First of all to go: the emulator does not end before its last connection.
    machine: Machine,
    house: Installation,
    room: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Stage {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("rowhouse");
        let stripped = Command::new("strip").arg("-o").arg(&program).arg(built()).output().unwrap();
        said(&stripped);
        let sum = said(&Command::new("sha256sum").arg(&program).output().unwrap());
        let digest = &sum[..64];
        let named = format!("\"Program\": \"{digest}\"");
        let template = template();
        let files = [("template.yaml", template.as_str())];
        let difference = Difference {
            files: &files,
            replaced: &[("\"Program\": \"${AppProgram}\"", &named)],
            ..Difference::default()
        };
        let house = Installation::start_with(difference).await;
        let body = ByteStream::from_path(&program).await.unwrap();
        let put = house.emulator.s3.put_object().bucket(&house.outputs["ArtifactBucket"]);
        put.key(format!("programs/{digest}")).body(body).send().await.unwrap();
        let (_, port) = house.emulator.endpoint().rsplit_once(':').unwrap();
        let mut machine = Machine::start(port.parse().unwrap());
        machine.serve_git(room.path());
        Stage { machine, house, room }
    }

    /// Commits an app with this Procfile, and puts the row.
    async fn put(&self, procfile: &str) -> String {
        let folder = self.room.path().join("app");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("Procfile"), procfile).unwrap();
        std::fs::write(folder.join("index.html"), "good day").unwrap();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(arguments);
            said(&git.current_dir(&folder).output().unwrap()).trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "app"]);
        let commit = git(&["rev-parse", "HEAD"]);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        self.house
            .put_item(&[
                ("Name", text("shop")),
                ("Version", text(&commit)),
                ("Scale", AttributeValue::N("1".to_owned())),
                ("Repo", text(&format!("https://{GIT_HOST}/app"))),
            ])
            .await;
        commit
    }

    /// The user data of the app's launch template, as the emulator gives them to a machine, once
    /// the stack waits.
    async fn user_data(&self) -> String {
        until("the stack waits for its instances", async || {
            let stacks = &self.house.emulator.cloudformation;
            let events = stacks.describe_stack_events().stack_name("demo-app-shop").send().await;
            let events = events.ok()?;
            let mut events = events.stack_events().iter();
            events.any(|event| event.logical_resource_id() == Some("Instances")).then_some(())
        })
        .await;
        let of_stack =
            ["cloudformation", "describe-stack-resource", "--stack-name", "demo-app-shop"];
        let id = self.aws(&[
            &of_stack[..],
            &["--logical-resource-id", "LaunchTemplate"],
            &["--query", "StackResourceDetail.PhysicalResourceId"],
        ]);
        let versions = ["ec2", "describe-launch-template-versions", "--launch-template-id", &id];
        let data = "LaunchTemplateVersions[0].LaunchTemplateData.UserData";
        let data = self.aws(&[&versions[..], &["--versions", "$Latest", "--query", data]]);
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn aws(&self, arguments: &[&[&str]]) -> String {
        aws(&self.house, &[&["--output", "text"], &arguments.concat()[..]])
    }
}

/// What the AWS CLI answers.
fn aws(house: &Installation, arguments: &[&[&str]]) -> String {
    let mut aws = Command::new(emulator::program("aws"));
    aws.args(arguments.concat()).args(["--region", "eu-west-1"]);
    aws.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
    aws.env("AWS_ENDPOINT_URL", house.emulator.endpoint());
    said(&aws.output().unwrap()).trim().to_owned()
}

/// The program that instances run, as this workspace builds it.
fn built() -> PathBuf {
    let program =
        Path::new(env!("CARGO_BIN_EXE_app-demo-reactor-lambda")).with_file_name("rowhouse");
    assert!(
        program.is_file(),
        "this test runs `{}`: build it with `cargo build --package rowhouse`",
        program.display()
    );
    program
}

/// The machine gets swap once, where it has little memory, and none where it has enough. What makes
/// it only notes here that it was asked.
fn swaps_what_memory_lacks(machine: &Machine) {
    let log = machine.file("/var/log/swap.log");
    let asked = |kilobytes: u32| {
        // What this machine itself has may have made it ask.
        let _ = std::fs::remove_file(&log);
        std::fs::write(machine.file("/etc/fstab"), "").unwrap();
        std::fs::write(machine.file("/swapfile"), "").unwrap();
        let memory = format!("MemFree: 1 kB\nMemTotal:       {kilobytes} kB\n");
        std::fs::write(machine.file("/var/meminfo"), memory).unwrap();
        for _ in 0..2 {
            let mut swap = machine.program("/usr/local/sbin/rowhouse-swap");
            said(&swap.arg("/var/meminfo").output().unwrap());
        }
        std::fs::read_to_string(&log).unwrap_or_default()
    };
    // A t3.micro, a t3.small, and a t3.medium as they say it themselves.
    for (kilobytes, size) in [(942_080, "3176MiB"), (1_966_080, "2176MiB")] {
        let expected =
            format!("fallocate -l {size} /swapfile\nmkswap /swapfile\nswapon /swapfile\n");
        assert_eq!(asked(kilobytes), expected);
    }
    assert_eq!(asked(3_932_160), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_from_the_user_data_and_serves_with_the_key_that_the_balancer_knows() {
    let stage = Stage::start().await;
    let procfile = "build: echo built > built.txt\nrelease: test -f built.txt\n\
                    web: exec python3 -m http.server --bind $HOST $PORT\n";
    let commit = stage.put(procfile).await;
    let user_data = stage.user_data().await;
    stage.machine.boot(&user_data);
    let row = stage.house.answered("shop", "deployed", &commit).await;
    assert_eq!(row["LoadBalancer"], format!("https://shop.{DOMAIN}"));
    let stack = stage.house.stack("shop").await.unwrap();
    assert_eq!(status(&stack), "CREATE_COMPLETE");

    let host = format!("shop.{DOMAIN}");
    assert_eq!(stage.machine.page(&host), "good day");
    assert_eq!(stage.machine.served_key(&host), outputs(&stack)["PublicKey"]);
    stage.machine.check_units();
    let keys = stage.house.emulator.keys(&stage.house.outputs["ArtifactBucket"]).await;
    assert!(keys.iter().any(|key| key.starts_with("builds/shop/")), "{keys:?}");

    // dnf, which was killed at first, was asked again.
    let asked = std::fs::read_to_string(stage.machine.file("/var/log/dnf.log")).unwrap();
    assert_eq!(asked.matches("dnf install -y -q git\n").count(), 2, "{asked}");
    swaps_what_memory_lacks(&stage.machine);

    // Root is given the instance's rights, and the app's user nothing.
    let ask =
        ["--silent", "--max-time", "2", "--output", "/dev/null", "--write-out", "%{http_code}"];
    let address = "http://169.254.169.254/";
    let mut root = stage.machine.program("curl");
    assert_eq!(said(&root.args(ask).arg(address).output().unwrap()), "401");
    let mut app = stage.machine.program("runuser");
    app.args(["-u", "rowhouse", "--", "curl"]).args(ask).arg(address);
    assert_eq!(app.output().unwrap().stdout, b"000");
    for closed in ["/var/lib/rowhouse-instance", "/etc/shadow"] {
        let mut app = stage.machine.program("runuser");
        let read = app.args(["-u", "rowhouse", "--", "ls", "-l", &format!("{closed}/.")]).output();
        assert!(!read.unwrap().status.success(), "{closed}");
    }
    let mut app = stage.machine.program("runuser");
    app.args(["-u", "rowhouse", "--", "touch", "/var/lib/rowhouse-supply/order.json"]);
    assert!(!app.output().unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_app_does_not_come_up_says_why_in_the_row() {
    let stage = Stage::start().await;
    stage.put("web: echo no database; exit 3\n").await;
    let user_data = stage.user_data().await;
    stage.machine.boot(&user_data);
    let row = until("the row says so", async || {
        let row = stage.house.row("shop").await;
        row.get("status").is_some_and(|status| status == "deploy_failed").then_some(row)
    })
    .await;
    let reason = &row["Reason"];
    assert!(reason.starts_with("i-0123: ") && reason.contains("no database"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_may_read_the_tokens_that_are_named_and_no_others() {
    let named = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:rowhouse/git/";
    let named =
        [format!("{named}github.com-a1B2c3"), format!("{named}git.example.com/8443-a1B2c3")];
    let text = "    Default: ''\n    AllowedPattern: '(arn:";
    let given = format!("    Default: '{}'\n    AllowedPattern: '(arn:", named.join(","));
    let difference = Difference { replaced: &[(text, &given)], ..Difference::default() };
    for (difference, expected) in [(Difference::default(), None), (difference, Some(&named))] {
        let house = Installation::start_with(difference).await;
        let role =
            ["cloudformation", "describe-stack-resource", "--stack-name", "rowhouse-platform"];
        let role = aws(
            &house,
            &[
                &role[..],
                &["--logical-resource-id", "InstanceRole", "--output", "text"],
                &["--query", "StackResourceDetail.PhysicalResourceId"],
            ],
        );
        let name = role.rsplit('/').next().unwrap();
        let policy = ["iam", "get-role-policy", "--policy-name", "Instance", "--role-name", name];
        let policy = aws(&house, &[&policy, &["--query", "PolicyDocument", "--output", "json"]]);
        let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        let secrets =
            statements.iter().find(|one| one["Action"] == "secretsmanager:GetSecretValue");
        let resources = secrets.map(|one| one["Resource"].clone());
        assert_eq!(resources, expected.map(|named| serde_json::json!(named)), "{policy}");
    }
}
