//! The platform in memory, and the suite that every platform must pass.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Mutex;

use crate::app::App;
use crate::attribute::{Attribute, UserAttributes, Value};
use crate::commit::Commit;
use crate::digest::{Base, Source, Target};
use crate::name::AppName;
use crate::operation::{Operation, Plan};
use crate::outcome::{Outcome, Resolution, Unreachable};
use crate::platform::Platform;
use crate::repository::Repository;
use crate::row::{Report, Row};
use crate::settings::Settings;
use crate::stack::{Attempt, Deployment, Observed, Phase, Stack};
use crate::testing::lock::lock;
use crate::version::Version;

/// What a plan of the suite does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Comes up; two of different numbers are different versions.
    Good(u8),
    /// Never comes up.
    Bad,
    /// Is on its way until it is cancelled.
    Hanging,
}

/// How the suite drives a platform.
pub trait PlatformDriver {
    /// The repository and the commit of a version of this kind.
    fn version(&self, kind: Kind) -> (String, Commit);

    /// Waits until nothing is in progress under this name.
    fn quiet(&self, name: &AppName) -> impl Future<Output = ()>;

    /// Whether a creation can be cancelled. Where it cannot, one that hangs is brought to its end
    /// by `quiet`.
    fn cancels_creations(&self) -> bool {
        true
    }
}

/// A complete plan, as `reconcile` makes one.
pub fn plan(name: &AppName, repository: &str, commit: &Commit, settings: &Settings) -> Plan {
    let user = UserAttributes::from([
        (Attribute::Version, Value::Text(commit.as_str().to_owned())),
        (Attribute::Scale, Value::Whole(1)),
        (Attribute::Repo, Value::Text(repository.to_owned())),
    ]);
    let row = Row { key: name.key(), user, report: Report::default(), seq: 0 };
    let generation = row.generation();
    let app = App::parse(&row, settings).unwrap_or_else(|invalid| panic!("{invalid}"));
    let deployment = Deployment {
        target: Target::of(&generation, commit, &settings.digest),
        generation,
        source: Source::of(&app),
        commit: commit.clone(),
        settings: settings.digest.clone(),
    };
    Plan { app, deployment }
}

/// A platform in memory. What is started stays in progress until `step`.
#[derive(Debug, Default)]
pub struct MemoryPlatform {
    stacks: Mutex<BTreeMap<AppName, Stack>>,
    operations: Mutex<u64>,
}

impl MemoryPlatform {
    /// Brings everything in progress to its end; commits of zeros never come up, those of ones
    /// hang.
    pub fn step(&self) {
        let stacks: Vec<(AppName, Stack)> =
            lock(&self.stacks).iter().map(|(name, stack)| (name.clone(), stack.clone())).collect();
        for (name, stack) in stacks {
            let hangs = stack.phase.aim().is_some_and(|aim| aim.commit.as_str().starts_with('1'));
            if stack.phase.is_in_progress() && !hangs {
                self.end(&name, stack);
            }
        }
    }

    fn end(&self, name: &AppName, stack: Stack) {
        let aim = stack.phase.aim().cloned();
        match aim {
            None if stack.phase == Phase::Deleting || stack.running.is_none() => {
                lock(&self.stacks).remove(name);
            }
            None => self.put(name, Phase::Up, stack.running, stack.tried),
            Some(aim) if aim.commit.as_str().starts_with('0') => {
                let phase = if stack.running.is_some() { Phase::Up } else { Phase::Broken };
                let reason = "it never comes up".to_owned();
                let tried = Attempt { target: aim.target, commit: aim.commit, reason };
                self.put(name, phase, stack.running, Some(tried));
            }
            Some(aim) => self.put(name, Phase::Up, Some(aim), None),
        }
    }

    fn put(
        &self,
        name: &AppName,
        phase: Phase,
        running: Option<Deployment>,
        tried: Option<Attempt>,
    ) {
        let mut operations = lock(&self.operations);
        *operations += 1;
        let healthy = u32::from(running.is_some());
        let base = Base::of(name.as_str(), &operations.to_string());
        let stack = Stack { base, phase, running, tried, url: None, healthy, trouble: None };
        lock(&self.stacks).insert(name.clone(), stack);
    }
}

impl Platform for MemoryPlatform {
    fn settings(&self) -> Settings {
        Settings::for_tests()
    }

