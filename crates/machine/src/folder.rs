//! The data folder: where everything of one platform lies, and who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rowhouse_core::{AppName, Repository};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::room::remove_now;

/// A data folder that cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("cannot make the data folder `{}`", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot write in the data folder `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}", held(path, holder.as_deref()))]
    Held { path: PathBuf, holder: Option<Box<Holder>> },
}

fn held(path: &Path, holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!(
            "the data folder `{}` is held by another `rowhouse up`: process {}, listening on {}, \
             since {:.0}",
            path.display(),
            holder.pid,
            holder.listen,
            holder.since
        ),
        None => format!("the data folder `{}` is held by another `rowhouse up`", path.display()),
    }
}

/// Who runs a platform on a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Holder {
    pub pid: u32,
    /// Address and port of the proxy.
    pub listen: String,
    pub domain: String,
    pub since: Timestamp,
    /// The default repository of rows without `Repo`.
    pub repository: Option<Repository>,
    pub path: Option<String>,
    pub max_scale: u32,
}

/// Whether a reactor is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is; who, once it has said so.
    AtWork(Option<Holder>),
    /// It is not; when it was last seen, if ever.
    Absent(Option<Timestamp>),
}

/// What those may do who are neither the owner nor of the group.
const OTHERS: u32 = 0o007;

