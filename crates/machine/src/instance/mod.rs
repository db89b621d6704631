//! One instance of an app: a supervised process on a port of its own, which is asked how it does,
//! and drained before it goes. When to start, to ask and to end it is left to the stack, which is
//! told when its state changes.

pub mod health;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::instance::health::{Check, Lapse, Unwell, Waited};
use crate::process::cause::Words;
use crate::process::cause::secrets::Secrets;
use crate::process::end::End;
use crate::process::log::words;
use crate::process::port::Reservation;
use crate::process::shim::ShimSpec;
use crate::process::supervised::Supervised;
use crate::proxy::Upstream;

/// How long one question may take.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// How long a process that does not answer any more may take to end before it counts as one that
/// runs: it closes its port first.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// One instance, and the name of its folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How an instance does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, and has not answered yet.
    Starting,
    Healthy,
    /// It runs, and does not answer any more.
    Unhealthy(String),
    /// It does not run; the text says why, and when it is started again.
    Down(String),
}

/// Whoever must know what an instance saw of itself.
pub(crate) trait StateListener: fmt::Debug + Send + Sync {
    /// The instance is in another state than before, and has let go of everything of its own.
    fn state_changed(&self, instance: &Instance);
}

/// Why an instance did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// The app's fault: the reason, with its last words.
    App(String),
    /// Ours, or the machine's: worth another try.
    Ours(String),
    /// Somebody else listens on the port.
    PortTaken,
}

/// Where an instance has its things, and by which name it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Where its output goes; the same file over restarts.
    pub(crate) log: PathBuf,
    /// The host of its app.
    pub(crate) host: String,
}

/// An instance of an app.
#[derive(Debug)]
pub(crate) struct Instance {
    id: InstanceId,
    place: Place,
    door: Mutex<Door>,
    state: Mutex<State>,
    process: Mutex<Option<Arc<Supervised>>>,
    listener: Weak<dyn StateListener>,
}

/// The port, and what the proxy sends requests to.
#[derive(Debug)]
struct Door {
    port: Reservation,
    upstream: Upstream,
}

impl Door {
    fn new(id: &InstanceId, port: Reservation) -> Door {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.port()));
        Door { port, upstream: Upstream::new(id.0.clone(), address) }
    }
}

impl Instance {
    pub(crate) fn new(
        id: InstanceId,
        place: Place,
        port: Reservation,
        listener: Weak<dyn StateListener>,
    ) -> Instance {
        Instance {
            door: Mutex::new(Door::new(&id, port)),
            id,
            place,
            state: Mutex::new(State::Starting),
            process: Mutex::new(None),
            listener,
        }
    }

    pub(crate) fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Its folder, for when it is gone.
    pub(crate) fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> &Path {
        &self.place.log
    }

    pub(crate) fn port(&self) -> u16 {
        self.door.lock().port.port()
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().clone()
    }

    pub(crate) fn is_healthy(&self) -> bool {
        *self.state.lock() == State::Healthy
    }

    /// What the proxy sends requests to.
    pub(crate) fn upstream(&self) -> Upstream {
        self.door.lock().upstream.clone()
    }

