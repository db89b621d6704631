//! Two reactors at one row, interleaved at every port call, in a world where everything may go
//! wrong that can: explored to the last state, with the very `reconcile` that runs in production.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "it is a test, and fails by panicking"
)]

mod replay;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use replay::{Answer, Call, Held, Step, step};
use rowhouse_core::{
    Again, Observed, Operation, Outcome, Phase, Resolution, Status, Target, Waking,
};
use world::{Event, Faults, World, WorldRow, commit, settings, wish};

type Log = Vec<Answer<WorldRow>>;

/// Set by `cargo xtask explore`: every world has two reactors and a mishap.
const DEEP: &str = "ROWHOUSE_EXPLORE_DEEP";
/// Of a world in the ordinary run, so that all of them together take less than four minutes on two
/// cores.
const MOST_STATES: usize = 2_000_000;

/// A look under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    waking: Waking,
    settings: u8,
    log: Log,
    /// The row was read after the stack, and a user had removed it.
    sure_of_none: bool,
    /// The row was claimed after the stack was seen.
    claimed: bool,
    /// What had failed when the row was read: whoever was on the way by then may still come too
    /// late.
    failed: BTreeSet<(Target, usize)>,
    /// And which wish was the present one.
    epoch: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// Shared, as the looks are, by the states that differ in something else.
    world: Rc<World>,
    /// How many answers may still be lost, late, refused or stale, and so on.
    mishaps: u8,
    /// How many events of the scenario have happened.
    next: usize,
    rings: [bool; 3],
    looks: [Option<Rc<Look>>; 2],
}

struct Scenario {
    name: &'static str,
    events: Vec<Event>,
    faults: Faults,
    cancellable: bool,
    reactors: usize,
}

fn wakings() -> [Waking; 3] {
    [Waking::Change, Waking::CatchUp, Waking::AskAgain]
}

fn is_deep() -> bool {
    std::env::var_os(DEEP).is_some()
}

/// As good as the thing itself: of a million, two share it once in thirty million explorations.
fn hashed(thing: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    hasher.finish()
}

/// What looks ask next, by their logs: each is run once, however many states it is under way in.
#[derive(Default)]
struct Steps {
    known: RefCell<HashMap<u64, Rc<Step>>>,
}

impl Steps {
    fn after(&self, look: &Look) -> Rc<Step> {
        let key = hashed(&(look.settings, look.waking, &look.log));
        let run = || Rc::new(step(settings(look.settings), look.waking, &look.log, WorldRow::row));
        Rc::clone(self.known.borrow_mut().entry(key).or_insert_with(run))
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.rings == [false; 3]
            && self.looks.iter().all(Option::is_none)
            && !self.world.stack.is_in_progress()
    }

    fn mishap(&self) -> Option<State> {
        let mut state = self.clone();
        state.mishaps = state.mishaps.checked_sub(1)?;
        Some(state)
    }

    /// Every state that may come next.
    fn successors(&self, scenario: &Scenario, steps: &Steps) -> Vec<State> {
        let mut next = Vec::new();
        if let Some(event) = scenario.events.get(self.next) {
            let mut state = self.clone();
            state.next += 1;
            Rc::make_mut(&mut state.world).happen(*event);
            // A moved branch, new settings and another repository ring nobody; the sweeps find
            // them.
            match event {
                Event::Put(_) | Event::Replace(_) | Event::Delete | Event::BranchMoves => {
                    state.rings[0] = true;
                }
                // A start rings every name.
                Event::Lose | Event::Restore => {
                    state.looks = [None, None];
                    state.rings[0] = true;
                }
                Event::RepositoryCloses | Event::Backup => {}
                Event::RepositoryOpens => state.rings[2] = true,
                // Settings belong to a version of the reactor: a new one ends the looks of the old
                // one.
                Event::SettingsChange => {
                    state.looks = [None, None];
                    state.rings = [true, true, false];
                }
            }
            next.push(state);
        }
        for world in self.world.ends() {
            let mut state = State { world: Rc::new(world), ..self.clone() };
            state.rings[0] = true;
            if let Some(mut lost) = state.mishap() {
                lost.rings = self.rings;
                next.push(lost);
            }
            next.push(state);
        }
        for reactor in 0..scenario.reactors {
            match &self.looks[reactor] {
                None => self.begin(reactor, &mut next),
                Some(look) => {
                    self.go_on(reactor, look, steps, &mut next);
                    if let Some(mut crashed) = self.mishap() {
                        crashed.looks[reactor] = None;
                        next.push(crashed);
                    }
                }
            }
        }
        next
    }

