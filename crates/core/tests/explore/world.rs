//! A world of one row and one stack that may do everything a real one may, as plain data.

use std::collections::BTreeSet;

use crate::replay::Held;
use rowhouse_core::{
    Attempt, Attribute, Base, Commit, Deployment, Generation, NoCommit, Observed, Operation,
    Outcome, Phase, Report, Resolution, Row, RowKey, Settings, SettingsDigest, Stack, Status,
    Target, UserAttributes, Value,
};

/// What somebody may want. `main` is a branch that moves; `tag` never does; `none` names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Wish {
    pub(crate) version: &'static str,
    pub(crate) scale: i64,
    pub(crate) follow: bool,
    pub(crate) redeploy: i64,
}

pub(crate) const fn wish(version: &'static str, scale: i64) -> Wish {
    Wish { version, scale, follow: false, redeploy: 0 }
}

impl Wish {
    pub(crate) fn attributes(self) -> UserAttributes {
        UserAttributes::from([
            (Attribute::Version, Value::Text(self.version.to_owned())),
            (Attribute::Scale, Value::Whole(self.scale)),
            (Attribute::Follow, Value::Boolean(self.follow)),
            (Attribute::Redeploy, Value::Whole(self.redeploy)),
        ])
    }

    pub(crate) fn is_valid(self) -> bool {
        (0..=3).contains(&self.scale)
    }
}

/// A row of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WorldRow {
    pub(crate) wish: Wish,
    pub(crate) report: Report,
    pub(crate) seq: u64,
}

impl WorldRow {
    pub(crate) fn row(&self) -> Row {
        Row {
            key: RowKey("app".to_owned()),
            user: self.wish.attributes(),
            report: self.report.clone(),
            seq: self.seq,
        }
    }
}

pub(crate) fn commit(number: u8) -> Commit {
    Commit::parse(&format!("{number:040x}")).unwrap()
}

pub(crate) fn settings(number: u8) -> Settings {
    Settings { digest: SettingsDigest::of(&number.to_string()), ..Settings::for_tests() }
}

/// What happens outside of the reactors, in the order of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Put(Wish),
    /// The whole row is written anew, which erases the reactor's part.
    Replace(Wish),
    /// Also `rm` of a name that has no row.
    Delete,
    /// Somebody copies the table.
    Backup,
    /// The table is lost or emptied while no platform runs, and one starts.
    Lose,
    /// The copy is put in the table's place while no platform runs, and one starts.
    Restore,
    BranchMoves,
    SettingsChange,
    /// The repository refuses us, and lets us in again.
    RepositoryCloses,
    RepositoryOpens,
}

/// What may go wrong, as often as a scenario's budget allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Operations that fail though nothing is wrong with what they aim at.
    pub(crate) failures: u8,
    /// Answers that are lost, late, refused or stale; crashes; doorbells lost or doubled.
    pub(crate) mishaps: u8,
}

/// What stands in a table's file beside its row, as the machine has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct File {
    row: Option<WorldRow>,
    is_removed: bool,
    mark: Option<u8>,
    is_unmarked: bool,
}

/// By what a reactor on AWS knows its table, which has no tombstones: what is absent in it was
/// removed, but for the orphans that were listed when it was met.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct ById {
    table: u8,
    met: Option<u8>,
    is_orphan: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct World {
    /// `None`: it is a machine's, with tombstones and a mark.
    by_id: Option<ById>,
    pub(crate) row: Option<WorldRow>,
    /// The table's tombstone.
    is_removed: bool,
    /// The table's mark, and whether the row was put since it was written.
    mark: Option<u8>,
    is_unmarked: bool,
    /// The marks that the journal knows.
    known: BTreeSet<u8>,
    marks: u8,
    copy: Option<File>,
    /// Whether the last word of a user was that there should be no such app: what only that may
    /// end. A word that nobody had heard when the table was replaced may be lost.
    pub(crate) may_end: bool,
    pub(crate) stack: Observed,
    /// As the stack was before its last change: what a stale read shows.
    pub(crate) stale: Observed,
    /// Counts the changes of the stack: its base.
    pub(crate) changes: u32,
    pub(crate) branch: u8,
    pub(crate) settings: u8,
    pub(crate) is_closed: bool,
    /// Operations that may still fail though nothing is wrong with what they aim at.
    pub(crate) failures: u8,
    /// Whether operations can be cancelled, as on the machine; on AWS a young one cannot.
    pub(crate) cancellable: bool,
    /// How many events of the scenario have happened: which wish is the present one.
    pub(crate) epoch: usize,
    /// At which of them the operation in progress began.
    pub(crate) began: usize,
    /// Targets that failed or were said to have been refused, and at which epoch: not to be tried
    /// again.
    pub(crate) failed: BTreeSet<(Target, usize)>,
    /// Targets that really failed.
    pub(crate) tried: BTreeSet<Target>,
    /// Targets that the platform refused; what nobody could write down may be asked again.
    pub(crate) refused: BTreeSet<Target>,
    /// What a rollback in progress came from.
    pub(crate) falling: Option<Attempt>,
}

