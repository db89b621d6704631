//! ministack, an emulator of AWS: one for each test, on a port of its own, with an empty account.
//! It ends with the value that stands for it, and shows its log when the test failed.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests fail as tests do")]

pub(crate) mod fault;
pub(crate) mod function;
pub(crate) mod moto;
pub(crate) mod stream;

use std::collections::HashMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{Capability, Parameter, Stack};
use aws_sdk_s3::config::{Credentials, Region};
use aws_smithy_types::byte_stream::ByteStream;
use tempfile::TempDir;

/// Where the programs of the emulators are, such as `.emulators/bin` of a Python environment.
const PROGRAMS: &str = "ROWHOUSE_EMULATORS";
const REGION: &str = "eu-west-1";
const CODE_BUCKET: &str = "code-of-functions";
const PATIENCE: Duration = Duration::from_mins(1);

/// A running emulator, and the clients of its account.
pub(crate) struct Emulator {
    process: Child,
    folder: TempDir,
    endpoint: String,
    pub(crate) config: SdkConfig,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
}

/// A program of the emulators' environment.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os(PROGRAMS).map(PathBuf::from);
    let found = folder.map(|folder| folder.join(name)).filter(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!(
            "this test needs `{name}`: make a Python environment (`python3 -m venv DIR`, \
             `DIR/bin/pip install ministack==1.5.33 microburst==0.10.0 'moto[server]==5.2.5' \
             awscli==1.46.3`) and set {PROGRAMS}=DIR/bin"
        )
    })
}

/// Waits until there is an answer.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask).await
}

/// The same with another bound.
pub(crate) async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Emulator {
    pub(crate) async fn start() -> Emulator {
        Emulator::start_with(&[]).await
    }

    /// `environment`: settings of ministack, such as `AUTH=true`.
    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Emulator {
        Emulator::start_on(free_port(), environment).await
    }

    /// The same on a port that was chosen before, so that the environment can name it.
    pub(crate) async fn start_on(port: u16, environment: &[(&str, &str)]) -> Emulator {
        let folder = TempDir::new().unwrap();
        for name in ["s3", "state", "temporary"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program("ministack"))
            .envs([("BIND_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0"), ("SFTP_ENABLED", "0")])
            .env("GATEWAY_PORT", port.to_string())
            .envs([("MINISTACK_REGION", REGION), ("AWS_DEFAULT_REGION", REGION)])
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .env_remove("AWS_ENDPOINT_URL")
            .env("S3_DATA_DIR", folder.path().join("s3"))
            .env("STATE_DIR", folder.path().join("state"))
            .env("TMPDIR", folder.path().join("temporary"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let config = config(&endpoint).await;
        let s3 = rowhouse_aws::client::s3(&config);
        let cloudformation = aws_sdk_cloudformation::Client::new(&config);
        let emulator = Emulator { process, folder, endpoint, config, s3, cloudformation };
        until("the emulator answers", async || emulator.s3.list_buckets().send().await.ok()).await;
        emulator
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the emulator and the functions in it have said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) async fn make_bucket(&self, name: &str) {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let place = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(REGION))
            .build();
        let bucket = self.s3.create_bucket().bucket(name).create_bucket_configuration(place);
        bucket.send().await.unwrap();
    }

    /// Puts a program where `AWS::Lambda::Function` finds it, and says where: bucket and key.
    pub(crate) async fn upload(&self, name: &str, program: &Path) -> (String, String) {
        self.upload_with(name, program, &[]).await
    }

    /// The same with more files in the package.
    pub(crate) async fn upload_with(
        &self,
        name: &str,
        program: &Path,
        files: &[(&str, &str)],
    ) -> (String, String) {
        let zip = self.folder.path().join(format!("{name}.zip"));
        packed(program, files, &zip);
        if self.s3.head_bucket().bucket(CODE_BUCKET).send().await.is_err() {
            self.make_bucket(CODE_BUCKET).await;
        }
        let key = format!("{name}.zip");
        let body = ByteStream::from_path(&zip).await.unwrap();
        self.s3.put_object().bucket(CODE_BUCKET).key(&key).body(body).send().await.unwrap();
        (CODE_BUCKET.to_owned(), key)
    }

    /// Creates a stack and waits for its end.
    pub(crate) async fn create(
        &self,
        name: &str,
        template: &str,
        values: &[(&str, &str)],
    ) -> Stack {
        self.cloudformation
            .create_stack()
            .stack_name(name)
            .template_body(template)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(parameters(values)))
            .send()
            .await
            .unwrap();
        self.ended(name).await
    }

    /// Updates a stack and waits for its end.
    pub(crate) async fn update(
        &self,
        name: &str,
        template: &str,
        values: &[(&str, &str)],
    ) -> Stack {
        self.cloudformation
            .update_stack()
            .stack_name(name)
            .template_body(template)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(parameters(values)))
            .send()
            .await
            .unwrap();
        self.ended(name).await
    }

    /// Deletes a stack and waits until it is gone; its last status by its id.
    pub(crate) async fn delete(&self, stack: &Stack) -> Stack {
        let id = stack.stack_id().unwrap();
        self.cloudformation.delete_stack().stack_name(id).send().await.unwrap();
        self.ended(id).await
    }

    /// The stack of that name.
    pub(crate) async fn stack(&self, name: &str) -> Option<Stack> {
        let answer = self.cloudformation.describe_stacks().stack_name(name).send().await.ok()?;
        answer.stacks().first().cloned()
    }

    /// The stack, once nothing is in progress on it.
    pub(crate) async fn ended(&self, name: &str) -> Stack {
        until("the stack comes to rest", async || {
            let stack = self.stack(name).await?;
            (!status(&stack).ends_with("_IN_PROGRESS")).then_some(stack)
        })
        .await
    }

    /// The reasons in the events of a stack, newest first.
    pub(crate) async fn reasons(&self, name: &str) -> Vec<String> {
        let events =
            self.cloudformation.describe_stack_events().stack_name(name).send().await.unwrap();
        let reasons = events.stack_events().iter();
        reasons.filter_map(|event| event.resource_status_reason().map(str::to_owned)).collect()
    }

    /// The keys of a bucket.
    pub(crate) async fn keys(&self, bucket: &str) -> Vec<String> {
        let answer = self.s3.list_objects_v2().bucket(bucket).send().await.unwrap();
        answer.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
    }

    /// An object as text.
    pub(crate) async fn text(&self, bucket: &str, key: &str) -> String {
        let object = self.s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        String::from_utf8(object.body.collect().await.unwrap().to_vec()).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // A request to end, which it passes on to the functions that run in it.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        if std::thread::panicking() {
            // It may wait for what the test has left unfinished.
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the emulator's log:\n{}", self.log());
        }
    }
}

