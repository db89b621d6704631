//! The small parent of every process that the platform starts, as conmon is to a container: it
//! outlives the reactor, owns the output, knows the end, and leaves no descendant behind. It has no
//! runtime and one thread.
//!
//! What goes between the reactor and the shim lies in one folder: `lock` (held as long as either of
//! them cares for the process), `spec.json`, `process.json` (written before the app's first
//! instruction), `end.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit, setrlimit,
};
use serde::{Deserialize, Serialize};

use crate::limits::{Excess, Limits};
use crate::process::end::End;
use crate::process::ending::Ending;
use crate::process::log::LogWriter;
use crate::process::watch::Watch;
use crate::process::{ProcessId, boot_id};
use crate::sandbox::Sandbox;
use crate::whole::Whole;

/// What a process is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimSpec {
    /// Program and arguments; no shell is added.
    pub command: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// All of its environment.
    pub environment: BTreeMap<String, String>,
    /// Where its output goes, a line at a time, with the time before each.
    pub log: PathBuf,
    /// Bytes that the log may take, the rotated half included.
    pub log_limit: u64,
    /// Milliseconds between the first SIGTERM and SIGKILL.
    pub stop_grace_ms: u64,
    /// Milliseconds after which it is asked to end.
    pub time_limit_ms: Option<u64>,
    /// How many files it may have open, where that is not as many as the platform itself.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// What it may reach; `None`: what the platform may.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// What it may take, with all that it starts; `None`: what the platform may.
    #[serde(default)]
    pub limits: Option<Limits>,
}

/// Who runs, written before the app's first instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    pub boot: String,
    pub shim: ProcessId,
    pub app: ProcessId,
    pub at: Timestamp,
}

pub(crate) const SPEC: &str = "spec.json";
pub(crate) const PROCESS: &str = "process.json";
pub(crate) const END: &str = "end.json";
pub(crate) const LOCK: &str = "lock";
/// A grace is at most so long.
const LONGEST_GRACE: Duration = Duration::from_hours(24);
/// How long after SIGKILL what the kernel does not let go is waited for.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);
/// What `shim-exec` says when the command cannot be executed.
const REFUSAL: &str = "refusal.txt";

/// Reads a record of the folder; `None` where it is missing or half-written.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(folder: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&std::fs::read(folder.join(name)).ok()?).ok()
}

/// Writes a record as a whole: a reader sees all of it or nothing.
pub(crate) fn write<T: Serialize>(folder: &Path, name: &str, record: &T) -> io::Result<()> {
    Whole::new(&folder.join(name)).write(&serde_json::to_vec(record)?)
}

/// `rowhouse shim FOLDER`: runs the folder's process to its end.
pub fn run(folder: &Path) -> ExitCode {
    let end = supervise(folder).unwrap_or_else(|error| End::NotStarted(error.to_string()));
    match write(folder, END, &end) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// `rowhouse shim-exec FOLDER PARENT`: records who it is, ties its life to the shim's, and becomes
/// the command.
pub fn exec(folder: &Path, parent: i32) -> ExitCode {
    // Opened now: what is refused in the sandbox is written out of it.
    let refusal = File::create(folder.join(REFUSAL));
    let refuse = |reason: String| {
        // The shim tells it; where even this cannot be written, the exit status has to do.
        let _ = refusal.as_ref().map(|mut file| file.write_all(reason.as_bytes()));
        ExitCode::from(127)
    };
    let Some(spec) = read::<ShimSpec>(folder, SPEC) else {
        return refuse("its description is gone".to_owned());
    };
    // A session of its own: no terminal reaches it.
    let _ = rustix::process::setsid();
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let me = ProcessId::of(rustix::process::getpid().as_raw_pid());
    let shim = rustix::process::getppid().map(Pid::as_raw_pid).filter(|pid| *pid == parent);
    let (Some(app), Some(shim)) = (me, shim.and_then(ProcessId::of)) else {
        // The shim is gone already, and with it whoever cares.
        return ExitCode::FAILURE;
    };
    let record = ProcessRecord { boot: boot_id(), shim, app, at: Timestamp::now() };
    if let Err(error) = write(folder, PROCESS, &record) {
        return refuse(format!("cannot record the process: {error}"));
    }
    if let Some(count) = spec.open_files {
        let limit = Rlimit { current: Some(count), ..getrlimit(Resource::Nofile) };
        // Without it there is just more room.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let Some((program, arguments)) = spec.command.split_first() else {
        return refuse("its command is empty".to_owned());
    };
    if let Err(error) = confine(&spec, folder) {
        return refuse(error.to_string());
    }
    // Who becomes another user is asked for nothing any more, `prctl(2)`: once again.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid().map(Pid::as_raw_pid) != Some(parent) {
        return ExitCode::FAILURE;
    }
    let error = Command::new(program)
        .args(arguments)
        .current_dir(&spec.folder)
        .env_clear()
        .envs(&spec.environment)
        .exec();
    refuse(format!("cannot execute `{program}`: {error}"))
}

