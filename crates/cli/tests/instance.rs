//! An instance as its machine runs it: the platform of one app, and beside it the half that has the account's rights,
//! which is ministack's. The stack waits for a signal as the group of instances of a real one does.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why"
)]

mod house;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use house::{House, PROGRAM, free_port, kill, wait_for};
use serde_json::json;

const REGION: &str = "eu-west-1";
const BUCKET: &str = "artifacts";
const HOST: &str = "shop.apps.example.com";
/// It waits for one signal, as the group of instances does in `app.yaml`; ministack's groups do not wait.
const STACK: &str = "Resources: {Instances: {Type: AWS::CloudFormation::WaitCondition, \
                     CreationPolicy: {ResourceSignal: {Count: 1, Timeout: PT10M}}}}";

/// The folder of the emulators' programs, and of the AWS CLI.
fn programs() -> PathBuf {
    std::env::var_os("ROWHOUSE_EMULATORS").map(PathBuf::from).expect(
        "this test needs ministack and the AWS CLI: make a Python environment (`python3 -m venv DIR`, \
         `DIR/bin/pip install ministack==1.5.33 awscli==1.46.3`) and set ROWHOUSE_EMULATORS=DIR/bin",
    )
}

/// An account of AWS in an emulator, with a machine in it.
struct Account {
    house: House,
    emulator: Child,
    endpoint: String,
    instance: Option<Child>,
    /// Where TLS is spoken.
    port: u16,
}

