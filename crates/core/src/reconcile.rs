//! The loop: one name in, at most one step out. Nothing is read from the event that rang but the
//! name.

use tracing::{debug, info, warn};

use crate::app::App;
use crate::commit::{Commit, NoCommit};
use crate::decide::{Action, Decision, Desired, Pinned, Wanted, decide, only_lags};
use crate::digest::{Generation, SettingsDigest, Source, Target};
use crate::history;
use crate::name::{AppName, RowKey};
use crate::operation::{Operation, Plan};
use crate::outcome::{Outcome, Resolution, Unreachable};
use crate::platform::Platform;
use crate::report::{Notes, Progress, report};
use crate::row::{Report, Row, Status};
use crate::settings::Settings;
use crate::stack::{Deployment, Observed};
use crate::table::{AppTable, Found, Written};

/// Who rang. It decides nothing about an app but whether the platform's own changes may go out with
/// it, and whether a repository that could not be read is asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waking {
    /// The row or the stack changed, or somebody asked.
    Change,
    /// The full sweep, which gave this stack its turn to catch up with the platform's settings.
    CatchUp,
    /// The full sweep, of a row whose repository was not there, refused us or could not be read: it
    /// may have changed.
    AskAgain,
}

/// When to look at the name again, apart from what will ring by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Again {
    /// No need: whatever changes rings.
    No,
    /// Now: somebody else was faster.
    Now,
    /// After a back-off: something could not be asked.
    Later,
}

/// What one look came to.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// `None`: the key is no app's name, so there was nothing to decide.
    pub decision: Option<Decision>,
    pub again: Again,
}

/// Looks at row and stack and takes the one step that brings them closer.
pub async fn reconcile(
    key: &RowKey,
    waking: Waking,
    table: &impl AppTable,
    platform: &impl Platform,
) -> Result<Reconciled, Unreachable> {
    let settings = platform.settings();
    // The row first: a stack that is read later can only be newer than the wish that it is compared
    // with.
    let found = table.get(key).await?;
    let Ok(name) = AppName::parse(key.as_str()) else {
        return answer_bad_name(found.row(), &settings, table).await;
    };
    let observed = platform.observe(&name).await?;
    let look = Look { name: &name, waking, settings: &settings, table, platform };
    match found {
        Found::Row(row) => look.act(row, &observed).await,
        Found::Removed => look.act_without_row(&Desired::Removed, &observed).await,
        Found::Absent => look.act_without_row(&Desired::Absent, &observed).await,
    }
}

/// What stays the same during one look.
struct Look<'a, T, P> {
    name: &'a AppName,
    waking: Waking,
    settings: &'a Settings,
    table: &'a T,
    platform: &'a P,
}

