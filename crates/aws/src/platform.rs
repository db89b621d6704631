//! The platform port on AWS: an app is a CloudFormation stack.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_cloudformation::types as cfn;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use rowhouse_core::{
    AppName, Base, Commit, Manifest, ObjectDigest, Observed, Operation, Outcome, Plan, Platform,
    Repository, Resolution, Settings, SettingsDigest, Unreachable, Version, failure_key,
    manifest_key,
};
use serde_json::json;
use tracing::warn;

use crate::collision::{self, Collision, Remembered};
use crate::config::Config;
use crate::event::{self, Event};
use crate::priority::{self, MOST_APPS};
use crate::refusal::Failure;
use crate::repository::Repositories;
use crate::sdk;
use crate::stack::{Described, MANAGED_BY};
use crate::status::StackStatus;
use crate::template::Template;
use crate::token;

/// Names the app of a stack, beside its name.
pub(crate) const APP_TAG: &str = "rowhouse:app";

/// How many stacks' details are read side by side.
const SIDE_BY_SIDE: usize = 8;

/// As much of an instance's words as a row should hold.
const FIRST_BYTES: &str = "bytes=0-2047";

/// AWS, as the reactor sees it.
#[derive(Debug)]
pub struct CloudFormationPlatform {
    stacks: aws_sdk_cloudformation::Client,
    objects: aws_sdk_s3::Client,
    balancers: aws_sdk_elasticloadbalancingv2::Client,
    repositories: Repositories,
    config: Config,
    template: Template,
    settings: Settings,
    seen: Mutex<HashMap<AppName, Seen>>,
}

/// What this process saw of a stack last, and has not acted on yet.
#[derive(Clone, Debug)]
struct Seen {
    base: Base,
    id: String,
    status: StackStatus,
    /// What its last deletion could not delete.
    left: Vec<String>,
    /// Its creation found its priority taken.
    collision: Option<Collision>,
}

impl CloudFormationPlatform {
    /// The platform of that configuration, in the account and region of the clients.
    pub fn new(shared: &aws_config::SdkConfig, config: Config) -> CloudFormationPlatform {
        let secrets = aws_sdk_secretsmanager::Client::new(shared);
        let repositories = Repositories::new(&config.allowed_repository_hosts, Some(secrets));
        let template = Template::of(&config);
        let form = json!([template.text(), template.of_platform(&config)]);
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let settings = Settings {
            digest: SettingsDigest::of(&form.to_string()),
            repository: config.default_repository(),
            path: given(&config.path),
            max_scale: config.max_scale,
            local_repositories: false,
            domain: Some(config.apps_domain.clone()),
        };
        CloudFormationPlatform {
            stacks: aws_sdk_cloudformation::Client::new(shared),
            objects: crate::client::s3(shared),
            balancers: aws_sdk_elasticloadbalancingv2::Client::new(shared),
            repositories,
            config,
            template,
            settings,
            seen: Mutex::default(),
        }
    }

    fn stack_name(&self, name: &AppName) -> String {
        format!("{}{name}", self.config.stack_prefix)
    }

    async fn observed(
        &self,
        name: &AppName,
        described: &Described,
    ) -> Result<Observed, Unreachable> {
        let now = Timestamp::now().as_second();
        let events = if described.needs_events(now) {
            self.events(&described.id).await?
        } else {
            Vec::new()
        };
        let mut observed = described.observed(&events, now);
        let past = event::past(&events);
        if let (Observed::Ours(stack), Some(since)) = (&mut observed, past.instances_failed)
            && let Some(tried) = &mut stack.tried
            && let Some(said) = self.said(name, &tried.commit, since).await
        {
            tried.reason = said;
        }
        let mut collided = None;
        if let (Observed::Ours(stack), Some(collision)) = (&mut observed, past.collision) {
            stack.tried = match self.remembered(name, &collision).await? {
                Some(remembered) => remembered.tried(&collision, &described.id),
                // What nobody can count is not tried again.
                None => Some(collision.attempt.clone()),
            };
            collided = Some(collision);
        }
        match observed.stack() {
            Some(stack) => {
                let left = past.left.into_iter().map(|(id, _)| id).collect();
                let seen = Seen {
                    base: stack.base.clone(),
                    id: described.id.clone(),
                    status: described.status,
                    left,
                    collision: collided,
                };
                self.seen().insert(name.clone(), seen);
            }
            None => {
                self.seen().remove(name);
            }
        }
        Ok(observed)
    }

