//! The watch on the row: written once, read again and again; the port of TLS follows it, and so
//! does the signal.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rowhouse_command::output;
use rowhouse_core::{
    Attribute, Commit, Denied, Manifest, Row, RowKey, Status, UserAttributes, counted,
};
use rowhouse_machine::table::TableFile;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::front::Front;
use crate::probe::Probe;
use crate::refused::Refused;
use crate::source;

/// How often the row is read.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the app is asked, while it must be steady.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Beside its own time to be healthy, what an app that is deployed has until it must be steady.
const GRACE: Duration = Duration::from_mins(1);

/// The row of the machine's one app.
pub(crate) struct Watch<'a> {
    table: TableFile,
    key: RowKey,
    commit: Commit,
    health_timeout: Duration,
    /// What to do where the repository may not be read.
    advice: Option<String>,
    platform: SocketAddr,
    front: &'a Front,
    began: Instant,
}

impl<'a> Watch<'a> {
    /// Waits for the platform beside this one, and writes the row unless it stands there already.
    pub(crate) async fn begin(
        data: &Path,
        manifest: &Manifest,
        platform: SocketAddr,
        front: &'a Front,
        patience: Duration,
    ) -> Result<Watch<'a>, Refused> {
        let began = Instant::now();
        // Who finds it listening finds its table. To make that first would make it as another user.
        while TcpStream::connect(platform).await.is_err() {
            if began.elapsed() > patience {
                return Err(Refused(format!(
                    "nothing listens on {platform}: see the log of `rowhouse up`"
                )));
            }
            sleep(LOOK_EVERY).await;
        }
        let ours = |error: rowhouse_core::Unreachable| Refused(error.reason);
        // The folder is the app's user's, who may have put anything in the table's place.
        let mut table = TableFile::open_of_another(&data.join("rowhouse.db")).map_err(ours)?;
        let (key, wanted) = (manifest.name.key(), manifest.row());
        let found = table.get(&key).map_err(ours)?;
        if found.is_none_or(|stored| stored.row.user != wanted) {
            let changes = |_: Option<&Row>| Ok::<_, Infallible>(whole(&wanted));
            let Ok(_) = table.edit(&key, changes).map_err(ours)?;
        }
        Ok(Watch {
            table,
            key,
            commit: manifest.commit.clone(),
            health_timeout: Duration::from_secs(u64::from(manifest.health_timeout)),
            advice: source::advice(&manifest.repo),
            platform,
            front,
            began,
        })
    }

    /// Waits until the app is deployed and has answered for `steady` without fail, counted from its
    /// first answer: the platform is some seconds slower to call it deployed.
    pub(crate) async fn until_steady(
        &mut self,
        probe: &Probe,
        steady: Duration,
        patience: Duration,
    ) -> Result<(), Refused> {
        let mut deployed: Option<Instant> = None;
        let mut answering: Option<Instant> = None;
        let mut last = String::from("it was not asked yet");
        loop {
            let row = self.look().await;
            let reason = row.as_ref().and_then(|row| row.report.reason.clone());
            match self.verdict(row.as_ref()) {
                Verdict::Failed => {
                    let is_denied = row.is_some_and(|row| Denied::is_told_by(&row.report));
                    let advice = self.advice.clone().filter(|_| is_denied);
                    return Err(Refused(
                        advice.or(reason).unwrap_or_else(|| "no reason is given".to_owned()),
                    ));
                }
                Verdict::Pending => {
                    if self.began.elapsed() > patience {
                        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                        let minutes = patience.as_secs() / 60;
                        return Err(Refused(format!(
                            "not deployed after {}{why}",
                            counted(minutes, "minute")
                        )));
                    }
                    let is_up = row.is_some_and(|row| self.is_up(&row));
                    let answers = is_up && probe.ask().await.is_ok();
                    answering = answering.or_else(|| Some(Instant::now())).filter(|_| answers);
                    sleep(LOOK_EVERY).await;
                }
                Verdict::Deployed => {
                    let since = *deployed.get_or_insert_with(Instant::now);
                    match probe.ask().await {
                        Ok(()) => {
                            let first = *answering.get_or_insert_with(Instant::now);
                            if first.elapsed() >= steady {
                                return Ok(());
                            }
                        }
                        Err(why) => {
                            answering = None;
                            last = why;
                        }
                    }
                    let limit = self.health_timeout.max(GRACE) + steady;
                    if answering.is_none() && since.elapsed() > limit {
                        return Err(Refused(format!(
                            "it was up, but did not go on answering: {last}"
                        )));
                    }
                    sleep(ASK_EVERY.min(steady)).await;
                }
            }
        }
    }

    /// Lets the port follow the row, for good.
    pub(crate) async fn serve(&mut self) -> Result<Infallible, Refused> {
        loop {
            self.look().await;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Reads the row, and opens or closes the port by it.
    async fn look(&mut self) -> Option<Row> {
        // The row may outlive the platform's word: nobody at work, nobody healthy.
        let is_at_work = TcpStream::connect(self.platform).await.is_ok();
        let row = match self.table.get(&self.key) {
            Ok(stored) => stored.map(|stored| stored.row),
            Err(error) => {
                output::warning(&error.reason);
                None
            }
        };
        let healthy = row.as_ref().map_or(0, |row| row.report.healthy);
        self.front.set_open(is_at_work && healthy > 0);
        row
    }

    /// Whether this commit serves, be it deployed or on trial; no earlier one does.
    fn is_up(&self, row: &Row) -> bool {
        let revision = row.report.revision.as_ref();
        row.is_answered()
            && row.report.healthy > 0
            && revision.is_none_or(|revision| *revision == self.commit)
    }

    fn verdict(&self, row: Option<&Row>) -> Verdict {
        let Some(row) = row else { return Verdict::Pending };
        // What was said of an earlier row says nothing of this one.
        if !row.is_answered() {
            return Verdict::Pending;
        }
        match row.report.status {
            Some(Status::DeployFailed | Status::Invalid) => Verdict::Failed,
            Some(Status::Deployed) if row.report.revision.as_ref() == Some(&self.commit) => {
                Verdict::Deployed
            }
            Some(Status::Deployed | Status::Deploying) | None => Verdict::Pending,
        }
    }
}

/// What a row says of the rollout.
enum Verdict {
    Pending,
    Deployed,
    Failed,
}

/// Every attribute, those cleared that are not given.
fn whole(
    user: &UserAttributes,
) -> std::collections::BTreeMap<Attribute, Option<rowhouse_core::Value>> {
    Attribute::ALL.into_iter().map(|attribute| (attribute, user.get(&attribute).cloned())).collect()
}
