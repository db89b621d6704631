//! `rowhouse aws install`: the platform's stack and the code that it runs, made or brought up to
//! date.

use anyhow::Context as _;
use aws_sdk_cloudformation::types::{Capability, OnFailure, Parameter, Tag};
use rowhouse_aws::{Failure, Life, MANAGED_BY, StackStatus};

use crate::account::{Account, told, told_of};
use crate::args::Install;
use crate::code::{self, Code};
use crate::commands::uninstall;
use crate::failure::{Exit, bad_input};
use crate::stack::{self, Ended, PLATFORM, Standing, TABLE};
use crate::zone::{self, Zone};
use crate::{app_template, bucket, domain, output, price, programs};

pub(crate) const TEMPLATE: &str = include_str!("../../../../templates/platform.yaml");
const AGAIN: &str = "rowhouse aws install";
/// What the stack is told of the template that apps have, so that an update knows it again.
const APP_TEMPLATE: &str = "rowhouse:app-template";
const USUAL_TYPE: &str = "t3.micro";

pub(crate) async fn install(account: &Account, install: &Install) -> anyhow::Result<Exit> {
    account.announce();
    if account.is_emulator() {
        output::warning("this is an emulator: its endpoint has no TLS");
    }
    let domain = install.domain.as_deref().map(domain::parse).transpose()?;
    let standing = at_rest(account).await?;
    let before = standing.as_ref();
    if before.is_none() {
        nothing_by_hand(account).await?;
    }
    let mut parameters = wishes(account, install, domain, before).await?;
    if !is_move_wanted(account, &parameters, before, install.yes).await? {
        output::note("nothing was changed");
        return Ok(Exit::Yours);
    }
    let usual = || before.and_then(|before| before.parameters.get("InstanceType")).cloned();
    let kind = install.instance_type.clone().or_else(usual).unwrap_or(USUAL_TYPE.to_owned());
    output::note(&format!("it costs {}", price::sentence(&kind)));

    let last_template = before.and_then(|before| before.tags.get(APP_TEMPLATE)).cloned();
    let template =
        app_template::of(account, install.app_template.as_deref(), last_template).await?;
    bucket::make(account, &bucket::of_code(account)).await?;
    let architecture = programs::of_instance_type(&kind);
    let code = code::upload(account, architecture, template.as_ref()).await?;
    let image = format!(
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}",
        architecture.as_str()
    );
    parameters.extend([
        ("Architecture", architecture.as_str().to_owned()),
        ("ImageId", image),
        ("CodeBucket", bucket::of_code(account)),
        ("ReactorCode", code.reactor.clone()),
        ("CertificateCode", code.certificates.clone()),
        ("AppProgram", code.program.clone()),
    ]);
    if account.is_emulator() {
        parameters.push(("Emulator", "true".to_owned()));
    }
    let tag = template.map(|template| template.digest);
    let changed = match before {
        None => create(account, &parameters, tag).await?,
        Some(before) => {
            // Instances that start right after the update need it.
            upload_program(account, before, &code).await?;
            update(account, before, &parameters, tag).await?
        }
    };
    let standing = stack::find(account, PLATFORM).await?.context("the stack has gone")?;
    upload_program(account, &standing, &code).await?;
    tell(account, &standing, changed);
    Ok(Exit::Done)
}

/// A platform that was made by hand has the same names, so that a stack could not make them.
async fn nothing_by_hand(account: &Account) -> anyhow::Result<()> {
    let asked = account.dynamodb.describe_table().table_name(TABLE).send().await;
    match asked.map_err(|error| Failure::of(&error)) {
        Ok(_) => Err(bad_input(
            format!(
                "there is a table `{TABLE}` in {}, which no stack of this command made",
                account.region
            ),
            "a platform that was made by hand goes on by hand (docs/aws-by-hand.md); choose \
             another region with `--region`, or remove it first",
        )),
        Err(failure) if failure.code == "ResourceNotFoundException" => Ok(()),
        // Whoever may not look will be told by the stack.
        Err(failure) if failure.is_denied() => Ok(()),
        Err(failure) => Err(told_of(&format!("cannot look for the table `{TABLE}`"), &failure)),
    }
}

