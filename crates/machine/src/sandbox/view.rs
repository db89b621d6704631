//! What a process sees of the machine's files: a root of its own, in a mount namespace of its own
//! (`mount_namespaces(7)`), with what it is given at the very paths that it has outside, since
//! virtual environments hold absolute paths. What is not given is not there: other apps' files, the
//! sockets of services, the platform's own folder.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{getegid, geteuid, pivot_root, umask};

use crate::sandbox::user::{GROUPS, USERS, User};

/// Of a process's own folder, what it has changed in its release.
pub(crate) const CHANGES: &str = "changes";

/// Of `/dev`, what programs expect everywhere.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Files of the machine's own that only its root reads, and an app as root would.
const MASKED: [&str; 15] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/letsencrypt",
    "/etc/pki/tls/private",
    "/etc/wireguard",
    "/etc/NetworkManager/system-connections",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/security/opasswd",
];

/// Files that are larger (bytes) are no settings.
const LARGEST_LENT: u64 = 1 << 20;

/// What is in a view.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) readable: &'a [PathBuf],
    pub(crate) writable: &'a [PathBuf],
    /// A folder of which each process has a version of its own: what it writes there lies in
    /// `scratch`, and nobody else sees it.
    pub(crate) own_version: Option<&'a Path>,
    /// The process's own folder of temporary files, which it also finds as `/tmp`.
    pub(crate) temporary: &'a Path,
    /// Where the parts of the view are put together; it is not in the view.
    pub(crate) scratch: &'a Path,
    /// Whether it takes a user namespace, where this user may mount nothing.
    pub(crate) by_user_namespace: bool,
    /// Who it is for, where that is not who lays it out.
    pub(crate) user: Option<&'a User>,
}

impl View<'_> {
    /// Moves this process into the view. It must have one thread.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.leave_the_machines()?;
        let root = self.scratch.join("root");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        tmpfs(&root, "mode=755")?;
        // Whatever the platform's own files are like, the way to what is bound is open.
        let before = umask(Mode::WGRP | Mode::WOTH);
        let laid_out = self.lay_out(&root);
        umask(before);
        laid_out?;
        mount_remount(&root, MountFlags::RDONLY | MountFlags::NOSUID, c"mode=755")
            .map_err(|error| at("make read-only", &root, error))?;
        // The old root comes to lie over the new one, and is taken off.
        std::env::set_current_dir(&root)?;
        pivot_root(".", ".").map_err(|error| at("take for root", &root, error))?;
        unmount(".", UnmountFlags::DETACH)?;
        std::env::set_current_dir("/")
    }

    fn leave_the_machines(&self) -> io::Result<()> {
        let mounts = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
        if self.by_user_namespace {
            let (user, group) = (geteuid().as_raw(), getegid().as_raw());
            unshare(mounts | CloneFlags::CLONE_NEWUSER)?;
            // In this order, by user_namespaces(7).
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        } else {
            unshare(mounts)?;
        }
        let alone = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", alone).map_err(|error| at("make private", Path::new("/"), error))
    }

    fn lay_out(&self, root: &Path) -> io::Result<()> {
        // First, for the platform's folder may lie in it.
        for place in ["tmp", "var/tmp"] {
            let place = root.join(place);
            make_folder(&place)?;
            mount_bind_recursive(self.temporary, &place)
                .map_err(|error| at("bind", self.temporary, error))?;
        }
        let mut readable: Vec<&PathBuf> = self.readable.iter().collect();
        // What lies in another one comes after it.
        readable.sort();
        for path in readable {
            if !self.lend(path, root)? {
                bind(path, root, true)?;
            }
        }
        devices(root)?;
        processes(root)?;
        if let Some(folder) = self.own_version {
            self.overlay(folder, root)?;
        }
        let mut writable: Vec<&Path> = self.writable.iter().map(PathBuf::as_path).collect();
        // `TMPDIR` names it by the path that it has outside.
        writable.push(self.temporary);
        writable.sort();
        for path in writable {
            bind(path, root, false)?;
        }
        make_folder(&root.join("run"))?;
        if !root.join("var/run").exists() {
            symlink("/run", root.join("var/run"))?;
        }
        resolver(root)?;
        self.name_user(root)?;
        if geteuid().is_root() { mask(root) } else { Ok(()) }
    }

    fn overlay(&self, folder: &Path, root: &Path) -> io::Result<()> {
        let (changes, work) = (self.scratch.join(CHANGES), self.scratch.join("work"));
        for part in [&changes, &work] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(part)?;
        }
        let place = inside(root, folder);
        make_folder(&place)?;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            escaped(folder)?,
            escaped(&changes)?,
            escaped(&work)?
        );
        let own_marks = if self.by_user_namespace { ",userxattr" } else { "" };
        let options = std::ffi::CString::new(options + own_marks)?;
        mount("overlay", &place, "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options)
            .map_err(|error| at("lay a version of its own over", folder, error))
    }
}

