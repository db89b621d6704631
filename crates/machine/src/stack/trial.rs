//! The trial of new instances: they come up, and must still be healthy when the steady time is
//! over. Until then an earlier version serves on, if there is one.

use std::sync::Arc;

use rowhouse_core::{Plan, counted};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::build::Built;
use crate::instance::{Instance, StartFailure};
use crate::stack::failure::Failure;
use crate::stack::live::LiveStack;

/// New instances of a plan on trial.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) stack: Arc<LiveStack>,
    pub(crate) plan: Box<Plan>,
    pub(crate) built: Built,
    pub(crate) instances: Vec<Arc<Instance>>,
}

impl Trial {
    /// Waits until all of them are healthy and steady. What one of them does wrong in between ends
    /// the trial at once.
    pub(crate) async fn pass(self) -> Result<(), Failure> {
        if self.instances.is_empty() {
            return Ok(());
        }
        let text = format!("starting {}", counted(self.instances.len(), "instance"));
        self.stack.tell("starting", text).await;
        let trial = Arc::new(self);
        let mut lapses = trial.come_up().await?;
        let is_serving = trial.stack.admit().await;
        trial.stack.machine.failpoint("on trial");
        trial.wait(&mut lapses, is_serving).await?;
        trial.ask_once_more().await
    }

    /// Starts them all; gives what tells of the first that is healthy and then not.
    async fn come_up(self: &Arc<Self>) -> Result<JoinSet<StartFailure>, Failure> {
        let mut starts = JoinSet::new();
        for instance in &self.instances {
            let (trial, instance) = (Arc::clone(self), Arc::clone(instance));
            starts.spawn(async move {
                trial.stack.come_up(&instance, &trial.plan, &trial.built).await.map(|()| instance)
            });
        }
        let mut lapses = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(lapse) = lapses.join_next() => return Err(self.lapsed(lapse)),
                start = starts.join_next() => {
                    let Some(start) = start else { return Ok(lapses) };
                    let start = start.map_err(|error| ended(&error))?;
                    let instance = start.map_err(|failure| self.failure(failure))?;
                    let trial = Arc::clone(self);
                    lapses.spawn(async move { trial.stack.lapse(&instance, &trial.plan).await });
                }
            }
        }
    }

    /// Waits until the steady time is over, and says so.
    async fn wait(
        &self,
        lapses: &mut JoinSet<StartFailure>,
        is_serving: bool,
    ) -> Result<(), Failure> {
        let steady = self.stack.machine.config.steady;
        if steady.is_zero() {
            return Ok(());
        }
        let seconds = steady.as_secs();
        let text = if is_serving {
            format!("waiting {seconds} s, whether what serves now stays healthy")
        } else {
            format!("waiting {seconds} s before traffic moves, whether what is new stays healthy")
        };
        self.stack.tell("waiting", text).await;
        tokio::select! {
            biased;
            Some(lapse) = lapses.join_next() => Err(self.lapsed(lapse)),
            () = sleep(steady) => Ok(()),
        }
    }

    /// None of them may have ended or fallen silent since it was asked last.
    async fn ask_once_more(self: &Arc<Self>) -> Result<(), Failure> {
        let mut asked = JoinSet::new();
        for instance in &self.instances {
            let (trial, instance) = (Arc::clone(self), Arc::clone(instance));
            asked.spawn(async move { trial.stack.is_still_healthy(&instance, &trial.plan).await });
        }
        while let Some(answer) = asked.join_next().await {
            let answer = answer.map_err(|error| ended(&error))?;
            answer.map_err(|failure| self.failure(failure))?;
        }
        Ok(())
    }

    fn lapsed(&self, lapse: Result<StartFailure, JoinError>) -> Failure {
        match lapse {
            Ok(failure) => self.failure(failure),
            Err(error) => ended(&error),
        }
    }

    fn failure(&self, failure: StartFailure) -> Failure {
        match failure {
            StartFailure::App(reason) => Failure::of_app(reason, self.stack.machine.folder.root()),
            StartFailure::Ours(reason) => Failure::Ours(reason),
            StartFailure::PortTaken => {
                Failure::Ours("its port was taken by another program".to_owned())
            }
        }
    }
}

fn ended(error: &JoinError) -> Failure {
    Failure::Ours(format!("a start ended: {error}"))
}
