//! The reactor's side of a supervised process: started with a lock that is held without a gap,
//! adopted by that lock, waited for without polling, and ended for sure.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use rowhouse_core::AppName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use crate::folder::DataFolder;
use crate::process::end::End;
use crate::process::shim::{END, LOCK, PROCESS, ProcessRecord, SPEC, ShimSpec, read, write};
use crate::process::{ProcessId, boot_id, with_variable};

/// How long a shim may take to record who it is.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);
/// How long a shim may take to end beyond what its process was given.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// What an adopter finds in a folder.
#[derive(Debug)]
pub enum Adopted {
    Running(Supervised),
    Ended(End),
    NeverStarted,
}

/// A process with a shim.
#[derive(Debug)]
pub struct Supervised {
    folder: PathBuf,
    /// The shim, for sure: a descriptor does not pass to another process as a number does.
    shim: OwnedFd,
    shim_pid: i32,
    /// Ours to reap, where we started it.
    child: Mutex<Option<Child>>,
}

impl Supervised {
    /// Starts a process. The lock goes to the shim as its standard input, so it is held from before
    /// the start until the shim's end, whatever becomes of this process in between.
    pub fn start(program: &Path, folder: &Path, spec: &ShimSpec) -> io::Result<Supervised> {
        let temporary = folder.join("tmp");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&temporary)?;
        if let Some(logs) = spec.log.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(logs)?;
        }
        let lock = open_lock(folder)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("a process of this folder is still running"))?;
        for record in [PROCESS, END, "refusal.txt"] {
            match fs::remove_file(folder.join(record)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        write(folder, SPEC, spec)?;
        let mut child = Command::new(program)
            .arg("shim")
            .arg(folder)
            .stdin(lock)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_clear()
            .process_group(0)
            .current_dir("/")
            .spawn()?;
        let pid = Pid::from_child(&child);
        let shim = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(shim) => shim,
            Err(error) => {
                // Nobody would find it again. Its own child goes with it.
                let _ = child.kill();
                let _ = child.wait();
                kill_remnants(folder);
                return Err(error.into());
            }
        };
        Ok(Supervised {
            folder: folder.to_owned(),
            shim,
            shim_pid: pid.as_raw_pid(),
            child: Mutex::new(Some(child)),
        })
    }

    /// Takes over what another process has started in this folder. Waits a moment for a shim that
    /// has not yet recorded who it is.
    pub async fn adopt(folder: &Path) -> io::Result<Adopted> {
        let deadline = Instant::now() + RECORDED_WITHIN;
        loop {
            let lock = match File::open(folder.join(LOCK)) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Adopted::NeverStarted);
                }
                Err(error) => return Err(error),
            };
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Held now, so that nobody starts while the remains are looked at.
                return Ok(match (read::<End>(folder, END), folder.join(PROCESS).exists()) {
                    (Some(end), _) => Adopted::Ended(end),
                    (None, true) => {
                        kill_remnants(folder);
                        Adopted::Ended(End::Lost)
                    }
                    (None, false) => Adopted::NeverStarted,
                });
            }
            drop(lock);
            if let Some(running) = Supervised::find(folder) {
                return Ok(Adopted::Running(running));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("its parent process does not say who it is"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The shim that the folder's record speaks of, if it is the one that lives.
    fn find(folder: &Path) -> Option<Supervised> {
        let record: ProcessRecord = read(folder, PROCESS)?;
        if record.boot != boot_id() {
            return None;
        }
        let shim = pidfd_open(record.shim.raw()?, PidfdFlags::empty()).ok()?;
        // Looked at after it was opened: so the descriptor is of the process that was meant.
        record.shim.is_alive().then(|| Supervised {
            folder: folder.to_owned(),
            shim,
            shim_pid: record.shim.pid,
            child: Mutex::new(None),
        })
    }

    /// The number of the shim's process.
    pub fn shim_pid(&self) -> i32 {
        self.shim_pid
    }

    /// The app's own process; `None` until it is recorded, which is before its first instruction.
    pub fn app_process(&self) -> Option<ProcessId> {
        read::<ProcessRecord>(&self.folder, PROCESS).map(|record| record.app)
    }

    /// Since when the app's own process runs: before its first word. `None` until that is recorded.
    pub fn began(&self) -> Option<Timestamp> {
        read::<ProcessRecord>(&self.folder, PROCESS).map(|record| record.at)
    }

    /// The folder that its process was started in.
    pub fn ran_in(&self) -> Option<PathBuf> {
        read::<ShimSpec>(&self.folder, SPEC).map(|spec| spec.folder)
    }

    /// Whether the shim, and so the process or what is being done about its end, is alive.
    pub fn is_running(&self) -> bool {
        let mut watched = [PollFd::new(&self.shim, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(poll(&mut watched, Some(&now)), Ok(1..))
    }

    /// Whether the app's own process has ended: what it has left is being ended.
    pub fn is_ending(&self) -> bool {
        self.app_process().is_some_and(|app| !app.is_alive())
    }

    /// Waits for the end. Any number may wait, and each is told the same.
    pub async fn ended(&self) -> End {
        let waited = self.readable().await;
        if waited.is_err() {
            // Without a descriptor to spare there is still the clock.
            while self.is_running() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        self.reap();
        if let Some(end) = read::<End>(&self.folder, END) {
            end
        } else {
            kill_remnants(&self.folder);
            End::Lost
        }
    }

    /// A process's descriptor becomes readable when the process has ended, `pidfd_open(2)`.
    #[expect(
        deprecated,
        reason = "the descriptor is owned by what waits for it, which is all that the constructor \
                  in place of this one asks for, with the word that this crate forbids"
    )]
    async fn readable(&self) -> io::Result<()> {
        let shim = AsyncFd::with_interest(self.shim.try_clone()?, Interest::READABLE)?;
        shim.readable().await.map(|_| ())
    }

    fn reap(&self) {
        let mut child = self.child.lock();
        if let Some(process) = child.as_mut()
            && matches!(process.try_wait(), Ok(Some(_)) | Err(_))
        {
            *child = None;
        }
    }

    /// Ends the process: SIGTERM, after the grace of its spec SIGKILL, and no descendant is left.
    pub async fn stop(&self) -> End {
        let grace = read::<ShimSpec>(&self.folder, SPEC).map_or(0, |spec| spec.stop_grace_ms);
        // It may have ended already.
        let _ = pidfd_send_signal(&self.shim, Signal::TERM);
        let limit = Duration::from_millis(grace) + STOPPED_WITHIN;
        if let Ok(end) = tokio::time::timeout(limit, self.ended()).await {
            return end;
        }
        let _ = pidfd_send_signal(&self.shim, Signal::KILL);
        self.ended().await
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.reap();
    }
}

fn open_lock(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(folder.join(LOCK))
}

/// Ends what a killed shim has left: its own child went with it, the others are told by their
/// group, or where there is none by the `TMPDIR` that only they have.
fn kill_remnants(folder: &Path) {
    let limits = read::<ShimSpec>(folder, SPEC).and_then(|spec| spec.limits);
    if let Some(limits) = limits {
        limits.close_group();
    }
    let variable = format!("TMPDIR={}", folder.join("tmp").display());
    for _ in 0..100 {
        let left = with_variable(&variable);
        if left.is_empty() {
            return;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the supervised processes of these folders, side by side, whoever started them; tells how
/// many ran.
pub async fn end_processes(folder: &DataFolder, is_meant: impl Fn(&Path) -> bool) -> usize {
    let mut stopping = JoinSet::new();
    for folder in folder.process_folders().into_iter().filter(|folder| is_meant(folder)) {
        if let Ok(Adopted::Running(process)) = Supervised::adopt(&folder).await {
            stopping.spawn(async move { process.stop().await });
        }
    }
    stopping.join_all().await.len()
}

/// The apps of which a process runs, or what is being done about its end.
pub(crate) fn running_apps(folder: &DataFolder) -> BTreeSet<AppName> {
    let running = folder.process_folders().into_iter().filter(|folder| is_held(folder));
    let app = |folder: PathBuf| AppName::parse(folder.parent()?.file_name()?.to_str()?).ok();
    running.filter_map(app).collect()
}

/// Whether somebody cares for the process of this folder.
fn is_held(folder: &Path) -> bool {
    File::open(folder.join(LOCK))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// The processes that run and may reach whatever the platform may, or are root where apps have
/// users of their own, as `APP/INSTANCE`.
pub fn unconfined(data: &DataFolder) -> Vec<String> {
    let have_users = data.users().exists();
    let is_free = |folder: &Path| {
        let spec: Option<ShimSpec> = read(folder, SPEC);
        let is_free = spec.is_some_and(|spec| {
            spec.sandbox.is_none_or(|sandbox| have_users && sandbox.user.is_none())
        });
        is_free && snapshot(folder).running.is_some()
    };
    let shown = |folder: PathBuf| {
        let mut names = folder.iter().rev().take(2).map(|name| name.to_string_lossy());
        let (process, app) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        format!("{app}/{process}")
    };
    data.process_folders().into_iter().filter(|folder| is_free(folder)).map(shown).collect()
}

/// Whether a process runs in one of these folders as the platform's own user.
pub(crate) fn without_user(folder: &Path) -> bool {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    folders.map(|entry| entry.path()).any(|folder| {
        let spec: Option<ShimSpec> = read(&folder, SPEC);
        let sandbox = spec.and_then(|spec| spec.sandbox);
        sandbox.is_none_or(|sandbox| sandbox.user.is_none()) && snapshot(&folder).running.is_some()
    })
}

/// What a reader without a platform sees of a folder's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The app's own process and since when it runs, while it does.
    pub running: Option<ProcessRecord>,
    /// How it ended, when it has.
    pub end: Option<End>,
}

/// Looks at a folder without touching anything.
pub fn snapshot(folder: &Path) -> Snapshot {
    let end = read::<End>(folder, END);
    let running = read::<ProcessRecord>(folder, PROCESS)
        .filter(|record| end.is_none() && record.boot == boot_id() && record.app.is_alive());
    Snapshot { running, end }
}
