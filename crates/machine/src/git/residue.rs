//! What lies in a mirror beside git's own: marks of when it was used and tidied, and what a git
//! that was killed has left.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::git::FETCH;
use crate::room::remove_now;

/// Files of a mirror whose times say when it was used, and when it was tidied.
pub(crate) const USED: &str = "rowhouse-used";
pub(crate) const TIDIED: &str = "rowhouse-tidied";

/// A git that was killed leaves locks which would stop every later one. Whoever calls this holds
/// the mirror, and no git works longer than [`FETCH`].
pub(crate) fn remove_old_locks(mirror: &Path) {
    let mut folders = vec![mirror.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
            if about.is_dir() && entry.file_name() != "objects" {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "lock") {
                let changed = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                if changed.elapsed().is_ok_and(|age| age > FETCH) {
                    // What cannot be removed git names itself.
                    let _ = fs::remove_file(path);
                }
            }
        }
    }
}

/// A fetch that was ended leaves what it had, which nobody uses and which may fill the disk.
/// Whoever calls this holds the mirror.
pub(crate) fn remove_half_fetched(mirror: &Path) {
    let objects = mirror.join("objects");
    for folder in [objects.join("pack"), objects] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("tmp_") {
                // What cannot be removed only takes room.
                let _ = remove_now(&entry.path());
            }
        }
    }
}

/// Remembers that a mirror was used now.
pub(crate) fn mark_used(mirror: &Path) {
    touch(&mirror.join(USED));
}

/// Marks this moment.
pub(crate) fn touch(file: &Path) {
    // A mark that is missing costs a day, or a fetch.
    let _ = fs::File::create(file).and_then(|file| file.set_modified(SystemTime::now()));
}

/// How long ago that was.
pub(crate) fn age(path: &Path) -> Option<Duration> {
    fs::metadata(path).and_then(|about| about.modified()).ok()?.elapsed().ok()
}
