//! Finds out by what limits can be held here: where this process's own control groups are, and
//! whether groups can be made beside or below them, limited, and entered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::limits::group::remove_empty;
use crate::limits::means::{Means, Version};
use crate::limits::{Limits, Mebibytes, Purpose};

const MOUNTS: &str = "/proc/self/mountinfo";
const GROUPS: &str = "/proc/self/cgroup";
/// Where a platform goes that is alone in its container: only groups without processes of their own
/// may have others below them that are limited.
const LEAF: &str = "rowhouse-platform";
/// What the probe allows: more than the shell needs that tries it.
const TRIED_MEMORY: Mebibytes = Mebibytes(64);
const TRIED_PROCESSES: u32 = 100;

/// What may be used, for tests that leave something out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offered {
    #[default]
    All,
    /// What there is where there are no control groups.
    NoGroups,
}

/// Whether this process may go to another group for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A platform at its start.
    ThePlatform,
    /// Whoever only wants to know.
    Somebody,
}

/// Tries what there is. `beginning` is that of the groups' names. Blocks for some milliseconds.
pub fn means(offered: Offered, asks: Asks, beginning: &str) -> Means {
    if offered == Offered::NoGroups {
        return Means::default();
    }
    let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
    let groups = fs::read_to_string(GROUPS).unwrap_or_default();
    let mut second = of_second(&mounts, &groups, asks);
    keep_what_works(&mut second, beginning);
    if second.version.is_some() {
        return second;
    }
    let mut first = of_first(&mounts, &groups);
    keep_what_works(&mut first, beginning);
    first
}

/// Removes the groups of a platform that nobody is in any more.
pub(crate) fn remove_leftovers(means: &Means, beginning: &str) {
    for folder in means.folders() {
        remove_empty(folder, beginning);
    }
}

/// Takes out what is not as it seems.
fn keep_what_works(means: &mut Means, beginning: &str) {
    let alone = |memory: &Option<PathBuf>, processes: &Option<PathBuf>, cpu: &Option<PathBuf>| {
        let (memory, processes, cpu) = (memory.clone(), processes.clone(), cpu.clone());
        is_entered(Means { version: means.version, memory, processes, cpu }, beginning)
    };
    if alone(&means.memory, &means.processes, &means.cpu) {
        return;
    }
    let memory = means.memory.clone().filter(|_| alone(&means.memory, &None, &None));
    let processes = means.processes.clone().filter(|_| alone(&None, &means.processes, &None));
    let cpu = means.cpu.clone().filter(|_| alone(&None, &None, &means.cpu));
    let any = memory.is_some() || processes.is_some() || cpu.is_some();
    *means = Means { version: means.version.filter(|_| any), memory, processes, cpu };
}

/// Whether a process gets into groups of these means; of no means there are none.
fn is_entered(means: Means, beginning: &str) -> bool {
    if means.folders().is_empty() {
        return false;
    }
    let limits = Limits {
        means,
        group: format!("{beginning}probe-{}", std::process::id()),
        purpose: Purpose::Serving,
        memory: Some(TRIED_MEMORY),
        processes: TRIED_PROCESSES,
        disk: None,
        cpus: None,
    };
    let attempt = || -> io::Result<bool> {
        limits.open_group()?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "for group; do echo 0 > \"$group/cgroup.procs\" || exit; done", "sh"]);
        command.args(limits.means.folders().iter().map(|folder| folder.join(&limits.group)));
        command.env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.status()?.success())
    };
    let entered = attempt().unwrap_or(false);
    limits.close_group();
    entered
}

/// Groups of the first version lie below this process's own.
fn of_first(mounts: &str, groups: &str) -> Means {
    let find = |controller: &str| {
        let own = own_group(groups, controller)?;
        let mount = mounts.lines().filter_map(Mount::parse).find(|mount| {
            mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller)
        })?;
        mount.folder_of(own)
    };
    let (memory, processes, cpu) = (find("memory"), find("pids"), find("cpu"));
    Means { version: Some(Version::One), memory, processes, cpu }
}