impl Account {
    fn start() -> Account {
        let arguments = ["--only", "shop", "--domain", "apps.example.com", "--max-scale", "1"];
        let house = House::start_with(&arguments);
        let port = free_port();
        let log = fs::File::create(house.room().join("emulator.log")).unwrap();
        let folder = |name: &str| {
            let folder = house.room().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let emulator = Command::new(programs().join("ministack"))
            .envs([("BIND_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0"), ("SFTP_ENABLED", "0")])
            .env("GATEWAY_PORT", port.to_string())
            .envs([("MINISTACK_REGION", REGION), ("AWS_DEFAULT_REGION", REGION)])
            .env_remove("AWS_ENDPOINT_URL")
            .env("S3_DATA_DIR", folder("s3"))
            .env("STATE_DIR", folder("state"))
            .env("TMPDIR", folder("temporary"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the emulator", || TcpStream::connect(("127.0.0.1", port)).ok());
        let endpoint = format!("http://127.0.0.1:{port}");
        let account = Account { house, emulator, endpoint, instance: None, port: free_port() };
        account.aws(&["s3", "mb", &format!("s3://{BUCKET}")]).unwrap();
        account.make_pair();
        account
    }

    fn with_account<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", programs().display()))
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .envs([("AWS_DEFAULT_REGION", REGION), ("AWS_MAX_ATTEMPTS", "1")])
    }

    /// What the AWS CLI answers; an error is what it said.
    fn aws(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(programs().join("aws"));
        let output = self.with_account(&mut command).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.house.room().join(name)
    }

    fn put(&self, key: &str, text: &str) {
        let file = self.file("object");
        fs::write(&file, text).unwrap();
        let address = format!("s3://{BUCKET}/{key}");
        self.aws(&["s3", "cp", file.to_str().unwrap(), &address]).unwrap();
    }

    fn object(&self, key: &str) -> Result<String, String> {
        self.aws(&["s3", "cp", &format!("s3://{BUCKET}/{key}"), "-"])
    }

    /// A certificate and its key, as the function stores them.
    fn make_pair(&self) {
        let (key, certificate) = (self.file("key.pem"), self.file("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .args([
                "-subj",
                &format!("/CN={HOST}"),
                "-addext",
                &format!("subjectAltName=DNS:{HOST}"),
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let pair = json!({
            "certificate": fs::read_to_string(&certificate).unwrap(),
            "private_key": fs::read_to_string(&key).unwrap(),
            "public_key": public_key(&certificate),
        });
        self.put("backend-certificates/shop", &pair.to_string());
    }

    /// The digest of a manifest of this commit, which is in the bucket.
    fn manifest(&self, repository: &Path, commit: &str) -> String {
        let manifest = json!({
            "Name": "shop", "Version": "main", "Repo": repository, "Path": "", "Commit": commit,
            "Env": {"GREETING": "good day"}, "BuildEnv": {}, "Health": null, "HealthTimeout": 60,
            "Redeploy": 0,
        })
        .to_string();
        let digest = sha256(&manifest, &self.file("text"));
        self.put(&format!("manifests/{digest}.json"), &manifest);
        digest
    }

    fn make_stack(&self) {
        let name = ["--stack-name", "demo-app-shop", "--template-body", STACK];
        self.aws(&[&["cloudformation", "create-stack"], &name[..]].concat()).unwrap();
        // Who signals before it waits is not heard, and real machines take longer to boot.
        wait_for("the stack to wait", || {
            let events =
                ["cloudformation", "describe-stack-events", "--stack-name", "demo-app-shop"];
            self.aws(&events).ok().filter(|events| events.contains("WaitCondition"))
        });
    }

    fn stack_status(&self) -> String {
        let query = ["--query", "Stacks[0].StackStatus", "--output", "text"];
        let name = ["cloudformation", "describe-stacks", "--stack-name", "demo-app-shop"];
        self.aws(&[&name[..], &query].concat()).unwrap_or_default()
    }

    fn stack_becomes(&self, status: &str) {
        wait_for(&format!("the stack to be {status}\n{}", self.log()), || {
            (self.stack_status() == status).then_some(())
        });
    }

    /// Starts the half with the account's rights.
    fn run(&mut self, manifest: &str, commit: &str) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("instance.log"))
            .unwrap();
        let mut command = Command::new(PROGRAM);
        self.with_account(&mut command)
            .args(["instance", "--app", "shop", "--commit", commit, "--manifest", manifest])
            .args(["--bucket", BUCKET, "--stack", "demo-app-shop", "--resource", "Instances"])
            .args(["--domain", "apps.example.com", "--region", REGION])
            .args(["--certificate", &format!("s3://{BUCKET}/backend-certificates/shop")])
            .arg("--data")
            .arg(self.house.data())
            .arg("--notes")
            .arg(self.file("notes"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--platform", &format!("127.0.0.1:{}", self.house.port)])
            .args(["--instance-id", "i-0123", "--steady", "1s", "--any-repository"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.instance = Some(command.spawn().unwrap());
    }

    fn ended(&mut self) -> ExitStatus {
        let mut instance = self.instance.take().unwrap();
        wait_for(&format!("the instance to end\n{}", self.log()), || instance.try_wait().unwrap())
    }

    fn kill_instance(&mut self) {
        let mut instance = self.instance.take().unwrap();
        instance.kill().unwrap();
        instance.wait().unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("instance.log")).unwrap_or_default()
    }

    /// A page as a balancer asks for it, which does not look at certificates.
    fn page(&self, host: &str, headers: &[&str]) -> Option<String> {
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--insecure", "--max-time", "20"])
            .args(["--header", &format!("Host: {host}")])
            .args(headers.iter().flat_map(|header| ["--header", *header]))
            .arg(format!("https://127.0.0.1:{}/headers", self.port))
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The public key that TLS answers with.
    fn served_key(&self) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port)])
            .args(["-servername", HOST])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let certificate = self.file("served.pem");
        fs::write(&certificate, output.stdout).unwrap();
        public_key(&certificate)
    }

    fn is_open(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if let Some(mut instance) = self.instance.take() {
            let _ = instance.kill();
            let _ = instance.wait();
        }
        kill("-TERM", self.emulator.id());
        let _ = self.emulator.wait();
    }
}

fn public_key(certificate: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-pubkey", "-in"])
        .arg(certificate)
        .output()
        .unwrap();
    let pem = String::from_utf8(output.stdout).unwrap();
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn sha256(text: &str, file: &Path) -> String {
    fs::write(file, text).unwrap();
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// An app that shows what it is asked with.
const SHOWING: &str = "
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ['GREETING'] + '\\n' + str(self.headers)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

#[test]
fn an_instance_comes_up_signals_once_and_serves_with_the_very_key_of_its_certificate() {
    let mut account = Account::start();
    let repository = account.house.repository("app");
    let files = [("app.py", SHOWING), ("Procfile", "web: exec python3 app.py\n")];
    let commit = repository.commit("v1", &files);
    let manifest = account.manifest(&repository.path, &commit);
    account.make_stack();
    assert!(!account.is_open());
    account.run(&manifest, &commit);
    account.stack_becomes("CREATE_COMPLETE");

    let page = account.page(HOST, &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"]);
    let page = page.unwrap();
    assert!(page.starts_with("good day\n"), "{page}");
    let lower = page.to_lowercase();
    assert!(lower.contains("x-forwarded-for: 192.0.2.1\n"), "{page}");
    assert!(lower.contains("x-forwarded-proto: https\n"), "{page}");
    assert!(account.page("10.0.0.7:8443", &[]).is_some(), "a health check names an address");
    assert_eq!(account.served_key(), public_key(&account.file("certificate.pem")));

    // Where the platform goes, the port goes, and comes back with it.
    account.house.end_up("-INT");
    wait_for("the port to be closed", || (!account.is_open()).then_some(()));
    account.house.up();
    wait_for("the port to be open", || account.page(HOST, &[]));

    // It needs neither network nor account to come back, and tells nobody anything.
    let pids = account.house.pids("shop");
    account.kill_instance();
    kill("-TERM", account.emulator.id());
    account.emulator.wait().unwrap();
    account.run(&manifest, &commit);
    wait_for("the port to be open", || account.page(HOST, &[]));
    assert_eq!(account.house.pids("shop"), pids);
    let log = account.log();
    assert_eq!(log.matches(&format!("answers at {}", &commit[..7])).count(), 1, "{log}");
    assert!(!log.contains("PRIVATE KEY"));
}

#[test]
fn a_version_that_does_not_come_up_is_told_with_its_reason_at_once() {
    let mut account = Account::start();
    let repository = account.house.repository("app");
    let commit = repository.procfile("v1", "web: echo no database; exit 3\n");
    let manifest = account.manifest(&repository.path, &commit);
    account.make_stack();
    account.run(&manifest, &commit);
    assert!(account.ended().success(), "{}", account.log());
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    assert!(reason.starts_with("i-0123: ") && reason.contains("no database"), "{reason}");
    account.stack_becomes("ROLLBACK_COMPLETE");
    // What systemd starts again has nothing to do.
    account.run(&manifest, &commit);
    assert!(account.ended().success());
    assert!(!account.is_open());
}

#[test]
fn a_manifest_that_is_not_what_its_digest_says_runs_nothing() {
    let mut account = Account::start();
    let repository = account.house.repository("app");
    let commit = repository.web("v1");
    let manifest = account.manifest(&repository.path, &commit);
    let other = account.object(&format!("manifests/{manifest}.json")).unwrap();
    account.put(&format!("manifests/{manifest}.json"), &other.replace("good day", "good bye"));
    account.make_stack();
    account.run(&manifest, &commit);
    assert!(account.ended().success(), "{}", account.log());
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    assert!(reason.contains("is not what its digest says"), "{reason}");
    account.stack_becomes("ROLLBACK_COMPLETE");
    assert_eq!(account.house.sql("select count(*) from apps"), "0");
}
