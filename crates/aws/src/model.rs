//! CloudFormation as AWS documents it, for one stack, in memory: which calls each status allows,
//! what an operation leaves in `Parameters`, `Outputs` and events, and that a token is used once.
//! The emulators get some of this wrong. The rule runs against it from every status;
//! `tests/scenes.txt` is what both it and an emulator must say.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>,
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rowhouse_core::testing::{MemoryTable, TableUser as _, run_at_once};
use rowhouse_core::{
    App, AppName, AppTable as _, Attribute, Base, Commit, Deployment, Generation, Observed,
    Operation, Outcome, Platform, Repository, Resolution, Row, RowKey, Settings, SettingsDigest,
    Source, Status, Target, Unreachable, UserAttributes, Value, Version, Waking, reconcile,
};

use crate::collision::{self, Remembered};
use crate::event::{self, Event};
use crate::priority;
use crate::refusal::Failure;
use crate::stack::{Described, MANAGED_BY};
use crate::status::StackStatus as S;
use crate::token;

const NAME: &str = "shop";

/// How the operations on the stack end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Good,
    /// Rollouts fail and are rolled back.
    Fails,
    /// Rollouts fail, and so does the first rollback of each.
    Sticks,
    /// The first two deletions fail.
    Clings,
}

#[derive(Debug)]
struct World {
    stack: Option<Described>,
    events: Vec<Event>,
    tokens: BTreeSet<String>,
    /// The operation in progress, by its token.
    token: Option<String>,
    ending: Ending,
    clock: i64,
    /// Whether the update in progress was cancelled.
    is_cancelled: bool,
    rollbacks_failed: u32,
    deletions_failed: u32,
    /// Calls that the status at that time does not allow.
    illegal: Vec<String>,
    calls: usize,
    /// The priorities of the rules on the listener that all stacks share.
    rules: Arc<Mutex<BTreeSet<u32>>>,
    /// That of this stack's rule, once it is made.
    rule: Option<u32>,
    /// That which it was created with.
    priority: Option<u32>,
    collisions: Remembered,
}

struct Model(Mutex<World>);

fn refused(code: &str, message: String) -> Failure {
    Failure { code: code.to_owned(), message }
}

impl World {
    fn tell(&mut self, status: S) {
        self.clock += 1;
        self.events.insert(
            0,
            Event {
                logical_id: NAME.to_owned(),
                resource_type: "AWS::CloudFormation::Stack".to_owned(),
                is_of_stack: true,
                status: status.as_str().to_owned(),
                token: self.token.clone(),
                at: self.clock,
                ..Event::default()
            },
        );
        if let Some(stack) = &mut self.stack {
            stack.status = status;
        }
    }

    fn tell_resource(&mut self, status: &str) {
        self.events.insert(
            0,
            Event {
                logical_id: "Instances".to_owned(),
                resource_type: "AWS::AutoScaling::AutoScalingGroup".to_owned(),
                status: status.to_owned(),
                reason: Some("it never answers".to_owned()),
                token: self.token.clone(),
                at: self.clock,
                ..Event::default()
            },
        );
    }

    /// The rule of a new stack; none where another one has its priority.
    fn make_rule(&mut self) -> bool {
        let Some(priority) = self.priority else { return true };
        let is_free = self.rules.lock().unwrap().insert(priority);
        if is_free {
            self.rule = Some(priority);
        } else {
            self.events.insert(
                0,
                Event {
                    logical_id: "ListenerRule".to_owned(),
                    resource_type: "AWS::ElasticLoadBalancingV2::ListenerRule".to_owned(),
                    status: "CREATE_FAILED".to_owned(),
                    reason: Some(format!("Priority '{priority}' is currently in use")),
                    token: self.token.clone(),
                    at: self.clock,
                    ..Event::default()
                },
            );
        }
        is_free
    }

    fn status(&self) -> Option<S> {
        self.stack.as_ref().map(|stack| stack.status)
    }

