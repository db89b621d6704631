//! The conventions of languages, one file each: what builds and starts an app that says nothing
//! itself. Choosing among them is left to `recipe`.

pub(crate) mod node;
pub(crate) mod python;
pub(crate) mod rust;
pub mod unbuilt;

use std::path::PathBuf;

use crate::build::step::Step;

/// What one language says about an app.
#[derive(Debug)]
pub(crate) struct Convention {
    pub(crate) kind: &'static str,
    pub(crate) steps: Vec<Step>,
    /// How it is started, where there is a rule for it.
    pub(crate) start: Option<String>,
    /// The folders that go on `PATH`, relative to the app's.
    pub(crate) path: Vec<PathBuf>,
    /// What was found, when it gives no start.
    pub(crate) without_start: String,
    /// A start as users of the language write it.
    pub(crate) example: &'static str,
    /// What its user did not ask for and should know, for a reader of `deployed`.
    pub(crate) notes: Vec<String>,
}
