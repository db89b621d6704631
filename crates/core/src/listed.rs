//! What a sweep's lists show of one name: a look at it that comes to nothing, but tells whether a
//! real one would do anything. It is `reconcile` itself, so that there is no second rule of what is
//! settled.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Base;
use crate::history::Entry;
use crate::name::{AppName, RowKey};
use crate::operation::Operation;
use crate::outcome::{Outcome, Resolution, Unreachable};
use crate::platform::Platform;
use crate::reconcile::{Waking, reconcile};
use crate::repository::Repository;
use crate::row::{Report, Row};
use crate::settings::Settings;
use crate::stack::Observed;
use crate::table::{AppTable, Found, Written};
use crate::version::Version;

/// A row and its stack, as they were listed.
struct Listed<'a> {
    row: &'a Row,
    observed: Option<&'a Observed>,
    settings: &'a Settings,
    /// Whether the look asked for anything that is not in the lists.
    has_asked: AtomicBool,
}

/// Whether a look at this row would find that nothing is to be done, to be said or to be asked for.
pub(crate) async fn is_settled(
    row: &Row,
    observed: Option<&Observed>,
    settings: &Settings,
) -> bool {
    let listed = Listed { row, observed, settings, has_asked: AtomicBool::new(false) };
    let looked = reconcile(&row.key, Waking::Change, &listed, &listed).await;
    looked.is_ok() && !listed.has_asked.load(Ordering::Relaxed)
}

impl Listed<'_> {
    fn ask(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }
}

impl AppTable for Listed<'_> {
    async fn get(&self, _: &RowKey) -> Result<Found, Unreachable> {
        Ok(Found::Row(self.row.clone()))
    }

    async fn write(&self, _: &Row, _: &Report, _: Option<&Entry>) -> Result<Written, Unreachable> {
        self.ask();
        Ok(Written::Lost)
    }

    async fn list(&self) -> Result<Vec<Row>, Unreachable> {
        Ok(vec![self.row.clone()])
    }
}

impl Platform for Listed<'_> {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    async fn observe(&self, _: &AppName) -> Result<Observed, Unreachable> {
        Ok(self.observed.cloned().unwrap_or(Observed::Missing))
    }

    async fn resolve(&self, _: &Repository, _: &Version) -> Resolution {
        self.ask();
        Resolution::Unreachable { reason: "the lists have no commits".to_owned() }
    }

    async fn perform(&self, _: &AppName, _: Operation, _: Option<Base>) -> Outcome {
        self.ask();
        Outcome::Busy
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        let name = AppName::parse(self.row.key.as_str()).ok();
        Ok(name.zip(self.observed.cloned()).into_iter().collect())
    }
}
