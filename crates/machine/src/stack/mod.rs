//! The stack of an app on this machine: what the journal remembers of it, and the translation into
//! the reactor's words.

pub(crate) mod adoption;
pub(crate) mod answer;
mod care;
mod failure;
mod job;
pub mod journal;
mod live;
mod operation;
pub(crate) mod platform;
mod preparation;
mod retire;
mod rollout;
mod scene;
pub(crate) mod stacks;
pub(crate) mod tidy;
mod trial;

use rowhouse_core::{AppName, Attempt, Base, Commit, HttpProtocol, Observed, Phase, Plan, Stack};
use serde::{Deserialize, Serialize};

use crate::build::request::BuildKey;
use crate::digest::digest;
use crate::instance::InstanceId;

/// Which instances are alike: digest of all that an instance is made from. A change of `Scale`
/// leaves it as it is, so it touches no running instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceDigest(pub String);

impl InstanceDigest {
    /// Of what an instance of this plan is made from.
    pub fn of(plan: &Plan, build: &BuildKey) -> InstanceDigest {
        let parts = (
            build.as_str(),
            &plan.deployment.commit,
            &plan.deployment.settings,
            &plan.app.version,
            &plan.app.env,
            plan.app.redeploy,
        );
        let app = &plan.app;
        let further = (app.procfile.line("web"), app.memory, app.protocol);
        // What an app says nothing of is no part, so that the digest stays what it was.
        let text = if further == (None, None, HttpProtocol::default()) {
            serde_json::to_vec(&parts)
        } else {
            serde_json::to_vec(&(parts, further))
        };
        InstanceDigest(digest(&text.expect("texts and numbers have a JSON form")))
    }
}

/// For what a `release:` has run: it runs again where one of these is another. How instances are
/// started, and the platform's settings, are no part of it.
pub(crate) fn release_digest(plan: &Plan, build: &BuildKey) -> String {
    let app = &plan.app;
    let parts = (build.as_str(), &app.env, app.procfile.line("release"), app.redeploy);
    digest(&serde_json::to_vec(&parts).expect("texts and numbers have a JSON form"))
}

/// An instance as the journal knows it: written before its process starts, so its port is reserved
/// by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    pub id: InstanceId,
    pub port: u16,
    pub digest: InstanceDigest,
    pub commit: Commit,
    /// The stack's `serial` when the operation that started it began: a rollback ends what it
    /// began.
    pub born: u64,
}

/// What is being done to a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ongoing {
    Create {
        plan: Box<Plan>,
        /// Traffic goes to the new instances: there is no way back but forward.
        moved: bool,
    },
    Update {
        plan: Box<Plan>,
        moved: bool,
    },
    /// On the way back to what ran. `failed` is the attempt that led here; `None`: it was
    /// cancelled.
    RollBack {
        failed: Option<Attempt>,
    },
    Delete,
}

/// A stack as the journal knows it. What is not there is none: a record without one of these fields
/// is damaged, and no stack of which nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRecord {
    pub name: AppName,
    /// Tells this stack from an earlier one of the same name.
    pub id: String,
    /// Raised at the start and at the end of every operation.
    pub serial: u64,
    #[serde(deserialize_with = "Option::deserialize")]
    pub running: Option<Box<Plan>>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub tried: Option<Attempt>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub ongoing: Option<Ongoing>,
    pub instances: Vec<InstanceRecord>,
    /// How many instances were ever started: the last one's number.
    pub started: u64,
    /// Builds that this app has run, newest first: a rollback finds them ready.
    pub builds: Vec<String>,
    /// What `release:` has been run for, newest first: see `release_digest`. Earlier versions wrote
    /// digests of instances.
    pub released: Vec<String>,
}

impl StackRecord {
    /// A stack that an operation is about to create.
    pub fn new(name: AppName, id: String, ongoing: Ongoing) -> StackRecord {
        StackRecord {
            name,
            id,
            serial: 1,
            running: None,
            tried: None,
            ongoing: Some(ongoing),
            instances: Vec::new(),
            started: 0,
            builds: Vec::new(),
            released: Vec::new(),
        }
    }