/// Groups of the second version lie beside this process's own: a service that has groups of its own
/// below it cannot be started again by systemd, while what it left there runs on. In a container,
/// which is its own root, they lie below it.
fn of_second(mounts: &str, groups: &str, asks: Asks) -> Means {
    let folder = match beside(mounts, groups) {
        None => return Means::default(),
        Some(Place::Beside(folder)) => folder,
        Some(Place::Below(root)) => {
            if asks == Asks::ThePlatform {
                make_room(&root);
            }
            root
        }
    };
    let has = |controller: &str| {
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
        let there = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        there.split_whitespace().any(|there| there == controller).then(|| folder.clone())
    };
    let (memory, processes, cpu) = (has("memory"), has("pids"), has("cpu"));
    Means { version: Some(Version::Two), memory, processes, cpu }
}

/// Where groups of the second version would lie.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Beside(PathBuf),
    Below(PathBuf),
}

fn beside(mounts: &str, groups: &str) -> Option<Place> {
    let own = own_group(groups, "")?;
    let mount = mounts.lines().filter_map(Mount::parse).find(|mount| mount.kind == "cgroup2")?;
    let folder = mount.folder_of(own)?;
    if folder == mount.point {
        return Some(Place::Below(folder));
    }
    folder.parent().map(|above| Place::Beside(above.to_owned()))
}

/// Takes this process out of the root of its container. Where others stay there, the kernel allows
/// no limits below it, and that is found out later.
fn make_room(root: &Path) {
    let is_machines = !root.join("cgroup.type").exists();
    let leaf = root.join(LEAF);
    if !is_machines && fs::create_dir_all(&leaf).is_ok() {
        let _ = fs::write(leaf.join("cgroup.procs"), "0");
    }
}

/// The path of this process's group, as it is called within its namespace.
fn own_group<'a>(groups: &'a str, controller: &str) -> Option<&'a Path> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_meant = controllers.split(',').any(|one| one == controller);
        is_meant.then(|| Path::new(path))
    })
}

/// A line of `proc_pid_mountinfo(5)`.
struct Mount<'a> {
    root: &'a Path,
    point: PathBuf,
    kind: &'a str,
    /// Those of the file system, the controllers of a hierarchy among them.
    options: &'a str,
}

impl Mount<'_> {
    fn parse(line: &str) -> Option<Mount<'_>> {
        let (first, second) = line.split_once(" - ")?;
        let mut first = first.split(' ').skip(3);
        let (root, point) = (Path::new(first.next()?), first.next()?);
        let mut second = second.split(' ');
        let kind = second.next()?;
        // Spaces in it are written as `\040`, and there are none where groups are mounted.
        Some(Mount { root, point: point.into(), kind, options: second.nth(1)? })
    }

    /// Where a group is found under this mount.
    fn folder_of(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(self.root).ok()?;
        Some(self.point.components().chain(below.components()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
        30 29 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
        32 30 0:28 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
        33 30 0:29 /docker/4 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn groups_of_the_first_version_lie_below_this_processs_own() {
        let groups = "9:memory:/user.slice\n8:pids:/docker/4/a\n7:cpu,cpuacct:/\n0::/elsewhere\n";
        let means = of_first(FIRST, groups);
        assert_eq!(means.memory, Some("/sys/fs/cgroup/memory/user.slice".into()));
        assert_eq!(means.processes, Some("/sys/fs/cgroup/pids/a".into()));
        assert_eq!(means.cpu, Some("/sys/fs/cgroup/cpu,cpuacct".into()));
    }

    #[test]
    fn what_lies_outside_of_a_mount_is_not_found_in_it() {
        assert_eq!(of_first(FIRST, "8:pids:/docker/5\n").processes, None);
        assert_eq!(of_first("", "8:pids:/\n").processes, None);
        assert_eq!(of_first(FIRST, "").memory, None);
    }

    #[test]
    fn groups_of_the_second_version_lie_beside_this_processs_own_or_below_a_containers_root() {
        let mounts = "42 32 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let slice = "/sys/fs/cgroup/system.slice".into();
        let found = beside(mounts, "0::/system.slice/rowhouse.service\n");
        assert_eq!(found, Some(Place::Beside(slice)));
        let leaf = format!("0::/{LEAF}\n");
        let root: PathBuf = "/sys/fs/cgroup".into();
        assert_eq!(beside(mounts, &leaf), Some(Place::Beside(root.clone())));
        assert_eq!(beside(mounts, "0::/\n"), Some(Place::Below(root)));
        assert_eq!(beside("", "0::/\n"), None);
    }
}
