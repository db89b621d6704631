//! `rowhouse deploy`: the project in this folder, at its last commit.

use anyhow::Context as _;
use rowhouse_command::client::Changes;
use rowhouse_command::rows::change::{Unchanged, carry_out, text};
use rowhouse_command::rows::names;
use rowhouse_core::{Attribute, Row, Value};

use crate::args::Deploy;
use crate::context::Context;
use crate::failure::Exit;
use crate::output;
use crate::output::clean;
use crate::project::Project;

/// `make` makes the data folder where it is missing, which is done for an app and not for a
/// mistake.
pub(crate) async fn deploy(
    make: impl FnOnce() -> anyhow::Result<Context>,
    deploy: Deploy,
) -> anyhow::Result<Exit> {
    let folder = std::env::current_dir().context("cannot tell the current folder")?;
    let project = Project::of(&folder)?;
    let name = names::new(deploy.name.as_deref().unwrap_or(&project.name))?;
    let context = make()?;
    if project.uncommitted > 0 {
        let files = match project.uncommitted {
            1 => "1 file is".to_owned(),
            count => format!("{count} files are"),
        };
        output::warning(&format!("{files} not committed; what is deployed is the last commit"));
    }
    let short = project.commit.get(..7).unwrap_or(&project.commit);
    output::note(&format!("{name}: deploying {short} of {}", clean(&project.repository)));
    output::note(&format!("{name}: that is {}", project.origin.words()));
    if !project.path.is_empty() {
        output::note(&format!("{name}: the folder {} in it", clean(&project.path)));
    }
    let edit = move |row: Option<&Row>| {
        let mut changes = Changes::from([
            (Attribute::Version, Some(text(project.commit.as_str()))),
            (Attribute::Repo, Some(text(project.repository.as_str()))),
            (Attribute::Path, Some(text(project.path.as_str())).filter(|path| *path != text(""))),
        ]);
        if row.is_none() {
            changes.insert(Attribute::Scale, Some(Value::Whole(1)));
        }
        Ok(changes)
    };
    carry_out(&context, &name.key(), edit, Unchanged::LookAgain, &deploy.waiting).await
}
