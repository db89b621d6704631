//! The files of an app that say how it is built, read without leaving its folder.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::build::error::RecipeError;

/// They are not larger (bytes).
const SIZE_LIMIT: u64 = 4 << 20;

/// Reads a file of the app.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Option<String>, RecipeError> {
    let error = |reason: String| RecipeError::BadFile { file: name.to_owned(), reason };
    let Some(path) = locate(folder, name)? else { return Ok(None) };
    let mut text = String::new();
    let file = fs::File::open(&path).map_err(|source| error(source.to_string()))?;
    let read = file.take(SIZE_LIMIT + 1).read_to_string(&mut text);
    match read.map_err(|source| error(source.to_string()))? {
        count if count as u64 > SIZE_LIMIT => {
            Err(error(format!("it has more than {SIZE_LIMIT} bytes")))
        }
        _ => Ok(Some(text)),
    }
}

/// Whether the app has this file.
pub(crate) fn is_there(folder: &Path, name: &str) -> Result<bool, RecipeError> {
    locate(folder, name).map(|path| path.is_some())
}

/// Where a file of the app is. A symbolic link that leads out of the app's folder is not followed.
fn locate(folder: &Path, name: &str) -> Result<Option<PathBuf>, RecipeError> {
    let error = |reason: String| RecipeError::BadFile { file: name.to_owned(), reason };
    let path = folder.join(name);
    if fs::symlink_metadata(&path).is_err() {
        return Ok(None);
    }
    let real = fs::canonicalize(&path).map_err(|source| error(source.to_string()))?;
    let root = fs::canonicalize(folder).map_err(|source| error(source.to_string()))?;
    if !real.starts_with(&root) {
        return Err(error("it is a symbolic link that leads out of the app's folder".to_owned()));
    }
    if real.is_file() { Ok(Some(real)) } else { Err(error("it is not a file".to_owned())) }
}