impl<T: AppTable, P: Platform> Look<'_, T, P> {
    /// Steps towards nothing where the row was removed, and nowhere where nobody removed one.
    async fn act_without_row(
        &self,
        desired: &Desired,
        observed: &Observed,
    ) -> Result<Reconciled, Unreachable> {
        let decision = decide(desired, observed);
        let operation = match decision.action {
            Action::Delete { retain } => Operation::Delete { retain },
            Action::Cancel => Operation::Cancel,
            Action::Rest
            | Action::Wait
            | Action::Create
            | Action::Update
            | Action::ContinueRollback => {
                self.tell(decision);
                return Ok(done(decision, Again::No));
            }
        };
        // Somebody may have put the row again since, or another table: nothing is ever deleted but
        // what is removed now.
        if self.table.get(&self.name.key()).await? != Found::Removed {
            return Ok(done(decision, Again::Now));
        }
        let outcome = self.perform(operation, observed, decision).await;
        Ok(done(decision, again(&outcome)))
    }

    fn tell(&self, decision: Decision) {
        let Decision { action, because } = decision;
        debug!(app = %self.name, ?action, %because, "decided");
    }

    /// Steps towards the row.
    async fn act(&self, row: Row, observed: &Observed) -> Result<Reconciled, Unreachable> {
        let mut notes = Notes::default();
        let parsed = App::parse(&row, self.settings);
        let (desired, app) = match parsed {
            Ok(app) => {
                (Desired::App(self.wanted(&row, &app, observed, &mut notes).await), Some(app))
            }
            Err(invalid) => {
                notes.invalid = Some(invalid.to_string());
                (Desired::Invalid, None)
            }
        };
        let decision = decide(&desired, observed);
        let say = |row: &Row, progress: &Progress| {
            report(row, &desired, observed, decision, progress, &notes)
        };
        let Some(operation) = operation(decision, &desired, app.as_ref()) else {
            self.tell(decision);
            let unresolved =
                matches!(&desired, Desired::App(Wanted { commit: Pinned::Unreachable, .. }));
            let lost = self.write(&row, app.as_ref(), say(&row, &Progress::Decided)).await?;
            let again = match (lost, unresolved) {
                (true, _) => Again::Now,
                (false, true) => Again::Later,
                (false, false) => Again::No,
            };
            return Ok(done(decision, again));
        };
        // The claim is written even where it changes no word: it proves that the row is still as it
        // was read.
        let Some(claim) = say(&row, &Progress::Decided) else {
            return Ok(done(decision, Again::No));
        };
        let Written::Done(row) = self.table.write(&row, &claim, None).await? else {
            return Ok(done(decision, Again::Now));
        };
        let outcome = self.perform(operation, observed, decision).await;
        let again = again(&outcome);
        let lost = match &outcome {
            Outcome::Started | Outcome::Busy => false,
            Outcome::Refused { .. } | Outcome::Unreachable { .. } => {
                let answer = say(&row, &Progress::Performed(outcome));
                self.write(&row, app.as_ref(), answer).await?
            }
        };
        Ok(done(decision, if lost { Again::Now } else { again }))
    }

    async fn perform(
        &self,
        operation: Operation,
        observed: &Observed,
        decision: Decision,
    ) -> Outcome {
        let word = operation.word();
        let base = observed.stack().map(|stack| stack.base.clone());
        let outcome = self.platform.perform(self.name, operation, base).await;
        match &outcome {
            Outcome::Started => {
                info!(app = %self.name, action = word, because = %decision.because, "started");
            }
            Outcome::Busy => {
                debug!(app = %self.name, action = word, because = %decision.because, "busy");
            }
            Outcome::Refused { reason } => {
                let because = decision.because;
                info!(app = %self.name, action = word, %because, reason, "refused");
            }
            Outcome::Unreachable { reason } => {
                warn!(app = %self.name, action = word, because = %decision.because, reason, "will \
                    retry");
            }
        }
        outcome
    }

    /// Writes a report that says something new; true where the row was no longer as it was read.
    async fn write(
        &self,
        row: &Row,
        app: Option<&App>,
        report: Option<Report>,
    ) -> Result<bool, Unreachable> {
        let Some(report) = report.filter(|report| *report != row.report) else { return Ok(false) };
        let entry = app.and_then(|app| history::entry(row, app, &report));
        let written = self.table.write(row, &report, entry.as_ref()).await?;
        Ok(written == Written::Lost)
    }

    async fn wanted(&self, row: &Row, app: &App, observed: &Observed, notes: &mut Notes) -> Wanted {
        let generation = row.generation();
        let commit = self.pin(row, app, &generation, observed, notes).await;
        let mut wanted = Wanted {
            settings: self.settings.digest.clone(),
            commit,
            refused: false,
            attempted: was_attempted(row, &generation, observed, self.settings),
            unchanged: is_unchanged(row, &generation),
            may_catch_up: self.waking == Waking::CatchUp,
            generation,
        };
        wanted.refused = was_refused(row, &wanted, observed);
        wanted
    }

    /// Finds the commit: the one that the stack or the row already stands for, so that only a new
    /// source (or `Follow`) ever ships a branch that moved; else the one that the repository names
    /// now.
    async fn pin(
        &self,
        row: &Row,
        app: &App,
        generation: &Generation,
        observed: &Observed,
        notes: &mut Notes,
    ) -> Pinned {
        let digest = &self.settings.digest;
        let target = |commit: &Commit| Target::of(generation, commit, digest);
        let unchanged = is_unchanged(row, generation);
        let kept = kept_commit(app, unchanged, observed, target);
        let known = |commit: Commit| Pinned::Known { target: target(&commit), commit };
        let nothing =
            |why| Pinned::Nothing { why, target: Target::without_commit(generation, why, digest) };
        match (&kept, row.report.no_commit(digest).filter(|_| row.is_answered())) {
            (Some(commit), _) if !app.follow => return known(commit.clone()),
            (None, Some(why)) if self.stands(why, app) => {
                notes.version.clone_from(&row.report.reason);
                return nothing(why);
            }
            (_, _) => {}
        }
        let resolution = self.platform.resolve(&app.repository, &app.version).await;
        let (note, pinned) = match (resolution, kept) {
            (Resolution::Known(commit), _) => {
                if Commit::parse(app.version.as_str()).is_some() {
                    let nothing =
                        "`Follow` is true, but there is nothing to follow: `Version` is a commit";
                    notes.version = app.follow.then(|| nothing.to_owned());
                }
                return known(commit);
            }
            // The branch that the app follows is gone; what runs is still what was asked for.
            (Resolution::NoSuchVersion { reason }, Some(commit)) if app.follow => {
                (format!("cannot follow the branch: {reason}"), known(commit))
            }
            (Resolution::NoSuchVersion { reason }, _) => (reason, nothing(NoCommit::NoSuchVersion)),
            // What was resolved before stands, whatever has become of the repository since.
            (Resolution::Denied { reason } | Resolution::Unreachable { reason }, Some(commit)) => {
                (format!("cannot look for newer commits: {reason}"), known(commit))
            }
            (Resolution::Denied { reason }, None) => (reason, nothing(NoCommit::Denied)),
            (Resolution::Unreachable { reason }, None) => (reason, Pinned::Unreachable),
        };
        notes.version = Some(note);
        pinned
    }

    /// Whether what the row says of its version is not asked for once more now.
    fn stands(&self, why: NoCommit, app: &App) -> bool {
        match why {
            // A branch that is followed may come to be at any time.
            NoCommit::NoSuchVersion => !app.follow,
            NoCommit::Denied => self.waking != Waking::AskAgain,
        }
    }
}

