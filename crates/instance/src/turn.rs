//! The turn: of the instances of one rollout, one goes first. It alone builds and runs `release:`;
//! the others wait until its app answers. Who has the turn stands in the bucket, written under
//! conditions, and is renewed: one that dies half-way loses it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rowhouse_command::output;
use rowhouse_core::{Manifest, ObjectDigest, counted};
use rowhouse_machine::pause::Pause;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::account::{Account, Precondition};
use crate::notes::Notes;
use crate::options::Instance;
use crate::refused::Refused;

/// How often those who wait look.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long a failure stands for all: as long as a stack waits for its instances. Who comes later
/// tries anew.
const FAILURE_STANDS: Duration = Duration::from_mins(35);

/// What stands in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "State", rename_all = "lowercase", rename_all_fields = "PascalCase")]
enum TurnRecord {
    /// It has the turn. `Beat` is raised while it lives.
    Running { instance: String, since: Timestamp, beat: u64 },
    /// Its app answers: `release:` is done for good.
    Done { instance: String, at: Timestamp },
    Failed {
        instance: String,
        at: Timestamp,
        reason: String,
        /// The digest of what was tried.
        manifest: String,
    },
}

/// Whose turn it is.
pub(crate) enum Turn<'a> {
    /// Ours.
    First(Claim<'a>),
    /// Another instance had it, and is done.
    After,
}

/// The turn, while it is ours.
pub(crate) struct Claim<'a> {
    book: Book<'a>,
    since: Timestamp,
    lease: Duration,
    tag: RefCell<String>,
    /// The digest of what is tried.
    manifest: String,
}

/// Where the record lies.
struct Book<'a> {
    account: &'a Account,
    notes: &'a Notes,
    key: String,
}

/// Waits until it is our turn, or another one's is over.
///
/// # Errors
/// The reason of another instance that had the turn and failed; or that it took longer than anybody
/// waits.
pub(crate) async fn take<'a>(
    instance: &Instance,
    manifest: &Manifest,
    account: &'a Account,
    notes: &'a Notes,
) -> Result<Turn<'a>, Refused> {
    let key = key(&instance.stack, manifest);
    let book = Book { account, notes, key };
    let mut wait = Wait { instance, began: Instant::now(), seen: None, is_told: false };
    loop {
        let found = match book.read().await {
            Ok(found) => found,
            Err(error) => {
                wait.bear("read whose turn it is", &error).await?;
                continue;
            }
        };
        let condition = match &found {
            None => Some(Precondition::Absent),
            Some((TurnRecord::Done { .. }, _)) => return Ok(Turn::After),
            Some((TurnRecord::Failed { instance: other, at, reason, manifest }, tag)) => {
                // Of another manifest it says nothing: how the app's health is asked may have been
                // mended.
                if is_recent(*at) && *manifest == instance.manifest.as_str() {
                    return Err(Refused(format!("`{other}`, which went first, failed: {reason}")));
                }
                Some(Precondition::Unchanged(tag))
            }
            // What we began before we were started again.
            Some((TurnRecord::Running { instance, .. }, tag)) if *instance == account.instance => {
                Some(Precondition::Unchanged(tag))
            }
            Some((TurnRecord::Running { instance: other, .. }, tag)) => {
                wait.has_outlived(other, tag)?.then_some(Precondition::Unchanged(tag))
            }
        };
        let Some(condition) = condition else {
            sleep(LOOK_EVERY.min(instance.lease / 4)).await;
            continue;
        };
        let since = Timestamp::now();
        let record = TurnRecord::Running { instance: account.instance.clone(), since, beat: 0 };
        match book.write(&record, condition).await {
            Ok(Some(tag)) => {
                let tag = RefCell::new(tag);
                let (lease, manifest) = (instance.lease, instance.manifest.to_string());
                return Ok(Turn::First(Claim { book, since, lease, tag, manifest }));
            }
            Ok(None) => {}
            Err(error) => wait.bear("take the turn", &error).await?,
        }
    }
}