impl World {
    pub(crate) fn new(failures: u8, cancellable: bool) -> World {
        World {
            by_id: None,
            row: None,
            is_removed: false,
            mark: Some(0),
            is_unmarked: false,
            known: BTreeSet::from([0]),
            marks: 0,
            copy: None,
            may_end: true,
            stack: Observed::Missing,
            stale: Observed::Missing,
            changes: 0,
            branch: 1,
            settings: 1,
            is_closed: false,
            failures,
            cancellable,
            epoch: 0,
            began: 0,
            failed: BTreeSet::new(),
            tried: BTreeSet::new(),
            refused: BTreeSet::new(),
            falling: None,
        }
    }

    /// The same world on AWS.
    pub(crate) fn by_id(self) -> World {
        World { by_id: Some(ById::default()), ..self }
    }

    /// Whether it is one in which a table is met when it is read.
    pub(crate) fn meets(&self) -> bool {
        self.by_id.is_some()
    }

    /// The table is met, unless it was; a row that is seen is no orphan's.
    pub(crate) fn meet(&mut self) {
        let Some(mut by_id) = self.by_id.take() else { return };
        if by_id.met != Some(by_id.table) {
            by_id.met = Some(by_id.table);
            by_id.is_orphan |= self.stack.stack().is_some();
        }
        by_id.is_orphan &= self.row.is_none();
        self.by_id = Some(by_id);
    }

    /// As it is when a reactor dies after it has listed what has no row, and before it could say
    /// so. `None`: the table was met.
    pub(crate) fn die_meeting(&self) -> Option<World> {
        let by_id = self.by_id.as_ref().filter(|by_id| by_id.met != Some(by_id.table))?;
        let mut world = self.clone();
        world.meet();
        world.by_id.as_mut()?.met = by_id.met;
        Some(world)
    }

    pub(crate) fn happen(&mut self, event: Event) {
        self.epoch += 1;
        match event {
            Event::Put(wish) => match &mut self.row {
                Some(row) => row.wish = wish,
                None => self.insert(wish),
            },
            Event::Replace(wish) => self.insert(wish),
            Event::Delete => self.remove(),
            Event::Backup => self.copy = Some(self.file()),
            Event::Lose => self.start_on(File::default()),
            Event::Restore => {
                let copy = self.copy.clone().unwrap_or_default();
                self.start_on(copy);
            }
            Event::BranchMoves => self.branch += 1,
            Event::SettingsChange => self.settings += 1,
            Event::RepositoryCloses => self.is_closed = true,
            Event::RepositoryOpens => self.is_closed = false,
        }
    }

    fn insert(&mut self, wish: Wish) {
        self.row = Some(WorldRow { wish, report: Report::default(), seq: 0 });
        (self.is_removed, self.is_unmarked) = (false, true);
    }

    fn remove(&mut self) {
        if self.by_id.is_some() && self.row.is_none() {
            return;
        }
        self.row = None;
        (self.is_removed, self.may_end) = (true, true);
    }

    fn file(&self) -> File {
        let World { row, is_removed, mark, is_unmarked, .. } = self.clone();
        File { row, is_removed, mark, is_unmarked }
    }

    /// A platform starts on this file, and takes it for its own.
    fn start_on(&mut self, file: File) {
        let File { row, is_removed, mark, is_unmarked } = file;
        if let Some(by_id) = &mut self.by_id {
            // Another table, which nobody has met yet: the lists of the last one are none of its.
            *by_id = ById { table: by_id.table + 1, is_orphan: false, ..*by_id };
            self.row = row;
            self.is_unmarked = is_unmarked;
            return;
        }
        (self.row, self.is_removed) = (row, is_removed);
        (self.mark, self.is_unmarked) = (mark, is_unmarked);
        if !self.mark.is_some_and(|mark| self.known.contains(&mark)) {
            self.renew();
            self.forget();
        }
    }