/// The folder of one platform.
#[derive(Clone, Debug)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// Opens the folder, and makes it where it is missing; only its owner may enter.
    pub fn open(root: &Path) -> Result<DataFolder, FolderError> {
        let make = |source| FolderError::Make { path: root.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(make)?;
        let folder = DataFolder { root: root.canonicalize().map_err(make)? };
        for part in ["state", "logs", "instances"] {
            let path = folder.root.join(part);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| FolderError::Write { path: folder.root.clone(), source })?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The table: the only `.db` at the folder's top.
    pub fn table(&self) -> PathBuf {
        self.root.join("rowhouse.db")
    }

    pub fn journal(&self) -> PathBuf {
        self.root.join("state/journal.sqlite")
    }

    /// What is to take the place of a journal that is damaged.
    pub(crate) fn salvaged_journal(&self) -> PathBuf {
        self.root.join("state/journal.salvaged")
    }

    /// The archive of a build that other machines may have.
    pub fn offer(&self) -> PathBuf {
        DataFolder::offer_in(&self.root)
    }

    /// The same in a folder that is not ours to open.
    pub fn offer_in(root: &Path) -> PathBuf {
        root.join("state/offer.build")
    }

    pub fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }

    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// The home folder of an app's builds, where package managers keep their caches. It goes with
    /// the app: its builds may lean on what is in it, such as a Python that uv has fetched.
    pub fn build_home(&self, app: &AppName) -> PathBuf {
        self.root.join("build-homes").join(app.as_str())
    }

    /// The one that all apps shared once: builds that were made then may still lean on it.
    pub fn shared_build_home(&self) -> PathBuf {
        self.root.join("build-home")
    }

    /// The folders of an app's supervised processes.
    pub fn instances(&self, app: &AppName) -> PathBuf {
        self.root.join("instances").join(app.as_str())
    }

    /// The folders of all supervised processes, whoever started them.
    pub fn process_folders(&self) -> Vec<PathBuf> {
        let children = |path: &Path| -> Vec<PathBuf> {
            fs::read_dir(path)
                .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
                .unwrap_or_default()
        };
        children(&self.root.join("instances")).iter().flat_map(|app| children(app)).collect()
    }

    pub fn logs(&self, app: &AppName) -> PathBuf {
        self.root.join("logs").join(app.as_str())
    }

    /// `DATA_DIR` and `HOME` of the app: kept across versions, and some days after the row is gone.
    pub fn app_data(&self, app: &AppName) -> PathBuf {
        self.root.join("data").join(app.as_str())
    }

    pub fn app_home(&self, app: &AppName) -> PathBuf {
        self.root.join("home").join(app.as_str())
    }

    /// Which user of the machine each app has.
    pub(crate) fn users(&self) -> PathBuf {
        self.root.join("state/users.json")
    }

    /// Where the folders lie that are the apps' users'.
    pub(crate) fn parts_of_users(&self) -> [PathBuf; 3] {
        ["data", "home", "build-homes"].map(|name| self.root.join(name))
    }

    /// What a platform makes at the folder's top, but `state`.
    fn parts(&self) -> Vec<PathBuf> {
        let of_apps = ["logs", "instances", "data", "home"].map(|name| self.root.join(name));
        let homes = self.root.join("build-homes");
        let mut parts = vec![self.mirrors(), self.builds(), self.shared_build_home(), homes];
        parts.extend(of_apps);
        parts.extend(database(&self.table()));
        parts
    }

    /// Removes everything of a platform, and nothing that somebody else has put beside it. The lock
    /// stays, for it is held.
    pub fn clear(&self, _held: &Hold) -> io::Result<()> {
        let parts = self.parts().into_iter().chain(database(&self.journal()));
        parts.into_iter().try_for_each(|path| remove_now(&path))
    }

    /// The mode of a folder that others than its owner may enter.
    pub fn open_to_others(&self) -> Option<u32> {
        let mode = self.root.metadata().ok()?.mode() & 0o7777;
        (mode & 0o077 != 0).then_some(mode)
    }

    /// Closes a folder that is open to others, and tells the mode that it had. Left alone are one
    /// that is somebody else's, one that is used for other things too, and one that is open to its
    /// group and has a table: that was done on purpose.
    pub fn close(&self) -> Result<Option<u32>, FolderError> {
        let Some(mode) = self.open_to_others() else { return Ok(None) };
        let parts = self.parts();
        let close = || -> io::Result<bool> {
            let is_mine = self.root.metadata()?.uid() == rustix::process::geteuid().as_raw();
            let is_for_the_group = mode & OTHERS == 0 && self.table().exists();
            let is_shared = mode & 0o1000 != 0
                || fs::read_dir(&self.root)?
                    .flatten()
                    .any(|entry| entry.file_name() != "state" && !parts.contains(&entry.path()));
            let closes = is_mine && !is_for_the_group && !is_shared;
            if closes {
                fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))?;
            }
            Ok(closes)
        };
        let closed =
            close().map_err(|source| FolderError::Write { path: self.root.clone(), source })?;
        Ok(closed.then_some(mode))
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("state/lock")
    }

    /// Takes the folder for one reactor. The lock ends with the process, however it ends.
    pub fn hold(&self) -> Result<Hold, FolderError> {
        let write = |source| FolderError::Write { path: self.root.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(self.lock_path())
            .map_err(write)?;
        self.lock(file)
    }

    /// Takes the folder over from its holder, who has passed its lock on. It is held without a gap:
    /// the lock is that of all who have the descriptor.
    pub(crate) fn take_over(&self, lock: OwnedFd) -> Result<Hold, FolderError> {
        let write = |source| FolderError::Write { path: self.root.clone(), source };
        let file = File::from(lock);
        let place = |about: fs::Metadata| (about.dev(), about.ino());
        let passed = file.metadata().map(place).map_err(write)?;
        if self.lock_path().metadata().map(place).map_err(write)? != passed {
            return Err(FolderError::Held { path: self.root.clone(), holder: None });
        }
        self.lock(file)
    }

    fn lock(&self, file: File) -> Result<Hold, FolderError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Hold { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::Held {
                path: self.root.clone(),
                holder: read_holder(&file).map(Box::new),
            }),
            Err(error) => Err(FolderError::Write { path: self.root.clone(), source: error.into() }),
        }
    }

    /// A folder that is there, if it is one: nothing is made.
    pub fn at(root: &Path) -> DataFolder {
        DataFolder { root: root.to_owned() }
    }

    /// Looks whether a reactor is at work, without getting in its way.
    pub fn presence(&self) -> Presence {
        let Ok(file) = File::open(self.lock_path()) else { return Presence::Absent(None) };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                let seen = file.metadata().and_then(|metadata| metadata.modified()).ok();
                Presence::Absent(seen.and_then(|seen| Timestamp::try_from(seen).ok()))
            }
            Err(_) => Presence::AtWork(read_holder(&file)),
        }
    }

    /// The reactor that is or was at work last.
    pub(crate) fn last_holder(&self) -> Option<Holder> {
        read_holder(&File::open(self.lock_path()).ok()?)
    }
}

