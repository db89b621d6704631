//! Which user of the machine each app has, where a platform of root's keeps them apart. They are
//! remembered in a file of its own, apart from the journal, and the owners of the apps' folders
//! bear witness: whatever becomes of the file, no app gets what another one left.

mod known;
mod uids;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rowhouse_core::AppName;
use tracing::warn;

use crate::folder::DataFolder;
use crate::ownership::{Owner, hand_over, is_of};
use crate::process::supervised::without_user;
use crate::room::remove_now;
use crate::users::known::{Known, Witness};
pub use crate::users::uids::{Uids, UidsError};
use crate::whole::Whole;

/// Folders that lie deeper than this in one another are not looked through for owners.
const DEEPEST: usize = 256;

/// The users of a platform's apps.
#[derive(Debug)]
pub struct Users {
    folder: DataFolder,
    known: Mutex<Known>,
}

impl Users {
    /// Reads who has which, or finds it out anew from who owns what. `asked`: the numbers that new
    /// ones come from; without it those that the file names, or some that nobody has. `None` where
    /// there are none. Blocks.
    ///
    /// # Errors
    /// Numbers that others have.
    pub fn open(folder: &DataFolder, asked: Option<Uids>) -> Result<Option<Users>, UidsError> {
        let file = folder.users();
        let read = read(&file);
        if let Err(error) = &read {
            warn!(file = %file.display(), reason = %error, "made anew from who owns the folders");
            // Whatever it is, another one is to have its place.
            let aside = file.with_extension("damaged");
            let moved = remove_now(&aside).and_then(|()| fs::rename(&file, &aside));
            if let Err(error) = moved {
                warn!(file = %file.display(), reason = %error, "cannot be moved away");
            }
        }
        let read = read.ok().flatten();
        let taken = uids::taken();
        let remembered = read.as_ref().map(|known| known.uids).filter(|uids| {
            uids.check(&taken)
                .inspect_err(|error| warn!(reason = %error, "others are used"))
                .is_ok()
        });
        let uids = match asked {
            Some(uids) => uids.check(&taken).map(|()| Some(uids))?,
            None => remembered.or_else(|| Uids::of_nobody(folder.root(), &taken)),
        };
        let Some(uids) = uids else { return Ok(None) };
        let witnesses = witnesses(folder);
        let left = if read.is_some() { BTreeSet::new() } else { owners(folder) };
        let known = Known::settled(read, uids, &witnesses, &left, |id| {
            uids::RANGES.iter().chain([&uids]).any(|uids| uids.has(id))
                && !uids::is_taken(&taken, id)
        });
        Ok(Some(Users { folder: folder.clone(), known: Mutex::new(known) }))
    }

    /// Forgets that the apps' files are their users': what runs from now on runs as root, and may
    /// leave files of root's.
    pub fn distrust(folder: &DataFolder) {
        let file = folder.users();
        if let Ok(Some(mut known)) = read(&file) {
            known.unsettle();
            if let Err(error) = write(&file, &known) {
                warn!(file = %file.display(), reason = %error, "cannot write it");
            }
        }
    }

    /// The number of a user that an app could be where the platform is not told which.
    pub fn that_apps_could_be(folder: &Path) -> Option<u32> {
        Uids::of_nobody(folder, &uids::taken()).map(Uids::first)
    }

    /// A number that an app has or could have.
    pub fn any(&self) -> u32 {
        self.known.lock().uids.first()
    }

    /// The app's user, from now on and until nothing of the app is left.
    ///
    /// # Errors
    /// No number is left, or it cannot be written down.
    pub fn user(&self, name: &AppName) -> io::Result<u32> {
        let mut known = self.known.lock();
        if let Some(id) = known.user(name) {
            return Ok(id);
        }
        let mut next = known.clone();
        let taken = uids::taken();
        let is_free = |id| !uids::is_taken(&taken, id);
        let id = next.give(name, is_free).or_else(|| {
            // Those of apps of which nothing is left.
            let left = owners(&self.folder);
            next.free(&left);
            next.forget(|name, id| !left.contains(&id) && !self.has_folders(name));
            next.give(name, is_free)
        });
        let Some(id) = id else {
            return Err(io::Error::other(format!(
                "each of the users {} is an app's; give it more: `up --uids FIRST-LAST`",
                next.uids
            )));
        };
        write(&self.folder.users(), &next)?;
        *known = next;
        Ok(id)
    }

