//! Whose files are: an app's own, or the platform's for an app to use. They are changed by
//! descriptor, so that nothing that moves meanwhile leads astray: no link is followed, no other
//! device entered, and a file with more than one name left alone, for one of them may be somebody
//! else's.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, chmod, chownat, fstat, openat};
use rustix::process::{Gid, Uid, geteuid};

/// Folders that lie deeper than this in one another are no app's; each takes a descriptor.
const DEEPEST: usize = 256;
/// What may be done with a file: whatever else its mode says ends when it changes hands.
const RIGHTS: u32 = 0o777;

/// Whose files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An app's own: of the user and the group of this number.
    App(u32),
    /// The platform's: what it may do with them, this group may, too.
    PlatformFor(u32),
    /// The platform's, which all may use: what lies where nobody gets by himself.
    PlatformForAll,
}

/// Makes everything in a folder the owner's, the folder last: it bears witness that all of it is.
/// Nobody but the owner may enter it. Tells how many files were left alone. Blocks.
///
/// # Errors
/// The first thing that could not be changed.
pub(crate) fn hand_over(folder: &Path, owner: Owner) -> io::Result<u64> {
    let opened = open(folder)?;
    let about = fstat(&opened)?;
    let mut walk = Walk { device: about.st_dev, owner, left: 0 };
    walk.entries(&opened, 0)?;
    change(&opened, &about, owner, true)?;
    Ok(walk.left)
}

/// The same, where the folder does not bear witness that it is done.
pub(crate) fn hand_over_once(folder: &Path, owner: Owner) -> io::Result<u64> {
    if is_of(folder, owner)? { Ok(0) } else { hand_over(folder, owner) }
}

/// Whether a folder is the owner's, with everything that was in it when that was done.
pub(crate) fn is_of(folder: &Path, owner: Owner) -> io::Result<bool> {
    let about = fstat(open(folder)?)?;
    let (user, group) = ids(&about, owner);
    let is_theirs = (about.st_uid, about.st_gid) == (user.as_raw(), group.as_raw());
    Ok(is_theirs
        && match owner {
            // What may be done with it the app itself may have changed.
            Owner::App(_) => true,
            Owner::PlatformFor(_) | Owner::PlatformForAll => {
                about.st_mode & RIGHTS == mode(about.st_mode, owner, true)
            }
        })
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, folder, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!("cannot open the folder `{}`: {error}", folder.display()),
        )
    })
}

struct Walk {
    device: u64,
    owner: Owner,
    left: u64,
}

impl Walk {
    fn entries(&mut self, folder: &OwnedFd, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::other(format!("more than {DEEPEST} folders in one another")));
        }
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            if [c".", c".."].contains(&entry.file_name()) {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(folder, entry.file_name(), flags, Mode::empty()) {
                // It has gone meanwhile.
                Err(rustix::io::Errno::NOENT) => continue,
                found => found?,
            };
            self.entry(&found, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, found: &OwnedFd, depth: usize) -> io::Result<()> {
        let about = fstat(found)?;
        let is_folder = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
        let has_others = !is_folder && about.st_nlink > 1;
        if about.st_dev != self.device || has_others {
            self.left += 1;
            return Ok(());
        }
        if is_folder {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.entries(&openat(found, c".", flags, Mode::empty())?, depth + 1)?;
        }
        change(found, &about, self.owner, false)
    }
}

fn ids(about: &Stat, owner: Owner) -> (Uid, Gid) {
    match owner {
        Owner::App(id) => (Uid::from_raw(id), Gid::from_raw(id)),
        Owner::PlatformFor(id) => (geteuid(), Gid::from_raw(id)),
        Owner::PlatformForAll => (geteuid(), Gid::from_raw(about.st_gid)),
    }
}

