//! A change of one row: checked before it is written, written while nobody else writes, and carried to its outcome.

use std::collections::BTreeMap;

use rowhouse_core::{
    App, Attribute, Generation, Report, Row, RowKey, Settings, Status, UserAttributes, Value,
};
use rowhouse_machine::mirror::{Mirrors, Resolved};
use rowhouse_machine::repository::Repository;
use rowhouse_machine::stack::Ongoing;

use crate::args::Waiting;
use crate::context::Context;
use crate::failure::{Exit, bad_input};
use crate::wait::{self, Progress};
use crate::{output, row_text};

/// User attributes to write; `None` clears one.
pub(crate) type Changes = BTreeMap<Attribute, Option<Value>>;

/// What to do where the changes change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// It is so already, unless it failed: then it is tried again.
    Already,
    /// Look whether the version names another commit by now.
    LookAgain,
}

/// A text as a row's value.
pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// What somebody typed for a number, in the type that the row's check can speak of.
pub(crate) fn number(text: &str) -> Value {
    text.parse().map_or_else(
        |_| text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Real),
        Value::Whole,
    )
}

/// `Redeploy`, one higher.
pub(crate) fn raised(user: Option<&UserAttributes>) -> Changes {
    let count = match user.and_then(|user| user.get(&Attribute::Redeploy)) {
        Some(Value::Whole(count)) => *count,
        Some(_) | None => 0,
    };
    Changes::from([(Attribute::Redeploy, Some(Value::Whole(count.saturating_add(1))))])
}

/// The key of a row that is there, or an error that says which are.
pub(crate) fn existing(context: &Context, name: &str) -> anyhow::Result<RowKey> {
    Ok(context.row(&context.table()?, name)?.row.key)
}

/// Writes the row, unless what is given could never run, and waits for what comes of it.
pub(crate) async fn carry_out(
    context: &Context,
    key: &RowKey,
    edit: impl FnOnce(Option<&Row>) -> anyhow::Result<Changes>,
    unchanged: Unchanged,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    let mut table = context.table()?;
    let settings = context.settings();
    let progress = Progress::new(context, key.as_str())?;
    // Asked before the table is locked: git may take its time.
    let seen = match unchanged {
        Unchanged::LookAgain => table.get(key)?.map(|stored| stored.row),
        Unchanged::Already => None,
    };
    let has_moved = match &seen {
        Some(row) => has_moved(context, row).await?,
        None => false,
    };
    let mut is_already = false;
    let written = table.edit(key, |before| -> anyhow::Result<Changes> {
        let mut changes = edit(before)?;
        let user = after(before, &changes);
        if let Some(reason) = objection(key, &changes, &user, &settings) {
            let hint = format!("`{}` shows what can be given", context.command("put --help"));
            return Err(bad_input(reason, hint));
        }
        let same = before.filter(|row| Generation::of(&row.user) == Generation::of(&user));
        if let Some(row) = same {
            match (row.report.status, row_text::is_answered(row)) {
                (Some(Status::DeployFailed), true) => changes.extend(raised(Some(&user))),
                // Asked anew, for what the row says may have been mended since.
                (Some(Status::Deploying), true) if row_text::unreached(row).is_some() => {
                    changes.extend(raised(Some(&user)));
                }
                (Some(Status::Deployed | Status::Deploying), _) if has_moved => {
                    changes.extend(raised(Some(&user)));
                }
                (Some(Status::Deployed), true) if all_answer(row) => {
                    is_already = true;
                    changes.clear();
                }
                // Its answer is on the way, or here.
                (
                    Some(
                        Status::Deployed
                        | Status::Deploying
                        | Status::DeployFailed
                        | Status::Invalid,
                    )
                    | None,
                    _,
                ) => changes.clear(),
            }
        }
        Ok(changes)
    })??;
    if is_already {
        context.warn_if_absent();
        output::note(&format!("`{key}` is already so"));
        output::line(&row_text::line(&written));
        return Ok(Exit::Done);
    }
    let outcome = wait::outcome(context, &table, &written, progress, waiting);
    wait::unless_interrupted(context, std::slice::from_ref(&key.0), outcome).await
}

