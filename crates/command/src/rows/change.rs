//! A change of one row: checked before it is written, written while nobody else writes, and carried
//! to its outcome.

use rowhouse_core::{
    App, AppName, Attribute, Generation, Limits, Obstacle, Row, RowKey, Status, UserAttributes,
    Value, objections,
};

use crate::client::{Changes, Client};
use crate::failure::{Exit, bad_input};
use crate::output;
use crate::rows::args::Waiting;
use crate::rows::wait::{self, Progress};
use crate::rows::{following, names, reactor, row_text};

/// How often a change is made anew, because somebody else wrote the row just then.
pub(crate) const TRIES: usize = 20;

/// What to do where the changes change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// It is so already, unless it failed: then it is tried again.
    Already,
    /// Look whether the version names another commit by now.
    LookAgain,
}

/// A text as a row's value.
pub fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// What somebody typed for a number, in the type that the row's check can speak of.
pub fn number(text: &str) -> Value {
    text.parse().map_or_else(
        |_| text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Real),
        Value::Whole,
    )
}

/// `Redeploy`, one higher.
pub fn raised(user: Option<&UserAttributes>) -> Changes {
    let none = UserAttributes::new();
    let count = rowhouse_core::raised(user.unwrap_or(&none));
    Changes::from([(Attribute::Redeploy, Some(count))])
}

/// The key of a row that is there, or an error that says which are.
pub async fn existing(client: &impl Client, name: &str) -> anyhow::Result<RowKey> {
    Ok(names::row(client, name).await?.row.key)
}

/// Writes the row, unless what is given could never run, and waits for what comes of it. `edit` is
/// asked again where somebody else wrote the row meanwhile.
pub async fn carry_out(
    client: &impl Client,
    key: &RowKey,
    edit: impl Fn(Option<&Row>) -> anyhow::Result<Changes>,
    unchanged: Unchanged,
    waiting: &Waiting,
) -> anyhow::Result<Exit> {
    let progress = Progress::new(client, key.as_str(), waiting).await?;
    // Asked once, and before the row is looked at for good: a repository may take its time.
    let has_moved = match unchanged {
        Unchanged::LookAgain => match client.get(key).await? {
            Some(stored) => has_moved(client, &stored.row).await?,
            None => false,
        },
        Unchanged::Already => false,
    };
    let mut stopped = None;
    let mut sent = None;
    for _ in 0..TRIES {
        let before = client.get(key).await?.map(|stored| stored.row);
        // It was written, and only the answer to that was lost.
        if let Some(row) = before.as_ref().filter(|row| Some(row.generation()) == sent) {
            let outcome = wait::outcome(client, row, progress, waiting);
            return wait::unless_interrupted(client, std::slice::from_ref(&key.0), outcome).await;
        }
        let mut changes = edit(before.as_ref())?;
        let follow = following::settle(before.as_ref(), &mut changes);
        let user = after(before.as_ref(), &changes);
        check(client, key, &changes, &user)?;
        let same = before.as_ref();
        if let Some(row) = same.filter(|row| row.generation() == Generation::of(&user)) {
            match again(row, has_moved) {
                Again::Raise => changes.extend(raised(Some(&user))),
                Again::Already => {
                    reactor::warn_if_absent(client);
                    output::note(&format!("`{key}` is already so"));
                    output::line(&row_text::line(row));
                    return Ok(unanswered(client, waiting));
                }
                Again::Wait => {
                    let outcome = wait::outcome(client, row, progress, waiting);
                    let names = std::slice::from_ref(&key.0);
                    return wait::unless_interrupted(client, names, outcome).await;
                }
            }
        }
        // Whatever else is changed: a source that stays would keep its commit.
        if has_moved && same.is_some_and(|row| has_same_source(&row.user, &user)) {
            changes.extend(raised(Some(&user)));
        }
        if follow != stopped {
            if let Some(version) = &follow {
                following::tell(client, key, version);
            }
            stopped = follow;
        }
        if let Some(written) = client.write(key, before.as_ref(), &changes).await? {
            let outcome = wait::outcome(client, &written, progress, waiting);
            return wait::unless_interrupted(client, std::slice::from_ref(&key.0), outcome).await;
        }
        sent = Some(Generation::of(&after(before.as_ref(), &changes)));
    }
    Err(anyhow::anyhow!("`{key}` was not changed: others write its row all the time"))
}

