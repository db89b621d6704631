//! Archives of finished builds: a build packed on one machine, unpacked at the same place on
//! another. Whoever unpacks takes the archive for hostile.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

/// Bytes of an archive, packed. S3 takes 5 GB in one request
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>).
pub const PACKED_LIMIT: u64 = 2 << 30;
/// Bytes of all files together.
const UNPACKED_LIMIT: u64 = 6 << 30;
/// Files, folders and links.
const COUNT_LIMIT: usize = 1_000_000;
/// Bytes of the record.
const RECORD_LIMIT: u64 = 1 << 20;
/// Where links may lead outside of the build: the system's own programs and libraries, such as the
/// Python of a virtual environment.
const SYSTEM: [&str; 3] = ["/usr/", "/bin/", "/lib/"];

/// Writes the archive of what lies in `place`: the file `record`, then the folder `tree`.
///
/// # Errors
/// What cannot be read or written; what is no file, folder or link; a link that leads elsewhere
/// than [`unpack`] lets it; more than an archive may hold.
pub fn pack(place: &Path, record: &str, tree: &str, into: &Path) -> io::Result<()> {
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into)?;
    let mut archive = Builder::new(GzEncoder::new(BufWriter::new(options), Compression::fast()));
    let mut count = Count::default();
    append(&mut archive, &mut count, place, Path::new(record))?;
    let mut folders = vec![PathBuf::from(tree)];
    while let Some(folder) = folders.pop() {
        append(&mut archive, &mut count, place, &folder)?;
        let mut entries = fs::read_dir(place.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                append(&mut archive, &mut count, place, &path)?;
            }
        }
    }
    let file =
        archive.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    if file.metadata()?.len() > PACKED_LIMIT {
        return Err(wrong(into, "is larger than an archive may be"));
    }
    Ok(())
}

fn append<W: io::Write>(
    archive: &mut Builder<W>,
    count: &mut Count,
    place: &Path,
    path: &Path,
) -> io::Result<()> {
    let full = place.join(path);
    let about = fs::symlink_metadata(&full)?;
    let mut header = Header::new_gnu();
    header.set_mode(about.mode() & 0o777);
    header.set_mtime(u64::try_from(about.mtime()).unwrap_or(0));
    header.set_size(0);
    if about.is_dir() {
        count.one(path, 0)?;
        header.set_entry_type(EntryType::Directory);
        archive.append_data(&mut header, path, io::empty())
    } else if about.is_symlink() {
        count.one(path, 0)?;
        let target = fs::read_link(&full)?;
        check_link(place, path, &target)?;
        header.set_entry_type(EntryType::Symlink);
        archive.append_link(&mut header, path, &target)
    } else if about.is_file() {
        count.one(path, about.len())?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(about.len());
        archive.append_data(&mut header, path, File::open(&full)?.take(about.len()))
    } else {
        Err(wrong(path, "is no file, folder or link"))
    }
}

/// Unpacks an archive into `place`, an empty folder, and returns the record, which is not written.
///
/// Nothing is written outside of `place`, nor through a link: a file or link goes only into a
/// folder that this call has made, and only where nothing is. Links may lead to places inside, and
/// to the system's own programs. Owners and special modes are not taken over.
///
/// # Errors
/// What is not as [`pack`] makes it, and what cannot be written. What was written is left there.
pub fn unpack(archive: &Path, place: &Path, record: &str, tree: &str) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new(GzDecoder::new(BufReader::new(File::open(archive)?)));
    let mut count = Count::default();
    let mut folders = BTreeSet::new();
    let mut modes = Vec::new();
    let mut found = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let size = entry.size();
        count.one(&path, size)?;
        let mode = entry.header().mode()? & 0o777;
        let kind = entry.header().entry_type();
        if path == Path::new(record) && kind == EntryType::Regular && found.is_none() {
            let mut bytes = Vec::new();
            entry.by_ref().take(RECORD_LIMIT).read_to_end(&mut bytes)?;
            found = Some(bytes);
            continue;
        }
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let above = path.parent().unwrap_or(Path::new(""));
        let is_root = path == Path::new(tree) && kind == EntryType::Directory;
        if !is_plain || !(is_root || folders.contains(above)) {
            return Err(wrong(&path, "does not lie in the build"));
        }
        let full = place.join(&path);
        if kind == EntryType::Directory {
            fs::DirBuilder::new().mode(0o700).create(&full)?;
            modes.push((full, mode));
            folders.insert(path);
        } else if kind == EntryType::Symlink {
            let target = entry.link_name()?.ok_or_else(|| wrong(&path, "leads nowhere"))?;
            check_link(place, &path, &target)?;
            symlink(&target, &full)?;
        } else if kind == EntryType::Regular {
            let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&full);
            let mut file = open?;
            if io::copy(&mut entry, &mut file)? != size {
                return Err(wrong(&path, "is not whole"));
            }
            let seconds = Duration::from_secs(entry.header().mtime()?);
            // Python compares it with what it has compiled.
            if let Some(time) = SystemTime::UNIX_EPOCH.checked_add(seconds) {
                file.set_modified(time)?;
            }
        } else {
            return Err(wrong(&path, "is no file, folder or link"));
        }
    }
    // Only the end of the compressed stream shows that it is whole.
    let rest = io::copy(&mut archive.into_inner().take(PACKED_LIMIT), &mut io::sink())?;
    if rest >= PACKED_LIMIT {
        return Err(wrong(Path::new("the archive"), "does not end"));
    }
    for (folder, mode) in modes.into_iter().rev() {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    }
    found.ok_or_else(|| wrong(Path::new(record), "is missing"))
}