    fn begin(&self, reactor: usize, next: &mut Vec<State>) {
        for (ring, waking) in wakings().into_iter().enumerate() {
            if !self.rings[ring] {
                continue;
            }
            let mut state = self.clone();
            state.rings[ring] = false;
            let settings = state.world.settings;
            state.looks[reactor] = Some(Rc::new(Look {
                waking,
                settings,
                log: Vec::new(),
                sure_of_none: false,
                claimed: false,
                failed: BTreeSet::new(),
                epoch: 0,
            }));
            if let Some(mut doubled) = state.mishap() {
                doubled.rings[ring] = true;
                next.push(doubled);
            }
            next.push(state);
        }
    }

    /// One port call of a look, with every answer that the world may give.
    fn go_on(&self, reactor: usize, look: &Look, steps: &Steps, next: &mut Vec<State>) {
        let asked = steps.after(look);
        let mut answer = |mut state: State, answer: Answer<WorldRow>| {
            let look = Rc::make_mut(state.looks[reactor].as_mut().unwrap());
            match &answer {
                Answer::Got(held) => {
                    look.failed.clone_from(&state.world.failed);
                    look.epoch = state.world.epoch;
                    let after_the_stack =
                        look.log.iter().any(|before| matches!(before, Answer::Saw(_)));
                    look.sure_of_none = *held == Held::Removed && after_the_stack;
                }
                Answer::Wrote(written) => look.claimed = written.is_some(),
                _ => {}
            }
            look.log.push(answer);
            next.push(state);
        };
        let call = match &*asked {
            Step::Asks(call) => &**call,
            Step::Ends(end) => {
                let mut state = self.clone();
                state.looks[reactor] = None;
                let again = end.as_ref().map_or(Again::Later, |reconciled| reconciled.again);
                state.rings[0] |= again != Again::No;
                next.push(state);
                return;
            }
        };
        match call {
            Call::Get => {
                let mut state = self.clone();
                if state.world.meets() {
                    Rc::make_mut(&mut state.world).meet();
                }
                let held = state.world.get();
                // Where a table has no tombstones, what never ran may be called so.
                let is_nothing = state.world.meets() && state.world.stack == Observed::Missing;
                assert!(
                    held != Held::Removed || state.world.may_end || is_nothing,
                    "called removed, and no user removed it: {self:#?}"
                );
                answer(state, Answer::Got(held));
                if let (Some(died), Some(world)) = (self.mishap(), self.world.die_meeting()) {
                    answer(State { world: Rc::new(world), ..died }, Answer::Unreachable);
                }
                if let Some(state) = self.mishap() {
                    answer(state, Answer::Unreachable);
                }
            }
            Call::Write { seen, report } => {
                let mut state = self.clone();
                let had_row = state.world.row.is_some();
                let written = Rc::make_mut(&mut state.world).write(seen, report, look.epoch);
                assert_eq!(state.world.row.is_some(), had_row, "a write made a ghost");
                if let Some(lost) = state.mishap() {
                    answer(lost, Answer::Unreachable);
                }
                if let (Some(died), Some(world)) = (self.mishap(), self.world.die_renewing()) {
                    answer(State { world: Rc::new(world), ..died }, Answer::Unreachable);
                }
                answer(state, Answer::Wrote(written));
            }
            Call::Observe => {
                answer(self.clone(), Answer::Saw(self.world.stack.clone()));
                if let Some(state) = self.mishap() {
                    let stale = state.world.stale.clone();
                    answer(state.clone(), Answer::Saw(stale));
                    answer(state, Answer::Unreachable);
                }
            }
            Call::Resolve(version) => {
                answer(self.clone(), Answer::Resolved(self.world.resolve(version)));
                if let Some(state) = self.mishap() {
                    let reason = "the server is gone".to_owned();
                    answer(state, Answer::Resolved(Resolution::Unreachable { reason }));
                }
            }
            Call::Perform { operation, base } => {
                let mut state = self.clone();
                let outcome = Rc::make_mut(&mut state.world).perform(operation, base.as_ref());
                if outcome == Outcome::Started {
                    self.check_start(look, operation);
                }
                if let Some(lost) = state.mishap() {
                    let reason = "the answer was lost".to_owned();
                    answer(lost, Answer::Performed(Outcome::Unreachable { reason }));
                }
                answer(state, Answer::Performed(outcome));
                if let (Some(mut state), Operation::Create(plan) | Operation::Update(plan)) =
                    (self.mishap(), operation)
                {
                    Rc::make_mut(&mut state.world).refused.insert(plan.deployment.target.clone());
                    let reason = "a quota".to_owned();
                    answer(state, Answer::Performed(Outcome::Refused { reason }));
                }
            }
        }
    }

