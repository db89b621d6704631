//! By what limits are held here: control groups, as far as this platform may make them, and
//! otherwise by the processes' own limits and by looking. Tried once, when a platform starts.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sandbox::layers::Gap;

/// Which control groups there are, `cgroups(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    One,
    Two,
}

/// What holds processes to their limits: the folder in which groups are made, for each thing that
/// groups can hold here. All of version 2 are the same folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    pub version: Option<Version>,
    pub memory: Option<PathBuf>,
    pub processes: Option<PathBuf>,
    pub cpu: Option<PathBuf>,
}

/// How a platform that lacks something gets it.
const CURE: &str = "start the platform as root, or as a service of systemd with `Delegate=yes` and \
                    `DelegateSubgroup=platform` (systemd 254 or newer)";

impl Means {
    /// What is held less well than by groups.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut lacks = |lacking| gaps.push(Gap { lacking, cure: CURE });
        if self.memory.is_none() {
            lacks(
                "the memory of apps is looked at each second: what grows faster is ended late, \
                 and memory in files of `/dev/shm` counts only while it is mapped",
            );
        }
        if self.processes.is_none() {
            lacks(
                "the processes of apps are counted each second: many that start at once slow \
                 others until then",
            );
        }
        if self.cpu.is_none() {
            lacks("apps and builds share the CPUs by priority alone, not by shares");
        }
        gaps
    }

    /// Where groups are made, each folder once.
    pub(crate) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = Vec::new();
        for folder in [&self.memory, &self.processes, &self.cpu].into_iter().flatten() {
            if !folders.contains(&folder.as_path()) {
                folders.push(folder);
            }
        }
        folders
    }
}

impl fmt::Display for Means {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(version) = self.version else {
            return formatter.write_str("rlimits, and a look each second");
        };
        let number = match version {
            Version::One => 1,
            Version::Two => 2,
        };
        let held = [(&self.memory, "memory"), (&self.processes, "processes"), (&self.cpu, "CPU")];
        let held: Vec<&str> =
            held.into_iter().filter(|(folder, _)| folder.is_some()).map(|(_, name)| name).collect();
        write!(formatter, "cgroup v{number} for {}", held.join(", "))
    }
}
