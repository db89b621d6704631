//! Taken room: how much of the disk the parts of a data folder take, as far as that can be counted
//! in the time there is.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::folder::DataFolder;

/// Room on the disk. Its text is `12 MB`, `1.3 GB`, or `more than 1.3 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub bytes: u64,
    /// Whether all of it was counted.
    pub is_whole: bool,
}

impl Size {
    pub const NOTHING: Size = Size { bytes: 0, is_whole: true };

    /// Both together.
    #[must_use]
    pub fn with(self, other: Size) -> Size {
        Size {
            bytes: self.bytes.saturating_add(other.bytes),
            is_whole: self.is_whole && other.is_whole,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEGABYTE: u64 = 1 << 20;
        if !self.is_whole {
            formatter.write_str("more than ")?;
        }
        // Of what was counted in part no more is told than was counted.
        let whole =
            if self.is_whole { self.bytes.div_ceil(MEGABYTE) } else { self.bytes / MEGABYTE };
        match whole {
            megabytes @ 0..1024 => write!(formatter, "{megabytes} MB"),
            megabytes => {
                let tenths = megabytes * 10 / 1024;
                write!(formatter, "{}.{} GB", tenths / 10, tenths % 10)
            }
        }
    }
}

/// What a part of a data folder takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub what: &'static str,
    pub size: Size,
    /// The apps that take most of it, the largest first, where it is an app's.
    pub apps: Vec<(String, Size)>,
}

/// Counts the parts of a folder, within about `limit`. Links are not followed, and a file with more
/// than one name counts once.
pub fn parts(folder: &DataFolder, limit: Duration) -> Vec<Part> {
    let root = folder.root();
    let part = |what, is_of_apps, names: &[&str]| {
        (what, is_of_apps, names.iter().map(|name| root.join(name)).collect())
    };
    let parts: [(&'static str, bool, Vec<PathBuf>); 5] = [
        part("builds", true, &["builds"]),
        part("build caches", true, &["build-homes", "build-home"]),
        part("mirrors of repositories", false, &["mirrors"]),
        part("logs", false, &["logs"]),
        part("data of apps", true, &["data", "home"]),
    ];
    let until = Instant::now() + limit;
    let mut seen = HashSet::new();
    let mut left = u32::try_from(parts.len()).unwrap_or(1);
    parts
        .into_iter()
        .map(|(what, is_of_apps, folders)| {
            // A large part leaves time for those after it.
            let share = until.saturating_duration_since(Instant::now()) / left;
            left = left.saturating_sub(1).max(1);
            let until = Instant::now() + share;
            let mut part = Part { what, size: Size::NOTHING, apps: Vec::new() };
            for folder in folders {
                for (name, size) in children(&folder, until, &mut seen) {
                    part.size = part.size.with(size);
                    if is_of_apps {
                        match part.apps.iter_mut().find(|(known, _)| *known == name) {
                            Some((_, known)) => *known = known.with(size),
                            None => part.apps.push((name, size)),
                        }
                    }
                }
            }
            part.apps.sort_by_key(|(_, size)| std::cmp::Reverse(size.bytes));
            part
        })
        .collect()
}

/// What each entry of a folder takes.
fn children(
    folder: &PathBuf,
    until: Instant,
    seen: &mut HashSet<(u64, u64)>,
) -> Vec<(String, Size)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, size(entry.path(), until, seen))
        })
        .collect()
}

/// What is in a file or a folder. What cannot be looked at counts as nothing.
fn size(path: PathBuf, until: Instant, seen: &mut HashSet<(u64, u64)>) -> Size {
    let mut size = Size::NOTHING;
    let mut waiting = vec![path];
    while let Some(path) = waiting.pop() {
        if Instant::now() >= until {
            return Size { is_whole: false, ..size };
        }
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        if about.nlink() == 1 || about.is_dir() || seen.insert((about.dev(), about.ino())) {
            size.bytes += about.blocks() * 512;
        }
        if about.is_dir() {
            match fs::read_dir(&path) {
                Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
                Err(_) => size.is_whole = false,
            }
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn folder(room: &Path) -> DataFolder {
        let folder = DataFolder::open(&room.join("data")).unwrap();
        for place in ["build-homes/shop/.cache", "build-homes/blog", "builds/shop", "logs/shop"]
            .into_iter()
            .chain(["data/shop", "home/shop"])
        {
            fs::create_dir_all(folder.root().join(place)).unwrap();
        }
        folder
    }

    #[test]
    fn every_part_is_counted_and_what_has_two_names_once() {
        let room = tempfile::tempdir().unwrap();
        let folder = folder(room.path());
        let at = |name: &str| folder.root().join(name);
        fs::write(at("build-homes/shop/.cache/wheel"), vec![1; 3 << 20]).unwrap();
        fs::hard_link(at("build-homes/shop/.cache/wheel"), at("build-homes/shop/wheel")).unwrap();
        fs::write(room.path().join("elsewhere"), vec![1; 3 << 20]).unwrap();
        std::os::unix::fs::symlink(room.path(), at("builds/shop/link")).unwrap();
        let parts = parts(&folder, Duration::from_mins(1));
        let of = |what: &str| parts.iter().find(|part| part.what == what).unwrap();
        let caches = of("build caches");
        assert!((3 << 20..4 << 20).contains(&caches.size.bytes), "{caches:?}");
        assert_eq!(caches.apps[0].0, "shop");
        assert_eq!(caches.apps[1].0, "blog");
        let names: Vec<&str> =
            of("data of apps").apps.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["shop"]);
        assert!(of("builds").size.bytes < 1 << 20, "{parts:?}");
        assert!(parts.iter().all(|part| part.size.is_whole), "{parts:?}");
    }

    #[test]
    fn without_time_it_is_said_that_there_is_more() {
        let room = tempfile::tempdir().unwrap();
        let folder = folder(room.path());
        let parts = parts(&folder, Duration::ZERO);
        assert!(!parts[0].size.is_whole, "{parts:?}");
        assert_eq!(parts[0].size.to_string(), "more than 0 MB");
    }

    #[test]
    fn sizes_are_told_in_megabytes_and_gigabytes() {
        let told = |bytes, is_whole| Size { bytes, is_whole }.to_string();
        assert_eq!(told(0, true), "0 MB");
        assert_eq!(told(1, true), "1 MB");
        assert_eq!(told(1023 << 20, true), "1023 MB");
        assert_eq!(told(1_331 << 20, true), "1.2 GB");
        assert_eq!(told((1 << 21) - 1, false), "more than 1 MB");
    }
}