    /// The mark that a decision sees, and an operation must find unchanged.
    pub fn base(&self) -> Base {
        Base::of(&self.id, &self.serial.to_string())
    }

    /// Whether an operation is past the point of no return: traffic goes to what it brought up.
    pub fn has_moved(&self) -> bool {
        match &self.ongoing {
            Some(Ongoing::Create { moved, .. } | Ongoing::Update { moved, .. }) => *moved,
            Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => false,
        }
    }

    /// Whether an instance was begun by what is under way, and will be ended if that is taken back.
    pub fn is_on_trial(&self, instance: &InstanceRecord) -> bool {
        self.ongoing.is_some() && !self.has_moved() && instance.born == self.serial
    }

    /// Whether it was tried, and never came up.
    pub fn has_only_failed(&self) -> bool {
        self.running.is_none() && self.tried.is_some()
    }

    /// Whether an instance finishes its last requests, as far as the record tells: of those that
    /// are alike, it is not written which ones go.
    pub fn is_draining(&self, instance: &InstanceRecord) -> bool {
        match &self.ongoing {
            Some(Ongoing::Delete) => true,
            Some(Ongoing::Create { plan, moved: true } | Ongoing::Update { plan, moved: true }) => {
                let fresh = self.instances.iter().find(|known| known.born == self.serial);
                plan.app.scale == 0 || fresh.is_some_and(|fresh| fresh.digest != instance.digest)
            }
            Some(Ongoing::Create { .. } | Ongoing::Update { .. } | Ongoing::RollBack { .. })
            | None => false,
        }
    }

    /// Begins an operation.
    pub fn begin(&mut self, ongoing: Ongoing) {
        self.serial += 1;
        self.ongoing = Some(ongoing);
    }

    /// Ends the operation: the plan runs.
    pub fn succeed(&mut self, plan: Box<Plan>) {
        self.serial += 1;
        self.ongoing = None;
        self.tried = None;
        self.running = Some(plan);
    }

    /// Ends a rollback. What a cancel ended was not tried, so an earlier attempt stays the last
    /// one.
    pub fn rolled_back(&mut self, failed: Option<Attempt>) {
        self.serial += 1;
        self.ongoing = None;
        self.tried = failed.or(self.tried.take());
    }
}

/// How the instances of a stack do, which no journal knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    pub url: Option<String>,
    pub healthy: u32,
    pub trouble: Option<String>,
    /// Whether instances on trial serve already, because nobody else does. Nothing newer may take
    /// them away before it is known how they do.
    pub has_admitted: bool,
}

/// Translates a record into the reactor's words. Total: every record is some phase.
pub fn translate(record: &StackRecord, condition: Condition) -> Observed {
    let is_cancellable = |moved: bool| !moved && !condition.has_admitted;
    let phase = match (&record.ongoing, &record.running) {
        (Some(Ongoing::Create { plan, moved }), _) => {
            Phase::Creating { aim: plan.deployment.clone(), cancellable: is_cancellable(*moved) }
        }
        (Some(Ongoing::Update { plan, moved }), _) => {
            Phase::Updating { aim: plan.deployment.clone(), cancellable: is_cancellable(*moved) }
        }
        (Some(Ongoing::RollBack { .. }), _) => Phase::RollingBack,
        (Some(Ongoing::Delete), _) => Phase::Deleting,
        (None, Some(_)) => Phase::Up,
        (None, None) => Phase::Broken,
    };
    Observed::Ours(Box::new(Stack {
        base: record.base(),
        phase,
        running: record.running.as_ref().map(|plan| plan.deployment.clone()),
        tried: record.tried.clone(),
        url: condition.url,
        healthy: condition.healthy,
        trouble: condition.trouble,
    }))
}
