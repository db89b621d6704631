//! What keeps an app's processes, its builds and its `release:` from everything that is not theirs.
//! Several layers, since no one of them works on every machine: a view of the files (`view`), rules
//! of Landlock (`rules`), no right of root's that is not needed, and a filter of system calls
//! (`filter`). Which there are is tried at a platform's start (`layers`); what was promised then
//! and cannot be put on stops the process that it was promised for.

mod filter;
pub mod isolation;
pub mod layers;
pub mod probe;
mod rules;
pub mod user;
mod view;

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use serde::{Deserialize, Serialize};

use crate::sandbox::layers::{Layers, Namespace};
use crate::sandbox::rules::Rules;
use crate::sandbox::user::User;
use crate::sandbox::view::{CHANGES, View};

/// What a system has for all of its programs, and nobody's secrets (but for what `view` masks).
const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/snap",
    "/sys",
    "/var/lib/gems",
];

/// What a root in a sandbox keeps of root's rights: those over its own files, which package
/// managers use, and to be another user in it.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// What one process may reach. Everything else is refused by the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The layers that this process was promised.
    pub layers: Layers,
    /// Files and folders that it may read and execute.
    pub readable: Vec<PathBuf>,
    /// Those that are its own.
    pub writable: Vec<PathBuf>,
    /// The folder that it runs in, where each process has a version of its own of it: its release.
    pub release: Option<PathBuf>,
    /// The TCP port that it may listen on, beside those that the kernel chooses for it.
    pub port: Option<u16>,
    /// Who it is, where that was promised.
    #[serde(default)]
    pub user: Option<User>,
}

impl Sandbox {
    /// Puts this process into the sandbox for good, with everything that it starts. `folder` is the
    /// process's own, with `tmp` in it. It must have one thread.
    ///
    /// # Errors
    /// A layer that was promised and cannot be put on; the process must not go on.
    pub(crate) fn enter(&self, folder: &Path) -> io::Result<()> {
        let temporary = folder.join("tmp");
        let release = self.release.as_deref();
        let user = self.promised_user()?;
        if let Some(user) = user {
            user.take(&[&temporary, &folder.join(CHANGES)])?;
        }
        if let Some(namespace) = self.layers.view {
            let mut writable = self.writable.clone();
            writable.extend(release.filter(|_| !self.layers.overlay).map(Path::to_owned));
            let view = View {
                readable: &self.readable,
                writable: &writable,
                own_version: release.filter(|_| self.layers.overlay),
                temporary: &temporary,
                scratch: folder,
                by_user_namespace: namespace == Namespace::User,
                user,
            };
            view.enter()?;
        }
        let rules = if self.layers.landlock > 0 { Some(self.rules(&temporary)?) } else { None };
        keep_few_rights(if user.is_some() { CapabilitySet::empty() } else { KEPT })?;
        if let Some(user) = user {
            user.become_it()?;
        }
        if let Some(rules) = rules {
            rules.put_on()?;
        } else {
            set_no_new_privs(true)?;
        }
        if self.layers.filter {
            // In a view there are none but its own.
            filter::refuse(self.layers.view.is_none())?;
        }
        Ok(())
    }

    /// Who this process is to be; one that was promised and is not named must not go on as root.
    fn promised_user(&self) -> io::Result<Option<&User>> {
        let is_promised = self.layers.view == Some(Namespace::OwnUser);
        match &self.user {
            None if is_promised => Err(io::Error::other("it has no user of its own")),
            user => Ok(user.as_ref().filter(|_| is_promised)),
        }
    }

    /// Whether the kernel counts what its users run apart from what the same users run outside.
    pub(crate) fn has_own_users(&self) -> bool {
        self.layers.view == Some(Namespace::User)
    }

    fn rules(&self, temporary: &Path) -> io::Result<Rules> {
        let mut readable = self.readable.clone();
        readable.extend(["/proc", "/dev/random", "/dev/urandom"].map(PathBuf::from));
        // What a static site is served by, whatever became of its file.
        readable.push("/proc/self/exe".into());
        let mut writable = self.writable.clone();
        writable.push(temporary.to_owned());
        writable.extend(self.release.clone());
        let common = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];
        writable.extend(common.map(PathBuf::from));
        if self.layers.view.is_some() {
            // Outside of one, the machine's disks and terminals are there, too.
            readable.push("/dev".into());
            let own = ["/tmp", "/var/tmp", "/dev/shm", "/dev/ptmx", "/dev/pts"];
            writable.extend(own.map(PathBuf::from));
        }
        // Whatever is in a view may be seen.
        let listed = self.layers.view.map(|_| Path::new("/"));
        // 0: one that the kernel chooses, which is never an instance's.
        let ports: Vec<u16> = self.port.into_iter().chain([0]).collect();
        Rules::open(listed, &readable, &writable, &ports)
    }
}

/// Takes root's rights away, where this is one, from everything that is executed from here on.
fn keep_few_rights(kept: CapabilitySet) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    for bit in 0..u64::BITS {
        let right = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(right) {
            continue;
        }
        // Beyond the last that the kernel knows it says that there is none.
        match capability_is_in_bounding_set(right) {
            Ok(true) => remove_capability_from_bounding_set(right)?,
            Ok(false) => {}
            Err(_) => break,
        }
    }
    clear_ambient_capability_set()?;
    let mine = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..mine })?;
    Ok(())
}

/// The parts of the system that any program may read; where `hidden` lies in one of them, all that
/// lies beside the way to it.
pub(crate) fn system(hidden: &Path) -> Vec<PathBuf> {
    SYSTEM.iter().flat_map(|path| without(Path::new(path), hidden)).collect()
}

pub(crate) fn is_of_the_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| path.starts_with(system))
}

/// A folder, or what it has apart from `hidden`.
pub(crate) fn without(folder: &Path, hidden: &Path) -> Vec<PathBuf> {
    if hidden == folder {
        return Vec::new();
    }
    if !hidden.starts_with(folder) {
        return vec![folder.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().flat_map(|entry| without(&entry.path(), hidden)).collect()
}