/// Waiting for a turn that may be another instance's.
struct Wait<'a> {
    instance: &'a Instance,
    began: Instant,
    /// The tag of what another one has written last, and since when it stands there by our own
    /// clock, so that it does not matter what others take for the time.
    seen: Option<(String, Instant)>,
    is_told: bool,
}

impl Wait<'_> {
    fn is_over(&self) -> bool {
        self.began.elapsed() > self.instance.patience
    }

    /// Puts up with trouble, for as long as anybody waits.
    async fn bear(&self, what: &str, error: &str) -> Result<(), Refused> {
        let trouble = format!("cannot {what}: {}", output::clean(error));
        if self.is_over() {
            return Err(Refused(trouble));
        }
        output::warning(&trouble);
        sleep(LOOK_EVERY).await;
        Ok(())
    }

    /// Whether the instance that has the turn has died.
    fn has_outlived(&mut self, other: &str, tag: &str) -> Result<bool, Refused> {
        let since = match &self.seen {
            Some((before, since)) if before == tag => *since,
            Some(_) | None => self.seen.insert((tag.to_owned(), Instant::now())).1,
        };
        if !self.is_told {
            output::note(&format!("`{other}` goes first; waiting for it"));
            self.is_told = true;
        }
        if self.is_over() {
            let minutes = self.instance.patience.as_secs() / 60;
            return Err(Refused(format!(
                "`{other}` went first, and was not done after {}",
                counted(minutes, "minute")
            )));
        }
        let has_died = since.elapsed() > self.instance.lease;
        if has_died {
            output::warning(&format!("`{other}` does nothing any more; going in its place"));
        }
        Ok(has_died)
    }
}

impl Claim<'_> {
    /// Renews the turn for as long as this is waited for.
    pub(crate) async fn keep(&self) -> std::convert::Infallible {
        let instance = &self.book.account.instance;
        for beat in 1.. {
            sleep(self.lease / 4).await;
            let (instance, since) = (instance.clone(), self.since);
            match self.write(&TurnRecord::Running { instance, since, beat }).await {
                Ok(true) => {}
                Ok(false) => match self.book.read().await {
                    // It was written, and only the answer to that was lost.
                    Ok(Some((TurnRecord::Running { instance: found, .. }, tag)))
                        if found == self.book.account.instance =>
                    {
                        self.tag.replace(tag);
                    }
                    Ok(_) => {
                        output::warning("another instance took this one for dead, and goes first");
                        break;
                    }
                    Err(error) => {
                        let error = output::clean(&error);
                        output::warning(&format!("cannot read whose turn it is: {error}"));
                    }
                },
                Err(error) => {
                    output::warning(&format!("cannot renew the turn: {}", output::clean(&error)));
                }
            }
        }
        std::future::pending().await
    }

    /// Ends the turn, with the reason if it failed.
    pub(crate) async fn end(self, outcome: Result<(), &str>) {
        let (instance, at) = (self.book.account.instance.clone(), Timestamp::now());
        let record = match outcome {
            Ok(()) => TurnRecord::Done { instance, at },
            Err(reason) => TurnRecord::Failed {
                instance,
                at,
                reason: reason.to_owned(),
                manifest: self.manifest.clone(),
            },
        };
        // Without it the others wait until the turn is over, and do it again: that is what they
        // must bear anyway.
        let mut pause = Pause::new(Duration::from_secs(1), self.lease);
        while let Err(error) = self.write(&record).await {
            output::warning(&format!("cannot end the turn: {}", output::clean(&error)));
            if pause.current() > self.lease / 4 {
                return;
            }
            sleep(pause.due()).await;
        }
    }

    /// Writes, unless somebody else has: then it is no longer our turn.
    async fn write(&self, record: &TurnRecord) -> Result<bool, String> {
        let tag = self.tag.borrow().clone();
        let written = self.book.write(record, Precondition::Unchanged(&tag)).await?;
        Ok(written.map(|tag| self.tag.replace(tag)).is_some())
    }
}

