//! An instance as its machine runs it: the platform of one app, and beside it the half that has the
//! account's rights, which is ministack's. The stack waits for signals as the group of instances of
//! a real one does.
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

use house::{House, PROGRAM, Repository, free_port, kill, wait_for};
use serde_json::{Value, json};

const REGION: &str = "eu-west-1";
const BUCKET: &str = "artifacts";
const HOST: &str = "shop.apps.example.com";

/// The folder of the emulators' programs, and of the AWS CLI.
fn programs() -> PathBuf {
    std::env::var_os("ROWHOUSE_EMULATORS").map(PathBuf::from).expect(
        "this test needs ministack and the AWS CLI: make a Python environment (`python3 -m venv \
         DIR`, \
         `DIR/bin/pip install ministack==1.5.33 awscli==1.46.3`) and set \
         ROWHOUSE_EMULATORS=DIR/bin",
    )
}

/// An account of AWS in an emulator.
struct Account {
    folder: tempfile::TempDir,
    emulator: Child,
    endpoint: String,
    port: u16,
}

impl Account {
    fn start() -> Account {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = fs::File::create(folder.path().join("emulator.log")).unwrap();
        let inner = |name: &str| {
            let inner = folder.path().join(name);
            fs::create_dir(&inner).unwrap();
            inner
        };
        let emulator = Command::new(programs().join("ministack"))
            .envs([("BIND_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0"), ("SFTP_ENABLED", "0")])
            .env("GATEWAY_PORT", port.to_string())
            .envs([("MINISTACK_REGION", REGION), ("AWS_DEFAULT_REGION", REGION)])
            .env_remove("AWS_ENDPOINT_URL")
            .env("S3_DATA_DIR", inner("s3"))
            .env("STATE_DIR", inner("state"))
            .env("TMPDIR", inner("temporary"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the emulator", || TcpStream::connect(("127.0.0.1", port)).ok());
        let endpoint = format!("http://127.0.0.1:{port}");
        let account = Account { folder, emulator, endpoint, port };
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

    /// Ends the emulator: from now on nobody reaches AWS.
    fn end(&self) {
        kill("-TERM", self.emulator.id());
        wait_for("the emulator to end", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(())
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
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

    /// The keys of the objects that begin so.
    fn keys(&self, prefix: &str) -> Vec<String> {
        let list = ["s3api", "list-objects-v2", "--bucket", BUCKET, "--prefix", prefix];
        let query = ["--query", "Contents[].Key", "--output", "text"];
        let said = self.aws(&[&list[..], &query].concat()).unwrap();
        said.split_whitespace().filter(|key| *key != "None").map(str::to_owned).collect()
    }

    /// A certificate and its key, as the function stores them.
    fn make_pair(&self) {
        let (key, certificate) = (self.file("key.pem"), self.file("certificate.pem"));
        make_certificate(HOST, &key, &certificate);
        let pair = json!({
            "certificate": fs::read_to_string(&certificate).unwrap(),
            "private_key": fs::read_to_string(&key).unwrap(),
            "public_key": public_key(&certificate),
        });
        self.put("backend-certificates/shop", &pair.to_string());
    }

    /// An app whose release notes that it ran, and waits until it may go on: its commit, and its
    /// manifest's digest.
    fn releasing(&self, machine: &Machine, env: &[(&str, &Path)]) -> (String, String) {
        let repository = machine.house.repository("app");
        let release = "release: echo x >> $RELEASES; while [ ! -e $GO ]; do sleep 0.02; done\n";
        let files = [("app.py", SHOWING), ("Procfile", &format!("{WEB}{release}"))];
        let commit = repository.commit("v1", &files);
        let manifest = self.manifest(path(&repository), &commit, env);
        (commit, manifest)
    }

    /// The digest of a manifest of this commit, which is in the bucket.
    fn manifest(&self, repository: &str, commit: &str, env: &[(&str, &Path)]) -> String {
        let variables: serde_json::Map<String, Value> =
            env.iter().map(|(name, path)| ((*name).to_owned(), json!(path))).collect();
        let mut env = variables.clone();
        env.insert("GREETING".to_owned(), json!("good day"));
        let manifest = json!({
            "Name": "shop", "Version": "main", "Repo": repository, "Path": "", "Commit": commit,
            "Env": env, "BuildEnv": variables, "Health": null, "HealthTimeout": 60,
            "Redeploy": 0,
        })
        .to_string();
        let digest = sha256(&manifest, &self.file("text"));
        self.put(&format!("manifests/{digest}.json"), &manifest);
        digest
    }

    /// A stack that waits for so many signals, as the group of instances does in `app.yaml`;
    /// ministack's groups do not wait.
    fn make_stack(&self, count: usize) {
        let body = format!(
            "Resources: {{Instances: {{Type: AWS::CloudFormation::WaitCondition, \
             CreationPolicy: {{ResourceSignal: {{Count: {count}, Timeout: PT10M}}}}}}}}"
        );
        let name = ["--stack-name", "demo-app-shop", "--template-body", &body];
        self.aws(&[&["cloudformation", "create-stack"], &name[..]].concat()).unwrap();
        // Who signals before it waits is not heard, and real machines take longer to boot.
        wait_for("the stack to wait", || {
            let events =
                ["cloudformation", "describe-stack-events", "--stack-name", "demo-app-shop"];
            self.aws(&events).ok().filter(|events| events.contains("WaitCondition"))
        });
    }

    fn of_stack(&self, attribute: &str) -> String {
        let query = format!("Stacks[0].{attribute}");
        let query = ["--query", &query, "--output", "text"];
        let name = ["cloudformation", "describe-stacks", "--stack-name", "demo-app-shop"];
        self.aws(&[&name[..], &query].concat()).unwrap_or_default()
    }

    fn stack_becomes(&self, status: &str, machines: &[&Machine<'_>]) {
        let logs: String = machines.iter().map(|machine| machine.log()).collect();
        wait_for(&format!("the stack to be {status}\n{logs}"), || {
            (self.of_stack("StackStatus") == status).then_some(())
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        kill("-TERM", self.emulator.id());
        let _ = self.emulator.wait();
    }
}

/// A machine of the account: the platform of one app, and the half with the account's rights.
struct Machine<'a> {
    account: &'a Account,
    id: &'static str,
    house: House,
    instance: Option<Child>,
    /// Where TLS is spoken.
    port: u16,
}

impl<'a> Machine<'a> {
    fn boot(account: &'a Account, id: &'static str) -> Machine<'a> {
        let mut house =
            House::new(&["--only", "shop", "--domain", "apps.example.com", "--max-scale", "1"]);
        let supply = house.room().join("supply").display().to_string();
        house.arguments.extend(["--supply".to_owned(), supply]);
        // The apps leave marks and wait for signs outside of their folders.
        house.arguments.push("--trust-apps".to_owned());
        house.up();
        Machine { account, id, house, instance: None, port: free_port() }
    }

    /// The same machine as if it were new, and another one: nothing of the old one is left but
    /// where things were.
    fn replace(&mut self, id: &'static str) {
        self.kill_instance();
        self.house.rowhouse(&["down"]);
        assert!(self.house.wait_up().success());
        for folder in ["data", "notes", "supply"] {
            fs::remove_dir_all(self.file(folder)).unwrap();
        }
        fs::remove_file(self.file("instance.log")).unwrap();
        self.id = id;
        self.house.up();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.house.room().join(name)
    }

    /// Starts the half with the account's rights.
    fn run(&mut self, manifest: &str, commit: &str) {
        self.run_with(manifest, commit, &[], &[]);
    }

    fn run_with(
        &mut self,
        manifest: &str,
        commit: &str,
        arguments: &[&str],
        environment: &[(&str, &Path)],
    ) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("instance.log"))
            .unwrap();
        let mut command = Command::new(PROGRAM);
        let stack = self.account.of_stack("StackId");
        self.account
            .with_account(&mut command)
            .args(["instance", "--app", "shop", "--commit", commit, "--manifest", manifest])
            .args(["--bucket", BUCKET, "--stack", &stack, "--resource", "Instances"])
            .args(["--domain", "apps.example.com", "--region", REGION])
            .args(["--certificate", &format!("s3://{BUCKET}/backend-certificates/shop")])
            .arg("--data")
            .arg(self.house.data())
            .arg("--notes")
            .arg(self.file("notes"))
            .arg("--supply")
            .arg(self.file("supply"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--platform", &format!("127.0.0.1:{}", self.house.port)])
            .args(["--instance-id", self.id, "--steady", "1s", "--any-repository"])
            .args(arguments)
            .envs(environment.iter().copied())
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

    fn says(&self, words: &str) {
        wait_for(&format!("`{words}`\n{}", self.log()), || {
            self.log().contains(words).then_some(())
        });
    }

    fn curl(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--fail", "--insecure", "--max-time", "20"])
            .arg(format!("https://127.0.0.1:{}{path}", self.port));
        command
    }

    /// A page as a balancer asks for it, which does not look at certificates.
    fn page(&self, host: &str, headers: &[&str]) -> Option<String> {
        let output = self
            .curl("/headers")
            .args(["--header", &format!("Host: {host}")])
            .args(headers.iter().flat_map(|header| ["--header", *header]))
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

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}\n{}", self.id, self.log(), self.house.log());
        }
        if let Some(mut instance) = self.instance.take() {
            let _ = instance.kill();
            let _ = instance.wait();
        }
    }
}

fn make_certificate(host: &str, key: &Path, certificate: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .args(["-subj", &format!("/CN={host}"), "-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
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

/// An app that shows what it is asked with, and takes its time where it is asked to.
const SHOWING: &str = "
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith('/until/'):
            open(self.path[6:] + '.asked', 'w').close()
            while not os.path.exists(self.path[6:]):
                time.sleep(0.01)
        body = (os.environ['GREETING'] + ' ' + os.environ['APP_VERSION'] + ' ' +
                os.environ['APP_REVISION'] + '\\n' + str(self.headers)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";
const WEB: &str = "web: exec python3 app.py\n";

fn path(repository: &Repository) -> &str {
    repository.path.to_str().unwrap()
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn an_instance_comes_up_signals_once_and_serves_with_the_very_key_of_its_certificate() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-0123");
    let repository = machine.house.repository("app");
    let commit = repository.commit("v1", &[("app.py", SHOWING), ("Procfile", WEB)]);
    let manifest = account.manifest(path(&repository), &commit, &[]);
    account.make_stack(1);
    assert!(!machine.is_open());
    machine.run(&manifest, &commit);
    account.stack_becomes("CREATE_COMPLETE", &[&machine]);

    let page = machine.page(HOST, &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"]);
    let page = page.unwrap();
    assert!(page.starts_with(&format!("good day main {commit}\n")), "{page}");
    let lower = page.to_lowercase();
    assert!(lower.contains("x-forwarded-for: 192.0.2.1\n"), "{page}");
    assert!(lower.contains("x-forwarded-proto: https\n"), "{page}");
    assert!(machine.page("10.0.0.7:8443", &[]).is_some(), "a health check names an address");
    assert_eq!(machine.served_key(), public_key(&account.file("certificate.pem")));

    // Where the platform goes, the port goes, and comes back with it.
    machine.house.end_up("-INT");
    wait_for("the port to be closed", || (!machine.is_open()).then_some(()));
    machine.house.up();
    wait_for("the port to be open", || machine.page(HOST, &[]));

    // It needs neither network nor account to come back, and tells nobody anything.
    let pids = machine.house.pids("shop");
    machine.kill_instance();
    account.end();
    machine.run(&manifest, &commit);
    wait_for("the port to be open", || machine.page(HOST, &[]));
    assert_eq!(machine.house.pids("shop"), pids);
    let log = machine.log();
    assert_eq!(log.matches(&format!("answers at {}", &commit[..7])).count(), 1, "{log}");
    assert!(!log.contains("PRIVATE KEY"));
}

#[test]
fn a_version_that_does_not_come_up_is_told_with_its_reason_at_once() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-0123");
    let repository = machine.house.repository("app");
    let commit = repository.procfile("v1", "web: echo no database; exit 3\n");
    let manifest = account.manifest(path(&repository), &commit, &[]);
    account.make_stack(1);
    machine.run(&manifest, &commit);
    assert!(machine.ended().success(), "{}", machine.log());
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    assert!(reason.starts_with("i-0123: ") && reason.contains("no database"), "{reason}");
    account.stack_becomes("ROLLBACK_COMPLETE", &[&machine]);
    // What systemd starts again has nothing to do.
    machine.run(&manifest, &commit);
    assert!(machine.ended().success());
    assert!(!machine.is_open());
}

#[test]
fn a_manifest_that_is_not_what_its_digest_says_runs_nothing() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-0123");
    let repository = machine.house.repository("app");
    let commit = repository.web("v1");
    let manifest = account.manifest(path(&repository), &commit, &[]);
    let other = account.object(&format!("manifests/{manifest}.json")).unwrap();
    account.put(&format!("manifests/{manifest}.json"), &other.replace("good day", "good bye"));
    account.make_stack(1);
    machine.run(&manifest, &commit);
    assert!(machine.ended().success(), "{}", machine.log());
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    assert!(reason.contains("is not what its digest says"), "{reason}");
    account.stack_becomes("ROLLBACK_COMPLETE", &[&machine]);
    assert_eq!(machine.house.sql("select count(*) from apps"), "0");
}

#[test]
fn a_commit_is_built_and_released_once_and_a_spoilt_build_is_made_anew() {
    let account = Account::start();
    let (builds, releases) = (account.file("builds"), account.file("releases"));
    let env = [("BUILDS", &*builds), ("RELEASES", &*releases)];
    let mut machine = Machine::boot(&account, "i-1");
    let repository = machine.house.repository("app");
    let procfile =
        format!("{WEB}build: echo $$ | tee made >> $BUILDS\nrelease: echo x >> $RELEASES\n");
    let commit = repository.commit("v1", &[("app.py", SHOWING), ("Procfile", &procfile)]);
    let manifest = account.manifest(path(&repository), &commit, &env);
    account.make_stack(1);
    machine.run(&manifest, &commit);
    account.stack_becomes("CREATE_COMPLETE", &[&machine]);
    assert_eq!((lines(&builds), lines(&releases)), (1, 1));
    let [build] = &account.keys("builds/shop/")[..] else { panic!("{}", machine.log()) };
    let made = fs::read_to_string(&builds).unwrap();

    // A machine that replaces it neither builds nor releases, nor needs the repository.
    fs::rename(&repository.path, account.file("away")).unwrap();
    machine.replace("i-2");
    machine.run(&manifest, &commit);
    machine.says("`shop` answers");
    machine.says("another instance has built this commit");
    assert_eq!((lines(&builds), lines(&releases)), (1, 1));
    let found = Command::new("find").arg(machine.house.data()).args(["-name", "made"]).output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    assert_eq!(fs::read_to_string(found.trim()).unwrap(), made);
    fs::rename(account.file("away"), &repository.path).unwrap();

    // Somebody who could write there has put something else in its place, under the same digest.
    let head = ["s3api", "head-object", "--bucket", BUCKET, "--key", build];
    let digest = ["--query", "Metadata.sha256", "--output", "text"];
    let digest = format!("sha256={}", account.aws(&[&head[..], &digest].concat()).unwrap());
    let spoilt = account.file("spoilt");
    fs::write(&spoilt, "something else").unwrap();
    let put = ["s3api", "put-object", "--bucket", BUCKET, "--key", build, "--metadata", &digest];
    account.aws(&[&put[..], &["--body", spoilt.to_str().unwrap()]].concat()).unwrap();
    machine.replace("i-3");
    machine.run(&manifest, &commit);
    machine.says("it is not what its digest says");
    wait_for("the port to be open", || machine.page(HOST, &[]));
    assert_eq!((lines(&builds), lines(&releases)), (2, 1));
    machine.says("another instance has stored its build already");

    // No archive at all, under its own digest: the platform finds out.
    let digest = format!("sha256={}", sha256("something else", &spoilt));
    let put = ["s3api", "put-object", "--bucket", BUCKET, "--key", build, "--metadata", &digest];
    account.aws(&[&put[..], &["--body", spoilt.to_str().unwrap()]].concat()).unwrap();
    machine.replace("i-4");
    machine.run(&manifest, &commit);
    wait_for("the port to be open", || machine.page(HOST, &[]));
    assert_eq!((lines(&builds), lines(&releases)), (3, 1));
}

#[test]
fn of_instances_that_boot_together_one_releases_and_the_others_wait_for_it() {
    let account = Account::start();
    let (releases, go) = (account.file("releases"), account.file("go"));
    let env = [("RELEASES", &*releases), ("GO", &*go)];
    let mut first = Machine::boot(&account, "i-1");
    let mut second = Machine::boot(&account, "i-2");
    let (commit, manifest) = account.releasing(&first, &env);
    account.make_stack(2);
    first.run(&manifest, &commit);
    wait_for("the release to begin", || (lines(&releases) == 1).then_some(()));
    second.run(&manifest, &commit);
    second.says("`i-1` goes first; waiting for it");
    assert_eq!(second.house.sql("select count(*) from apps"), "0");
    fs::write(&go, "").unwrap();
    account.stack_becomes("CREATE_COMPLETE", &[&first, &second]);
    assert!(second.page(HOST, &[]).unwrap().starts_with("good day"));
    assert_eq!(lines(&releases), 1);
}

#[test]
fn a_release_that_fails_fails_all_with_its_reason() {
    let account = Account::start();
    let mut first = Machine::boot(&account, "i-1");
    let mut second = Machine::boot(&account, "i-2");
    let repository = first.house.repository("app");
    let commit = repository.procfile("v1", "web: sleep 1000\nrelease: echo no table; exit 4\n");
    let manifest = account.manifest(path(&repository), &commit, &[]);
    account.make_stack(2);
    for machine in [&mut first, &mut second] {
        machine.run(&manifest, &commit);
        assert!(machine.ended().success(), "{}", machine.log());
    }
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    assert!(reason.starts_with("i-2: `i-1`, which went first, failed: "), "{reason}");
    assert!(reason.contains("status 4") && reason.contains("no table"), "{reason}");
    assert_eq!(second.house.sql("select count(*) from apps"), "0");
    account.stack_becomes("ROLLBACK_COMPLETE", &[&first, &second]);
}

#[test]
fn an_instance_that_dies_while_it_goes_first_is_replaced_by_another() {
    let account = Account::start();
    let (releases, go) = (account.file("releases"), account.file("go"));
    let env = [("RELEASES", &*releases), ("GO", &*go)];
    let mut first = Machine::boot(&account, "i-1");
    let mut second = Machine::boot(&account, "i-2");
    let (commit, manifest) = account.releasing(&first, &env);
    account.make_stack(1);
    first.run_with(&manifest, &commit, &["--lease", "4s"], &[]);
    wait_for("the release to begin", || (lines(&releases) == 1).then_some(()));
    second.run_with(&manifest, &commit, &["--lease", "4s"], &[]);
    second.says("`i-1` goes first; waiting for it");
    first.kill_instance();
    second.says("`i-1` does nothing any more; going in its place");
    wait_for("the second release", || (lines(&releases) == 2).then_some(()));
    fs::write(&go, "").unwrap();
    account.stack_becomes("CREATE_COMPLETE", &[&first, &second]);
    second.says("`shop` answers");
}

#[test]
fn told_to_end_it_lets_open_requests_finish_and_takes_no_more() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-1");
    let repository = machine.house.repository("app");
    let commit = repository.commit("v1", &[("app.py", SHOWING), ("Procfile", WEB)]);
    let manifest = account.manifest(path(&repository), &commit, &[]);
    account.make_stack(1);
    machine.run(&manifest, &commit);
    account.stack_becomes("CREATE_COMPLETE", &[&machine]);
    let go = machine.file("go");
    let mut open = machine.curl(&format!("/until{}", go.display()));
    let open = open.stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the request to arrive", || machine.file("go.asked").exists().then_some(()));
    let mut instance = machine.instance.take().unwrap();
    kill("-TERM", instance.id());
    wait_for("the port to be closed", || (!machine.is_open()).then_some(()));
    assert!(instance.try_wait().unwrap().is_none(), "a request is open");
    fs::write(go, "").unwrap();
    let answer = open.wait_with_output().unwrap();
    assert!(answer.status.success() && answer.stdout.starts_with(b"good day"), "{answer:?}");
    let ended = wait_for("the instance to end", || instance.try_wait().unwrap());
    assert!(ended.success());
    assert!(!machine.log().contains("they are cut"), "{}", machine.log());
}

/// A server of private repositories, over TLS.
struct Server {
    process: Child,
    /// The address of the repository.
    address: String,
    /// The name of the secret for it.
    secret: String,
    certificate: PathBuf,
}

impl Server {
    /// Gives the repository to who brings the token, and nothing to anybody else.
    fn start(account: &Account, repository: &Repository, token: &str) -> Server {
        let (key, certificate) = (account.file("git.key"), account.file("git.pem"));
        make_certificate("localhost", &key, &certificate);
        let port = free_port();
        let folder = repository.path.parent().unwrap();
        let log = fs::File::create(account.file("git.log")).unwrap();
        let process = Command::new("python3")
            .args(["-c", include_str!("apps/git_server.py")])
            .arg(port.to_string())
            .args([&certificate, &key, folder])
            .arg(token)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the git server", || TcpStream::connect(("127.0.0.1", port)).ok());
        let name = repository.path.file_name().unwrap().to_str().unwrap();
        Server {
            process,
            address: format!("https://localhost:{port}/{name}"),
            secret: format!("rowhouse/git/localhost/{port}"),
            certificate,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const TOKEN: &str = "hush%41/@token";

#[test]
fn a_private_repository_comes_up_and_its_token_is_nowhere_that_the_app_can_look() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-1");
    let repository = machine.house.repository("app");
    let commit = repository.commit("v1", &[("app.py", SHOWING), ("Procfile", WEB)]);
    let server = Server::start(&account, &repository, TOKEN);
    let manifest = account.manifest(&server.address, &commit, &[]);
    let secret = ["secretsmanager", "create-secret", "--name", &server.secret];
    account.aws(&[&secret[..], &["--secret-string", TOKEN]].concat()).unwrap();
    account.make_stack(1);
    let trust = [("GIT_SSL_CAINFO", &*server.certificate)];
    machine.run_with(&manifest, &commit, &[], &trust);
    account.stack_becomes("CREATE_COMPLETE", &[&machine]);
    assert!(machine.page(HOST, &[]).unwrap().starts_with("good day main"));

    let found = Command::new("grep")
        .args(["--recursive", "--files-with-matches", "--text", "hush"])
        .arg(machine.house.room())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    for pid in machine.house.pids("shop").into_iter().chain([machine.house.up_pid()]) {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("hush"));
        }
    }
    let asked = fs::read_to_string(account.file("git.log")).unwrap();
    assert!(asked.contains("with the token") && !asked.contains("with another"), "{asked}");
}

#[test]
fn a_token_that_does_not_open_a_repository_is_told_without_it() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-1");
    let repository = machine.house.repository("app");
    let commit = repository.web("v1");
    let server = Server::start(&account, &repository, TOKEN);
    let manifest = account.manifest(&server.address, &commit, &[]);
    let secret = ["secretsmanager", "create-secret", "--name", &server.secret];
    account.aws(&[&secret[..], &["--secret-string", "me:stale-token"]].concat()).unwrap();
    account.make_stack(1);
    let trust = [("GIT_SSL_CAINFO", &*server.certificate)];
    machine.run_with(&manifest, &commit, &[], &trust);
    assert!(machine.ended().success(), "{}", machine.log());
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    assert!(
        reason.contains(&format!("with the token in the secret `{}`", server.secret)),
        "{reason}"
    );
    assert!(!reason.contains("stale-token") && !machine.log().contains("stale-token"));
    account.stack_becomes("ROLLBACK_COMPLETE", &[&machine]);
    assert!(!machine.file("notes/git-credentials").exists());
}

#[test]
fn a_private_repository_without_a_token_is_told_with_what_is_missing() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-1");
    let repository = machine.house.repository("app");
    let commit = repository.web("v1");
    let server = Server::start(&account, &repository, TOKEN);
    let manifest = account.manifest(&server.address, &commit, &[]);
    account.make_stack(1);
    // The platform must know the server to be refused by it.
    machine.house.end_up("-INT");
    let certificate = server.certificate.display().to_string();
    machine.house.environment.push(("GIT_SSL_CAINFO".to_owned(), certificate));
    machine.house.up();
    machine.run(&manifest, &commit);
    assert!(machine.ended().success(), "{}", machine.log());
    let reason = account.object(&format!("failures/shop/{commit}.txt")).unwrap();
    let missing = format!("put a token into the secret `{}`", server.secret);
    assert!(reason.contains(&missing) && reason.contains("`TokenSecrets`"), "{reason}");
    account.stack_becomes("ROLLBACK_COMPLETE", &[&machine]);
}

#[test]
fn a_build_that_cannot_be_shared_runs_all_the_same() {
    let account = Account::start();
    let mut machine = Machine::boot(&account, "i-1");
    let repository = machine.house.repository("app");
    let procfile = format!("{WEB}build: ln -s /etc/hostname outside\n");
    let commit = repository.commit("v1", &[("app.py", SHOWING), ("Procfile", &procfile)]);
    let manifest = account.manifest(path(&repository), &commit, &[]);
    account.make_stack(1);
    machine.run(&manifest, &commit);
    account.stack_becomes("CREATE_COMPLETE", &[&machine]);
    machine.says("the platform could not pack it");
    assert!(machine.house.log().contains("leads out of the build"), "{}", machine.house.log());
    assert_eq!(account.keys("builds/"), [""; 0]);
}