/// Puts this process under its limits and into its sandbox.
fn confine(spec: &ShimSpec, folder: &Path) -> io::Result<()> {
    let unlimited = |error| io::Error::other(format!("cannot be limited: {error}"));
    if let Some(limits) = &spec.limits {
        limits.enter().map_err(unlimited)?;
    }
    if let Some(sandbox) = &spec.sandbox {
        sandbox.enter(folder).map_err(|error| {
            io::Error::other(format!("cannot be kept apart from others: {error}"))
        })?;
    }
    if let Some(limits) = &spec.limits {
        let has_own_users = spec.sandbox.as_ref().is_some_and(Sandbox::has_own_users);
        limits.enter_inside(has_own_users).map_err(unlimited)?;
    }
    Ok(())
}

fn supervise(folder: &Path) -> io::Result<End> {
    let spec: ShimSpec =
        read(folder, SPEC).ok_or_else(|| io::Error::other("its description is gone"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = Signals::listen()?;
    let log = LogWriter::open(&spec.log, spec.log_limit);
    let (output, input) = io::pipe()?;
    let watch = spec.limits.clone().map(watch_over).transpose()?;
    let child = Command::new("/proc/self/exe")
        .arg("shim-exec")
        .arg(folder)
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .env_clear()
        .spawn()?;
    let app = Pid::from_child(&child);
    let deadline = spec.time_limit_ms.map(|limit| Instant::now() + Duration::from_millis(limit));
    let mut shim = Shim {
        app,
        signals,
        output: Some(output),
        log,
        grace: Duration::from_millis(spec.stop_grace_ms).min(LONGEST_GRACE),
        deadline,
        ending: None,
        timed_out: false,
        watch,
        excess: None,
    };
    let status = shim.wait()?;
    shim.drain_output();
    let excess = shim.excess.or_else(|| shim.watch.as_ref().and_then(Watch::at_end));
    if let Some(limits) = &spec.limits {
        limits.close_group();
    }
    let refusal = std::fs::read_to_string(folder.join(REFUSAL)).ok();
    let refusal = refusal.filter(|reason| !reason.is_empty());
    Ok(match (refusal, excess, shim.timed_out) {
        (Some(reason), ..) => End::NotStarted(reason),
        (None, Some(excess), _) => End::Exceeded(excess),
        (None, None, true) => End::TimedOut,
        (None, None, false) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => End::Exited(code),
            (None, signal) => End::Signalled(signal.unwrap_or_default()),
        },
    })
}

/// Makes the group of a process that is not there yet, and a watch over it.
fn watch_over(limits: Limits) -> io::Result<Watch> {
    limits.open_group().map_err(|error| io::Error::other(format!("cannot be limited: {error}")))?;
    Ok(Watch::begin(limits, rustix::process::getpid().as_raw_pid(), Instant::now()))
}

/// Signals as something that can be polled.
struct Signals {
    terminate: UnixStream,
    child: UnixStream,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let pipe = |signals: &[i32]| -> io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        Ok(Signals {
            terminate: pipe(&[Signal::TERM.as_raw(), Signal::INT.as_raw(), Signal::HUP.as_raw()])?,
            child: pipe(&[Signal::CHILD.as_raw()])?,
        })
    }
}

