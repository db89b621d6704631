//! The rule of Rowhouse, pure: what a row means, what to do next, and what to say about it.
//!
//! No clock, no I/O, no platform. `decide` and `report` have an answer for every input; `reconcile` is the
//! loop that carries it through the two ports, `AppTable` and `Platform`.

mod address;
mod app;
mod commit;
mod decide;
mod digest;
mod history;
mod listed;
mod manifest;
mod platform;
mod reconcile;
mod report;
mod row;
mod stack;
mod sweep;
mod table;
pub mod testing;
mod text;

pub use address::{password, without_password};
pub use app::{App, AppName, Environment, PLATFORM_VARIABLES, Version};
pub use commit::Commit;
pub use decide::{Action, Because, Decision, Desired, Pinned, Wanted, decide};
pub use digest::{Base, EnvDigest, Generation, SettingsDigest, Source, Target};
pub use history::{Entry, KEPT_DAYS, KEPT_ENTRIES, StoredEntry, entry};
pub use manifest::Manifest;
pub use platform::{Operation, Outcome, Plan, Platform, Resolution, Settings, Unreachable};
pub use reconcile::{Again, Reconciled, Waking, reconcile};
pub use report::{Notes, Progress, report};
pub use row::{Attribute, Report, Row, RowKey, Status, UserAttributes, Value, shortened};
pub use stack::{Attempt, Deployment, Observed, Phase, Stack};
pub use sweep::{Sweep, full_sweep, short_sweep};
pub use table::{AppTable, StoredRow, Written};
pub use text::harmless;
