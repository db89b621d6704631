//! How an app answers requests: by a command, or by the built-in static server.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::build::convention::Site;
use crate::build::request::inside;

/// How an app answers requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Web {
    /// The text of a shell command, which listens on `PORT`.
    Command(String),
    /// The built-in static server, with this folder, relative to the app's.
    Static(PathBuf),
    /// The same; its `index.html` is the page of every path.
    SinglePage(PathBuf),
    /// The same, with whatever the build makes.
    #[serde(skip)]
    Made(Site),
    /// Nobody knows how, and why.
    Unknown(String),
}

impl Web {
    /// Of the text of a `web` line: `static FOLDER` is the built-in server, `static --single
    /// FOLDER` that of an app whose paths are the browser's affair.
    pub(crate) fn of_line(line: &str) -> Web {
        let words: Vec<&str> = line.split_whitespace().collect();
        let folder = |text: &str| {
            let is_plain = |letter: char| letter.is_alphanumeric() || "./_-".contains(letter);
            let is_plain = !text.starts_with('-') && text.chars().all(is_plain);
            is_plain.then(|| inside(text).ok()).flatten()
        };
        match words.as_slice() {
            ["static", text] => folder(text).map(Web::Static),
            ["static", "--single" | "-s", text] => folder(text).map(Web::SinglePage),
            _ => None,
        }
        .unwrap_or_else(|| Web::Command(line.to_owned()))
    }

    /// The same once the app is built in `folder`.
    pub(crate) fn once_built(self, folder: &Path) -> Web {
        let site = match self {
            Web::Made(site) => site,
            Web::Command(_) | Web::Static(_) | Web::SinglePage(_) | Web::Unknown(_) => return self,
        };
        let has_page = |inner: &&PathBuf| folder.join(inner).join("index.html").is_file();
        match site.folders.iter().find(has_page) {
            Some(inner) if site.is_single_page => Web::SinglePage(inner.clone()),
            Some(inner) => Web::Static(inner.clone()),
            None => {
                let folders = site.folders.iter().map(|inner| format!("`{}`", inner.display()));
                Web::Unknown(format!(
                    "its build has made no `index.html` in {}",
                    folders.collect::<Vec<String>>().join(", ")
                ))
            }
        }
    }
}
