//! The history: one entry at each end of a rollout.

use crate::app::App;
use crate::commit::Commit;
use crate::digest::{EnvDigest, Generation, Target};
use crate::release::Release;
use crate::row::{Report, Row, Status};

/// How many entries are kept per app.
pub const KEPT_ENTRIES: usize = 100;
/// How long they are kept after the row is gone, in days.
pub const KEPT_DAYS: u32 = 30;

/// How one rollout ended. The table adds the time and the number.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of which `release` is the one.
    pub generation: Generation,
    pub target: Target,
    pub version: String,
    /// The effective one: the platform's where the row named none.
    pub repository: String,
    /// The effective one, in that repository.
    pub path: String,
    /// The commit that serves from then on.
    pub revision: Option<Commit>,
    pub scale: u32,
    pub status: Status,
    pub reason: Option<String>,
    pub env: EnvDigest,
    /// The user's part of the row, as it was.
    pub release: Release,
}

/// A history entry as it stands in the table, where anybody may have written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    pub at: String,
    /// By which people name it: one more than the app's last; `None` in entries of the first form.
    pub number: Option<u64>,
    pub generation: Option<String>,
    pub target: Option<String>,
    pub version: Option<String>,
    pub repository: Option<String>,
    /// `None` in entries of the first form.
    pub path: Option<String>,
    pub revision: Option<Commit>,
    pub scale: Option<i64>,
    pub status: Option<String>,
    pub reason: Option<String>,
    pub env: Option<String>,
}

/// The entry that this report adds to the history, if a rollout ends with it.
pub fn entry(row: &Row, app: &App, report: &Report) -> Option<Entry> {
    let status = report.status?;
    let ends = match status {
        Status::Deployed | Status::DeployFailed => true,
        Status::Deploying | Status::Invalid => false,
    };
    let is_news = row.report.status != report.status || row.report.target != report.target;
    (ends && is_news).then(|| {
        Some(Entry {
            generation: report.generation.clone()?,
            target: report.target.clone()?,
            version: app.version.as_str().to_owned(),
            repository: app.repository.as_str().to_owned(),
            path: app.path.clone(),
            revision: report.revision.clone(),
            scale: app.scale,
            status,
            reason: report.reason.clone(),
            env: EnvDigest::of(app),
            release: Release::of(row),
        })
    })?
}