    /// What must hold whenever an operation begins.
    fn check_start(&self, look: &Look, operation: &Operation) {
        let world = &self.world;
        match operation {
            Operation::Delete { .. } => {
                let never_up = world.stack.running().is_none();
                let is_stuck = world
                    .stack
                    .stack()
                    .is_some_and(|stack| matches!(stack.phase, Phase::Stuck { tries: 3.., .. }));
                assert!(
                    look.sure_of_none || look.claimed && (never_up || is_stuck),
                    "deleted without being sure: {self:#?}"
                );
            }
            Operation::Create(plan) | Operation::Update(plan) => {
                assert!(look.claimed, "begun without a claim");
                let again = (plan.deployment.target.clone(), world.epoch);
                assert!(!look.failed.contains(&again), "tried again in vain: {self:#?}");
                // A stack of another commit than the branch's is begun for the sake of a kept
                // commit alone.
                let kept = world.stack.running().map(|running| &running.commit);
                let now = commit(world.branch);
                let of_branch = plan.app.version.as_str() == "main";
                let old = (1..world.branch).map(commit).any(|old| old == plan.deployment.commit);
                assert!(
                    !of_branch || plan.deployment.commit == now || old || kept.is_some(),
                    "a commit that nobody asked for"
                );
            }
            Operation::Cancel => {
                assert!(
                    look.claimed || look.sure_of_none,
                    "cancelled without being sure: {self:#?}"
                );
            }
            Operation::ContinueRollback => {}
        }
    }

    /// Runs everything to its end as a good world would: looks one after the other, operations that
    /// succeed where they can, the full sweep's doorbells.
    fn settle(&self, scenario: &Scenario, steps: &Steps) -> State {
        let mut state = self.clone();
        Rc::make_mut(&mut state.world).failures = 0;
        state.mishaps = 0;
        state.next = scenario.events.len();
        let mut quiet = 0;
        for _ in 0..400 {
            if state.is_quiet() {
                quiet += 1;
                if quiet > 3 {
                    return state;
                }
                // The full sweep: each name, and whoever lags gets its turn.
                state.rings = [true, quiet > 1, quiet > 1];
            }
            let good = Scenario { events: Vec::new(), reactors: 2, ..*scenario };
            let before = (state.world.changes, state.world.row.clone());
            let next = state.successors(&good, steps);
            state = next.into_iter().next().expect("what is not quiet goes on");
            if (state.world.changes, state.world.row.clone()) != before {
                quiet = 0;
            }
        }
        panic!("{}: no rest is found from {self:#?}", scenario.name);
    }

