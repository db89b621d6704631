//! `rowhouse deploy`: the project in this folder, at its last commit.

use anyhow::Context as _;
use rowhouse_command::client::{Changes, Client as _, Rows as _};
use rowhouse_command::rows::change::{Unchanged, carry_out, text};
use rowhouse_command::rows::environment::EnvironmentChange;
use rowhouse_command::rows::names;
use rowhouse_core::{AppName, Attribute, Row, UserAttributes, Value, counted, without_password};

use crate::args::Deploy;
use crate::context::Context;
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::output::{clean, quoted};
use crate::project::Project;

/// `make` makes the data folder where it is missing, which is done for an app and not for a
/// mistake.
pub(crate) async fn deploy(
    make: impl FnOnce() -> anyhow::Result<Context>,
    deploy: Deploy,
) -> anyhow::Result<Exit> {
    let folder = std::env::current_dir().context("cannot tell the current folder")?;
    let project = Project::of(&folder)?;
    let name = match deploy.name.or(deploy.named) {
        Some(name) => names::new(&name)?,
        None => names::of_folder(&project.folder)?,
    };
    let lines = EnvironmentChange::of_processes(&deploy.processes)?;
    let context = make()?;
    let before = context.get(&name.key()).await?.map(|stored| stored.row);
    refuse_others(&context, &name, before.as_ref(), &project)?;
    tell(&name, &project);
    let edit = |row: Option<&Row>| {
        refuse_others(&context, &name, row, &project)?;
        let path = Some(project.path.as_str()).filter(|path| !path.is_empty());
        let mut changes = Changes::from([
            (Attribute::Version, Some(text(project.commit.as_str()))),
            (Attribute::Repo, Some(text(project.repository.as_str()))),
            (Attribute::Path, path.map(text)),
        ]);
        if row.is_none() {
            changes.insert(Attribute::Scale, Some(Value::Whole(1)));
        }
        if let Some(lines) = lines.apply(row, Attribute::Procfile)? {
            changes.insert(Attribute::Procfile, Some(lines));
        }
        Ok(changes)
    };
    carry_out(&context, &name.key(), edit, Unchanged::LookAgain, &deploy.waiting).await
}

/// Says what is deployed, and from where.
fn tell(name: &AppName, project: &Project) {
    if project.uncommitted > 0 {
        let are = if project.uncommitted == 1 { "is" } else { "are" };
        output::warning(&format!(
            "{} {are} not committed; what is deployed is the last commit",
            counted(project.uncommitted, "file")
        ));
    }
    let short = project.commit.get(..7).unwrap_or(&project.commit);
    output::note(&format!("{name}: deploying {short} of {}", clean(&project.repository)));
    output::note(&format!("{name}: that is {}", project.origin.words()));
    if !project.path.is_empty() {
        output::note(&format!("{name}: the folder {} in it", clean(&project.path)));
    }
}

/// An app that comes from somewhere else keeps its name.
fn refuse_others(
    context: &Context,
    name: &AppName,
    row: Option<&Row>,
    project: &Project,
) -> anyhow::Result<()> {
    let Some(row) = row else { return Ok(()) };
    let settings = context.settings();
    let default = settings.as_ref().and_then(|settings| settings.repository.as_ref());
    let (repository, path) = match given(&row.user, Attribute::Repo) {
        Some(repository) => (Some(repository), None),
        // The platform's path belongs to the platform's repository.
        None => (
            default.map(|repository| repository.as_str().to_owned()),
            settings.as_ref().and_then(|settings| settings.path.clone()),
        ),
    };
    let path = given(&row.user, Attribute::Path).or(path).unwrap_or_default();
    let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
    let path = if path == "." { "" } else { path };
    if repository.as_deref().is_some_and(|repository| project.is_in(repository))
        && path == project.path
    {
        return Ok(());
    }
    let place = |repository: &str, path: &str| {
        let repository = format!("`{}`", clean(&without_password(repository)));
        match path {
            "" => repository,
            path => format!("the folder `{}` of {repository}", clean(path)),
        }
    };
    let theirs = match &repository {
        Some(repository) => place(repository, path),
        None => "the platform's repository".to_owned(),
    };
    let other = context.location().command("deploy --name NAME");
    let put = format!(
        "put {name} --repo {} --path {} --version {}",
        quoted(&project.repository),
        quoted(&project.path),
        project.commit
    );
    Err(bad_input(
        format!(
            "the app `{name}` comes from {theirs}, and this is {}",
            place(&project.repository, &project.path)
        ),
        format!(
            "`{other}` makes another app of this one; `{}` has `{name}` come from here",
            context.location().command(&put)
        ),
    ))
}

/// What stands in a row as a text; what is none is shown as what it is.
fn given(user: &UserAttributes, attribute: Attribute) -> Option<String> {
    let value = user.get(&attribute)?;
    Some(if let Value::Text(text) = value { text.clone() } else { value.shown() })
}
