//! How the processes of one platform are kept apart: the layers that this machine has, and what all
//! of them may read: the system, the toolchains that `PATH` leads to, and what the operator shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::sandbox::layers::{Layers, Namespace};
use crate::sandbox::{Sandbox, is_of_the_system, system, without};

/// Folders below a home in which a toolchain lies whole.
const TOOLCHAINS: [&str; 21] = [
    ".asdf",
    ".bun",
    ".deno",
    ".fnm",
    ".goenv",
    ".jenv",
    ".local/lib",
    ".local/pipx",
    ".local/share/fnm",
    ".local/share/mise",
    ".local/share/pipx",
    ".local/share/pnpm",
    ".local/share/uv",
    ".nodenv",
    ".nvm",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rvm",
    ".sdkman",
    ".volta",
];

/// Programs of one folder that are looked at, where they are links to others.
const MOST_LINKS: usize = 1_000;

/// What the platform of an isolation is.
#[derive(Clone, Copy, Debug)]
pub struct Outside<'a> {
    /// Its folder, of which a process sees its own parts alone.
    pub data: &'a Path,
    /// Its program, which serves static sites.
    pub program: &'a Path,
    /// Its `PATH`.
    pub path: &'a str,
    /// Its `HOME`.
    pub home: Option<&'a Path>,
    /// What builds get of its environment.
    pub settings: &'a BTreeMap<String, String>,
    /// Files and folders that its operator lets every app read, and talk to the sockets in them.
    pub shared: &'a [PathBuf],
}

/// What keeps the apps of one platform apart.
#[derive(Clone, Debug)]
pub struct Isolation {
    layers: Option<Layers>,
    common: Vec<PathBuf>,
    of_builds: Vec<PathBuf>,
}

impl Isolation {
    /// `layers`: what is promised to every process; `None`: they are trusted with all.
    pub fn new(layers: Option<Layers>, outside: Outside<'_>) -> Isolation {
        let apart = |path: &PathBuf| without(path, outside.data);
        let found = toolchains(outside.path, outside.home);
        let mut common: BTreeSet<PathBuf> = system(outside.data).into_iter().collect();
        common.extend(found.iter().flat_map(apart));
        common.extend(outside.shared.iter().flat_map(apart));
        common.insert(outside.program.to_owned());
        let of_builds = named(outside.settings, outside.home);
        Isolation {
            layers,
            common: common.into_iter().collect(),
            of_builds: of_builds.iter().flat_map(apart).collect(),
        }
    }

    /// The layers that every process is promised.
    pub fn layers(&self) -> Option<&Layers> {
        self.layers.as_ref()
    }

    /// Whether every app has a user of its own.
    pub fn has_users(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.view == Some(Namespace::OwnUser))
    }

    /// The sandbox of a process that may read and write these besides what all may read.
    pub fn sandbox(&self, readable: Vec<PathBuf>, writable: Vec<PathBuf>) -> Option<Sandbox> {
        let layers = self.layers.clone()?;
        let readable = self.common.iter().cloned().chain(readable).collect();
        Some(Sandbox { layers, readable, writable, release: None, port: None, user: None })
    }

    /// The sandbox of a build that may write these, and read where its settings lead.
    pub fn of_build(&self, writable: Vec<PathBuf>) -> Option<Sandbox> {
        self.sandbox(self.of_builds.clone(), writable)
    }
}

/// Where the programs lie that `PATH` leads to, with what they need of their own.
fn toolchains(path: &str, home: Option<&Path>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let folders = path.split(':').map(Path::new).filter(|folder| folder.is_absolute());
    for folder in folders.filter(|folder| !is_of_the_system(folder)) {
        found.extend(of_folder(folder, home));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_LINKS) {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let target = is_link.then(|| fs::canonicalize(entry.path()).ok()).flatten();
            if let Some(folder) = target.as_deref().and_then(Path::parent)
                && !is_of_the_system(folder)
            {
                found.extend(of_folder(folder, home));
            }
        }
    }
    found.retain(|path| path.exists());
    found
}

/// The files and folders that settings name.
fn named(settings: &BTreeMap<String, String>, home: Option<&Path>) -> BTreeSet<PathBuf> {
    let parts = settings.values().flat_map(|value| value.split([':', ',', ' ', '|']));
    // Of `file:///srv/wheels` the colon leaves two slashes too many.
    let paths = parts.map(|part| Path::new(part.strip_prefix("//").unwrap_or(part)));
    let is_a_place = |path: &&Path| {
        let is_deep = path.is_absolute() && path.components().count() > 2;
        is_deep && home.is_none_or(|home| !home.starts_with(path)) && path.exists()
    };
    paths.filter(is_a_place).map(Path::to_owned).collect()
}

/// The toolchain that a folder of programs belongs to.
fn of_folder(folder: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let own = vec![folder.to_owned()];
    let Some(below) = home.and_then(|home| folder.strip_prefix(home).ok()) else {
        let is_bin = folder.file_name().is_some_and(|name| name == "bin");
        let parent = folder.parent().filter(|parent| is_bin && parent.components().count() > 2);
        // An ancestor of the home would show all of it.
        let parent = parent.filter(|parent| home.is_none_or(|home| !home.starts_with(parent)));
        // Beside the programs of another user lies what is that user's own.
        let is_of_a_user =
            |path: &Path| ["/home", "/root"].iter().any(|home| path.starts_with(home));
        let parent = parent.filter(|parent| !is_of_a_user(parent));
        return parent.map_or(own, |parent| vec![parent.to_owned()]);
    };
    let home = home.unwrap_or(Path::new("/"));
    if let Some(whole) = TOOLCHAINS.iter().find(|whole| below.starts_with(whole)) {
        return vec![home.join(whole)];
    }
    // Of cargo's and pip's own folders the rest holds credentials or others' things.
    let of_its_kind: &[&str] = match below.to_str() {
        Some(".cargo/bin") => &[".rustup"],
        Some(".local/bin") => &[
            ".local/lib",
            ".local/pipx",
            ".local/share/mise",
            ".local/share/pipx",
            ".local/share/uv",
        ],
        Some(_) | None => &[],
    };
    own.into_iter().chain(of_its_kind.iter().map(|part| home.join(part))).collect()
}