    /// What an instance said of its failure, in a rollout that began then. A signal has no room for
    /// it, and after an update's rollback the stack shows nothing of what was tried but the commit.
    async fn said(&self, name: &AppName, commit: &Commit, since: i64) -> Option<String> {
        let bucket = self.config.artifacts();
        let key = failure_key(name, commit);
        let sent = self.objects.get_object().bucket(bucket).key(&key).range(FIRST_BYTES).send();
        // Without it the reason is what CloudFormation says; the next look asks again.
        let object = match sent.await.map_err(|error| Failure::of(&error)) {
            Ok(object) => object,
            Err(failure) => {
                if failure.code != "NoSuchKey" {
                    let Failure { message, .. } = failure;
                    warn!(app = %name, key, bucket, message, "cannot read why an instance failed");
                }
                return None;
            }
        };
        let is_of_it = object.last_modified().is_some_and(|at| at.secs() >= since);
        let bytes = object.body.collect().await.ok().filter(|_| is_of_it)?.into_bytes();
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        Some(text).filter(|text| !text.is_empty())
    }

    /// The creations of the same target that found their priorities taken. `None`: the role does
    /// not allow it to be known.
    async fn remembered(
        &self,
        name: &AppName,
        collision: &Collision,
    ) -> Result<Option<Remembered>, Unreachable> {
        let folder = collision::folder(name, &collision.attempt.target);
        let bucket = self.config.artifacts();
        let sent = self.objects.list_objects_v2().bucket(bucket).prefix(&folder).send().await;
        match sent.map_err(|error| Failure::of(&error)) {
            Ok(listed) => {
                let noted = listed.contents().iter().filter_map(|object| {
                    Some((object.key()?.to_owned(), object.last_modified()?.secs()))
                });
                Ok(Some(Remembered(noted.collect())))
            }
            Err(failure) if failure.is_passing() => {
                Err(failure.unreachable(&format!("cannot list `{folder}` in bucket `{bucket}`")))
            }
            Err(Failure { message, .. }) => {
                warn!(app = %name, folder, bucket, message, "cannot count how often a priority was \
                    taken");
                Ok(None)
            }
        }
    }

