//! What a command works on: the data folder, its table and its journal.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rowhouse_core::{AppName, RowKey, Settings, SettingsDigest};
use rowhouse_machine::folder::{DataFolder, Holder, Presence};
use rowhouse_machine::journal::JournalFile;
use rowhouse_machine::table::{StoredRow, TableFile};

use crate::failure::bad_input;
use crate::output;

/// The folder that a command was pointed to.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) folder: DataFolder,
    /// Whether it is the default one, so that commands in hints need not name it.
    is_default: bool,
}

/// The XDG data folder, <https://specifications.freedesktop.org/basedir-spec/>.
pub(crate) fn default_data(name: &str) -> anyhow::Result<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|folder| folder.join(name))
        .context("there is neither `HOME` nor `XDG_DATA_HOME`: name a folder with `--data DIR`")
}

impl Context {
    pub(crate) fn open(data: Option<&Path>) -> anyhow::Result<Context> {
        let default = default_data("rowhouse");
        let root = match data {
            Some(data) => std::path::absolute(data)?,
            None => default.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?.clone(),
        };
        let is_default = default.is_ok_and(|default| default == root);
        Ok(Context { folder: DataFolder::open(&root)?, is_default })
    }

    pub(crate) fn table(&self) -> anyhow::Result<TableFile> {
        Ok(TableFile::open(&self.folder.table())?)
    }

    pub(crate) fn journal(&self) -> anyhow::Result<JournalFile> {
        Ok(JournalFile::open(&self.folder.journal())?)
    }

    /// A command to paste that works on this very folder.
    pub(crate) fn command(&self, words: &str) -> String {
        if self.is_default {
            format!("rowhouse {words}")
        } else {
            format!("rowhouse {words} --data {}", self.folder.root().display())
        }
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
            output::note(&format!(
                "no reactor is at work ({since}): nothing changes until `{}`",
                self.command("up")
            ));
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

    /// A name as somebody typed it.
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

    pub(crate) fn no_such_app(
        &self,
        table: &TableFile,
        name: &str,
    ) -> anyhow::Result<anyhow::Error> {
        let mut names: Vec<String> =
            table.list()?.into_iter().map(|stored| stored.row.key.0).collect();
        names.truncate(20);
        let shown = rowhouse_core::shortened(name);
        let hint = if names.is_empty() {
            format!("there is no app yet: `{}` makes one", self.command("put NAME --repo URL"))
        } else {
            format!("there are: {}", rowhouse_machine::log::harmless(&names.join(", ")))
        };
        Ok(bad_input(format!("no app is named {shown}"), hint))
    }
}
