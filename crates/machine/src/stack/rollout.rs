//! Rollouts: how a plan becomes what runs. Each can be begun again at any point, and comes to the
//! same end.

use std::collections::BTreeSet;
use std::sync::Arc;

use rowhouse_core::Plan;
use tokio::task::JoinSet;

use crate::build::Built;
use crate::build::request::BuildId;
use crate::instance::{InstanceId, StartFailure};
use crate::stack::failure::Failure;
use crate::stack::live::LiveStack;
use crate::stack::preparation::not_run;
use crate::stack::retire::retire_others;
use crate::stack::tidy;
use crate::stack::trial::Trial;
use crate::stack::{InstanceDigest, InstanceRecord, Ongoing};

/// How many builds of an app stay ready for a rollback, the running one included.
const KEPT_BUILDS: usize = 5;

/// A plan on its way to become what runs.
#[derive(Debug)]
pub(crate) struct Rollout {
    stack: Arc<LiveStack>,
    plan: Box<Plan>,
    build: BuildId,
    digest: InstanceDigest,
}

impl Rollout {
    pub(crate) fn new(stack: Arc<LiveStack>, plan: Box<Plan>) -> Rollout {
        let build = stack.machine.build_request(&plan).id();
        let digest = InstanceDigest::of(&plan, &build.key);
        Rollout { stack, plan, build, digest }
    }

    /// Makes the plan what runs: build, release, new instances, health, traffic, and the end of the
    /// old ones. `moved`: traffic goes to the new instances already.
    pub(crate) async fn run(self: &Arc<Self>, moved: bool) -> Result<(), Failure> {
        let built = match (self.plan.app.scale, moved) {
            // At scale 0 nothing runs, so nothing needs to be built either.
            (0, _) => None,
            (_, false) => Some(self.stack.built(&self.plan).await?),
            // What serves was made from it.
            (_, true) => self.stack.machine.builds.finished(&self.build),
        };
        if !moved {
            if let Some(built) = &built {
                self.stack.release(&self.plan, built, &self.digest).await?;
                self.start_missing(built).await?;
                self.ask_the_others().await?;
            }
            self.point_of_no_return().await?;
        }
        let keep = self.kept().await;
        self.serve(&keep, built.as_ref()).await;
        retire_others(&self.stack, &keep).await?;
        self.complete(built.is_some()).await
    }

    /// Starts as many instances as are missing, and waits until every new one is steady.
    async fn start_missing(self: &Arc<Self>, built: &Built) -> Result<(), Failure> {
        let Some(record) = self.stack.record().await else { return Ok(()) };
        let alike = |instance: &&InstanceRecord| instance.digest == self.digest;
        let running = record.instances.iter().filter(alike).count();
        for _ in running..self.scale() {
            self.add().await?;
        }
        let Some(record) = self.stack.record().await else { return Ok(()) };
        // Those of an earlier operation run already, and are somebody else's care.
        let fresh = |instance: &&InstanceRecord| instance.born == record.serial;
        let begun = record.instances.iter().filter(alike).filter(fresh);
        let instances = begun.filter_map(|begun| self.stack.instance(&begun.id)).collect();
        let (stack, plan) = (Arc::clone(&self.stack), self.plan.clone());
        Trial { stack, plan, built: built.clone(), instances }.pass().await
    }

    /// Writes a new instance into the journal, and takes it in hand with its port.
    async fn add(&self) -> Result<(), Failure> {
        let port = self.stack.machine.free_port().map_err(Failure::Ours)?;
        let mut added = None;
        self.stack
            .change(|record| {
                record.started += 1;
                let commit = self.plan.deployment.commit.clone();
                let id = InstanceId(format!("{}-{}", commit.short(), record.started));
                added = Some(id.clone());
                record.instances.push(InstanceRecord {
                    id,
                    port: port.port(),
                    digest: self.digest.clone(),
                    commit,
                    born: record.serial,
                });
            })
            .await?;
        if let Some(id) = added {
            let instance = Arc::new(self.stack.instance_at(id.clone(), port));
            self.stack.change_scene(|scene| scene.instances.insert(id, instance));
        }
        Ok(())
    }