    /// A call under a token that is legal in these statuses.
    fn call(&mut self, call: &str, token: &str, legal: &[S]) -> Result<(), Failure> {
        self.calls += 1;
        if !self.tokens.insert(token.to_owned()) {
            let message = "A client request token already exists".to_owned();
            return Err(refused("TokenAlreadyExistsException", message));
        }
        let Some(status) = self.status() else {
            return Err(refused("ValidationError", format!("Stack [{NAME}] does not exist")));
        };
        if !legal.contains(&status) {
            self.illegal.push(format!("{call} in {}", status.as_str()));
            let message =
                format!("Stack:arn is in {} state and can not be updated.", status.as_str());
            return Err(refused("ValidationError", message));
        }
        self.token = Some(token.to_owned());
        Ok(())
    }

    fn create(&mut self, deployment: &Deployment, token: &str) -> Result<(), Failure> {
        self.calls += 1;
        if self.stack.is_some() {
            return Err(refused(
                "AlreadyExistsException",
                format!("Stack [{NAME}] already exists"),
            ));
        }
        assert!(self.tokens.insert(token.to_owned()), "a creation's token is new");
        self.clock += 1;
        self.events.clear();
        self.stack = Some(stack(S::CreateInProgress, Some(deployment), None, self.clock));
        self.token = Some(token.to_owned());
        self.tell(S::CreateInProgress);
        Ok(())
    }

    fn update(&mut self, deployment: &Deployment, token: &str) -> Result<(), Failure> {
        let legal = [
            S::CreateComplete,
            S::UpdateComplete,
            S::UpdateRollbackComplete,
            S::ImportComplete,
            S::ImportRollbackComplete,
        ];
        self.call("UpdateStack", token, &legal)?;
        self.clock += 1;
        let clock = self.clock;
        if let Some(stack) = &mut self.stack {
            if stack.parameters == parameters(deployment) {
                let message = "No updates are to be performed.".to_owned();
                return Err(refused("ValidationError", message));
            }
            stack.parameters = parameters(deployment);
            stack.updated = Some(clock.to_string());
            stack.began = clock;
        }
        self.rollbacks_failed = 0;
        self.is_cancelled = false;
        self.tell(S::UpdateInProgress);
        Ok(())
    }

    fn cancel(&mut self, token: &str) -> Result<(), Failure> {
        self.call("CancelUpdateStack", token, &[S::UpdateInProgress])?;
        self.is_cancelled = true;
        Ok(())
    }

    fn delete(&mut self, token: &str) -> Result<(), Failure> {
        if self.stack.is_none() {
            self.calls += 1;
            return Ok(());
        }
        let illegal = [
            S::UpdateInProgress,
            S::UpdateCompleteCleanupInProgress,
            S::UpdateRollbackInProgress,
            S::UpdateRollbackCompleteCleanupInProgress,
        ];
        let legal: Vec<S> = S::ALL.into_iter().filter(|status| !illegal.contains(status)).collect();
        self.call("DeleteStack", token, &legal)?;
        self.clock += 1;
        let clock = self.clock;
        if let Some(stack) = &mut self.stack {
            stack.deleted = Some(clock.to_string());
        }
        self.tell(S::DeleteInProgress);
        Ok(())
    }

    fn continue_rollback(&mut self, token: &str) -> Result<(), Failure> {
        self.call("ContinueUpdateRollback", token, &[S::UpdateRollbackFailed, S::UpdateFailed])?;
        self.tell(S::UpdateRollbackInProgress);
        Ok(())
    }