fn arrived(signal: &UnixStream) -> bool {
    let mut any = false;
    let mut buffer = [0; 64];
    let mut signal = signal;
    while matches!(signal.read(&mut buffer), Ok(1..)) {
        any = true;
    }
    any
}

struct Shim {
    app: Pid,
    signals: Signals,
    output: Option<io::PipeReader>,
    log: LogWriter,
    grace: Duration,
    deadline: Option<Instant>,
    ending: Option<Ending>,
    timed_out: bool,
    watch: Option<Watch>,
    /// What it was ended for.
    excess: Option<Excess>,
}

impl Shim {
    /// Waits for the app's own process, passes on what is asked of it meanwhile, and sees that
    /// nothing of it is left, also of what has made a session of its own.
    fn wait(&mut self) -> io::Result<WaitStatus> {
        let root = rustix::process::getpid().as_raw_pid();
        let mut own = None;
        let mut given_up_at = None;
        loop {
            let reaped = reap(self.app);
            own = own.or(reaped.own);
            let now = Instant::now();
            if let Some(status) = own
                && (reaped.is_last || given_up_at.is_some_and(|given_up_at| now >= given_up_at))
            {
                return Ok(status);
            }
            let is_asked = arrived(&self.signals.terminate);
            let is_late = self.deadline.is_some_and(|deadline| now >= deadline);
            if let Some(ending) = &mut self.ending {
                if reaped.any || now >= ending.next() {
                    ending.go_on(now);
                }
            } else if own.is_some() || is_asked || is_late {
                self.timed_out = is_late && own.is_none();
                let first = own.is_none().then_some(self.app.as_raw_pid());
                self.ending = Some(Ending::begin(root, first, self.grace, now));
                given_up_at = Some(now + self.grace + GIVEN_UP_AFTER);
            } else if let Some(excess) = self.watch.as_mut().and_then(|watch| watch.look(now)) {
                // Others pay for each moment of it, so it is not asked.
                self.excess = Some(excess);
                self.ending = Some(Ending::at_once(root, now));
                given_up_at = Some(now + GIVEN_UP_AFTER);
            }
            self.sleep()?;
            if self.output.is_some() {
                self.read_output();
            }
            arrived(&self.signals.child);
        }
    }

    /// Sleeps until there is output, a signal, or a time that was set has come.
    fn sleep(&mut self) -> io::Result<()> {
        let looked_at = self.watch.as_ref().map(Watch::next);
        let due = self.deadline.into_iter().chain(looked_at).min();
        let next = self.ending.as_ref().map(Ending::next).or(due);
        let timeout = next.map(|next| {
            let left = next.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        let mut watched = vec![
            PollFd::new(&self.signals.terminate, PollFlags::IN),
            PollFd::new(&self.signals.child, PollFlags::IN),
        ];
        if let Some(output) = &self.output {
            watched.push(PollFd::new(output, PollFlags::IN));
        }
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what there is, if there is any; the end of the output is not the end of the app.
    fn read_output(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut ready = [PollFd::new(output, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(poll(&mut ready, Some(&now)), Ok(1..)) {
            return;
        }
        let mut buffer = [0; 16 * 1024];
        match output.read(&mut buffer) {
            Ok(0) | Err(_) => self.output = None,
            Ok(count) => self.log.write(&buffer[..count]),
        }
    }

    fn drain_output(&mut self) {
        // Nobody is left to write, unless somebody escaped; then one look must do.
        for _ in 0..1024 {
            if self.output.is_none() {
                break;
            }
            self.read_output();
        }
        self.log.flush();
    }
}

/// What a look for the dead has found.
struct Reaped {
    /// The status of the app's own process, where it was among them.
    own: Option<WaitStatus>,
    /// Somebody was.
    any: bool,
    /// Nobody is left: orphans would have come to this subreaper.
    is_last: bool,
}

/// Reaps whoever has ended.
fn reap(app: Pid) -> Reaped {
    let mut reaped = Reaped { own: None, any: false, is_last: false };
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                reaped.any = true;
                if pid == app {
                    reaped.own = Some(status);
                }
            }
            Ok(None) => return reaped,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Reaped { is_last: true, ..reaped },
        }
    }
}