    /// In a quiet state the row tells the truth.
    fn check_truth(&self, scenario: &Scenario) {
        let world = &self.world;
        let name = scenario.name;
        let Some(row) = &world.row else {
            if world.get() == Held::Absent {
                return;
            }
            let gone = match &world.stack {
                Observed::Missing => true,
                Observed::Ours(stack) => {
                    matches!(stack.phase, Phase::DeletionFailed { failures: 3.., .. })
                }
                Observed::Foreign(_) | Observed::Unreadable(_) => false,
            };
            assert!(gone, "{name}: no row, and yet: {self:#?}");
            return;
        };
        let report = &row.report;
        let generation = rowhouse_core::Generation::of(&row.wish.attributes());
        assert_eq!(report.generation.as_ref(), Some(&generation), "{name}: {self:#?}");
        let running = world.stack.running();
        assert_eq!(
            report.revision.as_ref(),
            running.map(|running| &running.commit),
            "{name}: {self:#?}"
        );
        match report.status {
            Some(Status::Invalid) => assert!(!row.wish.is_valid(), "{name}: {self:#?}"),
            Some(Status::Deployed) => {
                let running = running.expect("deployed is what runs");
                assert_eq!(running.generation, generation, "{name}: {self:#?}");
                let target = world.target_now(&running.commit).unwrap();
                let failed_settings = world.has_failed(&target);
                assert!(running.target == target || failed_settings, "{name}: {self:#?}");
                if row.wish.follow && !world.is_closed {
                    assert_eq!(running.commit, commit(world.branch), "{name}: {self:#?}");
                }
            }
            Some(Status::DeployFailed) => {
                let target = report.target.clone().unwrap();
                let names_nothing = row.wish.version == "none";
                let left = world.stack.stack().is_some_and(|stack| {
                    matches!(stack.phase, Phase::DeletionFailed { .. } | Phase::Stuck { .. })
                });
                let failed = world.has_failed(&target);
                // What has become readable goes out by itself.
                let runs = running.is_some_and(|running| running.generation == generation);
                let denied = world.is_closed && world.is_denied(&target) && !runs;
                assert!(names_nothing || left || failed || denied, "{name}: {self:#?}");
                assert!(report.reason.is_some(), "{name}: {self:#?}");
            }
            Some(Status::Deploying) | None => panic!("{name}: not answered: {self:#?}"),
        }
    }
}

/// Explores a scenario to the last state.
fn explore(scenario: &Scenario) {
    explore_from(World::new(scenario.faults.failures, scenario.cancellable), scenario);
}

fn explore_from(world: World, scenario: &Scenario) {
    let first = State {
        world: Rc::new(world),
        mishaps: scenario.faults.mishaps,
        next: 0,
        rings: [false; 3],
        looks: [None, None],
    };
    let steps = Steps::default();
    let mut seen = HashSet::from([hashed(&first)]);
    let mut left = vec![first];
    let mut settled = HashSet::new();
    while let Some(state) = left.pop() {
        let next = state.successors(scenario, &steps);
        // From a quiet state everything must come to the truth, and from every now and then another
        // one too.
        if state.is_quiet() || seen.len().is_multiple_of(64) {
            let mut alone = state.clone();
            alone.next = scenario.events.len();
            if settled.insert(hashed(&alone)) {
                alone.settle(scenario, &steps).check_truth(scenario);
            }
        }
        for state in next {
            if seen.insert(hashed(&state)) {
                left.push(state);
            }
        }
        assert!(
            seen.len() <= MOST_STATES || is_deep(),
            "{}: more than {MOST_STATES} states: make this world smaller, and let `cargo xtask \
             explore` \
             have the deeper one",
            scenario.name
        );
    }
    let (name, states, looks) = (scenario.name, seen.len(), steps.known.borrow().len());
    println!("{name}: {states} states, {looks} looks, {} of them quiet", settled.len());
}