/// How much there was so far.
#[derive(Default)]
struct Count {
    entries: usize,
    bytes: u64,
}

impl Count {
    fn one(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.entries > COUNT_LIMIT || self.bytes > UNPACKED_LIMIT {
            return Err(wrong(path, "is more than an archive may hold"));
        }
        Ok(())
    }
}

/// A link leads to a place inside of `place`, by its text alone, or to the system's own.
fn check_link(place: &Path, path: &Path, target: &Path) -> io::Result<()> {
    let at = place.join(path);
    let leads = normal(&at.parent().unwrap_or(place).join(target));
    let is_system = || {
        let text = leads.to_string_lossy();
        target.is_absolute() && SYSTEM.iter().any(|folder| text.starts_with(folder))
    };
    if leads.starts_with(place) || is_system() {
        return Ok(());
    }
    Err(wrong(path, "is a link that leads out of the build"))
}

/// A path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    normal
}

fn wrong(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}` {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An archive of these entries: kind, path, and the text of a file or the target of a link.
    fn archive(room: &Path, entries: &[(EntryType, &str, &str)]) -> PathBuf {
        let file = room.join("hostile");
        let mut archive =
            Builder::new(GzEncoder::new(File::create(&file).unwrap(), Compression::fast()));
        for (kind, path, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4777);
            let is_file = *kind == EntryType::Regular;
            header.set_size(if is_file { text.len() as u64 } else { 0 });
            // As no honest packer writes them.
            let name = &mut header.as_gnu_mut().unwrap().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            if !is_file {
                let name = &mut header.as_gnu_mut().unwrap().linkname;
                name[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            let data = if is_file { text.as_bytes() } else { b"" };
            archive.append(&header, data).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        file
    }

    const RECORD: (EntryType, &str, &str) = (EntryType::Regular, "built.json", "{}");
    const TREE: (EntryType, &str, &str) = (EntryType::Directory, "checkout", "");

    /// Unpacks these entries after the usual two; an error's text.
    fn refused(entries: &[(EntryType, &str, &str)]) -> String {
        let room = tempfile::tempdir().unwrap();
        let place = room.path().join("place");
        fs::create_dir(&place).unwrap();
        let file = archive(room.path(), &[&[RECORD, TREE], entries].concat());
        let error = unpack(&file, &place, "built.json", "checkout").unwrap_err().to_string();
        let mut left: Vec<_> =
            fs::read_dir(room.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["hostile", "place"], "something was written outside");
        error
    }

    #[test]
    fn what_was_packed_is_unpacked_as_it_was() {
        let room = tempfile::tempdir().unwrap();
        let (from, to) = (room.path().join("a/place"), room.path().join("b/place"));
        let long = "n".repeat(180);
        fs::create_dir_all(from.join("checkout/bin")).unwrap();
        fs::create_dir(from.join("checkout/shut")).unwrap();
        fs::write(from.join("built.json"), "{\"a\":1}").unwrap();
        fs::write(from.join("checkout/bin/run"), "#!/bin/sh").unwrap();
        fs::write(from.join("checkout/shut").join(&long), "x").unwrap();
        symlink("bin/run", from.join("checkout/link")).unwrap();
        symlink("/usr/bin/python3", from.join("checkout/python")).unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&from.join("checkout/bin/run"), 0o755);
        mode(&from.join("checkout/shut"), 0o500);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::open(from.join("checkout/bin/run")).unwrap().set_modified(time).unwrap();

        let file = room.path().join("archive");
        pack(&from, "built.json", "checkout", &file).unwrap();
        fs::create_dir_all(&to).unwrap();
        assert_eq!(unpack(&file, &to, "built.json", "checkout").unwrap(), b"{\"a\":1}");
        assert!(
            !to.join("built.json").exists(),
            "the mark of being finished is its reader's to set"
        );
        let about = to.join("checkout/bin/run").metadata().unwrap();
        assert_eq!((about.mode() & 0o7777, about.modified().unwrap()), (0o755, time));
        assert_eq!(to.join("checkout/shut").metadata().unwrap().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_to_string(to.join("checkout/shut").join(&long)).unwrap(), "x");
        assert_eq!(fs::read_to_string(to.join("checkout/link")).unwrap(), "#!/bin/sh");
        let python = fs::read_link(to.join("checkout/python")).unwrap();
        assert_eq!(python, Path::new("/usr/bin/python3"));
    }

    #[test]
    fn a_hostile_archive_writes_nothing_outside_of_its_folder() {
        use EntryType::{Directory, Link, Regular, Symlink};
        for (entries, why) in [
            (&[(Regular, "../out", "x")][..], "does not lie in the build"),
            (&[(Regular, "/tmp/out", "x")], "does not lie in the build"),
            (&[(Regular, "checkout/../../out", "x")], "does not lie in the build"),
            (&[(Regular, "other", "x")], "does not lie in the build"),
            (&[(Directory, "other", "")], "does not lie in the build"),
            (&[(Regular, "checkout/missing/out", "x")], "does not lie in the build"),
            (&[(Symlink, "checkout/link", "../../..")], "leads out of the build"),
            (&[(Symlink, "checkout/link", "/etc/passwd")], "leads out of the build"),
            (&[(Symlink, "checkout/link", "/usr/../etc")], "leads out of the build"),
            (
                &[(Symlink, "checkout/a", "."), (Regular, "checkout/a/out", "x")],
                "does not lie in the build",
            ),
            (&[(Symlink, "checkout/a", "/usr/lib"), (Directory, "checkout/a", "")], "File exists"),
            (&[(Symlink, "checkout/a", "b"), (Regular, "checkout/a", "x")], "File exists"),
            (&[(Link, "checkout/hard", "/etc/passwd")], "no file, folder or link"),
            (&[(EntryType::Char, "checkout/device", "")], "no file, folder or link"),
            (&[(EntryType::Fifo, "checkout/pipe", "")], "no file, folder or link"),
        ] {
            let said = refused(entries);
            assert!(said.contains(why), "{entries:?}: {said}");
        }
    }

    #[test]
    fn no_special_mode_is_taken_over() {
        let room = tempfile::tempdir().unwrap();
        let place = room.path().join("place");
        fs::create_dir(&place).unwrap();
        let entries = [RECORD, TREE, (EntryType::Regular, "checkout/setuid", "x")];
        let file = archive(room.path(), &entries);
        unpack(&file, &place, "built.json", "checkout").unwrap();
        let mode = place.join("checkout/setuid").metadata().unwrap().mode();
        assert_eq!(mode & 0o7000, 0);
    }

    #[test]
    fn an_archive_that_is_cut_short_or_claims_too_much_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let place = room.path().join(name);
            fs::create_dir(&place).unwrap();
            place
        };
        let text = "some text ".repeat(1000);
        let entries = [RECORD, TREE, (EntryType::Regular, "checkout/file", &text)];
        let file = archive(room.path(), &entries);
        let whole = fs::read(&file).unwrap();
        for length in [0, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            let place = place(&length.to_string());
            assert!(unpack(&file, &place, "built.json", "checkout").is_err(), "{length}");
        }
        let mut count = Count::default();
        count.one(Path::new("a"), UNPACKED_LIMIT).unwrap();
        assert!(count.one(Path::new("b"), 1).is_err());
        assert!(Count::default().one(Path::new("c"), u64::MAX).is_err());
    }

    #[test]
    fn what_cannot_be_shared_is_not_packed() {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir(room.path().join("checkout")).unwrap();
        fs::write(room.path().join("built.json"), "{}").unwrap();
        symlink("../..", room.path().join("checkout/out")).unwrap();
        let file = room.path().join("archive");
        let said = pack(room.path(), "built.json", "checkout", &file).unwrap_err().to_string();
        assert!(said.contains("leads out of the build"), "{said}");
    }
}