/// The platform's stack, once nothing is under way on it; what never came up is removed.
async fn at_rest(account: &Account) -> anyhow::Result<Option<Standing>> {
    let Some(mut standing) = stack::find(account, PLATFORM).await? else { return Ok(None) };
    if stack::is_moving(standing.status) {
        output::note(&format!("{} already: taking it up", standing.status.as_str()));
        stack::follow(account, &standing.id, None).await?;
        match stack::find(account, PLATFORM).await? {
            Some(rested) => standing = rested,
            None => return Ok(None),
        }
    }
    match standing.status.life() {
        Life::Up => Ok(Some(standing)),
        Life::Gone => Ok(None),
        Life::Broken => {
            output::note(&format!(
                "{}: it never came up, and is removed",
                standing.status.as_str()
            ));
            uninstall::delete_stack(account, &standing, AGAIN).await?;
            Ok(None)
        }
        Life::Stuck => {
            output::note(&format!("{}: going on with it", standing.status.as_str()));
            go_on(account, &standing).await?;
            stack::find(account, PLATFORM).await
        }
        Life::DeletionFailed
        | Life::Lost
        | Life::Creating
        | Life::Updating
        | Life::CleaningUp
        | Life::RollingBack
        | Life::Deleting => Err(bad_input(
            format!("the stack `{PLATFORM}` is {}", standing.status.as_str()),
            "`rowhouse aws uninstall` removes it; then install again",
        )),
    }
}

/// Goes on with a rollback that has failed, or begins that of an update that somebody made without
/// one.
async fn go_on(account: &Account, standing: &Standing) -> anyhow::Result<()> {
    let mark = stack::mark(account, &standing.id).await?;
    let stacks = &account.cloudformation;
    let refused = if standing.status == StackStatus::UpdateFailed {
        let sent = stacks.rollback_stack().stack_name(&standing.id).send().await;
        sent.err().map(|error| told("cannot roll the stack back", &error))
    } else {
        let sent = stacks.continue_update_rollback().stack_name(&standing.id).send().await;
        sent.err().map(|error| told("cannot continue the rollback", &error))
    };
    if let Some(refused) = refused {
        return Err(refused);
    }
    let ended = stack::follow(account, &standing.id, mark).await?;
    if ended.status.life() == Life::Stuck {
        return Err(bad_input(
            format!(
                "the platform came to {}: {}",
                ended.status.as_str(),
                ended.failures.join("; ")
            ),
            format!(
                "mend the cause, then `{AGAIN}` again; what cannot be mended is left out with \
                 `aws cloudformation continue-update-rollback --stack-name {PLATFORM} \
                 --resources-to-skip NAME`"
            ),
        ));
    }
    well(&ended)
}

/// What was asked for, as parameters of the stack.
async fn wishes(
    account: &Account,
    install: &Install,
    domain: Option<String>,
    before: Option<&Standing>,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let domain = match (domain, before) {
        (Some(domain), _) => domain,
        (None, Some(before)) => before.parameters.get("Domain").cloned().unwrap_or_default(),
        (None, None) => {
            return Err(bad_input(
                "nothing is installed here yet, and a new platform needs a domain",
                "`rowhouse aws install --domain apps.example.com`, a domain in a Route 53 hosted \
                 zone of this account",
            ));
        }
    };
    let mut wishes = Vec::new();
    if before.is_none() || install.domain.is_some() || install.hosted_zone.is_some() {
        let zone = match &install.hosted_zone {
            Some(id) => zone::given(account, id, &domain).await?,
            None => zone::find(account, &domain).await?,
        };
        let has = |name: &str, value: &str| {
            before.is_some_and(|one| one.parameters.get(name).is_some_and(|had| had == value))
        };
        if !has("Domain", &domain) || !has("HostedZoneId", &zone.id) {
            domain::is_free(account, &zone, &domain).await?;
        }
        tell_zone(account, &zone).await;
        wishes.extend([("Domain", domain), ("HostedZoneId", zone.id)]);
    }
    let given = [
        ("Repository", install.repo.clone()),
        ("AllowedRepositoryHosts", install.allowed_repository_hosts.clone()),
        ("MaxScale", install.max_scale.map(|scale| scale.to_string())),
        ("InstanceType", install.instance_type.clone()),
        ("KeyName", install.key_name.clone()),
        ("TokenSecrets", install.token_secrets.clone()),
    ];
    wishes.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    Ok(wishes)
}

/// Whether the apps are to move, where the domain is another one than before.
async fn is_move_wanted(
    account: &Account,
    wishes: &[(&'static str, String)],
    before: Option<&Standing>,
    is_meant: bool,
) -> anyhow::Result<bool> {
    let from = before.and_then(|before| before.parameters.get("Domain"));
    let to = wishes.iter().find(|(name, _)| *name == "Domain").map(|(_, domain)| domain);
    let (Some(from), Some(to)) = (from, to) else { return Ok(true) };
    if from == to {
        return Ok(true);
    }
    let mut apps = uninstall::rows(account).await?;
    apps.sort_unstable();
    domain::is_move_wanted(account, (from, to), &apps, is_meant).await
}

/// Says whether apps' names will be found, since the certificate waits for it.
async fn tell_zone(account: &Account, zone: &Zone) {
    output::note(&format!("hosted zone {} of {}", zone.id, zone.name));
    if account.is_emulator() {
        return;
    }
    match zone::delegated(zone).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            output::warning(&format!("{why}: the certificate is not issued before that is so"));
            output::hint(&format!("where {} is registered, name these name servers", zone.name));
        }
        Err(error) => output::note(&format!(
            "cannot ask public DNS ({error}); its name servers must be {}",
            zone.name_servers.join(", ")
        )),
    }
}