fn faults(failures: u8, mishaps: u8) -> Faults {
    Faults { failures, mishaps: mishaps.max(u8::from(is_deep())) }
}

/// Of a world that is no deeper in the deep run: what is refused while another reactor's operation
/// is under way is asked for once more, since the row then tells of that operation alone.
const SHALLOW: Faults = Faults { failures: 1, mishaps: 0 };

/// How many reactors a world has for which one is enough in the ordinary run.
fn one_reactor() -> usize {
    if is_deep() { 2 } else { 1 }
}

const ONE: Event = Event::Put(wish("tag", 1));

#[test]
fn two_reactors_bring_up_an_app_and_delete_it_whatever_goes_wrong_once() {
    for cancellable in [true, false] {
        explore(&Scenario {
            name: "put, delete",
            events: vec![ONE, Event::Delete],
            faults: faults(1, 1),
            cancellable,
            reactors: 2,
        });
    }
}

#[test]
fn one_reactor_stands_two_failures_and_two_mishaps() {
    for cancellable in [true, false] {
        explore(&Scenario {
            name: "put, change, delete",
            events: vec![ONE, Event::Put(wish("main", 1)), Event::Delete],
            faults: faults(2, 2),
            cancellable,
            reactors: 1,
        });
    }
}

#[test]
fn two_reactors_follow_a_row_there_and_back_again() {
    for cancellable in [true, false] {
        explore(&Scenario {
            name: "a, b, a",
            events: vec![ONE, Event::Put(wish("main", 1)), ONE],
            faults: faults(1, 0),
            cancellable,
            reactors: 2,
        });
    }
}

#[test]
fn a_row_that_is_deleted_and_put_again_at_once_is_what_it_says() {
    for cancellable in [true, false] {
        explore(&Scenario {
            name: "put, delete, put again",
            events: vec![ONE, Event::Delete, Event::Put(wish("main", 2))],
            faults: SHALLOW,
            cancellable,
            reactors: 2,
        });
    }
}

#[test]
fn a_whole_row_replacement_erases_nothing_that_matters() {
    explore(&Scenario {
        name: "put, replace",
        events: vec![ONE, Event::Replace(wish("tag", 1)), Event::Replace(wish("tag", 2))],
        faults: faults(1, 1),
        cancellable: true,
        reactors: one_reactor(),
    });
}

#[test]
fn a_moved_branch_is_shipped_by_follow_and_redeploy_alone() {
    let follow = world::Wish { follow: true, ..wish("main", 1) };
    let again = world::Wish { redeploy: 1, ..wish("main", 2) };
    for events in [
        vec![Event::Put(wish("main", 1)), Event::BranchMoves, Event::Put(wish("main", 2))],
        vec![Event::Put(follow), Event::BranchMoves],
        vec![Event::Put(wish("main", 1)), Event::BranchMoves, Event::Put(again)],
    ] {
        explore(&Scenario {
            name: "a branch moves",
            events,
            faults: faults(1, 1),
            cancellable: true,
            reactors: 1,
        });
    }
}

#[test]
fn a_change_of_scale_keeps_the_commit_of_a_branch_that_has_moved() {
    let scenario = Scenario {
        name: "scale on a moved branch",
        events: vec![Event::Put(wish("main", 1)), Event::BranchMoves, Event::Put(wish("main", 2))],
        faults: faults(0, 0),
        cancellable: true,
        reactors: one_reactor(),
    };
    let mut state = State {
        world: Rc::new(World::new(scenario.faults.failures, true)),
        mishaps: scenario.faults.mishaps,
        next: 0,
        rings: [false; 3],
        looks: [None, None],
    };
    let steps = Steps::default();
    for event in &scenario.events {
        Rc::make_mut(&mut state.world).happen(*event);
        state.rings[0] = true;
        state = state.settle(&scenario, &steps);
    }
    assert_eq!(state.world.stack.running().unwrap().commit, commit(1));
}