    /// Remembers a creation whose stack is about to be deleted. Where that is not allowed the
    /// deletion goes on, so that a row can always be deleted.
    async fn remember(
        &self,
        name: &AppName,
        stack: &str,
        collision: &Collision,
    ) -> Result<(), Outcome> {
        let key = collision::key(name, &collision.attempt.target, stack);
        let bucket = self.config.artifacts();
        let sent = self.objects.put_object().bucket(bucket).key(&key).send().await;
        match sent.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_passing() => {
                Err(failure.outcome(&format!("cannot write `{key}` in bucket `{bucket}`")))
            }
            Err(Failure { message, .. }) => {
                warn!(app = %name, key, bucket, message, "cannot count how often a priority was \
                    taken");
                Ok(())
            }
        }
    }

    /// The newest page of a stack's events.
    async fn events(&self, id: &str) -> Result<Vec<Event>, Unreachable> {
        let sent = self.stacks.describe_stack_events().stack_name(id).send().await;
        let output = sent.map_err(|error| {
            Failure::of(&error).unreachable(&format!("cannot read the events of stack `{id}`"))
        })?;
        Ok(output.stack_events().iter().map(sdk::event).collect())
    }

    /// What was seen last, taken out: an operation on it is begun once.
    fn take(&self, name: &AppName, base: &Base) -> Option<Seen> {
        let mut seen = self.seen();
        seen.get(name).is_some_and(|seen| seen.base == *base).then(|| seen.remove(name))?
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<AppName, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn create(&self, name: &AppName, plan: &Plan) -> Result<(), Outcome> {
        let mut parameters = self.parameters(plan).await?;
        if self.template.is_shared() {
            parameters.push(sdk::parameter(("Priority", self.priority(name).await?.to_string())));
        }
        let deployment = &plan.deployment;
        // Of no stack: the name itself lets one creation through, and the time tells two attempts
        // apart.
        let base = Base::of("", &Timestamp::now().as_millisecond().to_string());
        let sent = self
            .stacks
            .create_stack()
            .stack_name(self.stack_name(name))
            .template_body(self.template.text())
            .set_parameters(Some(parameters))
            .set_capabilities(self.capabilities())
            .set_role_arn(self.role())
            .notification_arns(&self.config.cloud_formation_notification_arn)
            .tags(sdk::tag(MANAGED_BY.0, MANAGED_BY.1))
            .tags(sdk::tag(APP_TAG, name.as_str()))
            .client_request_token(token::rollout(
                "create",
                &deployment.target,
                &deployment.commit,
                &base,
            ))
            .send()
            .await;
        sent.map(drop).map_err(|error| Failure::of(&error).outcome("cannot create the stack"))
    }

    async fn update(&self, plan: &Plan, seen: &Seen) -> Result<(), Outcome> {
        let mut parameters = self.parameters(plan).await?;
        if self.template.is_shared() {
            // A rule keeps its place for life.
            let kept = cfn::Parameter::builder().parameter_key("Priority").use_previous_value(true);
            parameters.push(kept.build());
        }
        let deployment = &plan.deployment;
        let token = token::rollout("update", &deployment.target, &deployment.commit, &seen.base);
        let sent = self
            .stacks
            .update_stack()
            .stack_name(&seen.id)
            .template_body(self.template.text())
            .set_parameters(Some(parameters))
            .set_capabilities(self.capabilities())
            .set_role_arn(self.role())
            .notification_arns(&self.config.cloud_formation_notification_arn)
            .client_request_token(token)
            .send()
            .await;
        sent.map(drop).map_err(|error| Failure::of(&error).outcome("cannot update the stack"))
    }

    async fn cancel(&self, seen: &Seen) -> Result<(), Outcome> {
        let request = self.stacks.cancel_update_stack().stack_name(&seen.id);
        let sent = request.client_request_token(token::step("cancel", &seen.base)).send().await;
        sent.map(drop).map_err(|error| Failure::of(&error).outcome("cannot cancel the update"))
    }

    async fn delete(&self, name: &AppName, seen: &Seen, retain: bool) -> Result<(), Outcome> {
        if let Some(collision) = &seen.collision {
            self.remember(name, &seen.id, collision).await?;
        }
        let retained = (retain && !seen.left.is_empty()).then(|| seen.left.clone());
        let sent = self
            .stacks
            .delete_stack()
            .stack_name(&seen.id)
            .set_role_arn(self.role())
            .set_retain_resources(retained)
            .client_request_token(token::step("delete", &seen.base))
            .send()
            .await;
        sent.map(drop).map_err(|error| Failure::of(&error).outcome("cannot delete the stack"))
    }

    async fn continue_rollback(&self, seen: &Seen) -> Result<(), Outcome> {
        let doing = "cannot roll the stack back";
        let token = token::step("continue", &seen.base);
        // An update that somebody made without rollback rests half-way, and is rolled back by
        // another call.
        if seen.status == StackStatus::UpdateFailed {
            let request =
                self.stacks.rollback_stack().stack_name(&seen.id).set_role_arn(self.role());
            let sent = request.client_request_token(token).send().await;
            return sent.map(drop).map_err(|error| Failure::of(&error).outcome(doing));
        }
        let request =
            self.stacks.continue_update_rollback().stack_name(&seen.id).set_role_arn(self.role());
        let sent = request.client_request_token(token).send().await;
        sent.map(drop).map_err(|error| Failure::of(&error).outcome(doing))
    }

    /// The parameters of a plan, once what its instances are made from is stored.
    async fn parameters(&self, plan: &Plan) -> Result<Vec<cfn::Parameter>, Outcome> {
        let bytes = Manifest::of(plan).to_json();
        let digest = ObjectDigest::of(&bytes);
        let bucket = self.config.artifacts();
        let sent = self
            .objects
            .put_object()
            .bucket(bucket)
            .key(manifest_key(&digest))
            .content_type("application/json")
            .body(ByteStream::from(bytes))
            .send()
            .await;
        if let Err(error) = sent {
            let failure = Failure::of(&error);
            return Err(failure.outcome(&format!("cannot store the manifest in bucket `{bucket}`")));
        }
        let all = self.template.of_platform(&self.config).into_iter();
        Ok(all.chain(Template::of_plan(plan, digest.as_str())).map(sdk::parameter).collect())
    }

    /// A priority for the rule of a new app.
    async fn priority(&self, name: &AppName) -> Result<u32, Outcome> {
        let mut used = BTreeSet::new();
        let mut marker = None;
        loop {
            let sent = self
                .balancers
                .describe_rules()
                .listener_arn(&self.config.listener_arn)
                .set_marker(marker)
                .send()
                .await;
            let output = sent.map_err(|error| {
                Failure::of(&error).outcome("cannot read the rules of the load balancer")
            })?;
            used.extend(
                output.rules().iter().filter_map(|rule| rule.priority()?.parse::<u32>().ok()),
            );
            marker = output.next_marker;
            if marker.is_none() {
                break;
            }
        }
        let full = || Outcome::Refused {
            reason: format!(
                "the load balancer serves {} apps, and takes {MOST_APPS}: delete an app, or put \
                 this one on a second platform, in another region (`rowhouse aws --region OTHER \
                 install --domain …`) or account (`--profile`)",
                used.len()
            ),
        };
        if used.len() >= MOST_APPS {
            return Err(full());
        }
        priority::choose(name, &used).ok_or_else(full)
    }

    fn capabilities(&self) -> Option<Vec<cfn::Capability>> {
        self.template.makes_roles().then(|| vec![cfn::Capability::CapabilityIam])
    }

    fn role(&self) -> Option<String> {
        Some(self.config.service_role_arn.clone()).filter(|role| !role.is_empty())
    }
}