/// A database's files: itself, its log, and the index of that.
pub(crate) fn database(file: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        name.into()
    })
}

fn read_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The folder, held for this process.
#[derive(Debug)]
pub struct Hold {
    file: File,
}

impl Hold {
    /// Says who holds it, for those who find it held.
    pub fn announce(&mut self, holder: &Holder) -> io::Result<()> {
        let mut text = serde_json::to_string(holder)?;
        // Over what there is, at once: whoever reads meanwhile finds the one or the other.
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(0);
        text.extend(std::iter::repeat_n(' ', length.saturating_sub(text.len())));
        self.file.write_all_at(text.as_bytes(), 0)
    }

    /// The lock, for a successor.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Leaves a sign of life, so that readers know since when a reactor is gone.
    pub fn beat(&self) -> io::Result<()> {
        self.file.set_modified(std::time::SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_clear_a_folder_leaves_what_is_somebody_elses_and_the_lock() {
        let room = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(room.path()).unwrap();
        let name = AppName::parse("shop").unwrap();
        for path in [folder.builds(), folder.app_data(&name), folder.app_home(&name)] {
            fs::create_dir_all(path).unwrap();
        }
        let thesis = room.path().join("thesis.txt");
        for path in database(&folder.table()).into_iter().chain([folder.journal(), thesis]) {
            fs::write(path, "").unwrap();
        }
        folder.clear(&folder.hold().unwrap()).unwrap();
        let mut left: Vec<String> = fs::read_dir(room.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["state", "thesis.txt"]);
        assert!(!folder.journal().exists() && folder.lock_path().exists());
    }

    #[test]
    fn an_open_folder_is_closed_unless_that_is_somebody_elses_business() {
        let room = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&room.path().join("data")).unwrap();
        let closed = |mode| {
            fs::set_permissions(folder.root(), fs::Permissions::from_mode(mode)).unwrap();
            let was = folder.close().unwrap();
            (was, folder.open_to_others())
        };
        assert_eq!(closed(0o700), (None, None));
        assert_eq!(closed(0o755), (Some(0o755), None));
        assert_eq!(closed(0o770), (Some(0o770), None));
        assert_eq!(closed(0o1777), (None, Some(0o1777)));
        fs::write(folder.table(), "").unwrap();
        assert_eq!(closed(0o755), (Some(0o755), None));
        assert_eq!(closed(0o2770), (None, Some(0o2770)));
        fs::write(folder.root().join("thesis.txt"), "").unwrap();
        assert_eq!(closed(0o755), (None, Some(0o755)));
    }

    #[test]
    fn who_holds_a_folder_is_read_whole_also_after_somebody_with_a_longer_name() {
        let room = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(room.path()).unwrap();
        let mut hold = folder.hold().unwrap();
        let holder = |pid, domain: &str| Holder {
            pid,
            listen: "127.0.0.1:8080".to_owned(),
            domain: domain.to_owned(),
            since: Timestamp::UNIX_EPOCH,
            repository: None,
            path: None,
            max_scale: 1,
        };
        for (pid, domain) in [(1, "localhost"), (2, "apps.example.com"), (3, "localhost")] {
            hold.announce(&holder(pid, domain)).unwrap();
            assert!(matches!(
                folder.presence(),
                Presence::AtWork(Some(found)) if found.pid == pid && found.domain == domain
            ));
        }
        drop(hold);
        assert!(matches!(folder.presence(), Presence::Absent(_)));
        assert_eq!(folder.last_holder().unwrap().pid, 3);
    }
}