/// The commit to which this row's source was resolved before: by what is under way, by what runs,
/// or by the attempt that failed.
fn kept_commit(
    app: &App,
    unchanged: bool,
    observed: &Observed,
    target: impl Fn(&Commit) -> Target,
) -> Option<Commit> {
    let source = Source::of(app);
    let same = |deployment: &&Deployment| {
        // Sources of another format cannot be compared; that the row is as it was deployed must do.
        deployment.source == source || unchanged && !deployment.source.is_current_format()
    };
    let of = |deployment: &Deployment| deployment.commit.clone();
    observed
        .aim()
        .filter(same)
        .map(of)
        .or_else(|| {
            let attempt = observed.tried()?;
            (attempt.target == target(&attempt.commit)).then(|| attempt.commit.clone())
        })
        .or_else(|| observed.running().filter(same).map(of))
}

/// Whether the row itself witnesses that its target was refused before any operation began.
fn was_refused(row: &Row, wanted: &Wanted, observed: &Observed) -> bool {
    let (Pinned::Known { target, .. } | Pinned::Nothing { target, .. }) = &wanted.commit else {
        return false;
    };
    let settled = match row.report.status {
        Some(Status::DeployFailed) => true,
        // New settings that were refused leave the app deployed.
        Some(Status::Deployed) => observed
            .running()
            .is_some_and(|running| running.target != *target && only_lags(wanted, running)),
        Some(Status::Deploying | Status::Invalid) | None => false,
    };
    settled && row.report.target.as_ref() == Some(target)
}

/// Whether the last attempt was for this generation. The stack shows the attempt's target and
/// commit; the settings that it was on are today's, or those of what runs, or else the row is the
/// witness.
fn was_attempted(
    row: &Row,
    generation: &Generation,
    observed: &Observed,
    settings: &Settings,
) -> bool {
    let says_so = row.report.status == Some(Status::DeployFailed)
        && row.report.generation.as_ref() == Some(generation);
    let on = |digest: &SettingsDigest| {
        observed.tried().is_some_and(|attempt| {
            attempt.target == Target::of(generation, &attempt.commit, digest)
        })
    };
    let before = observed.running().map(|running| &running.settings);
    says_so || on(&settings.digest) || before.is_some_and(on)
}

/// Whether the row says `deployed` of the attributes that stand in it, as far as digests can tell.
pub(crate) fn is_unchanged(row: &Row, generation: &Generation) -> bool {
    row.report.status == Some(Status::Deployed)
        && row
            .report
            .generation
            .as_ref()
            .is_some_and(|said| said == generation || !said.is_current_format())
}

fn operation(decision: Decision, desired: &Desired, app: Option<&App>) -> Option<Operation> {
    let plan = || match (desired, app) {
        (
            Desired::App(Wanted {
                generation,
                settings,
                commit: Pinned::Known { commit, target },
                ..
            }),
            Some(app),
        ) => Some(Box::new(Plan {
            app: app.clone(),
            deployment: Deployment {
                target: target.clone(),
                generation: generation.clone(),
                source: Source::of(app),
                commit: commit.clone(),
                settings: settings.clone(),
            },
        })),
        (_, _) => None,
    };
    match decision.action {
        Action::Rest | Action::Wait => None,
        Action::Create => plan().map(Operation::Create),
        Action::Update => plan().map(Operation::Update),
        Action::Cancel => Some(Operation::Cancel),
        Action::Delete { retain } => Some(Operation::Delete { retain }),
        Action::ContinueRollback => Some(Operation::ContinueRollback),
    }
}

async fn answer_bad_name(
    row: Option<Row>,
    settings: &Settings,
    table: &impl AppTable,
) -> Result<Reconciled, Unreachable> {
    let nothing = Reconciled { decision: None, again: Again::No };
    let Some(row) = row else { return Ok(nothing) };
    let Err(invalid) = App::parse(&row, settings) else { return Ok(nothing) };
    let report = Report {
        status: Some(Status::Invalid),
        reason: Some(invalid.to_string()),
        generation: Some(row.generation()),
        ..Default::default()
    };
    if report == row.report {
        return Ok(nothing);
    }
    match table.write(&row, &report, None).await? {
        Written::Done(_) => Ok(nothing),
        Written::Lost => Ok(Reconciled { decision: None, again: Again::Now }),
    }
}

fn again(outcome: &Outcome) -> Again {
    match outcome {
        Outcome::Started | Outcome::Refused { .. } => Again::No,
        Outcome::Busy => Again::Now,
        Outcome::Unreachable { .. } => Again::Later,
    }
}

fn done(decision: Decision, again: Again) -> Reconciled {
    Reconciled { decision: Some(decision), again }
}
