//! Room on the disk: whether there is some left, and getting it back.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

/// With less than this left (bytes), what failed is taken to have failed for want of it: programs
/// that others wrote seldom say.
const ROOM: u64 = 4 << 20;

/// Is the device of `place` full?
pub(crate) fn is_full(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|about| about.f_bavail * about.f_frsize < ROOM)
}

/// Removes a file or a folder, also one in which a build made folders that cannot be written.
pub(crate) fn remove_now(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.is_dir() => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

/// The same, for who may not block.
pub(crate) async fn remove(path: PathBuf) -> io::Result<()> {
    spawn_blocking(move || remove_now(&path)).await.map_err(io::Error::other).flatten()
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_there_is_removed_and_links_are_not_followed() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::create_dir_all(at("kept/inner")).unwrap();
        fs::create_dir_all(at("shut/inner/deep")).unwrap();
        fs::set_permissions(at("shut/inner"), fs::Permissions::from_mode(0o500)).unwrap();
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("kept", at("link")).unwrap();
        for name in ["shut", "file", "link", "none"] {
            remove_now(&at(name)).unwrap();
            assert!(fs::symlink_metadata(at(name)).is_err(), "{name}");
        }
        assert!(at("kept/inner").exists());
    }
}
