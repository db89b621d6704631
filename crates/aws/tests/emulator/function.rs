//! A function outside of any emulator: the very program, under a Runtime API of its own, invoked by
//! the test.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, oneshot};

/// How long an invocation may take, as the reactor's template says.
const LIMIT: Duration = Duration::from_mins(2);

/// How often it is looked whether it still runs.
const LOOK: Duration = Duration::from_millis(200);

/// What an invocation came to: the function's answer, or the error that it reported.
pub(crate) type Answer = Result<Value, Value>;

/// A running function. It ends with the value that stands for it, and shows its log when the test
/// failed.
pub(crate) struct Function {
    process: Mutex<Child>,
    folder: TempDir,
    room: Arc<Room>,
    server: tokio::task::JoinHandle<()>,
}

/// The invocations that wait for the program, and the one that it is at.
#[derive(Default)]
struct Room {
    waiting: Mutex<VecDeque<(Value, oneshot::Sender<Answer>)>>,
    rings: Notify,
    current: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Function {
    /// Starts a program with these files beside it.
    pub(crate) async fn start(
        program: &Path,
        files: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Function {
        let folder = TempDir::new().unwrap();
        let bootstrap = folder.path().join("bootstrap");
        std::fs::hard_link(program, &bootstrap)
            .or_else(|_| std::fs::copy(program, &bootstrap).map(drop))
            .unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap().to_string();
        let room = Arc::<Room>::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&room)));
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new(&bootstrap)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .envs([("AWS_LAMBDA_FUNCTION_NAME", "f"), ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")])
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .env("AWS_REGION", super::REGION)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Function { process: Mutex::new(process), folder, room, server }
    }

    /// Invokes it once and waits for its answer.
    pub(crate) async fn invoke(&self, event: &Value) -> Answer {
        let (sender, mut answer) = oneshot::channel();
        self.room.waiting.lock().await.push_back((event.clone(), sender));
        self.room.rings.notify_one();
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Ok(Ok(answer)) = tokio::time::timeout(LOOK, &mut answer).await {
                return answer;
            }
            let ended = self.process.lock().await.try_wait().unwrap();
            assert_eq!(ended, None, "the function has ended");
        }
        panic!("the function does not answer in its time");
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        let _ = process.kill();
        let _ = process.wait();
        self.server.abort();
        if std::thread::panicking() {
            eprintln!("the function's log:\n{}", self.log());
        }
    }
}

async fn serve(listener: TcpListener, room: Arc<Room>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let room = Arc::clone(&room);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&room)));
            let served = hyper::server::conn::http1::Builder::new();
            // An error says that the function is gone.
            let _ = served.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    room: Arc<Room>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.method() == Method::GET {
        return Ok(next(&room).await);
    }
    let failed = request.uri().path().ends_with("/error");
    let bytes = request.into_body().collect().await?.to_bytes();
    let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if let Some(sender) = room.current.lock().await.take() {
        // Nobody waits any more where the test has failed meanwhile.
        let _ = sender.send(if failed { Err(value) } else { Ok(value) });
    }
    Ok(Response::builder().status(202).body(Full::default()).unwrap())
}

/// The next invocation, which the program waits for.
async fn next(room: &Room) -> Response<Full<Bytes>> {
    let (event, sender) = loop {
        let first = room.waiting.lock().await.pop_front();
        match first {
            Some(first) => break first,
            None => room.rings.notified().await,
        }
    };
    *room.current.lock().await = Some(sender);
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + LIMIT;
    Response::builder()
        .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:1:function:f")
        .body(Full::from(event.to_string()))
        .unwrap()
}