    async fn observe(&self, name: &AppName) -> Result<Observed, Unreachable> {
        let stacks = lock(&self.stacks);
        Ok(stacks
            .get(name)
            .map_or(Observed::Missing, |stack| Observed::Ours(Box::new(stack.clone()))))
    }

    async fn resolve(&self, _: &Repository, version: &Version) -> Resolution {
        version.commit().map_or_else(
            || Resolution::NoSuchVersion { reason: "there are only commits here".to_owned() },
            Resolution::Known,
        )
    }

    async fn perform(&self, name: &AppName, operation: Operation, base: Option<Base>) -> Outcome {
        let stack = lock(&self.stacks).get(name).cloned();
        if stack.as_ref().map(|stack| &stack.base) != base.as_ref() {
            return Outcome::Busy;
        }
        let (running, tried) = stack
            .as_ref()
            .map_or((None, None), |stack| (stack.running.clone(), stack.tried.clone()));
        let phase = match (operation, stack.map(|stack| stack.phase)) {
            (Operation::Create(plan), None) => {
                Phase::Creating { aim: plan.deployment, cancellable: true }
            }
            (Operation::Update(plan), Some(Phase::Up)) => {
                Phase::Updating { aim: plan.deployment, cancellable: true }
            }
            (Operation::Cancel, Some(Phase::Creating { .. } | Phase::Updating { .. })) => {
                Phase::RollingBack
            }
            (Operation::Delete { .. }, Some(Phase::Up | Phase::Broken)) => Phase::Deleting,
            (_, _) => return Outcome::Busy,
        };
        self.put(name, phase, running, tried);
        Outcome::Started
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        let stacks = lock(&self.stacks);
        let all = stacks.iter();
        Ok(all
            .map(|(name, stack)| (name.clone(), Observed::Ours(Box::new(stack.clone()))))
            .collect())
    }
}

impl PlatformDriver for MemoryPlatform {
    fn version(&self, kind: Kind) -> (String, Commit) {
        let digit = match kind {
            Kind::Good(number) => format!("{:x}", 2 + number % 14),
            Kind::Bad => "0".to_owned(),
            Kind::Hanging => "1".to_owned(),
        };
        let commit = Commit::parse(&digit.repeat(40));
        ("/srv/a".to_owned(), commit.unwrap_or_else(|| panic!("`{digit}` is a hex digit")))
    }

    async fn quiet(&self, _: &AppName) {
        self.step();
    }
}

/// Checks what can be said of every platform. Panics where something does not hold.
pub async fn platform_contract(platform: &impl Platform, driver: &impl PlatformDriver) {
    let name = AppName::parse("contract").unwrap_or_else(|reason| panic!("{reason}"));
    let suite = Suite { platform, driver, name };
    suite.what_is_missing_can_only_be_created().await;
    suite.each_operation_is_performed_once_on_the_stack_that_was_seen().await;
    suite.what_failed_is_shown_as_tried_and_what_was_cancelled_is_not().await;
    suite.what_is_deleted_is_gone().await;
    suite.what_never_came_up_is_broken_and_what_was_cancelled_before_leaves_nothing().await;
}

struct Suite<'a, P, D> {
    platform: &'a P,
    driver: &'a D,
    name: AppName,
}

