//! The user that the processes of one app alone run as, where the platform is root's: to the kernel
//! they are strangers to all others, whatever else keeps them apart.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fchown, fstat};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

use crate::ownership::{Owner, hand_over_once};

/// What a platform does with processes of other users than its own: it makes them, looks at what
/// they have open, ends them, and reads and removes what they leave.
const NEEDED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_PTRACE);

/// Who the processes of an app are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The number of the user, and of its group.
    pub id: u32,
    /// The user's home.
    pub home: PathBuf,
}

/// Whether this process may have others run as users of their own.
pub fn may_be_given() -> bool {
    let mine = capabilities(None).map_or(CapabilitySet::empty(), |mine| mine.effective);
    geteuid().is_root() && mine.contains(NEEDED)
}

impl User {
    /// Makes what the platform has laid out for a process its user's: these folders, which are made
    /// where they are missing, and the pipe that its output goes into, which has a name too
    /// (`/dev/stdout`).
    pub(crate) fn take(&self, folders: &[&Path]) -> io::Result<()> {
        for folder in folders {
            fs::create_dir_all(folder)?;
            hand_over_once(folder, Owner::App(self.id))?;
        }
        for output in [std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
            // Anything else has others who use it.
            if FileType::from_raw_mode(fstat(output)?.st_mode) == FileType::Fifo {
                fchown(output, Some(Uid::from_raw(self.id)), Some(Gid::from_raw(self.id)))?;
            }
        }
        Ok(())
    }

    /// Becomes the user, for good: no other group, and nothing of root's is left.
    pub(crate) fn become_it(&self) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.id), Gid::from_raw(self.id));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        let left = capabilities(None)?;
        let has_any = [left.effective, left.permitted, left.inheritable];
        if has_any.iter().any(|rights| !rights.is_empty()) {
            return Err(io::Error::other("rights of root's were left"));
        }
        Ok(())
    }

    /// What `file` says, of users or groups, with a line for this one: programs ask for the name.
    pub(crate) fn named_in(&self, file: &str) -> io::Result<Vec<u8>> {
        let mut text = fs::read(file)?;
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let (id, home) = (self.id, self.home.display());
        let line = match file {
            GROUPS => format!("app{id}:x:{id}:\n"),
            _ => format!("app{id}:x:{id}:{id}::{home}:/bin/sh\n"),
        };
        text.extend(line.bytes());
        Ok(text)
    }
}

pub(crate) const USERS: &str = "/etc/passwd";
pub(crate) const GROUPS: &str = "/etc/group";