    /// What is in progress goes on by one status.
    fn step(&mut self) {
        let Some(status) = self.status() else { return };
        match status {
            S::CreateInProgress if !self.make_rule() => self.tell(S::RollbackInProgress),
            S::CreateInProgress if self.ending == Ending::Good || self.ending == Ending::Clings => {
                self.complete();
                self.tell(S::CreateComplete);
            }
            S::CreateInProgress => {
                self.tell_resource("CREATE_FAILED");
                self.tell(S::RollbackInProgress);
            }
            S::RollbackInProgress => self.tell(S::RollbackComplete),
            S::UpdateInProgress if self.is_cancelled => self.tell(S::UpdateRollbackInProgress),
            S::UpdateInProgress if self.ending == Ending::Good || self.ending == Ending::Clings => {
                self.complete();
                self.tell(S::UpdateCompleteCleanupInProgress);
            }
            S::UpdateInProgress => {
                self.tell_resource("UPDATE_FAILED");
                self.tell(S::UpdateRollbackInProgress);
            }
            S::UpdateCompleteCleanupInProgress => self.tell(S::UpdateComplete),
            S::UpdateRollbackInProgress
                if self.ending == Ending::Sticks && self.rollbacks_failed == 0 =>
            {
                self.rollbacks_failed += 1;
                self.tell(S::UpdateRollbackFailed);
            }
            S::UpdateRollbackInProgress => {
                if let Some(stack) = &mut self.stack {
                    stack.parameters = stack.outputs.clone();
                }
                self.tell(S::UpdateRollbackCompleteCleanupInProgress);
            }
            S::UpdateRollbackCompleteCleanupInProgress => self.tell(S::UpdateRollbackComplete),
            S::DeleteInProgress if self.ending == Ending::Clings && self.deletions_failed < 2 => {
                self.deletions_failed += 1;
                self.tell_resource("DELETE_FAILED");
                self.tell(S::DeleteFailed);
            }
            S::DeleteInProgress => {
                if let Some(rule) = self.rule.take() {
                    self.rules.lock().unwrap().remove(&rule);
                }
                self.stack = None;
                self.events.clear();
                self.deletions_failed = 0;
            }
            S::ImportInProgress => {
                self.complete();
                self.tell(S::ImportComplete);
            }
            S::ImportRollbackInProgress => {
                if let Some(stack) = &mut self.stack {
                    stack.parameters = stack.outputs.clone();
                }
                self.tell(S::ImportRollbackComplete);
            }
            S::ReviewInProgress
            | S::CreateComplete
            | S::CreateFailed
            | S::RollbackComplete
            | S::RollbackFailed
            | S::UpdateComplete
            | S::UpdateFailed
            | S::UpdateRollbackComplete
            | S::UpdateRollbackFailed
            | S::DeleteFailed
            | S::DeleteComplete
            | S::ImportComplete
            | S::ImportRollbackFailed
            | S::ImportRollbackComplete => {}
        }
    }

    fn complete(&mut self) {
        if let Some(stack) = &mut self.stack {
            stack.outputs = stack.parameters.clone();
        }
    }
}

impl Platform for Model {
    fn settings(&self) -> Settings {
        Settings::for_tests()
    }

    async fn observe(&self, _: &AppName) -> Result<Observed, Unreachable> {
        let world = self.0.lock().unwrap();
        Ok(world.stack.as_ref().map_or(Observed::Missing, |stack| {
            let events = if stack.needs_events(world.clock) { &world.events[..] } else { &[] };
            let mut observed = stack.observed(events, world.clock);
            if let (Observed::Ours(ours), Some(one)) =
                (&mut observed, event::past(events).collision)
            {
                ours.tried = world.collisions.tried(&one, &stack.id);
            }
            observed
        }))
    }

    async fn resolve(&self, _: &Repository, version: &Version) -> Resolution {
        Resolution::Known(Commit::parse(version.as_str()).unwrap())
    }

    async fn perform(&self, name: &AppName, operation: Operation, base: Option<Base>) -> Outcome {
        let mut world = self.0.lock().unwrap();
        let base = base.unwrap_or_else(|| Base::of("", &world.clock.to_string()));
        let performed = match operation {
            Operation::Create(plan) => {
                let deployment = &plan.deployment;
                let token = token::rollout("create", &deployment.target, &deployment.commit, &base);
                let used = world.rules.lock().unwrap().clone();
                world.priority = priority::choose(name, &used);
                world.create(deployment, &token)
            }
            Operation::Update(plan) => {
                let deployment = &plan.deployment;
                let token = token::rollout("update", &deployment.target, &deployment.commit, &base);
                world.update(deployment, &token)
            }
            Operation::Cancel => world.cancel(&token::step("cancel", &base)),
            Operation::Delete { .. } => {
                let noted = event::past(&world.events).collision.zip(world.stack.as_ref());
                if let Some((one, stack)) = noted {
                    let key = collision::key(name, &one.attempt.target, &stack.id);
                    let now = world.clock;
                    world.collisions.0.push((key, now));
                }
                world.delete(&token::step("delete", &base))
            }
            Operation::ContinueRollback => world.continue_rollback(&token::step("continue", &base)),
        };
        performed.map_or_else(|failure| failure.outcome("cannot do it"), |()| Outcome::Started)
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        Ok(Vec::new())
    }
}