/// What is given is refused where it could never run.
pub(crate) fn check(
    client: &impl Client,
    key: &RowKey,
    changes: &Changes,
    user: &UserAttributes,
) -> anyhow::Result<()> {
    if let Some(reason) = objection(key, changes, user, &limits(client)) {
        let hint = format!("`{}` shows what can be given", client.location().command("put --help"));
        return Err(bad_input(reason, hint));
    }
    match following::objection(changes, user) {
        None => Ok(()),
        Some(reason) => {
            let name = output::clean(key.as_str());
            let put = format!("put {name} --version BRANCH --follow true");
            let hint = format!("name a branch: `{}`", client.location().command(&put));
            Err(bad_input(reason, hint))
        }
    }
}

/// How a command ends that changed nothing, or waits for nothing: as done only where somebody keeps
/// true what the row says.
pub(crate) fn unanswered(client: &impl Client, waiting: &Waiting) -> Exit {
    if client.reactor().is_at_work() || waiting.no_wait { Exit::Done } else { Exit::Ours }
}

/// Whether both mean the same source, for which the commit that was resolved before is kept.
fn has_same_source(before: &UserAttributes, after: &UserAttributes) -> bool {
    let source = [
        Attribute::Repo,
        Attribute::Path,
        Attribute::Version,
        Attribute::BuildEnv,
        Attribute::Redeploy,
    ];
    source.iter().all(|attribute| before.get(attribute) == after.get(attribute))
}

/// What to do with a row that says already what is wanted.
enum Again {
    /// It is to be looked at again.
    Raise,
    /// It is so.
    Already,
    /// Its answer is on the way, or here.
    Wait,
}

fn again(row: &Row, has_moved: bool) -> Again {
    match (row.report.status, row.is_answered()) {
        (Some(Status::DeployFailed), true) => Again::Raise,
        // Asked anew, for what the row says may have been mended since.
        (Some(Status::Deploying), true)
            if matches!(Obstacle::of(&row.report), Some(Obstacle::Repository(_))) =>
        {
            Again::Raise
        }
        (Some(Status::Deployed | Status::Deploying), _) if has_moved => Again::Raise,
        (Some(Status::Deployed), true) if all_answer(row) => Again::Already,
        (
            Some(Status::Deployed | Status::Deploying | Status::DeployFailed | Status::Invalid)
            | None,
            _,
        ) => Again::Wait,
    }
}

/// The user's part of a row with these changes.
pub(crate) fn after(before: Option<&Row>, changes: &Changes) -> UserAttributes {
    let mut user = before.map(|row| row.user.clone()).unwrap_or_default();
    for (attribute, value) in changes {
        match value {
            Some(value) => user.insert(*attribute, value.clone()),
            None => user.remove(attribute),
        };
    }
    user
}

/// What a row is checked against, as far as it is known here.
fn limits<C: Client>(client: &C) -> Limits {
    client.settings().map_or(Limits::unknown(C::IS_HERE), |settings| settings.limits())
}

