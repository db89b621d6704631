//! What a command works on: the data folder, its table and its journal.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rowhouse_core::{AppName, RowKey, Settings, SettingsDigest};
use rowhouse_machine::folder::{DataFolder, Holder, Presence};
use rowhouse_machine::journal::JournalFile;
use rowhouse_machine::table::{StoredRow, TableFile};

use crate::args::DATA_VARIABLE;
use crate::failure::bad_input;
use crate::output::clean;
use crate::{names, output};

/// The folder that a command was pointed to.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) folder: DataFolder,
    /// Whether commands in hints reach it without naming it.
    is_implied: bool,
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

/// The folder that somebody named. An empty option is a mistake, such as a variable of a script that is not set.
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

/// A text as a shell takes it for one word.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
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
        let context = Context { folder: DataFolder::open(&root)?, is_implied };
        if missing == Missing::Make
            && let Some(mode) = context.folder.close()?
        {
            let shown = root.display();
            output::warning(&clean(&format!(
                "the data folder `{shown}` was open to others (mode {mode:o}), and is closed now (700): {OPEN}"
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

    pub(crate) fn table(&self) -> anyhow::Result<TableFile> {
        Ok(TableFile::open(&self.folder.table())?)
    }

    pub(crate) fn journal(&self) -> anyhow::Result<JournalFile> {
        Ok(JournalFile::open(&self.folder.journal())?)
    }

    /// A command to paste that works on this very folder.
    pub(crate) fn command(&self, words: &str) -> String {
        if self.is_implied {
            format!("rowhouse {words}")
        } else {
            format!("rowhouse {words} {}", self.data_option())
        }
    }

    /// The option that names this folder, to paste.
    pub(crate) fn data_option(&self) -> String {
        format!("--data {}", quoted(&self.folder.root().display().to_string()))
    }

    /// Who is at work, if anybody.
    pub(crate) fn holder(&self) -> Option<Holder> {
        match self.folder.presence() {
            Presence::AtWork(holder) => holder,
            Presence::Absent(_) => None,
        }
    }

    pub(crate) fn is_at_work(&self) -> bool {
        matches!(self.folder.presence(), Presence::AtWork(_))
    }

    /// Says first, where it is so, that what follows may be out of date, and since when.
    pub(crate) fn warn_if_absent(&self) {
        if let Presence::Absent(since) = self.folder.presence() {
            let since = since.map_or_else(
                || "there has never been one here".to_owned(),
                |since| format!("since {since:.0} at the latest"),
            );
            output::warning(&format!(
                "no reactor is at work ({since}): nothing changes until one is"
            ));
            output::hint(&format!("`{}` starts one", self.command("up")));
        }
    }

    /// The settings of the platform at work; without one, what any could have.
    pub(crate) fn settings(&self) -> Settings {
        let holder = self.holder();
        let digest = SettingsDigest::of("for validation alone");
        match holder {
            Some(holder) => Settings {
                digest,
                repository: holder.repository,
                path: holder.path,
                max_scale: holder.max_scale,
                local_repositories: true,
            },
            None => Settings {
                digest,
                repository: Some("/unknown/until/rowhouse/up".to_owned()),
                path: None,
                max_scale: u32::MAX,
                local_repositories: true,
            },
        }
    }

    /// A name as somebody typed it for an app that need not exist.
    pub(crate) fn name(&self, text: &str) -> anyhow::Result<AppName> {
        AppName::parse(text)
            .map_err(|reason| bad_input(reason, format!("`{}` lists the apps", self.command("ls"))))
    }

    /// The row of that name, or an error that says which there are.
    pub(crate) fn row(&self, table: &TableFile, name: &str) -> anyhow::Result<StoredRow> {
        match table.get(&RowKey(name.to_owned()))? {
            Some(row) => Ok(row),
            None => Err(self.no_such_app(table, name)?),
        }
    }

    /// The error for a name that nothing has.
    pub(crate) fn no_such_app(
        &self,
        table: &TableFile,
        name: &str,
    ) -> anyhow::Result<anyhow::Error> {
        let names: Vec<String> = table.list()?.into_iter().map(|stored| stored.row.key.0).collect();
        let hint = names::hint(&names, name).unwrap_or_else(|| {
            format!("there is no app yet: `{}` makes one", self.command("put NAME --repo URL"))
        });
        Ok(bad_input(format!("no app is named {}", rowhouse_core::shortened(name)), hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_of_a_shell() {
        assert_eq!(quoted("/srv/a-b_c.d"), "/srv/a-b_c.d");
        assert_eq!(quoted("it's $(id)"), r"'it'\''s $(id)'");
        assert_eq!(quoted(""), "''");
    }
}