fn parameters(deployment: &Deployment) -> BTreeMap<String, String> {
    [
        ("Target", deployment.target.as_str()),
        ("Generation", deployment.generation.as_str()),
        ("Source", deployment.source.as_str()),
        ("Commit", deployment.commit.as_str()),
        ("Settings", deployment.settings.as_str()),
        ("Scale", "1"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn stack(
    status: S,
    aim: Option<&Deployment>,
    running: Option<&Deployment>,
    clock: i64,
) -> Described {
    Described {
        id: format!("arn:aws:cloudformation:eu-west-1:1:stack/demo-app-{NAME}/{clock}"),
        name: format!("demo-app-{NAME}"),
        status,
        status_reason: None,
        created: clock.to_string(),
        updated: None,
        deleted: None,
        began: clock,
        parameters: aim.map(parameters).unwrap_or_default(),
        outputs: running.map(parameters).unwrap_or_default(),
        tags: [(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into(),
    }
}

fn wish(digit: char) -> UserAttributes {
    [
        (Attribute::Version, Value::Text(digit.to_string().repeat(40))),
        (Attribute::Scale, Value::Whole(1)),
    ]
    .into()
}

fn deployment(digit: char) -> Deployment {
    let (user, settings) = (wish(digit), Settings::for_tests());
    let generation = Generation::of(&user);
    let commit = Commit::parse(&digit.to_string().repeat(40)).unwrap();
    let row = Row {
        key: RowKey(NAME.to_owned()),
        user,
        report: rowhouse_core::Report::default(),
        seq: 0,
    };
    let app = App::parse(&row, &settings).unwrap();
    Deployment {
        target: Target::of(&generation, &commit, &settings.digest),
        generation,
        source: Source::of(&app),
        commit,
        settings: SettingsDigest::of("test"),
    }
}

/// A stack in that status whose last rollout aimed at `b`, after `a` had come up where anything
/// could.
fn world(status: S, ending: Ending) -> World {
    let (before, aim) = (deployment('a'), deployment('b'));
    let never_up = matches!(
        status,
        S::ReviewInProgress
            | S::CreateInProgress
            | S::CreateFailed
            | S::RollbackInProgress
            | S::RollbackComplete
            | S::RollbackFailed
    );
    let is_complete = matches!(
        status,
        S::CreateComplete
            | S::UpdateComplete
            | S::ImportComplete
            | S::UpdateCompleteCleanupInProgress
    );
    let is_back = matches!(
        status,
        S::UpdateRollbackComplete
            | S::ImportRollbackComplete
            | S::UpdateRollbackCompleteCleanupInProgress
    );
    let parameters = if is_back { &before } else { &aim };
    let parameters = (status != S::ReviewInProgress).then_some(parameters);
    let outputs = (!never_up).then_some(if is_complete { &aim } else { &before });
    let is_deleted = status == S::DeleteComplete;
    let mut world = World {
        stack: (!is_deleted).then(|| stack(status, parameters, outputs, 1)),
        events: Vec::new(),
        tokens: BTreeSet::new(),
        token: Some(token::rollout(
            if never_up { "create" } else { "update" },
            &aim.target,
            &aim.commit,
            &Base::of("then", "1"),
        )),
        ending,
        clock: 1,
        is_cancelled: false,
        rollbacks_failed: 0,
        deletions_failed: u32::from(status == S::DeleteFailed),
        illegal: Vec::new(),
        calls: 0,
        rules: Arc::default(),
        rule: None,
        priority: None,
        collisions: Remembered::default(),
    };
    if status.has_failed() && status != S::DeleteFailed {
        world.tell_resource("UPDATE_FAILED");
    }
    if !is_deleted {
        world.tell(status);
    }
    world
}

/// Looks and lets time pass until nothing changes any more.
fn settle(model: &Model, table: &MemoryTable) -> bool {
    let key = RowKey(NAME.to_owned());
    for _ in 0..60 {
        let before = format!("{:?} {:?}", model.0.lock().unwrap(), run_at_once(table.get(&key)));
        let looked = run_at_once(reconcile(&key, Waking::Change, table, model));
        assert!(looked.is_ok());
        model.0.lock().unwrap().step();
        let after = format!("{:?} {:?}", model.0.lock().unwrap(), run_at_once(table.get(&key)));
        if before == after {
            return true;
        }
    }
    false
}

#[test]
fn from_every_status_the_rule_comes_to_rest_by_calls_that_aws_allows_and_says_what_is_true() {
    for ending in [Ending::Good, Ending::Fails, Ending::Sticks, Ending::Clings] {
        for status in S::ALL {
            for wanted in [None, Some('a'), Some('b'), Some('c')] {
                let case = format!("{} {ending:?} {wanted:?}", status.as_str());
                let model = Model(Mutex::new(world(status, ending)));
                let table = MemoryTable::default();
                table.replace(NAME, &wish(wanted.unwrap_or('a')));
                if wanted.is_none() {
                    table.delete(NAME);
                }
                assert!(settle(&model, &table), "{case}: it never comes to rest");
                let calls = model.0.lock().unwrap().calls;
                assert!(settle(&model, &table));
                let world = model.0.lock().unwrap();
                assert_eq!(world.calls, calls, "{case}: it does not rest");
                assert!(world.illegal.is_empty(), "{case}: {:?}", world.illegal);
                let row = run_at_once(table.get(&RowKey(NAME.to_owned()))).unwrap().row();
                check(&case, &world, wanted, row.as_ref());
            }
        }
    }
}

fn check(case: &str, world: &World, wanted: Option<char>, row: Option<&Row>) {
    let Some(digit) = wanted else {
        assert!(row.is_none() && world.stack.is_none(), "{case}: {world:?}");
        return;
    };
    let report = &row.expect("nobody deleted it").report;
    let target = deployment(digit).target;
    let runs = world.stack.as_ref().and_then(|stack| stack.outputs.get("Target").cloned());
    let runs_it = runs.as_deref() == Some(target.as_str());
    match report.status {
        Some(Status::Deployed) => assert!(runs_it, "{case}: the row lies: {report:?} {world:?}"),
        Some(Status::DeployFailed) => {
            assert!(!runs_it && report.reason.is_some(), "{case}: {report:?} {world:?}");
            // `b` was what had failed before, where anything had.
            let may_fail = matches!(world.ending, Ending::Fails | Ending::Sticks) || digit == 'b';
            assert!(may_fail, "{case}: {report:?} {world:?}");
        }
        Some(Status::Deploying | Status::Invalid) | None => {
            panic!("{case}: it rests, and the row says {:?}", report.status)
        }
    }
    let revision = report.revision.as_ref().map(Commit::as_str);
    let serves = world.stack.as_ref().and_then(|stack| stack.outputs.get("Commit"));
    assert_eq!(revision, serves.map(String::as_str), "{case}");
}

/// Two names whose apps would take the same priority on an empty listener.
fn two_that_collide() -> [String; 2] {
    let mut seen = BTreeMap::new();
    for number in 0.. {
        let name = format!("app-{number}");
        let first = priority::choose(&AppName::parse(&name).unwrap(), &BTreeSet::new());
        if let Some(other) = seen.insert(first, name.clone()) {
            return [other, name];
        }
    }
    unreachable!("there are fewer priorities than names")
}

/// Empty places for stacks on one listener.
fn houses<const COUNT: usize>() -> [Model; COUNT] {
    let rules = Arc::<Mutex<BTreeSet<u32>>>::default();
    std::array::from_fn(|_| {
        let empty = world(S::DeleteComplete, Ending::Good);
        Model(Mutex::new(World { rules: Arc::clone(&rules), ..empty }))
    })
}

#[test]
fn two_apps_that_choose_the_same_priority_at_once_both_come_up() {
    let (names, models, table) = (two_that_collide(), houses::<2>(), MemoryTable::default());
    for name in &names {
        table.replace(name, &wish('a'));
    }
    for _ in 0..20 {
        for (name, model) in names.iter().zip(&models) {
            let key = RowKey(name.clone());
            assert!(run_at_once(reconcile(&key, Waking::Change, &table, model)).is_ok());
        }
        for model in &models {
            model.0.lock().unwrap().step();
        }
    }
    for (name, model) in names.iter().zip(&models) {
        let row = run_at_once(table.get(&RowKey(name.clone()))).unwrap().row().unwrap();
        assert_eq!(row.report.status, Some(Status::Deployed), "{name}: {:?}", row.report);
        assert!(model.0.lock().unwrap().illegal.is_empty());
    }
    let calls: Vec<usize> = models.iter().map(|model| model.0.lock().unwrap().calls).collect();
    assert_eq!(calls, [1, 3], "the second one is deleted and created once more");
}

#[test]
fn an_app_whose_priority_others_take_each_time_is_told_so_after_three_tries() {
    let ([model], table) = (houses::<1>(), MemoryTable::default());
    table.replace(NAME, &wish('a'));
    let key = RowKey(NAME.to_owned());
    for _ in 0..40 {
        assert!(run_at_once(reconcile(&key, Waking::Change, &table, &model)).is_ok());
        let mut world = model.0.lock().unwrap();
        // Somebody else's rule is there first, each time.
        if world.status() == Some(S::CreateInProgress) {
            let taken = world.priority.unwrap();
            world.rules.lock().unwrap().insert(taken);
        }
        world.step();
    }
    let row = run_at_once(table.get(&key)).unwrap().row().unwrap();
    let world = model.0.lock().unwrap();
    assert_eq!(
        (row.report.status, world.status()),
        (Some(Status::DeployFailed), Some(S::RollbackComplete))
    );
    let reason = row.report.reason.unwrap();
    assert!(
        reason.contains("is currently in use") && reason.contains("3 times in a row"),
        "{reason}"
    );
    assert_eq!(world.calls, 5, "three creations, and two deletions between them");
}

/// What the model answers to a call of a scene.
fn asked(world: &mut World, call: &str) -> String {
    let (verb, digit) = call.split_once(' ').unwrap_or((call, ""));
    let base = Base::of("scene", &world.calls.to_string());
    let answer = match (verb, digit.chars().next()) {
        ("create" | "update", Some(digit)) => {
            let aim = deployment(digit);
            let token = token::rollout(verb, &aim.target, &aim.commit, &base);
            let asked = if verb == "create" {
                world.create(&aim, &token)
            } else {
                world.update(&aim, &token)
            };
            if asked.is_ok() {
                world.ending = if digit == '0' { Ending::Fails } else { Ending::Good };
            }
            asked
        }
        ("cancel", _) => world.cancel(&token::step("cancel", &base)),
        ("continue", _) => world.continue_rollback(&token::step("continue", &base)),
        ("delete", _) => world.delete(&token::step("delete", &base)),
        ("let", _) => {
            // What waited goes on.
            world.step();
            Ok(())
        }
        other => panic!("{other:?} is no call"),
    };
    answer.map_or_else(|failure| failure.code, |()| "ok".to_owned())
}

#[test]
fn the_model_says_what_an_emulator_says() {
    let mut world = world(S::DeleteComplete, Ending::Good);
    let mut before = 0;
    for line in include_str!("../tests/scenes.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let call = line.split(" | ").next().unwrap();
        let answer = asked(&mut world, call);
        let commit = |values: Option<&BTreeMap<String, String>>| {
            values
                .and_then(|values| values.get("Commit"))
                .map_or("-".to_owned(), |it| it[..1].into())
        };
        loop {
            let status = world.status();
            let aim = commit(world.stack.as_ref().map(|stack| &stack.parameters));
            let waits = aim == "1" && status == Some(S::UpdateInProgress) && !world.is_cancelled;
            if !waits {
                world.step();
            }
            if world.status() == status {
                break;
            }
        }
        let stack = world.stack.as_ref();
        let own = world.events.iter().rev().filter(|event| event.is_of_stack);
        let told: Vec<&str> =
            own.map(|event| event.status.as_str()).filter(|it| !it.contains("_CLEANUP_")).collect();
        let shown = [
            call.to_owned(),
            answer,
            stack.map_or("-", |stack| stack.status.as_str()).to_owned(),
            commit(stack.map(|stack| &stack.parameters)),
            commit(stack.map(|stack| &stack.outputs)),
        ];
        let news = told[before.min(told.len())..].join(" ");
        before = told.len();
        assert_eq!(format!("{} | {news}", shown.join(" | ")).trim_end(), line.trim_end());
    }
}
