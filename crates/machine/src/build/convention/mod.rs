//! The conventions of languages, one file each: what builds and starts an app that says nothing
//! itself. Choosing among them is left to `recipe`.

pub(crate) mod deno;
pub(crate) mod go;
pub(crate) mod hint;
pub mod known;
pub(crate) mod node;
pub(crate) mod output;
pub(crate) mod php;
pub(crate) mod python;
pub(crate) mod ruby;
pub(crate) mod rust;
pub mod unbuilt;

use std::path::PathBuf;

use crate::build::step::Step;

/// A language that has a convention.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    pub name: &'static str,
    /// The files by any of which an app of it is known.
    pub files: &'static [&'static str],
}

/// What one language says about an app.
#[derive(Debug)]
pub(crate) struct Convention {
    pub(crate) kind: &'static str,
    pub(crate) steps: Vec<Step>,
    /// How it is started, where there is a rule for it.
    pub(crate) start: Option<Start>,
    /// The folders that go on `PATH`, relative to the app's.
    pub(crate) path: Vec<PathBuf>,
    /// What was found, when it gives no start.
    pub(crate) without_start: String,
    /// A start as users of the language write it.
    pub(crate) example: String,
    /// What its user did not ask for and should know, for a reader of `deployed`.
    pub(crate) notes: Vec<String>,
}

/// How a convention starts an app. Of several languages in one repository the one that knows more
/// of the app is it: a Rails app with a `package.json` is Rails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The built-in server serves what the build has made, which some other language's program
    /// may be there to serve itself.
    Site(Site),
    /// The text of a shell command.
    Command(String),
    /// The same, of a framework that is known by its own files: what else is there serves it.
    Framework(String),
}

impl Start {
    /// The greater one is it.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Start::Site(_) => 0,
            Start::Command(_) => 1,
            Start::Framework(_) => 2,
        }
    }
}

/// A site that a build makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where it may be: the first of these folders that has an `index.html` once it is built.
    pub folders: Vec<PathBuf>,
    /// Whether its `index.html` is the page of every path.
    pub is_single_page: bool,
}