    /// The table bears another mark, which the journal knows.
    fn renew(&mut self) {
        if !self.mark.is_some_and(|mark| self.known.contains(&mark)) {
            self.is_removed = false;
        }
        self.marks += 1;
        self.known.insert(self.marks);
        self.mark = Some(self.marks);
    }

    /// The journal knows no mark any more but the table's.
    fn forget(&mut self) {
        let mark = self.mark;
        self.known.retain(|known| Some(*known) == mark);
    }

    /// What the table holds.
    pub(crate) fn get(&self) -> Held<WorldRow> {
        if let Some(by_id) = &self.by_id {
            return match &self.row {
                Some(row) => Held::Row(row.clone()),
                None if by_id.is_orphan => Held::Absent,
                None => Held::Removed,
            };
        }
        let is_known = self.mark.is_some_and(|mark| self.known.contains(&mark));
        match &self.row {
            Some(row) => Held::Row(row.clone()),
            None if self.is_removed && is_known => Held::Removed,
            None => Held::Absent,
        }
    }

    /// As it is when a writer dies after the journal knows the next mark and before the table has
    /// it.
    pub(crate) fn die_renewing(&self) -> Option<World> {
        let mut world = self.clone();
        (world.is_unmarked && world.by_id.is_none()).then(|| {
            world.marks += 1;
            world.known.insert(world.marks);
            world
        })
    }

    pub(crate) fn resolve(&self, version: &str) -> Resolution {
        match version {
            _ if self.is_closed => Resolution::Denied { reason: "it is closed".to_owned() },
            "main" => Resolution::Known(commit(self.branch)),
            "tag" => Resolution::Known(commit(100)),
            "bad" => Resolution::Known(commit(200)),
            _ => Resolution::NoSuchVersion { reason: format!("there is no `{version}`") },
        }
    }

    /// A conditional write, as the port's contract says; `epoch` is when the writer read the row.
    pub(crate) fn write(&mut self, seen: &Row, report: &Report, epoch: usize) -> Option<WorldRow> {
        let row = self.row.as_mut()?;
        if row.seq != seen.seq || row.wish.attributes() != seen.user {
            return None;
        }
        row.report = report.clone();
        row.seq += 1;
        let written = row.clone();
        if std::mem::take(&mut self.is_unmarked) {
            self.may_end = false;
            if self.by_id.is_none() {
                self.renew();
                self.forget();
            }
        }
        let said = (report.status, &report.target);
        if let (Some(Status::DeployFailed), Some(target)) = said
            && self.refused.contains(target)
        {
            self.failed.insert((target.clone(), epoch));
        }
        Some(written)
    }

    fn base(&self) -> Option<Base> {
        self.stack.stack().map(|stack| stack.base.clone())
    }

    fn set(&mut self, phase: Phase, running: Option<Deployment>, tried: Option<Attempt>) {
        self.changes += 1;
        let healthy = u32::from(running.is_some());
        let stack = Observed::Ours(Box::new(Stack {
            base: Base::of("stack", &self.changes.to_string()),
            phase,
            running,
            tried,
            url: Some("http://app".to_owned()),
            healthy,
            trouble: None,
        }));
        self.stale = std::mem::replace(&mut self.stack, stack);
    }

    fn vanish(&mut self) {
        self.changes += 1;
        self.stale = std::mem::replace(&mut self.stack, Observed::Missing);
    }

    /// Begins an operation on the stack that the decision saw; whatever else is asked is answered
    /// `Busy`.
    pub(crate) fn perform(&mut self, operation: &Operation, base: Option<&Base>) -> Outcome {
        if self.base().as_ref() != base {
            return Outcome::Busy;
        }
        let (running, tried) = (self.stack.running().cloned(), self.stack.tried().cloned());
        let phase = self.stack.stack().map(|stack| stack.phase.clone());
        match (operation, phase) {
            (Operation::Create(plan), None) => {
                let aim = plan.deployment.clone();
                self.set(Phase::Creating { aim, cancellable: self.cancellable }, None, None);
            }
            (Operation::Update(plan), Some(Phase::Up)) => {
                let aim = plan.deployment.clone();
                self.set(Phase::Updating { aim, cancellable: self.cancellable }, running, tried);
            }
            (
                Operation::Cancel,
                Some(
                    Phase::Creating { cancellable: true, .. }
                    | Phase::Updating { cancellable: true, .. },
                ),
            ) => {
                self.falling = None;
                self.set(Phase::RollingBack, running, tried);
            }
            (
                Operation::Delete { .. },
                Some(Phase::Up | Phase::Broken | Phase::Stuck { .. } | Phase::Creating { .. }),
            ) => self.set(Phase::Deleting, None, None),
            (Operation::Delete { retain }, Some(Phase::DeletionFailed { failures, .. })) => {
                // What is stuck may be retained only the second time.
                assert!(!retain || failures > 1);
                self.set(Phase::Deleting, None, None);
                self.falling = Some(Attempt {
                    target: Target::stored(format!("deletion {failures}")),
                    commit: commit(0),
                    reason: String::new(),
                });
            }
            (Operation::ContinueRollback, Some(Phase::Stuck { .. })) => {
                self.falling.clone_from(&tried);
                self.set(Phase::RollingBack, running, tried);
            }
            (_, _) => return Outcome::Busy,
        }
        self.began = self.epoch;
        Outcome::Started
    }