    /// Makes the app's own folders its user's, where they are not, with all that is in them. While
    /// a process of the app runs that is root it is done again and again, for it may leave files of
    /// root's. Tells the user, and how many files were left alone. Blocks.
    ///
    /// # Errors
    /// As for [`Users::user`]; what cannot be changed.
    pub fn settle(&self, name: &AppName) -> io::Result<(u32, u64)> {
        let id = self.user(name)?;
        let owner = Owner::App(id);
        let folders = self.own_folders(name);
        for folder in &folders {
            fs::create_dir_all(folder)?;
        }
        let is_settled = self.known.lock().is_settled(name);
        if is_settled && folders.iter().all(|folder| is_of(folder, owner).unwrap_or(false)) {
            return Ok((id, 0));
        }
        // Looked at first: what ends meanwhile has left nothing that is not come by.
        let is_alone = !without_user(&self.folder.instances(name));
        let mut left = 0;
        for folder in &folders {
            left += hand_over(folder, owner)?;
        }
        if is_alone {
            let mut known = self.known.lock();
            let mut next = known.clone();
            next.settle(name);
            write(&self.folder.users(), &next)?;
            *known = next;
        }
        Ok((id, left))
    }

    /// The apps whose folders may hold files of root's.
    pub fn unsettled(&self) -> Vec<AppName> {
        self.known.lock().unsettled()
    }

    fn own_folders(&self, name: &AppName) -> [PathBuf; 3] {
        let folder = &self.folder;
        [folder.app_data(name), folder.app_home(name), folder.build_home(name)]
    }

    fn has_folders(&self, name: &AppName) -> bool {
        let others = [self.folder.instances(name), self.folder.builds().join(name.as_str())];
        self.own_folders(name)
            .iter()
            .chain(&others)
            .any(|folder| fs::symlink_metadata(folder).is_ok())
    }
}

/// `None`: there is none.
fn read(file: &Path) -> io::Result<Option<Known>> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(about) if !about.is_file() => return Err(io::Error::other("it is no file")),
        Ok(_) | Err(_) => {}
    }
    Ok(Some(Known::parse(&fs::read(file)?)?))
}

fn write(file: &Path, known: &Known) -> io::Result<()> {
    Whole::new(file).mode(0o600).durable().write(&serde_json::to_vec_pretty(known)?)
}

/// Who owns the folders of each app.
fn witnesses(folder: &DataFolder) -> BTreeMap<AppName, Witness> {
    let mut witnesses: BTreeMap<AppName, Witness> = BTreeMap::new();
    for part in folder.parts_of_users() {
        for entry in fs::read_dir(part).into_iter().flatten().flatten() {
            let name = entry.file_name().to_str().and_then(|name| AppName::parse(name).ok());
            if let (Some(name), Ok(about)) = (name, fs::symlink_metadata(entry.path())) {
                witnesses.entry(name).or_default().owners.push(about.uid());
            }
        }
    }
    witnesses
}

/// Every user and group that something belongs to which apps have made.
fn owners(folder: &DataFolder) -> BTreeSet<u32> {
    let mut owners = BTreeSet::new();
    let others = [folder.builds(), folder.root().join("instances")];
    let mut left: Vec<(PathBuf, usize)> =
        folder.parts_of_users().into_iter().chain(others).map(|part| (part, 0)).collect();
    while let Some((path, depth)) = left.pop() {
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        owners.extend([about.uid(), about.gid()]);
        if about.is_dir() && depth < DEEPEST {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| (entry.path(), depth + 1)));
        }
    }
    owners
}