impl Platform for CloudFormationPlatform {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    async fn observe(&self, name: &AppName) -> Result<Observed, Unreachable> {
        let stack = self.stack_name(name);
        match self.stacks.describe_stacks().stack_name(&stack).send().await {
            Ok(output) => match output.stacks().first() {
                Some(found) => self.observed(name, &sdk::described(found)?).await,
                None => Ok(Observed::Missing),
            },
            Err(error) => {
                let failure = Failure::of(&error);
                if failure.is_missing_stack() {
                    self.seen().remove(name);
                    return Ok(Observed::Missing);
                }
                Err(failure.unreachable(&format!("cannot look at stack `{stack}`")))
            }
        }
    }

    async fn resolve(&self, repository: &Repository, version: &Version) -> Resolution {
        self.repositories.resolve(repository, version).await
    }

    async fn perform(&self, name: &AppName, operation: Operation, base: Option<Base>) -> Outcome {
        let seen = match &base {
            Some(base) => match self.take(name, base) {
                Some(seen) => Some(seen),
                None => return Outcome::Busy,
            },
            None => None,
        };
        let performed = match (operation, seen) {
            (Operation::Create(plan), None) => self.create(name, &plan).await,
            (Operation::Update(plan), Some(seen)) => self.update(&plan, &seen).await,
            (Operation::Cancel, Some(seen)) => self.cancel(&seen).await,
            (Operation::Delete { retain }, Some(seen)) => self.delete(name, &seen, retain).await,
            (Operation::ContinueRollback, Some(seen)) => self.continue_rollback(&seen).await,
            (Operation::Create(_), Some(_))
            | (
                Operation::Update(_)
                | Operation::Cancel
                | Operation::Delete { .. }
                | Operation::ContinueRollback,
                None,
            ) => Err(Outcome::Busy),
        };
        match performed {
            Ok(()) => Outcome::Started,
            Err(outcome) => outcome,
        }
    }

    async fn list(&self) -> Result<Vec<(AppName, Observed)>, Unreachable> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let sent = self.stacks.describe_stacks().set_next_token(next).send().await;
            let output =
                sent.map_err(|error| Failure::of(&error).unreachable("cannot list the stacks"))?;
            next = output.next_token().map(str::to_owned);
            let mut ours = Vec::new();
            for stack in output.stacks() {
                let name = stack
                    .stack_name()
                    .and_then(|name| name.strip_prefix(&self.config.stack_prefix))
                    .and_then(|name| AppName::parse(name).ok());
                if let Some(name) = name {
                    ours.push((name, sdk::described(stack)));
                }
            }
            let mut looks = stream::iter(ours)
                .map(|(name, described)| async move {
                    let observed = match described {
                        Ok(described) => self.observed(&name, &described).await,
                        Err(error) => Err(error),
                    };
                    (name, observed)
                })
                .buffered(SIDE_BY_SIDE);
            while let Some((name, observed)) = looks.next().await {
                match observed {
                    Ok(Observed::Missing) => {}
                    Ok(observed) => found.push((name, observed)),
                    // One that cannot be seen now is not listed, so that its row is looked at by
                    // itself.
                    Err(Unreachable { reason }) => warn!(app = %name, reason, "not listed"),
                }
            }
            if next.is_none() {
                return Ok(found);
            }
        }
    }
}
