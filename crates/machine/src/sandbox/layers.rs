//! The layers that keep apps apart, as far as this machine has them: tried once, when a platform
//! starts, and from then on promised to each process that it starts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a process gets a view of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// By root's right, for a user that one app alone has.
    OwnUser,
    /// By this user's own right, as root.
    Mount,
    /// In a user namespace, where nothing but the process's own is this user's.
    User,
}

/// Something that is not kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub lacking: &'static str,
    pub cure: &'static str,
}

/// What keeps apps apart here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// A root folder of its own.
    pub view: Option<Namespace>,
    /// What it writes into its release is its own.
    pub overlay: bool,
    /// The version of Landlock's rules that the kernel has; 0: none.
    pub landlock: u8,
    /// System calls are filtered.
    pub filter: bool,
}

impl Layers {
    /// What is not kept apart.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut lacks = |lacking, cure| gaps.push(Gap { lacking, cure });
        match self.view {
            Some(Namespace::OwnUser) => {}
            Some(Namespace::Mount) => lacks(
                "apps run as root, with few of its rights",
                "start the platform with all of root's capabilities, and leave it numbers of users \
                 that nobody has: `up --uids FIRST-LAST`",
            ),
            Some(Namespace::User) => lacks(
                "apps can see the command lines of other processes",
                "start the platform as root",
            ),
            None => lacks(
                "apps have no view of the files of their own: they see which there are, share \
                 `/tmp`, and may use no Unix sockets",
                "start the platform as root, or allow user namespaces: `sysctl -w \
                 kernel.apparmor_restrict_unprivileged_userns=0`, or a larger \
                 `user.max_user_namespaces`",
            ),
        }
        if !self.overlay {
            lacks(
                "instances of one app share what they write into their release",
                "use Linux 5.11 or newer, on a file system that overlayfs can write to",
            );
        }
        if self.landlock == 0 {
            lacks(
                "no Landlock: apps can look into and signal each other and the platform, listen on \
                 each other's ports and talk to abstract Unix sockets, and those of root's can \
                 change settings of the kernel",
                "use Linux 5.13 or newer, with `landlock` in `lsm=` of its command line",
            );
        }
        if (1..WITH_PORTS).contains(&self.landlock) {
            lacks("apps can listen on each other's ports", "use Linux 6.7 or newer");
        }
        if (1..WITH_SIGNALS).contains(&self.landlock) {
            lacks(
                "apps can signal each other and talk to abstract Unix sockets of others",
                "use Linux 6.12 or newer",
            );
        }
        if !self.filter {
            lacks("system calls are not filtered", "use a kernel with seccomp");
        }
        gaps
    }
}

/// The first version of Landlock that knows TCP ports, and the first that knows signals.
const WITH_PORTS: u8 = 4;
const WITH_SIGNALS: u8 = 6;

impl fmt::Display for Layers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = match self.view {
            Some(Namespace::OwnUser) => "a user and a root folder of its own",
            Some(Namespace::Mount) => "a root folder of its own",
            Some(Namespace::User) => "a root folder of its own in a user namespace",
            None => "no root folder of its own",
        };
        let filter = if self.filter { "seccomp" } else { "no seccomp" };
        match self.landlock {
            0 => write!(formatter, "{view}, no Landlock, {filter}"),
            version => write!(formatter, "{view}, Landlock {version}, {filter}"),
        }
    }
}