/// What is wrong with the name and the attributes that are given. What else is wrong in the row,
/// somebody else wrote: the reactor says so, and one attribute after the other can be set right.
fn objection(
    key: &RowKey,
    changes: &Changes,
    user: &UserAttributes,
    limits: &Limits,
) -> Option<String> {
    let is_given = |attribute: Attribute| {
        let has_no_repository = attribute == Attribute::Repo && !user.contains_key(&attribute);
        changes.contains_key(&attribute) || has_no_repository
    };
    let name = AppName::parse(key.as_str()).err();
    let objections = objections(user, limits);
    let given = objections.iter().filter(|objection| is_given(objection.attribute));
    let sentences: Vec<String> = name.into_iter().chain(given.map(ToString::to_string)).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn all_answer(row: &Row) -> bool {
    row.user.get(&Attribute::Scale) == Some(&Value::Whole(i64::from(row.report.healthy)))
}

/// Whether the row's version names another commit than the one that runs, or is on its way. Where
/// nobody can tell, the reactor is the one to find out.
async fn has_moved(client: &impl Client, row: &Row) -> anyhow::Result<bool> {
    let Some(settings) = client.settings() else {
        return Ok(row.report.status.is_some() && !following::is_at_commit(&row.user));
    };
    let Ok(app) = App::parse(row, &settings) else { return Ok(false) };
    let aim = client.aim(&app.name).await?;
    let is_deployed = row.report.status == Some(Status::Deployed) && row.is_answered();
    let present = match (&aim, &row.report.revision) {
        (Some(commit), _) | (None, Some(commit)) => commit,
        // At scale 0 nothing may have run yet.
        (None, None) if is_deployed => return Ok(app.scale > 0),
        // Not begun: its version is looked up when it is.
        (None, None) => return Ok(false),
    };
    Ok(match client.resolve(&app).await {
        Some(commit) => commit != *present || is_deployed && !all_answer(row),
        None => true,
    })
}

#[cfg(test)]
mod tests {
    use rowhouse_core::{Report, Settings};

    use super::*;

    fn objected(
        changes: &[(Attribute, Option<Value>)],
        row: &[(Attribute, Value)],
    ) -> Option<String> {
        objected_on(&Settings::for_tests().limits(), changes, row)
    }

    fn objected_on(
        limits: &Limits,
        changes: &[(Attribute, Option<Value>)],
        row: &[(Attribute, Value)],
    ) -> Option<String> {
        let before = Row {
            key: RowKey("shop".to_owned()),
            user: row.iter().cloned().collect(),
            report: Report::default(),
            seq: 0,
        };
        let changes: Changes = changes.iter().cloned().collect();
        let user = after(Some(&before), &changes);
        objection(&before.key, &changes, &user, limits)
    }

    #[test]
    fn only_what_is_given_is_objected_to() {
        let bad_row = [(Attribute::Scale, text("two")), (Attribute::Follow, text("perhaps"))];
        assert_eq!(objected(&[(Attribute::Scale, Some(Value::Whole(2)))], &bad_row), None);
        let said = objected(&[(Attribute::Scale, Some(number("2.7")))], &bad_row).unwrap();
        assert!(said.starts_with("`Scale` is 2.7") && !said.contains("Follow"), "{said}");
        let said = objected(&[(Attribute::Repo, Some(text("ext::sh -c id")))], &[]).unwrap();
        assert!(said.starts_with("`Repo` is"), "{said}");
        assert_eq!(objected(&[(Attribute::Scale, None)], &[]).unwrap()[..10], *"`Scale` is");
    }

    #[test]
    fn the_repository_of_a_row_is_no_objection_to_another_change_on_either_platform() {
        let row = [(Attribute::Repo, text("https://git.example.com/shop.git"))];
        let changes = [(Attribute::Scale, Some(Value::Whole(1)))];
        for local_repositories in [true, false] {
            let settings = Settings { local_repositories, ..Settings::for_tests() };
            assert_eq!(objected_on(&settings.limits(), &changes, &row), None);
        }
    }

    #[test]
    fn what_a_platform_alone_knows_is_left_to_it() {
        let unknown = Limits::unknown(true);
        let given = [(Attribute::Scale, Some(Value::Whole(99)))];
        assert_eq!(objected_on(&unknown, &given, &[]), None);
        let given = [(Attribute::Scale, Some(Value::Whole(-1)))];
        let said = objected_on(&unknown, &given, &[]).unwrap();
        assert!(said.ends_with("a whole number from 0 to the platform's maximum"), "{said}");
        let none = Settings { repository: None, ..Settings::for_tests() };
        let said = objected_on(&none.limits(), &[(Attribute::Scale, Some(Value::Whole(1)))], &[]);
        assert!(said.unwrap().starts_with("`Repo` is missing"));
    }

    #[test]
    fn numbers_keep_the_type_in_which_they_were_typed() {
        assert_eq!(number("-1"), Value::Whole(-1));
        assert_eq!(number("2.7"), Value::Real(2.7));
        assert_eq!(number("two"), text("two"));
    }
}
