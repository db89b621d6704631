//! The rule of Rowhouse, pure: what a row means, what to do next, and what to say about it.
//!
//! No clock, no I/O, no platform. `decide` and `report` have an answer for every input; `reconcile`
//! is the loop that carries it through the two ports, `AppTable` and `Platform`.
//!
//! ```
//! use rowhouse_core::testing::{MemoryPlatform, MemoryTable, TableUser, run_at_once};
//! use rowhouse_core::{AppTable, Attribute, RowKey, Status, Value, Waking, reconcile};
//!
//! let (table, platform) = (MemoryTable::default(), MemoryPlatform::default());
//! // Somebody puts a row.
//! let wish = [
//!     (Attribute::Version, Value::Text("5".repeat(40))),
//!     (Attribute::Scale, Value::Whole(1)),
//!     (Attribute::Repo, Value::Text("/srv/shop".to_owned())),
//! ];
//! table.replace("shop", &wish.into());
//!
//! // Each change rings its name, and a look takes one step.
//! let shop = RowKey("shop".to_owned());
//! let look = || run_at_once(reconcile(&shop, Waking::Change, &table, &platform));
//! let status = || run_at_once(table.get(&shop)).map(|found| found.row()?.report.status);
//! look()?;
//! assert_eq!(status()?, Some(Status::Deploying));
//! platform.step();
//! look()?;
//! assert_eq!(status()?, Some(Status::Deployed));
//! # Ok::<(), rowhouse_core::Unreachable>(())
//! ```

mod access;
mod address;
mod app;
mod attribute;
mod commit;
mod counted;
mod decide;
mod digest;
mod domains;
mod environment;
mod history;
mod http_protocol;
mod listed;
mod manifest;
mod meaning;
mod name;
mod offer;
mod operation;
mod outcome;
mod platform;
mod process_type;
mod processes;
mod protocol;
mod quoted;
mod reason;
mod reconcile;
mod release;
mod report;
mod repository;
mod rollback;
mod row;
mod schedule;
mod secret;
mod settings;
mod stack;
mod sweep;
mod table;
pub mod testing;
mod text;
mod version;

pub use address::without_password;
pub use app::{App, Invalid, objections};
pub use attribute::{Attribute, UserAttributes, Value};
pub use commit::{Commit, NoCommit};
pub use counted::counted;
pub use decide::{Action, Because, Decision, Desired, Pinned, Wanted, decide};
pub use digest::{Base, EnvDigest, Generation, SettingsDigest, Source, Target};
pub use domains::{Domains, HostName, HostNameObjection};
pub use environment::{Environment, PLATFORM_VARIABLES, is_variable_name};
pub use history::{Entry, KEPT_DAYS, KEPT_ENTRIES, StoredEntry, entry};
pub use http_protocol::HttpProtocol;
pub use manifest::Manifest;
pub use meaning::Objection;
pub use name::{AppName, RowKey};
pub use operation::{Operation, Plan};
pub use outcome::{Outcome, Resolution, Unreachable};
pub use platform::Platform;
pub use process_type::{ProcessType, ProcfileLines};
pub use protocol::{ObjectDigest, Token, failure_key, manifest_key, token_secret};
pub use quoted::shortened;
pub use reason::{Denied, Obstacle, Silent};
pub use reconcile::{Again, Reconciled, Waking, reconcile};
pub use release::{Release, Releases};
pub use report::{Notes, Progress, report};
pub use repository::{AddressObjection, RefusedAddress, Repository, SubmoduleObjection, Transport};
pub use rollback::{Asked, NoRollback, Rollback, raised, rollback};
pub use row::{Report, Row, Status};
pub use schedule::{Schedule, ScheduleName, ScheduleObjection};
pub use secret::Secret;
pub use settings::{Limits, Settings};
pub use stack::{Attempt, Deployment, Observed, Phase, Stack};
pub use sweep::{Sweep, full_sweep, short_sweep};
pub use table::{AppTable, Found, StoredRow, Written};
pub use text::harmless;
pub use version::{Version, VersionObjection};