/// A client of the web, for what no SDK of this crate speaks.
pub(crate) fn web() -> reqwest::Client {
    // The other cryptography of the process is the SDK's, which no test needs to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// What tells an emulator which service is meant; it checks no signature.
pub(crate) fn credential(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

/// A call of a service that takes forms: its answer, as text.
pub(crate) async fn query(
    web: &reqwest::Client,
    endpoint: &str,
    service: &str,
    form: &[(&str, &str)],
) -> String {
    let body: Vec<String> =
        form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let sent = web
        .post(endpoint)
        .header("authorization", credential(service))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.join("&"));
    let answer = sent.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{text}");
    text
}

/// A call of a service that takes JSON, by its target such as
/// `DynamoDBStreams_20120810.GetRecords`.
pub(crate) async fn call(
    web: &reqwest::Client,
    endpoint: &str,
    service: &str,
    target: &str,
    input: &serde_json::Value,
) -> serde_json::Value {
    let sent = web
        .post(endpoint)
        .header("authorization", credential(service))
        .header("x-amz-target", target)
        .header("content-type", "application/x-amz-json-1.1")
        .body(input.to_string());
    let answer = sent.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{target}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The word of a stack's status.
pub(crate) fn status(stack: &Stack) -> &str {
    stack.stack_status().map(aws_sdk_cloudformation::types::StackStatus::as_str).unwrap_or_default()
}

/// The outputs of a stack, by name.
pub(crate) fn outputs(stack: &Stack) -> HashMap<String, String> {
    let pair = |output: &aws_sdk_cloudformation::types::Output| {
        Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
    };
    stack.outputs().iter().filter_map(pair).collect()
}

fn parameters(values: &[(&str, &str)]) -> Vec<Parameter> {
    let parameter = |(name, value): &(&str, &str)| {
        Parameter::builder().parameter_key(*name).parameter_value(*value).build()
    };
    values.iter().map(parameter).collect()
}

pub(crate) async fn config(endpoint: &str) -> SdkConfig {
    let shared = rowhouse_aws::client::shared_config().await.into_builder();
    let credentials = Credentials::new("test", "test", None, None, "test");
    shared
        .endpoint_url(endpoint)
        .region(Region::new(REGION))
        .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(credentials))
        .build()
}

/// A zip of the program as `bootstrap`, by the Python that the emulator runs on. What debuggers
/// read would make it ten times as large.
fn packed(program: &Path, files: &[(&str, &str)], zip: &Path) {
    let bootstrap = zip.with_extension("bootstrap");
    let stripped = Command::new("strip").arg("-o").arg(&bootstrap).arg(program).status();
    assert!(stripped.expect("the test needs the command `strip`").success());
    let script = "import sys, zipfile\n\
                  file = zipfile.ZipFile(sys.argv[1], 'w')\n\
                  file.write(sys.argv[2], 'bootstrap')\n\
                  for name, text in zip(sys.argv[3::2], sys.argv[4::2]): file.writestr(name, \
                  text)\n\
                  file.close()";
    let python = crate::emulator::program("python3");
    let files = files.iter().flat_map(|(name, text)| [*name, *text]);
    let packed =
        Command::new(python).args(["-c", script]).args([zip, &bootstrap]).args(files).status();
    assert!(packed.unwrap().success());
}