impl<P: Platform, D: PlatformDriver> Suite<'_, P, D> {
    fn plan(&self, kind: Kind) -> Box<Plan> {
        let (repository, commit) = self.driver.version(kind);
        Box::new(plan(&self.name, &repository, &commit, &self.platform.settings()))
    }

    async fn look(&self) -> Observed {
        let observed = self.platform.observe(&self.name).await;
        observed.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn stack(&self) -> Stack {
        match self.look().await {
            Observed::Ours(stack) => *stack,
            other @ (Observed::Missing | Observed::Foreign(_) | Observed::Unreadable(_)) => {
                panic!("{other:?} is no stack")
            }
        }
    }

    async fn perform(&self, operation: Operation, base: Option<Base>) -> Outcome {
        self.platform.perform(&self.name, operation, base).await
    }

    async fn run(&self, operation: Operation) {
        let base = self.look().await.stack().map(|stack| stack.base.clone());
        assert_eq!(self.perform(operation, base).await, Outcome::Started);
        self.driver.quiet(&self.name).await;
    }

    async fn what_is_missing_can_only_be_created(&self) {
        assert_eq!(self.look().await, Observed::Missing);
        let good = self.plan(Kind::Good(0));
        for operation in [
            Operation::Update(good.clone()),
            Operation::Cancel,
            Operation::Delete { retain: false },
            Operation::ContinueRollback,
        ] {
            assert_eq!(self.perform(operation, None).await, Outcome::Busy);
        }
        assert_eq!(self.perform(Operation::Create(good.clone()), None).await, Outcome::Started);
        // The answer to an operation is never older than the operation.
        let stack = self.stack().await;
        let aim = stack.phase.aim().or(stack.running.as_ref());
        assert_eq!(aim, Some(&good.deployment));
        assert_eq!(self.perform(Operation::Create(good.clone()), None).await, Outcome::Busy);
        self.driver.quiet(&self.name).await;
        let stack = self.stack().await;
        assert_eq!(
            (stack.phase, stack.running, stack.tried),
            (Phase::Up, Some(good.deployment), None)
        );
    }

    async fn each_operation_is_performed_once_on_the_stack_that_was_seen(&self) {
        let seen = self.stack().await.base;
        let update = Operation::Update(self.plan(Kind::Good(1)));
        assert_eq!(self.perform(update.clone(), Some(seen.clone())).await, Outcome::Started);
        assert_eq!(self.perform(update.clone(), Some(seen.clone())).await, Outcome::Busy);
        self.driver.quiet(&self.name).await;
        assert_eq!(self.perform(update, Some(seen)).await, Outcome::Busy, "an old base is used up");
        let stack = self.stack().await;
        assert_eq!(stack.running, Some(self.plan(Kind::Good(1)).deployment));
        let listed = self.platform.list().await.unwrap_or_else(|error| panic!("{error}"));
        let listed = listed.into_iter().find(|(name, _)| *name == self.name);
        assert_eq!(listed.map(|(_, observed)| observed), Some(self.look().await));
    }

    async fn what_failed_is_shown_as_tried_and_what_was_cancelled_is_not(&self) {
        let before = self.stack().await;
        let bad = self.plan(Kind::Bad);
        self.run(Operation::Update(bad.clone())).await;
        let after = self.stack().await;
        assert_eq!((&after.phase, &after.running), (&Phase::Up, &before.running));
        assert_ne!(after.base, before.base);
        let Some(tried) = after.tried.clone() else { panic!("it was tried") };
        assert_eq!(
            (&tried.target, &tried.commit),
            (&bad.deployment.target, &bad.deployment.commit)
        );
        assert!(!tried.reason.is_empty());

        let hanging = Operation::Update(self.plan(Kind::Hanging));
        let base = Some(after.base.clone());
        assert_eq!(self.perform(hanging, base).await, Outcome::Started);
        self.run(Operation::Cancel).await;
        let cancelled = self.stack().await;
        assert_eq!((&cancelled.phase, &cancelled.running), (&Phase::Up, &before.running));
        assert_eq!(cancelled.tried, after.tried, "what a cancel ended was not tried");

        self.run(Operation::Update(self.plan(Kind::Good(0)))).await;
        assert_eq!(self.stack().await.tried, None, "the last one succeeded");
    }

    async fn what_is_deleted_is_gone(&self) {
        self.run(Operation::Delete { retain: false }).await;
        assert_eq!(self.look().await, Observed::Missing);
        let listed = self.platform.list().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(listed.iter().all(|(name, _)| *name != self.name));
    }

    async fn what_never_came_up_is_broken_and_what_was_cancelled_before_leaves_nothing(&self) {
        let bad = self.plan(Kind::Bad);
        self.run(Operation::Create(bad.clone())).await;
        let stack = self.stack().await;
        assert_eq!((stack.phase, stack.running), (Phase::Broken, None));
        assert_eq!(stack.tried.map(|tried| tried.target), Some(bad.deployment.target));
        self.run(Operation::Delete { retain: false }).await;
        assert_eq!(self.look().await, Observed::Missing);

        let hanging = Operation::Create(self.plan(Kind::Hanging));
        assert_eq!(self.perform(hanging, None).await, Outcome::Started);
        if self.driver.cancels_creations() {
            self.run(Operation::Cancel).await;
        } else {
            let seen = self.stack().await;
            let says = matches!(seen.phase, Phase::Creating { cancellable: false, .. });
            assert!(says, "it says so: {:?}", seen.phase);
            assert_eq!(self.perform(Operation::Cancel, Some(seen.base)).await, Outcome::Busy);
            self.driver.quiet(&self.name).await;
            self.run(Operation::Delete { retain: false }).await;
        }
        assert_eq!(self.look().await, Observed::Missing);
    }
}
