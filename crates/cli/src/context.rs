//! What a command works on: the data folder, its table and its journal.

use std::cell::{OnceCell, RefCell, RefMut};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rowhouse_command::client::Location;
use rowhouse_machine::folder::{DataFolder, FolderError, Holder, Presence};
use rowhouse_machine::stack::journal::JournalFile;
use rowhouse_machine::table::TableFile;

use crate::args::DATA_VARIABLE;
use crate::failure::bad_input;
use crate::output;
use crate::output::{clean, quoted};

/// How often what was written is looked at.
const PAUSE: Duration = Duration::from_millis(40);

/// The folder that a command was pointed to.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) folder: DataFolder,
    /// How commands in hints reach it.
    pub(crate) location: Location,
    table: RefCell<Option<TableFile>>,
    journal: OnceCell<JournalFile>,
}

/// Whether a command may make the data folder where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Refuse,
}

/// What an open folder means.
pub(crate) const OPEN: &str =
    "whoever may write in it may run code as its owner, and whoever may read it may see secrets";

/// The XDG data folder, <https://specifications.freedesktop.org/basedir-spec/>.
pub(crate) fn default_data(name: &str) -> anyhow::Result<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|folder| folder.join(name))
        .context("there is neither `HOME` nor `XDG_DATA_HOME`: name a folder with `--data DIR`")
}

/// The folder that somebody named. An empty option is a mistake, such as a variable of a script
/// that is not set.
pub(crate) fn named(data: Option<&Path>) -> anyhow::Result<Option<&Path>> {
    match data {
        Some(data) if data.as_os_str().is_empty() => Err(bad_input(
            "`--data` is empty",
            "name a folder, or leave it out for the default one",
        )),
        other => Ok(other),
    }
}

/// The folder of the variable. An empty one is as good as none.
pub(crate) fn of_variable() -> Option<PathBuf> {
    std::env::var_os(DATA_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

impl Context {
    pub(crate) fn open(data: Option<&Path>, missing: Missing) -> anyhow::Result<Context> {
        let default = default_data("rowhouse");
        let root = match named(data)? {
            Some(data) => std::path::absolute(data)?,
            None => default.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?.clone(),
        };
        let is_default = default.is_ok_and(|default| default == root);
        if missing == Missing::Refuse && !is_default && !root.exists() {
            return Err(bad_input(
                format!("there is no data folder `{}`", root.display()),
                format!("`rowhouse up --data {}` makes one", quoted(&root.display().to_string())),
            ));
        }
        // With the variable set, the default one must be named.
        let is_implied = of_variable()
            .map_or(is_default, |path| std::path::absolute(path).is_ok_and(|path| path == root));
        let folder = DataFolder::open(&root)?;
        let option = if is_implied { String::new() } else { data_option(&folder) };
        let context = Context {
            folder,
            location: location(option),
            table: RefCell::default(),
            journal: OnceCell::new(),
        };
        if missing == Missing::Make
            && let Some(mode) = context.folder.close()?
        {
            let shown = root.display();
            output::warning(&clean(&format!(
                "the data folder `{shown}` was open to others (mode {mode:o}), and is closed now \
                 (700): {OPEN}"
            )));
        }
        Ok(context)
    }

    /// Says what it means that the folder is open to others, where it was left so.
    pub(crate) fn warn_if_open(&self) {
        if let Some(mode) = self.folder.open_to_others() {
            let root = self.folder.root().display().to_string();
            output::warning(&clean(&format!(
                "the data folder `{root}` is open to others (mode {mode:o}): {OPEN}"
            )));
            output::hint(&format!("`chmod 700 {}` closes it", quoted(&root)));
        }
    }

    /// The table, opened once, and again where another file has taken its place.
    pub(crate) fn table(&self) -> anyhow::Result<RefMut<'_, TableFile>> {
        let mut table = self.table.borrow_mut();
        let path = self.folder.table();
        *table = Some(match table.take() {
            None => TableFile::open(&path)?,
            Some(open) if open.is_current() => open,
            Some(replaced) => replaced.reopen(&path)?,
        });
        Ok(RefMut::map(table, |table| table.as_mut().expect("it was opened just now")))
    }

    /// The journal, opened once.
    pub(crate) fn journal(&self) -> anyhow::Result<&JournalFile> {
        if let Some(journal) = self.journal.get() {
            return Ok(journal);
        }
        let journal = JournalFile::open(&self.folder.journal())?;
        Ok(self.journal.get_or_init(|| journal))
    }

    /// The option that names this folder, to paste.
    pub(crate) fn data_option(&self) -> String {
        data_option(&self.folder)
    }

    /// Who is at work, if anybody.
    pub(crate) fn holder(&self) -> Option<Holder> {
        match self.folder.presence() {
            Presence::AtWork(holder) => holder,
            Presence::Absent(_) => None,
        }
    }
}

fn data_option(folder: &DataFolder) -> String {
    format!("--data {}", quoted(&folder.root().display().to_string()))
}

/// A platform on this machine that commands reach by `option`.
fn location(option: String) -> Location {
    let up = if option.is_empty() { "up".to_owned() } else { format!("up {option}") };
    let cure = format!("`rowhouse {up}` starts one");
    Location::new(String::new(), option, cure, PAUSE)
}

/// What to do about a data folder that cannot be used.
pub(crate) fn folder_hint(error: &FolderError) -> String {
    match error {
        FolderError::Held { path, .. } => {
            let path = quoted(&path.display().to_string());
            format!("`rowhouse down --data {path}` stops it")
        }
        FolderError::Make { source, .. }
            if matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) =>
        {
            "that is a file: name a folder with `--data DIR`".to_owned()
        }
        FolderError::Make { .. } | FolderError::Write { .. } => {
            "make it writable for this user, or choose another with `--data DIR`".to_owned()
        }
    }
}