fn after(before: Option<&Row>, changes: &Changes) -> UserAttributes {
    let mut user = before.map(|row| row.user.clone()).unwrap_or_default();
    for (attribute, value) in changes {
        match value {
            Some(value) => user.insert(*attribute, value.clone()),
            None => user.remove(attribute),
        };
    }
    user
}

/// What is wrong with the attributes that are given. What else is wrong in the row, somebody else wrote: the
/// reactor says so, and one attribute after the other can be set right.
fn objection(
    key: &RowKey,
    changes: &Changes,
    user: &UserAttributes,
    settings: &Settings,
) -> Option<String> {
    let mut probe = UserAttributes::from([
        (Attribute::Version, text("main")),
        (Attribute::Scale, Value::Whole(0)),
    ]);
    if user.contains_key(&Attribute::Repo) {
        probe.insert(Attribute::Repo, text("/given/before"));
    }
    for attribute in changes.keys() {
        match user.get(attribute) {
            Some(value) => probe.insert(*attribute, value.clone()),
            None => probe.remove(attribute),
        };
    }
    let row = Row { key: key.clone(), user: probe, report: Report::default(), seq: 0 };
    let reason = App::parse(&row, settings).err()?;
    // Without a platform at work nobody knows its maximum.
    Some(reason.replace(&format!("from 0 to {}", u32::MAX), "from 0 to the platform's maximum"))
}

fn all_answer(row: &Row) -> bool {
    row.user.get(&Attribute::Scale) == Some(&Value::Whole(i64::from(row.report.healthy)))
}

/// Whether the row's version names another commit than the one that runs, or is on its way. Where nobody can
/// tell, the reactor is the one to find out.
async fn has_moved(context: &Context, row: &Row) -> anyhow::Result<bool> {
    let Ok(app) = App::parse(row, &context.settings()) else { return Ok(false) };
    let Ok(repository) = Repository::parse(&app.repository) else { return Ok(false) };
    let stack = context.journal()?.stack(&app.name)?;
    let aim = match stack.and_then(|stack| stack.ongoing) {
        Some(Ongoing::Create { plan, .. } | Ongoing::Update { plan, .. }) => {
            Some(plan.deployment.commit)
        }
        Some(Ongoing::RollBack { .. } | Ongoing::Delete) | None => None,
    };
    let is_deployed = row.report.status == Some(Status::Deployed) && row_text::is_answered(row);
    let present = match (&aim, is_deployed) {
        (Some(commit), _) => commit,
        (None, true) => match &row.report.revision {
            Some(commit) => commit,
            // At scale 0 nothing may have run yet.
            None => return Ok(app.scale > 0),
        },
        // Not begun: its version is looked up when it is.
        (None, false) => return Ok(false),
    };
    let mirrors = Mirrors::new(context.folder.mirrors());
    Ok(match mirrors.resolve(&repository, app.version.as_str()).await {
        Ok(Resolved::Commit(commit)) => commit != *present || is_deployed && !all_answer(row),
        Ok(Resolved::NoSuchVersion { .. }) | Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &[(Attribute, Option<Value>)], row: &[(Attribute, Value)]) -> Option<String> {
        let before = Row {
            key: RowKey("shop".to_owned()),
            user: row.iter().cloned().collect(),
            report: Report::default(),
            seq: 0,
        };
        let changes: Changes = changes.iter().cloned().collect();
        let user = after(Some(&before), &changes);
        objection(&before.key, &changes, &user, &Settings::for_tests())
    }

    #[test]
    fn only_what_is_given_is_objected_to() {
        let bad_row = [(Attribute::Scale, text("two")), (Attribute::Follow, text("perhaps"))];
        assert_eq!(check(&[(Attribute::Scale, Some(Value::Whole(2)))], &bad_row), None);
        let said = check(&[(Attribute::Scale, Some(number("2.7")))], &bad_row).unwrap();
        assert!(said.starts_with("`Scale` is 2.7") && !said.contains("Follow"), "{said}");
        let said = check(&[(Attribute::Repo, Some(text("ext::sh -c id")))], &[]).unwrap();
        assert!(said.starts_with("`Repo` is"), "{said}");
    }

    #[test]
    fn numbers_keep_the_type_in_which_they_were_typed() {
        assert_eq!(number("-1"), Value::Whole(-1));
        assert_eq!(number("2.7"), Value::Real(2.7));
        assert_eq!(number("two"), text("two"));
    }
}
