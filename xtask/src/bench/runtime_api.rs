//! The Lambda Runtime API, as a function's program meets it:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. One server for each process,
//! so that what one leaves unanswered is never another's.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use tokio::sync::{Mutex, mpsc as channel};

use crate::bench::process::{Process, cpu_time, peak_memory};
use crate::bench::server;

/// As the templates give the functions.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A function's process that asks this server for its events.
pub struct Function {
    process: Process,
    began: Instant,
    address: SocketAddr,
    events: channel::UnboundedSender<String>,
    said: mpsc::Receiver<Said>,
}

/// What a process came to the server with.
#[derive(Debug)]
struct Said {
    at: Instant,
    kind: Kind,
    body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It asks for an event: its start is over.
    Ready,
    Answer,
    Error,
}

/// What both functions answer when all went well.
const WELL: [&str; 2] = ["null", "{\"batchItemFailures\":[]}"];

impl Function {
    /// Starts the program with what Lambda gives a function in its environment.
    pub fn start(command: &mut Command) -> anyhow::Result<Function> {
        let (events, waiting) = channel::unbounded_channel();
        let (tell, said) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let address =
            server::start(move |request| answer(request, Arc::clone(&waiting), tell.clone()))?;
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string()).envs([
            ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ]);
        let began = Instant::now();
        let process = Process::start(command)?;
        Ok(Function { process, began, address, events, said })
    }

    /// Where a custom resource's answer may be put.
    pub fn answer_url(&self) -> String {
        format!("http://{}/answer", self.address)
    }

    /// From the start of the process until it asked for its first event.
    pub fn ready(&self) -> anyhow::Result<Duration> {
        let said = self.wait()?;
        if said.kind != Kind::Ready {
            bail!("the function does not start: {}", said.body);
        }
        Ok(said.at - self.began)
    }

    /// Gives it one event, which must go well; returns how long its answer took, once it asks for
    /// the next one.
    pub fn invoke(&self, event: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.events.send(event.to_owned()).context("the function is gone")?;
        let said = self.wait()?;
        match said.kind {
            Kind::Answer => {}
            Kind::Ready | Kind::Error => bail!("the function fails: {}", said.body),
        }
        // Python writes a blank after the colon.
        let body = said.body.replace(' ', "");
        if !WELL.contains(&body.as_str()) {
            bail!("the function answers {}", said.body);
        }
        self.wait()?;
        Ok(said.at - began)
    }

    /// What it has used of a processor so far.
    pub fn cpu(&self) -> Duration {
        cpu_time(self.process.pid())
    }

    /// Megabytes of memory at its peak so far, and its threads now.
    pub fn memory(&self) -> (f64, f64) {
        peak_memory(self.process.pid())
    }

    fn wait(&self) -> anyhow::Result<Said> {
        self.said.recv_timeout(TIMEOUT).context("the function says nothing for two minutes")
    }
}

type Waiting = Arc<Mutex<channel::UnboundedReceiver<String>>>;

async fn answer(
    request: Request<Incoming>,
    waiting: Waiting,
    tell: mpsc::Sender<Said>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let is_question = request.method() == Method::GET;
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let say = |kind| {
        // Nobody listens any more once the measurement is over.
        let _ = tell.send(Said { at: Instant::now(), kind, body: body.clone() });
    };
    if is_question && path.ends_with("/runtime/invocation/next") {
        say(Kind::Ready);
        let Some(event) = waiting.lock().await.recv().await else { return Ok(accepted()) };
        let deadline = SystemTime::now() + TIMEOUT;
        let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let response = Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("Lambda-Runtime-Deadline-Ms", deadline.as_millis().to_string())
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:eu-west-1:000000000000:function:bench",
            )
            .header("Content-Type", "application/json")
            .body(Full::from(event));
        return Ok(response.unwrap_or_default());
    }
    if path.ends_with("/response") {
        say(Kind::Answer);
    } else if path.ends_with("/error") || body.contains("\"Status\":\"FAILED\"") {
        say(Kind::Error);
    }
    Ok(accepted())
}

fn accepted() -> Response<Full<Bytes>> {
    Response::new(Full::from("{}"))
}
