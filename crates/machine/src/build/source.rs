//! The files of an app that say how it is built, read without leaving its repository.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::build::error::RecipeError;

/// They are not larger (bytes).
const SIZE_LIMIT: u64 = 4 << 20;

/// An app's folder, and the checkout of its repository, which it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) checkout: &'a Path,
    pub(crate) folder: &'a Path,
}

impl Source<'_> {
    /// Reads a file of the app, without the mark that some editors put first.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, RecipeError> {
        let error = |reason: String| RecipeError::BadFile { file: name.to_owned(), reason };
        let Some(path) = self.locate(name, self.checkout)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(|source| error(source.to_string()))?;
        let read = file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes);
        if read.map_err(|source| error(source.to_string()))? as u64 > SIZE_LIMIT {
            return Err(error(format!("it has more than {SIZE_LIMIT} bytes")));
        }
        if is_utf16(&bytes) {
            return Err(error("it is saved as UTF-16; save it as UTF-8 in your editor".to_owned()));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| error("it is no text in UTF-8; save it as such".to_owned()))?;
        Ok(Some(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned)))
    }

    /// Whether the app has this file. It may be a link to another one of the repository.
    pub(crate) fn has(&self, name: &str) -> Result<bool, RecipeError> {
        self.locate(name, self.checkout).map(|path| path.is_some())
    }

    /// Whether the app has this file in its own folder.
    pub(crate) fn has_inside(&self, name: &str) -> Result<bool, RecipeError> {
        self.locate(name, self.folder).map(|path| path.is_some())
    }

    /// The names in a folder of the app, in their order; none where it is no folder of the
    /// repository.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let root = fs::canonicalize(self.checkout);
        let folder = fs::canonicalize(self.folder.join(name));
        let (Ok(root), Ok(folder)) = (root, folder) else { return Vec::new() };
        if !folder.starts_with(&root) {
            return Vec::new();
        }
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Where a file of the app is. A symbolic link that leads out of `limit` is not followed.
    fn locate(&self, name: &str, limit: &Path) -> Result<Option<PathBuf>, RecipeError> {
        let error = |reason: String| RecipeError::BadFile { file: name.to_owned(), reason };
        let path = self.folder.join(name);
        if fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let real = fs::canonicalize(&path).map_err(|source| error(source.to_string()))?;
        let root = fs::canonicalize(limit).map_err(|source| error(source.to_string()))?;
        if !real.starts_with(&root) {
            let what = if limit == self.checkout { "repository" } else { "app's folder" };
            return Err(error(format!("it is a symbolic link that leads out of the {what}")));
        }
        if real.is_file() { Ok(Some(real)) } else { Err(error("it is not a file".to_owned())) }
    }
}

/// Whether a text is saved as UTF-16: by its mark, or by letters that are every other byte.
fn is_utf16(bytes: &[u8]) -> bool {
    let is_marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    is_marked || matches!(bytes, [0, letter, 0, _, ..] | [letter, 0, _, 0, ..] if *letter != 0)
}

/// A folder with these files, for tests of what is found in one.
#[cfg(test)]
pub(crate) fn with_files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let room = tempfile::tempdir().expect("a test has a folder for what it makes");
    for (name, text) in files {
        let path = room.path().join(name);
        let folder = path.parent().expect("it lies in the room");
        fs::create_dir_all(folder).expect("the room is the test's own");
        fs::write(path, text).expect("the room is the test's own");
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_utf_16_is_told_and_one_with_a_mark_is_read() {
        let room = tempfile::tempdir().unwrap();
        let source = Source { checkout: room.path(), folder: room.path() };
        let read = |bytes: &[u8]| {
            fs::write(room.path().join("Procfile"), bytes).unwrap();
            source.read("Procfile").map_err(|error| error.to_string())
        };
        let letters: Vec<u16> = "web: ./serve\n".encode_utf16().collect();
        let little: Vec<u8> = letters.iter().flat_map(|letter| letter.to_le_bytes()).collect();
        let big: Vec<u8> = letters.iter().flat_map(|letter| letter.to_be_bytes()).collect();
        for bytes in [
            little.clone(),
            big.clone(),
            [vec![0xff, 0xfe], little].concat(),
            [vec![0xfe, 0xff], big].concat(),
        ] {
            let said = read(&bytes).unwrap_err();
            assert!(said.contains("`Procfile` of the app: it is saved as UTF-16"), "{said}");
        }
        assert!(read(b"web: \xe9").unwrap_err().contains("no text in UTF-8"));
        assert_eq!(read(b"\xef\xbb\xbfweb: a").unwrap().as_deref(), Some("web: a"));
    }
}