impl View<'_> {
    /// A file that was named to be read, and that the user may not read outside, such as the
    /// settings of a package manager: a copy for the user alone.
    fn lend(&self, path: &Path, root: &Path) -> io::Result<bool> {
        let (Some(user), Ok(about)) = (self.user, fs::symlink_metadata(path)) else {
            return Ok(false);
        };
        let place = inside(root, path);
        let is_readable = about.permissions().mode() & 0o004 != 0;
        let is_lent = about.is_file() && !is_readable && about.len() <= LARGEST_LENT;
        // What came with the folder that it lies in is the machine's own file.
        if !is_lent || fs::symlink_metadata(&place).is_ok() {
            return Ok(false);
        }
        if let Some(parent) = place.parent() {
            make_folder(parent)?;
        }
        fs::write(&place, fs::read(path)?)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o440))?;
        chown(&place, None, Some(user.id))?;
        Ok(true)
    }

    /// The user has a name, as every program expects.
    fn name_user(&self, root: &Path) -> io::Result<()> {
        let Some(user) = self.user else { return Ok(()) };
        for file in [USERS, GROUPS] {
            let (path, place) = (Path::new(file), inside(root, Path::new(file)));
            if !place.is_file() {
                continue;
            }
            let own = self.scratch.join(path.file_name().unwrap_or_default());
            fs::write(&own, user.named_in(file)?)?;
            fs::set_permissions(&own, fs::Permissions::from_mode(0o644))?;
            mount_bind_recursive(&own, &place).map_err(|error| at("bind", &own, error))?;
        }
        Ok(())
    }
}

/// Names are resolved as outside, where that is written in `/run`.
fn resolver(root: &Path) -> io::Result<()> {
    match fs::canonicalize("/etc/resolv.conf") {
        Ok(file) if file.starts_with("/run") => bind(&file, root, true),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn devices(root: &Path) -> io::Result<()> {
    let devices = root.join("dev");
    make_folder(&devices)?;
    tmpfs(&devices, "mode=755")?;
    for name in DEVICES {
        bind(&Path::new("/dev").join(name), root, false)?;
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, devices.join(name))?;
    }
    let terminals = devices.join("pts");
    make_folder(&terminals)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", &terminals, "devpts", flags, c"newinstance,ptmxmode=0666,mode=620")
        .map_err(|error| at("mount", &terminals, error))?;
    let shared = devices.join("shm");
    make_folder(&shared)?;
    tmpfs(&shared, "mode=1777")
}

/// `/proc`; of other processes only those that it may look into, which Landlock leaves to its
/// own, where a new one can be mounted.
fn processes(root: &Path) -> io::Result<()> {
    let place = root.join("proc");
    make_folder(&place)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("proc", &place, "proc", flags, c"hidepid=4").is_ok() {
        return Ok(());
    }
    mount_bind_recursive("/proc", &place).map_err(|error| at("bind", &place, error))
}

/// A path as an option of overlayfs: there `,` ends it and `:` begins the next.
fn escaped(path: &Path) -> io::Result<String> {
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::other(format!("`{}` is not UTF-8", path.display())))?;
    let mut escaped = String::new();
    for letter in text.chars() {
        if matches!(letter, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    Ok(escaped)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn tmpfs(place: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    mount("tmpfs", place, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, &*options)
        .map_err(|error| at("mount", place, error))
}

/// Brings a file or folder into the view; one that is not there is left out, and a link stays one.
fn bind(path: &Path, root: &Path, read_only: bool) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    let place = inside(root, path);
    if fs::symlink_metadata(&place).is_ok_and(|found| !found.is_dir()) {
        // It came with what it lies in.
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        // Where it lies in a folder that is bound already, it is there.
        if !parent.exists() {
            make_folder(parent)?;
        }
    }
    if about.is_symlink() {
        return symlink(fs::read_link(path)?, &place);
    }
    if about.is_dir() {
        if !place.exists() {
            make_folder(&place)?;
        }
    } else {
        fs::File::create(&place)?;
    }
    mount_bind_recursive(path, &place).map_err(|error| at("bind", path, error))?;
    if read_only && geteuid().is_root() {
        // Others are kept from writing by what the files say. In a user namespace what was locked
        // outside must stay so; then Landlock alone forbids it.
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        let _ = mount_remount(&place, flags, c"");
    }
    Ok(())
}

fn mask(root: &Path) -> io::Result<()> {
    for path in MASKED {
        let place = inside(root, Path::new(path));
        let Ok(about) = fs::symlink_metadata(&place) else { continue };
        if about.is_dir() {
            tmpfs(&place, "mode=000")?;
        } else if about.is_file() {
            mount_bind_recursive("/dev/null", &place)
                .map_err(|error| at("mask", Path::new(path), error))?;
        }
    }
    Ok(())
}

fn at(what: &str, place: &Path, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("cannot {what} `{}`: {error}", place.display()))
}