#[test]
fn a_version_that_fails_and_one_that_names_nothing_are_told_and_left() {
    for version in ["bad", "none"] {
        let events = vec![ONE, Event::Put(wish(version, 1))];
        explore(&Scenario {
            name: version,
            events,
            faults: faults(0, 1),
            cancellable: true,
            reactors: 2,
        });
    }
}

#[test]
fn a_repository_that_is_closed_is_told_and_what_it_holds_goes_out_once_it_is_open() {
    for follow in [false, true] {
        let main = world::Wish { follow, ..wish("main", 1) };
        for events in [
            vec![Event::RepositoryCloses, Event::Put(main), Event::RepositoryOpens],
            vec![ONE, Event::RepositoryCloses, Event::Put(main), Event::RepositoryOpens],
            vec![Event::Put(main), Event::RepositoryCloses, Event::BranchMoves],
        ] {
            explore(&Scenario {
                name: "a repository closes",
                events,
                faults: faults(0, 1),
                cancellable: true,
                reactors: one_reactor(),
            });
        }
    }
}

#[test]
fn bad_rows_leave_alone_what_runs() {
    explore(&Scenario {
        name: "put, spoil, mend",
        events: vec![ONE, Event::Put(wish("tag", 99)), ONE],
        faults: faults(0, 1),
        cancellable: true,
        reactors: 2,
    });
}

#[test]
fn a_table_that_is_lost_or_an_older_one_ends_nothing_that_no_user_removed() {
    let again = Event::Put(wish("tag", 2));
    for events in [
        vec![ONE, Event::Lose, Event::Delete],
        vec![ONE, Event::Lose, again],
        vec![Event::Backup, ONE, Event::Restore, Event::Delete],
        // In the copy the row is called removed, and was put again since.
        vec![ONE, Event::Delete, Event::Backup, again, Event::Restore],
        // A removal is carried out, also where it is in the copy.
        vec![ONE, Event::Delete, Event::Backup, Event::Lose, Event::Restore],
        vec![ONE, Event::Backup, Event::Delete, Event::Restore, Event::Delete],
    ] {
        for reactors in [1, 2] {
            explore(&Scenario {
                name: "a table is lost",
                events: events.clone(),
                faults: faults(0, if reactors == 1 { 2 } else { 0 }),
                cancellable: reactors == 1,
                reactors,
            });
        }
    }
}

#[test]
fn a_table_that_takes_anothers_place_on_aws_ends_nothing_that_no_user_removed() {
    let (again, spoiled) = (Event::Put(wish("tag", 2)), Event::Put(wish("tag", 99)));
    for events in [
        vec![ONE, Event::Lose, again, Event::Delete],
        // As `rm` does: a row without a wish, and its deletion.
        vec![ONE, Event::Lose, spoiled, Event::Delete],
        vec![Event::Backup, ONE, Event::Restore, Event::Lose],
        vec![ONE, Event::Delete, Event::Backup, again, Event::Restore],
        vec![ONE, Event::Backup, Event::Delete, Event::Restore, Event::Delete],
    ] {
        for reactors in [1, 2] {
            let scenario = Scenario {
                name: "another table on AWS",
                events: events.clone(),
                faults: faults(0, if reactors == 1 { 2 } else { 0 }),
                cancellable: false,
                reactors,
            };
            explore_from(World::new(0, false).by_id(), &scenario);
        }
    }
}

#[test]
fn new_settings_roll_out_by_the_sweep_and_fail_without_harm() {
    explore(&Scenario {
        name: "settings change",
        events: vec![ONE, Event::SettingsChange],
        faults: faults(1, 1),
        cancellable: true,
        reactors: 2,
    });
}