/// What may be done with a file of this mode when it has changed hands. `is_top`: it is the folder
/// that all the others lie in.
fn mode(mode: u32, owner: Owner, is_top: bool) -> u32 {
    let own = mode & 0o700;
    match owner {
        Owner::App(_) if is_top => 0o700,
        Owner::App(_) => mode & RIGHTS,
        Owner::PlatformFor(_) if is_top => own | own >> 3,
        Owner::PlatformFor(_) => own | own >> 3 | mode & 0o007,
        Owner::PlatformForAll => own | own >> 3 | own >> 6,
    }
}

fn change(file: &OwnedFd, about: &Stat, owner: Owner, is_top: bool) -> io::Result<()> {
    let (user, group) = ids(about, owner);
    if (about.st_uid, about.st_gid) != (user.as_raw(), group.as_raw()) {
        chownat(file.as_fd(), c"", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
    }
    let wanted = mode(about.st_mode, owner, is_top);
    let is_link = FileType::from_raw_mode(about.st_mode) == FileType::Symlink;
    if !is_link && about.st_mode & 0o7777 != wanted {
        // By a descriptor that only names a file there is no other way.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        chmod(path, Mode::from_raw_mode(wanted))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    const APP: u32 = 54_321;

    fn owner_of(path: &Path) -> (u32, u32, u32) {
        let about = fs::symlink_metadata(path).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o7777)
    }

    /// A folder with what a hostile app could have put there, and a file outside.
    fn room() -> tempfile::TempDir {
        assert!(geteuid().is_root(), "this test gives files to others, for which it must be root");
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::create_dir_all(at("app/inner/deep")).unwrap();
        for (name, mode) in
            [("outside", 0o600), ("app/inner/plain", 0o640), ("app/inner/deep/tool", 0o4755)]
        {
            fs::write(at(name), "text").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink(at("outside"), at("app/inner/link")).unwrap();
        fs::hard_link(at("outside"), at("app/inner/other-name")).unwrap();
        room
    }

    #[test]
    fn an_apps_folder_becomes_its_users_and_nothing_that_leads_out_of_it() {
        let room = room();
        let at = |name: &str| room.path().join(name);
        assert_eq!(hand_over_once(&at("app"), Owner::App(APP)).unwrap(), 1);
        assert_eq!(owner_of(&at("app")), (APP, APP, 0o700));
        assert_eq!(owner_of(&at("app/inner/plain")), (APP, APP, 0o640));
        assert_eq!(owner_of(&at("app/inner/deep/tool")), (APP, APP, 0o755));
        assert_eq!(owner_of(&at("app/inner/link")).0, APP);
        assert_eq!(owner_of(&at("outside")), (0, 0, 0o600));
        // The folder bears witness: it is not gone through again.
        fs::write(at("app/later"), "").unwrap();
        assert_eq!(hand_over_once(&at("app"), Owner::App(APP)).unwrap(), 0);
        assert_eq!(owner_of(&at("app/later")).0, 0);
    }

    #[test]
    fn a_release_becomes_the_platforms_and_its_apps_group_may_do_what_its_owner_could() {
        let room = room();
        let at = |name: &str| room.path().join(name);
        hand_over(&at("app"), Owner::App(APP)).unwrap();
        hand_over_once(&at("app"), Owner::PlatformFor(APP)).unwrap();
        assert_eq!(owner_of(&at("app")), (0, APP, 0o770));
        assert_eq!(owner_of(&at("app/inner/plain")), (0, APP, 0o660));
        assert_eq!(owner_of(&at("app/inner/deep/tool")), (0, APP, 0o775));
        assert!(is_of(&at("app"), Owner::PlatformFor(APP)).unwrap());
        assert!(!is_of(&at("app"), Owner::PlatformFor(APP + 1)).unwrap());
        assert_eq!(owner_of(&at("outside")), (0, 0, 0o600));
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let room = room();
        let link = room.path().join("link");
        symlink(room.path().join("app"), &link).unwrap();
        assert!(hand_over(&link, Owner::App(APP)).is_err());
        assert_eq!(owner_of(&room.path().join("app")).0, 0);
    }
}
