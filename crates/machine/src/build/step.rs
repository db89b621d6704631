//! One step of a build, and whoever runs it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::process::end::End;

/// One command of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does, for people: `install Python packages`.
    pub title: String,
    /// The program and its arguments. No shell, unless the text came from a `Procfile`.
    pub command: Vec<String>,
}

impl Step {
    pub(crate) fn new(title: &str, command: impl IntoIterator<Item = impl Into<String>>) -> Step {
        Step { title: title.to_owned(), command: command.into_iter().map(Into::into).collect() }
    }
}

/// Runs one command to its end in `folder`, with exactly this environment and no input, its output
/// going to the build's log. Dropping the future ends the command and its descendants.
pub trait Runner {
    /// Takes lines into the build's log, before the first step.
    fn tell(&self, lines: &[String]);

    fn run(
        &self,
        step: &Step,
        folder: &Path,
        environment: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<End, io::Error>> + Send;

    /// Lets the commands write these folders, where they are run as somebody else.
    fn lend(&self, _folders: Vec<PathBuf>) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Takes back what has become of one of them: from now on nobody changes it.
    fn take_back(&self, _folder: PathBuf) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
