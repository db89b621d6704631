//! Health: whether an instance answers, asked as its users would.

use std::net::Ipv4Addr;
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::pause::Pause;
use crate::process::end::End;
use crate::process::supervised::Supervised;
use crate::process::{Listener, listener};

/// How long an instance that is coming up is left alone between two questions: many are up within
/// milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What an instance must do to be healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Its port accepts a connection.
    Connect,
    /// This path answers 2xx or 3xx.
    Http(String),
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    Healthy,
    /// What it said, or did not, as a sentence.
    Unhealthy {
        said: String,
    },
}

/// Asks once; no answer within `limit` is an answer too.
pub async fn probe(port: u16, check: &Check, limit: Duration, host: &str) -> Probed {
    match timeout(limit, ask(port, check, host)).await {
        Ok(Ok(())) => Probed::Healthy,
        Ok(Err(said)) => Probed::Unhealthy { said },
        Err(_) => {
            let what = match check {
                Check::Connect => "connection".to_owned(),
                Check::Http(path) => format!("GET {path}"),
            };
            Probed::Unhealthy { said: format!("{what}: no answer within {} s", limit.as_secs()) }
        }
    }
}

async fn ask(port: u16, check: &Check, host: &str) -> Result<(), String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|_| format!("nothing accepts connections on its port {port} (`PORT`)"))?;
    let path = match check {
        Check::Connect => return Ok(()),
        Check::Http(path) => path,
    };
    // The question goes out whole; where it cannot be set, it is asked all the same.
    let _ = stream.set_nodelay(true);
    let broken = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(path)
        .header("host", host)
        .header("user-agent", "rowhouse-health-check")
        .header("connection", "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| format!("GET {path}: {error}"))?;
    // Both in this future, so that giving up closes the connection. The sender goes with its
    // answer, which ends the connection.
    let answer =
        async move { sender.send_request(request).await.map(|response| response.status()) };
    let (status, _) = tokio::join!(answer, connection);
    let status = status.map_err(broken)?;
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("GET {path} answered {}", status.as_u16()))
    }
}

/// How waiting for health came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    Healthy,
    /// The process ended first.
    Ended(End),
    /// Somebody else listens on its port.
    PortTaken,
    Deadline {
        last: String,
    },
}

/// Waits until an instance is healthy, and it is really this instance that listens.
pub async fn wait_healthy(
    instance: &Supervised,
    port: u16,
    check: &Check,
    host: &str,
    limit: Duration,
) -> Waited {
    tokio::select! {
        biased;
        waited = probe_until_healthy(instance, port, check, host, limit) => waited,
        end = instance.ended() => match listener(port, instance.shim_pid()) {
            // "Address in use" is the port's fault and not the app's.
            Listener::Other => Waited::PortTaken,
            Listener::Nobody | Listener::Ours | Listener::Hidden => Waited::Ended(end),
        },
    }
}

async fn probe_until_healthy(
    instance: &Supervised,
    port: u16,
    check: &Check,
    host: &str,
    limit: Duration,
) -> Waited {
    let deadline = Instant::now() + limit;
    let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE).growing_by_a_quarter();
    let mut last = format!("nothing accepts connections on its port {port} (`PORT`)");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Waited::Deadline { last };
        }
        match probe(port, check, left.min(Duration::from_secs(5)), host).await {
            Probed::Healthy => match listener(port, instance.shim_pid()) {
                // Its port is its own by the journal, so where nobody can tell it is taken at its
                // word.
                Listener::Ours | Listener::Hidden => return Waited::Healthy,
                Listener::Other => return Waited::PortTaken,
                // It was there, and is gone again.
                Listener::Nobody => {}
            },
            Probed::Unhealthy { said } => last = said,
        }
        sleep(pause.due().min(left)).await;
    }
}