    /// Asks the instances that run already and will go on as the plan says, if it asks something
    /// new of them: a check that they do not pass must not become theirs.
    async fn ask_the_others(self: &Arc<Self>) -> Result<(), Failure> {
        let Some(record) = self.stack.record().await else { return Ok(()) };
        let check = &self.plan.app.health;
        if record.running.is_none_or(|running| running.app.health == *check) {
            return Ok(());
        }
        let mut asked = JoinSet::new();
        for id in self.kept().await {
            let Some(instance) = self.stack.instance(&id) else { continue };
            let rollout = Arc::clone(self);
            asked.spawn(async move { rollout.stack.passes(&instance, &rollout.plan).await });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(())) => {}
                Ok(Err(StartFailure::App(reason))) => return Err(Failure::App(reason)),
                Ok(Err(StartFailure::Ours(reason))) => return Err(Failure::Ours(reason)),
                Ok(Err(StartFailure::PortTaken)) | Err(_) => {
                    return Err(Failure::Ours("an instance could not be asked".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// From here on there is no way back but forward.
    async fn point_of_no_return(&self) -> Result<(), Failure> {
        self.stack
            .change(|record| match &mut record.ongoing {
                Some(Ongoing::Create { moved, .. } | Ongoing::Update { moved, .. }) => {
                    *moved = true;
                }
                Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => {}
            })
            .await?;
        Ok(())
    }

    /// Which instances the plan keeps: those alike, at most `Scale`, the healthy and the oldest
    /// first.
    async fn kept(&self) -> BTreeSet<InstanceId> {
        let Some(record) = self.stack.record().await else { return BTreeSet::new() };
        let mut alike: Vec<(bool, usize, InstanceId)> = record
            .instances
            .iter()
            .enumerate()
            .filter(|(_, instance)| instance.digest == self.digest)
            .map(|(age, instance)| {
                let known = self.stack.instance(&instance.id);
                let is_healthy = known.is_some_and(|known| known.is_healthy());
                (!is_healthy, age, instance.id.clone())
            })
            .collect();
        alike.sort();
        alike.into_iter().take(self.scale()).map(|(_, _, id)| id).collect()
    }

    /// Moves traffic to the instances that are kept, and has them watched.
    async fn serve(&self, keep: &BTreeSet<InstanceId>, built: Option<&Built>) {
        let scale = self.plan.app.scale;
        self.stack.move_traffic(
            keep.clone(),
            scale,
            built.and_then(|built| not_run(built, &self.plan)),
        );
        for instance in keep.iter().filter_map(|id| self.stack.instance(id)) {
            self.stack.watch(&instance);
        }
        let (kind, text) = match scale {
            0 => ("scaled", "scaled to 0".to_owned()),
            _ => ("serving", format!("{} serves", self.plan.deployment.commit.short())),
        };
        self.stack.tell(kind, text).await;
    }

    /// Writes that the plan is what runs.
    async fn complete(&self, is_built: bool) -> Result<(), Failure> {
        self.stack
            .change(|record| {
                if is_built {
                    let key = self.build.key.as_str();
                    record.builds.retain(|build| build != key);
                    record.builds.insert(0, key.to_owned());
                    record.builds.truncate(KEPT_BUILDS);
                }
                record.succeed(self.plan.clone());
            })
            .await?;
        self.stack.look(|scene| scene.put_off = None);
        tidy::logs(&self.stack);
        self.stack.machine.superfluous.notify_one();
        let (version, commit) = (&self.plan.app.version, &self.plan.deployment.commit);
        let text = if version.commit().is_some() {
            commit.short().to_owned()
        } else {
            format!("{version} at {}", commit.short())
        };
        self.stack.tell("deployed", text).await;
        Ok(())
    }

    fn scale(&self) -> usize {
        usize::try_from(self.plan.app.scale).unwrap_or(0)
    }
}