async fn create(
    account: &Account,
    parameters: &[(&'static str, String)],
    tag: Option<String>,
) -> anyhow::Result<bool> {
    let request = account
        .cloudformation
        .create_stack()
        .stack_name(PLATFORM)
        .template_body(TEMPLATE)
        .capabilities(Capability::CapabilityIam)
        .on_failure(OnFailure::Rollback)
        .set_parameters(Some(parameters.iter().map(parameter).collect()))
        .set_tags(Some(tags(tag)));
    let made = request.send().await;
    let made =
        made.map_err(|error| told(&format!("cannot create the stack `{PLATFORM}`"), &error))?;
    let id = made.stack_id().context("AWS named no stack")?;
    well(&stack::follow(account, id, None).await?)?;
    Ok(true)
}

/// True if something changed.
async fn update(
    account: &Account,
    before: &Standing,
    parameters: &[(&'static str, String)],
    tag: Option<String>,
) -> anyhow::Result<bool> {
    let is_given = |name: &str| parameters.iter().any(|(given, _)| *given == name);
    let kept = before
        .parameters
        .keys()
        .filter(|name| !is_given(name))
        .map(|name| Parameter::builder().parameter_key(name).use_previous_value(true).build());
    let mark = stack::mark(account, &before.id).await?;
    let request = account
        .cloudformation
        .update_stack()
        .stack_name(PLATFORM)
        .template_body(TEMPLATE)
        .capabilities(Capability::CapabilityIam)
        .set_parameters(Some(parameters.iter().map(parameter).chain(kept).collect()))
        .set_tags(Some(tags(tag)));
    match request.send().await {
        Ok(_) => {}
        Err(error) if Failure::of(&error).message.contains("No updates") => return Ok(false),
        Err(error) => return Err(told(&format!("cannot update the stack `{PLATFORM}`"), &error)),
    }
    well(&stack::follow(account, &before.id, mark).await?)?;
    Ok(true)
}

fn parameter((name, value): &(&'static str, String)) -> Parameter {
    Parameter::builder().parameter_key(*name).parameter_value(value).build()
}

fn tags(template: Option<String>) -> Vec<Tag> {
    let tag = |name: &str, value: &str| Tag::builder().key(name).value(value).build();
    let mut tags = vec![tag(MANAGED_BY.0, MANAGED_BY.1)];
    tags.extend(template.map(|digest| tag(APP_TEMPLATE, &digest)));
    tags
}

/// Whether an operation came to the end that was meant.
fn well(ended: &Ended) -> anyhow::Result<()> {
    let is_done = matches!(ended.status, StackStatus::CreateComplete | StackStatus::UpdateComplete);
    // What a rollback that was taken up again comes to: the next step follows.
    let is_back = ended.status == StackStatus::UpdateRollbackComplete && ended.failures.is_empty();
    if is_done || is_back {
        return Ok(());
    }
    let why = match ended.failures.first() {
        Some(_) => ended.failures.join("; "),
        None => "AWS gave no reason".to_owned(),
    };
    Err(bad_input(
        format!("the platform came to {}: {why}", ended.status.as_str()),
        format!("mend the cause, then `{AGAIN}` again: it takes up what is there"),
    ))
}

async fn upload_program(account: &Account, standing: &Standing, code: &Code) -> anyhow::Result<()> {
    let artifacts = standing.outputs.get("ArtifactBucket");
    let artifacts = artifacts.context("the stack says nothing of its bucket of artifacts")?;
    bucket::upload(account, artifacts, &format!("programs/{}", code.program), &code.program_file())
        .await
}

fn tell(account: &Account, standing: &Standing, changed: bool) {
    let domain = standing.parameters.get("Domain").map_or("", String::as_str);
    let word = if changed { standing.status.as_str() } else { "already up to date" };
    output::line(&format!("{PLATFORM}  {word}  account {} in {}", account.id, account.region));
    output::line(&format!("apps answer at https://NAME.{domain}"));
    let repo = match standing.parameters.get("Repository") {
        Some(repo) if !repo.is_empty() => "",
        Some(_) | None => " --repo https://github.com/YOU/APP",
    };
    output::hint(&format!(
        "an app is a row: `rowhouse --aws{} put hello{repo} --version main --scale 1`",
        account.options
    ));
}
