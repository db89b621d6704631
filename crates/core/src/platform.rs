//! The port to what runs apps.

use std::future::Future;

use crate::digest::Base;
use crate::name::AppName;
use crate::operation::Operation;
use crate::outcome::{Outcome, Resolution, Unreachable};
use crate::repository::Repository;
use crate::settings::Settings;
use crate::stack::Observed;
use crate::version::Version;

/// What runs apps: observes, and performs what was decided; it decides nothing.
pub trait Platform {
    /// What the platform brings to every row now.
    fn settings(&self) -> Settings;

    /// Looks at the stack of this name. Never older than the answer to an operation that this
    /// process saw.
    fn observe(&self, name: &AppName)
    -> impl Future<Output = Result<Observed, Unreachable>> + Send;

    /// Says which commit a version names; 40 hex digits name themselves, else a branch goes before
    /// a tag.
    fn resolve(
        &self,
        repository: &Repository,
        version: &Version,
    ) -> impl Future<Output = Resolution> + Send;

    /// Starts an operation on the stack as it was seen at `base` (`None`: it was missing). Returns
    /// as soon as the operation is certain to be carried on, also over a crash. The same operation
    /// on the same base is performed at most once, whoever asks and however often; on another base
    /// the answer is `Busy`.
    fn perform(
        &self,
        name: &AppName,
        operation: Operation,
        base: Option<Base>,
    ) -> impl Future<Output = Outcome> + Send;

    /// Every stack of ours, as `observe` would show it.
    fn list(&self) -> impl Future<Output = Result<Vec<(AppName, Observed)>, Unreachable>> + Send;
}