impl Book<'_> {
    async fn read(&self) -> Result<Option<(TurnRecord, String)>, String> {
        if self.account.look(&self.key).await?.is_none() {
            return Ok(None);
        }
        let file = self.notes.fresh("turn.new").map_err(|error| error.to_string())?;
        let object = self.account.get(&self.account.bucket, &self.key, &file).await?;
        let bytes = std::fs::read(&file).map_err(|error| error.to_string())?;
        let record = serde_json::from_slice(&bytes).map_err(|error| {
            format!("`{}` is not of this version of Rowhouse: {error}", self.key)
        })?;
        Ok(Some((record, object.tag)))
    }

    async fn write(
        &self,
        record: &TurnRecord,
        condition: Precondition<'_>,
    ) -> Result<Option<String>, String> {
        let bytes = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        let file = self.notes.write("turn.json", &bytes).map_err(|error| error.to_string())?;
        self.account.put(&self.key, &file, condition, "").await
    }
}

/// One key for all that `release:` may depend on, in one life of a stack. How the app's health is
/// asked is no part of it.
fn key(stack: &str, manifest: &Manifest) -> String {
    let (env, build_env) = (manifest.env.revealed(), manifest.build_env.revealed());
    let parts = (
        (1, stack, &manifest.repo, &manifest.path, &manifest.commit),
        (&manifest.version, env, build_env, manifest.redeploy),
    );
    let lines = (manifest.procfile.line("build"), manifest.procfile.line("release"));
    // What a manifest says nothing of is no part, so that the key stays what it was.
    let text = if lines == (None, None) {
        serde_json::to_vec(&parts)
    } else {
        serde_json::to_vec(&(parts, lines))
    };
    let text = text.expect("texts and maps of texts have a JSON form");
    format!("releases/{}/{}.json", manifest.name, ObjectDigest::of(&text))
}

fn is_recent(at: Timestamp) -> bool {
    let age = Timestamp::now().duration_since(at);
    age.unsigned_abs() < FAILURE_STANDS
}

#[cfg(test)]
mod tests {
    use rowhouse_core::Version;

    use super::*;

    fn manifest(change: impl FnOnce(&mut Manifest)) -> Manifest {
        let mut manifest = serde_json::from_value(serde_json::json!({
            "Name": "shop", "Version": "main", "Repo": "https://host/a", "Path": "",
            "Commit": "c".repeat(40),
            "Env": {"A": "1"}, "BuildEnv": {}, "Health": null, "HealthTimeout": 60, "Redeploy": 0,
        }))
        .unwrap();
        change(&mut manifest);
        manifest
    }

    #[test]
    fn a_turn_is_for_what_a_release_depends_on_and_nothing_else() {
        let plain = key("stack", &manifest(|_| {}));
        assert_eq!(plain, key("stack", &manifest(|one| one.health = Some("/up".to_owned()))));
        for (what, other) in [
            ("Redeploy", key("stack", &manifest(|one| one.redeploy = 1))),
            ("Version", key("stack", &manifest(|one| one.version = Version::parse("v1").unwrap()))),
            ("Path", key("stack", &manifest(|one| one.path = "a".to_owned()))),
            ("the stack", key("another", &manifest(|_| {}))),
        ] {
            assert_ne!(plain, other, "{what}");
        }
    }

    #[test]
    fn a_record_has_one_form() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let record = TurnRecord::Running { instance: "i-1".to_owned(), since: at, beat: 2 };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            r#"{"State":"running","Instance":"i-1","Since":"2026-01-02T03:04:05Z","Beat":2}"#
        );
        assert_eq!(serde_json::from_str::<TurnRecord>(&text).unwrap(), record);
    }

    #[test]
    fn a_failure_stands_for_its_own_rollout_alone() {
        assert!(is_recent(Timestamp::now()));
        assert!(!is_recent(Timestamp::now() - FAILURE_STANDS));
    }
}