    /// Whether its process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process().is_some_and(|process| process.is_running())
    }

    pub(crate) fn process(&self) -> Option<Arc<Supervised>> {
        self.process.lock().clone()
    }

    /// Takes over a process that outlived the platform.
    pub(crate) fn adopt(&self, process: Supervised) {
        *self.process.lock() = Some(Arc::new(process));
    }

    /// Starts its process.
    pub(crate) fn start(&self, program: &Path, spec: &ShimSpec) -> io::Result<Arc<Supervised>> {
        let process = Arc::new(Supervised::start(program, &self.place.folder, spec)?);
        *self.process.lock() = Some(Arc::clone(&process));
        Ok(process)
    }

    /// Moves to another port, for whoever listens on this one is not ours.
    pub(crate) fn move_to(&self, port: Reservation) {
        *self.door.lock() = Door::new(&self.id, port);
    }

    /// It is in this state from now on.
    pub(crate) fn set(&self, state: State) {
        let is_news = {
            let mut now = self.state.lock();
            let is_news = *now != state;
            *now = state;
            is_news
        };
        if is_news && let Some(listener) = self.listener.upgrade() {
            listener.state_changed(self);
        }
    }

    /// Waits until its process is healthy. An end before that is an answer: with `trust_its_word`,
    /// one that says that its address is in use has met somebody who is gone again.
    pub(crate) async fn become_healthy(
        &self,
        process: &Supervised,
        check: &Check,
        limit: Duration,
        secrets: &Secrets,
        trust_its_word: bool,
    ) -> Result<(), StartFailure> {
        let waited =
            health::wait_healthy(process, self.port(), check, &self.place.host, limit).await;
        match waited {
            Waited::Healthy => {
                self.set(State::Healthy);
                Ok(())
            }
            Waited::PortTaken => Err(StartFailure::PortTaken),
            Waited::Ended(end @ End::Lost) => Err(StartFailure::Ours(format!("{} {end}", self.id))),
            Waited::Ended(End::NotStarted(reason)) => {
                Err(StartFailure::App(format!("{} could not be started: {reason}", self.id)))
            }
            Waited::Ended(
                end @ (End::Exited(_) | End::Signalled(_) | End::TimedOut | End::Exceeded(_)),
            ) => {
                let words = self.words(process, secrets);
                if trust_its_word && words.tells_of_a_taken_address() {
                    return Err(StartFailure::PortTaken);
                }
                Err(StartFailure::App(format!("{} {end} before it was healthy{words}", self.id)))
            }
            Waited::Deadline { last } => {
                let seconds = limit.as_secs();
                let found = self.in_its_words(&last, process, secrets);
                let text = format!("{} was not healthy within {seconds} s: {found}", self.id);
                Err(StartFailure::App(text))
            }
        }
    }

    /// Asks it once more after it was healthy. If it is not any more, it says so before this
    /// returns.
    pub(crate) async fn is_still_healthy(
        &self,
        process: &Supervised,
        check: &Check,
        secrets: &Secrets,
    ) -> Result<(), StartFailure> {
        let (port, host) = (self.port(), &self.place.host);
        let asked = health::still_healthy(process, port, check, host, PROBE_LIMIT).await;
        let lapse = match asked {
            Ok(()) => return Ok(()),
            Err(Lapse::Unwell(unwell)) => {
                self.set(State::Unhealthy(format!("{}: {unwell}", self.id)));
                match timeout(LAST_MOMENTS, process.ended()).await {
                    Ok(end) => Lapse::Ended(end),
                    Err(_) if process.is_ending() => Lapse::Ended(process.ended().await),
                    Err(_) => Lapse::Unwell(unwell),
                }
            }
            Err(ended @ Lapse::Ended(_)) => ended,
        };
        let text = match lapse {
            Lapse::Ended(end) => {
                let words = self.words(process, secrets);
                let text = format!("{} answered, but {end} before it was steady{words}", self.id);
                self.set(State::Down(text.clone()));
                if end == End::Lost {
                    return Err(StartFailure::Ours(text));
                }
                text
            }
            Lapse::Unwell(unwell) => {
                let found = self.in_its_words(&unwell, process, secrets);
                format!("{} answered, but not until it was steady: {found}", self.id)
            }
        };
        Err(StartFailure::App(text))
    }

    /// What was found, what the process said last, and what to do.
    fn in_its_words(&self, unwell: &Unwell, process: &Supervised, secrets: &Secrets) -> String {
        let advice = unwell.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{unwell}{}{advice}", self.words(process, secrets))
    }

    /// Waits until it passes a check that is new to it, while it serves; an instance that is down
    /// is not asked.
    pub(crate) async fn answers(&self, check: &Check, limit: Duration) -> Result<(), StartFailure> {
        let Some(process) = self.process().filter(|_| self.is_healthy()) else { return Ok(()) };
        let waited =
            health::wait_healthy(&process, self.port(), check, &self.place.host, limit).await;
        match waited {
            Waited::Healthy => Ok(()),
            Waited::PortTaken => Err(StartFailure::PortTaken),
            Waited::Ended(end) => Err(StartFailure::Ours(format!("{} {end}", self.id))),
            Waited::Deadline { last } => Err(StartFailure::App(format!(
                "{} serves, but does not pass the new health check within {} s: {last}",
                self.id,
                limit.as_secs()
            ))),
        }
    }

    /// Asks once how it does.
    pub(crate) async fn ask(&self, process: &Supervised, check: &Check) -> Result<(), Unwell> {
        let port = self.port();
        let asked = health::probe(port, check, PROBE_LIMIT, &self.place.host).await;
        asked.map_err(|unanswered| Unwell::of(unanswered, port, process.shim_pid()))
    }

    /// What its process said of why it failed, but for `secrets`, as the end of a reason.
    pub(crate) fn words(&self, process: &Supervised, secrets: &Secrets) -> Words {
        let ran = process.began().zip(process.ran_in());
        let words = |(since, folder): (_, PathBuf)| words(&self.place.log, since, &folder, secrets);
        ran.map_or(Words::Nothing, words)
    }

    /// Ends it for good: no new requests, those in flight may take `drain`, then its process is
    /// stopped. So may those of another proxy, until `alone`. Returns how many requests were cut.
    pub(crate) async fn retire(&self, drain: Duration, alone: impl Future<Output = ()>) -> usize {
        // Whoever looks at it again half-way does not take it for one that serves. Nobody is told:
        // no request is sent to it any more.
        *self.state.lock() = State::Down(format!("{} is being stopped", self.id));
        let upstream = self.upstream();
        let (cut, _) = tokio::join!(upstream.drain(drain), timeout(drain, alone));
        self.end_process().await;
        cut
    }

    /// Stops its process, if one runs.
    pub(crate) async fn end_process(&self) {
        // It stays known until it has ended: whoever stops waiting half-way must find it again.
        if let Some(process) = self.process() {
            let _ = process.stop().await;
            *self.process.lock() = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::port::Ports;

    /// Keeps what it is told.
    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<State>>);

    impl StateListener for Told {
        fn state_changed(&self, instance: &Instance) {
            self.0.lock().push(instance.state());
        }
    }

    fn instance(told: &Arc<Told>) -> Instance {
        let place =
            Place { folder: PathBuf::new(), log: PathBuf::new(), host: "shop.localhost".into() };
        let port = Ports::of_this_machine().keep(1);
        let listener: Weak<Told> = Arc::downgrade(told);
        Instance::new(InstanceId("one".to_owned()), place, port, listener)
    }

    #[test]
    fn whoever_listens_is_told_of_each_new_state_once() {
        let told = Arc::new(Told::default());
        let instance = instance(&told);
        let silent = State::Unhealthy("no answer".to_owned());
        for state in [State::Starting, State::Healthy, State::Healthy, silent.clone()] {
            instance.set(state);
        }
        assert_eq!(*told.0.lock(), [State::Healthy, silent]);
    }

    #[tokio::test]
    async fn an_instance_that_retires_is_no_news_and_takes_no_request() {
        let told = Arc::new(Told::default());
        let instance = instance(&told);
        instance.set(State::Healthy);
        assert_eq!(instance.retire(Duration::ZERO, std::future::ready(())).await, 0);
        assert!(!instance.is_healthy());
        assert_eq!(*told.0.lock(), [State::Healthy]);
    }

    #[test]
    fn an_instance_that_moves_is_reached_on_its_new_port() {
        let ports = Ports::of_this_machine();
        let (first, second) = (ports.choose().unwrap(), ports.choose().unwrap());
        let (told, moved_to) = (Arc::new(Told::default()), second.port());
        let instance = instance(&told);
        instance.move_to(first);
        instance.move_to(second);
        assert_eq!(instance.port(), moved_to);
        assert_eq!(instance.upstream().address().port(), moved_to);
    }
}
