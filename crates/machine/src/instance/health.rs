//! Health: whether an instance answers, asked as its users would.

use std::fmt;
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
use crate::process::listening::{Listener, Place, Places, listener, places};
use crate::process::supervised::Supervised;

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

/// Why an instance that was asked is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing accepts connections on its port.
    Closed,
    /// What it said, or did not, as a sentence.
    Said(String),
}

/// Why an instance is not healthy, and what its processes do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwell {
    /// Nothing accepts connections on its port; it listens in these places.
    Elsewhere { port: u16, places: Places },
    /// What it said, or did not, as a sentence.
    Said(String),
}

/// In so many places somebody is told that an instance listens.
const MOST_PLACES: usize = 4;

impl Unwell {
    /// Of an instance whose processes are below `ancestor`.
    pub fn of(unanswered: Unanswered, port: u16, ancestor: i32) -> Unwell {
        match unanswered {
            Unanswered::Closed => Unwell::Elsewhere { port, places: places(ancestor) },
            Unanswered::Said(said) => Unwell::Said(said),
        }
    }

    /// What to do about it, where what was found tells.
    pub fn advice(&self) -> Option<&'static str> {
        let Unwell::Elsewhere { port, places } = self else { return None };
        let is_right = |place: &Place| match place {
            Place::Tcp(address) => address.port() == *port,
            Place::Unix(_) => false,
        };
        if places.found.iter().any(is_right) {
            Some("let it listen on `HOST`")
        } else {
            Some("let it listen on `PORT` of `HOST`")
        }
    }
}

impl fmt::Display for Unwell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (port, places) = match self {
            Unwell::Elsewhere { port, places } => (port, places),
            Unwell::Said(said) => return formatter.write_str(said),
        };
        let own = format!("127.0.0.1:{port}");
        if places.found.is_empty() {
            return if places.is_whole {
                write!(formatter, "it listens nowhere, and should on {own}")
            } else {
                write!(formatter, "nothing accepts connections on {own}")
            };
        }
        let found: Vec<String> =
            places.found.iter().take(MOST_PLACES).map(Place::to_string).collect();
        let more = if places.found.len() > MOST_PLACES { " and more" } else { "" };
        write!(formatter, "it listens on {}{more}, and not on {own}", found.join(", "))
    }
}

/// Asks once; no answer within `limit` is an answer too.
pub async fn probe(
    port: u16,
    check: &Check,
    limit: Duration,
    host: &str,
) -> Result<(), Unanswered> {
    let silence = |_| {
        let what = match check {
            Check::Connect => "connection".to_owned(),
            Check::Http(path) => format!("GET {path}"),
        };
        Err(Unanswered::Said(format!("{what}: no answer within {} s", limit.as_secs())))
    };
    timeout(limit, ask(port, check, host)).await.unwrap_or_else(silence)
}

async fn ask(port: u16, check: &Check, host: &str) -> Result<(), Unanswered> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let stream = stream.map_err(|_| Unanswered::Closed)?;
    let path = match check {
        Check::Connect => return Ok(()),
        Check::Http(path) => path,
    };
    // The question goes out whole; where it cannot be set, it is asked all the same.
    let _ = stream.set_nodelay(true);
    let broken = |error: hyper::Error| Unanswered::Said(format!("GET {path}: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(path)
        .header("host", host)
        .header("user-agent", "rowhouse-health-check")
        .header("connection", "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| Unanswered::Said(format!("GET {path}: {error}")))?;
    // Both in this future, so that giving up closes the connection. The sender goes with its
    // answer, which ends the connection.
    let answer =
        async move { sender.send_request(request).await.map(|response| response.status()) };
    let (status, _) = tokio::join!(answer, connection);
    let status = status.map_err(broken)?;
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Unanswered::Said(format!("GET {path} answered {}", status.as_u16())))
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
        last: Unwell,
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
    let mut last = Unanswered::Closed;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Waited::Deadline { last: Unwell::of(last, port, instance.shim_pid()) };
        }
        match probe(port, check, left.min(Duration::from_secs(5)), host).await {
            Ok(()) => match listener(port, instance.shim_pid()) {
                // Its port is its own by the journal, so where nobody can tell it is taken at its
                // word.
                Listener::Ours | Listener::Hidden => return Waited::Healthy,
                Listener::Other => return Waited::PortTaken,
                // It was there, and is gone again.
                Listener::Nobody => last = Unanswered::Closed,
            },
            Err(unanswered) => last = unanswered,
        }
        sleep(pause.due().min(left)).await;
    }
}

/// How an instance that was healthy ceased to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Its process ended.
    Ended(End),
    /// It runs, and does not answer any more.
    Unwell(Unwell),
}

/// Asks an instance that was healthy once more. Its end goes over whatever it answers.
pub async fn still_healthy(
    instance: &Supervised,
    port: u16,
    check: &Check,
    host: &str,
    limit: Duration,
) -> Result<(), Lapse> {
    if instance.is_ending() {
        return Err(Lapse::Ended(instance.ended().await));
    }
    tokio::select! {
        biased;
        end = instance.ended() => Err(Lapse::Ended(end)),
        answered = probe(port, check, limit, host) => answered
            .map_err(|unanswered| Lapse::Unwell(Unwell::of(unanswered, port, instance.shim_pid()))),
    }
}