    /// The ends that the operation in progress may come to: with no failure first.
    pub(crate) fn ends(&self) -> Vec<World> {
        let Some(stack) = self.stack.stack().cloned() else { return Vec::new() };
        let mut ends = Vec::new();
        let mut end = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            ends.push(world);
        };
        let may_fail = self.failures > 0;
        match stack.phase.clone() {
            Phase::Creating { aim, .. } | Phase::Updating { aim, .. } => {
                let doomed = aim.commit == commit(200);
                let attempt = Attempt {
                    target: aim.target.clone(),
                    commit: aim.commit.clone(),
                    reason: "it failed".to_owned(),
                };
                if !doomed {
                    end(&|world| world.set(Phase::Up, Some(aim.clone()), None));
                }
                if doomed || may_fail {
                    end(&|world| {
                        world.failures -= u8::from(!doomed);
                        world.failed.insert((attempt.target.clone(), world.began));
                        world.tried.insert(attempt.target.clone());
                        match &stack.running {
                            None => world.set(Phase::Broken, None, Some(attempt.clone())),
                            Some(running) => {
                                world.set(Phase::Up, Some(running.clone()), Some(attempt.clone()));
                            }
                        }
                    });
                }
                if may_fail && stack.running.is_some() {
                    end(&|world| {
                        world.failures -= 1;
                        world.failed.insert((attempt.target.clone(), world.began));
                        world.tried.insert(attempt.target.clone());
                        let failed_twice = Phase::Stuck { tries: 0, reason: "stuck".to_owned() };
                        world.set(failed_twice, stack.running.clone(), Some(attempt.clone()));
                    });
                }
            }
            Phase::RollingBack => {
                end(&|world| {
                    let tried = world.falling.take().or_else(|| stack.tried.clone());
                    match &stack.running {
                        None => world.vanish(),
                        Some(running) => world.set(Phase::Up, Some(running.clone()), tried),
                    }
                });
                if may_fail && stack.running.is_some() {
                    end(&|world| {
                        world.failures -= 1;
                        let failed_again = Phase::Stuck { tries: 3, reason: "stuck".to_owned() };
                        world.set(failed_again, stack.running.clone(), stack.tried.clone());
                    });
                }
            }
            Phase::Deleting => {
                end(&World::vanish);
                if may_fail {
                    end(&|world| {
                        world.failures -= 1;
                        let before = world.falling.take().map_or(0, |before| {
                            before.target.as_str().rsplit(' ').next().unwrap().parse().unwrap()
                        });
                        let left = "a thing".to_owned();
                        world.set(Phase::DeletionFailed { failures: before + 1, left }, None, None);
                    });
                }
            }
            Phase::Up | Phase::Broken | Phase::Stuck { .. } | Phase::DeletionFailed { .. } => {}
        }
        ends
    }

    /// What the row's wish comes to now, if its version names anything.
    pub(crate) fn target_now(&self, commit: &Commit) -> Option<Target> {
        let row = self.row.as_ref()?;
        let generation = Generation::of(&row.wish.attributes());
        Some(Target::of(&generation, commit, &settings(self.settings).digest))
    }

    /// Whether this is how a closed repository is answered for the row's wish now.
    pub(crate) fn is_denied(&self, target: &Target) -> bool {
        self.row.as_ref().is_some_and(|row| {
            let generation = Generation::of(&row.wish.attributes());
            let settings = settings(self.settings).digest;
            *target == Target::without_commit(&generation, NoCommit::Denied, &settings)
        })
    }

    /// Whether this target really failed, or was refused.
    pub(crate) fn has_failed(&self, target: &Target) -> bool {
        self.tried.contains(target) || self.refused.contains(target)
    }
}
