//! Going back to a release, as a table: a history, a row, what is asked for; which entry is meant,
//! and what becomes of the row.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use rowhouse_core::{
    Asked, Attribute, Commit, Generation, NoRollback, Release, Releases, Report, Repository,
    Rollback, Row, RowKey, Settings, Status, StoredEntry, UserAttributes, Value, rollback,
};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn env(value: &str) -> (Attribute, Option<Value>) {
    let entries = BTreeMap::from([("GREETING".to_owned(), text(value))]);
    (Attribute::Env, Some(Value::Map(entries)))
}

fn commit(digit: char) -> Commit {
    Commit::parse(&digit.to_string().repeat(40)).unwrap()
}

fn user(changes: &[(Attribute, Option<Value>)]) -> UserAttributes {
    let mut user = UserAttributes::from([
        (Attribute::Version, text("main")),
        (Attribute::Scale, Value::Whole(1)),
        (Attribute::Repo, text("/srv/shop")),
    ]);
    for (attribute, value) in changes {
        match value {
            Some(value) => user.insert(*attribute, value.clone()),
            None => user.remove(attribute),
        };
    }
    user
}

/// An app with its history, to which things happen one after the other.
struct History {
    entries: Vec<StoredEntry>,
    releases: Releases,
    row: Row,
    settings: Option<Settings>,
}

impl History {
    fn new() -> History {
        let row = Row {
            key: RowKey("shop".to_owned()),
            user: user(&[]),
            report: Report::default(),
            seq: 0,
        };
        let settings = Some(Settings::for_tests());
        History { entries: Vec::new(), releases: Releases::new(), row, settings }
    }

    /// Somebody writes the row.
    fn put(mut self, changes: &[(Attribute, Option<Value>)]) -> History {
        for (attribute, value) in changes {
            match value {
                Some(value) => self.row.user.insert(*attribute, value.clone()),
                None => self.row.user.remove(attribute),
            };
        }
        self
    }

    /// Its rollout ends; `serves`: the commit from then on.
    fn ends(mut self, status: Status, serves: char) -> History {
        let generation = self.row.generation();
        let of = |attribute| match self.row.user.get(&attribute) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let (repository, path) = match (of(Attribute::Repo), &self.settings) {
            (Some(repository), _) => (repository, of(Attribute::Path).unwrap_or_default()),
            (None, Some(settings)) => (
                settings.repository.as_ref().unwrap().as_str().to_owned(),
                of(Attribute::Path).or(settings.path.clone()).unwrap_or_default(),
            ),
            (None, None) => panic!("a platform at work has settings"),
        };
        let entry = StoredEntry {
            at: "2026-01-01T10:00:00.000Z".to_owned(),
            number: Some(self.entries.len() as u64 + 1),
            generation: Some(generation.as_str().to_owned()),
            target: None,
            version: of(Attribute::Version),
            repository: Some(repository),
            path: Some(path),
            revision: Some(commit(serves)),
            scale: Some(1),
            status: Some(status.as_str().to_owned()),
            reason: None,
            env: None,
        };
        self.entries.insert(0, entry);
        self.releases.insert(generation.clone(), Release::of(&self.row));
        self.row.report = Report {
            status: Some(status),
            revision: Some(commit(serves)),
            generation: Some(generation),
            ..Report::default()
        };
        self
    }

    /// The newest entry becomes one of the first form.
    fn of_the_first_form(mut self) -> History {
        let entry = &mut self.entries[0];
        (entry.number, entry.path) = (None, None);
        self.releases.remove(&Generation::stored(entry.generation.clone().unwrap()));
        self
    }

    fn asked(&self, asked: &Asked, kept: &[Attribute]) -> Result<Rollback, NoRollback> {
        let kept: BTreeSet<Attribute> = kept.iter().copied().collect();
        let (entries, releases) = (&self.entries, &self.releases);
        rollback(&self.row, entries, releases, asked, &kept, self.settings.as_ref())
    }

    fn earlier(&self) -> Result<u64, NoRollback> {
        self.asked(&Asked::Earlier, &[]).map(|found| found.entry.number.unwrap())
    }

    fn changes(&self, asked: &Asked, kept: &[Attribute]) -> BTreeMap<Attribute, Option<Value>> {
        self.asked(asked, kept).unwrap().changes
    }
}

/// What every rollback writes, and these.
fn written(
    commit_of: char,
    redeploy: i64,
    changes: &[(Attribute, Option<Value>)],
) -> BTreeMap<Attribute, Option<Value>> {
    let mut written = BTreeMap::from([
        (Attribute::Version, Some(text(commit(commit_of).as_str()))),
        (Attribute::Follow, Some(Value::Whole(0))),
        (Attribute::Redeploy, Some(Value::Whole(redeploy))),
    ]);
    written.extend(changes.iter().cloned());
    written
}

#[test]
fn after_a_failed_change_everything_is_as_it_was_deployed_last() {
    let good = History::new().put(&[env("hello")]).ends(Status::Deployed, 'a');
    for (change, back) in [
        (env("wrong"), env("hello")),
        ((Attribute::Env, None), env("hello")),
        ((Attribute::Path, Some(text("nowhere"))), (Attribute::Path, None)),
        ((Attribute::Repo, Some(text("/srv/other"))), (Attribute::Repo, Some(text("/srv/shop")))),
        ((Attribute::BuildEnv, env("x").1), (Attribute::BuildEnv, None)),
        ((Attribute::Health, Some(text("/sick"))), (Attribute::Health, None)),
        ((Attribute::HealthTimeout, Some(Value::Whole(1))), (Attribute::HealthTimeout, None)),
    ] {
        for status in [Status::DeployFailed, Status::Invalid] {
            let mut bad = History {
                entries: good.entries.clone(),
                releases: good.releases.clone(),
                row: good.row.clone(),
                settings: good.settings.clone(),
            }
            .put(std::slice::from_ref(&change));
            if status == Status::Invalid {
                bad.row.report.status = Some(status);
            } else {
                bad = bad.ends(status, 'a');
            }
            let changes = bad.changes(&Asked::Earlier, &[]);
            assert_eq!(changes, written('a', 1, std::slice::from_ref(&back)), "{change:?}");
        }
    }
}

#[test]
fn without_a_failure_it_is_the_release_before_that_differs_from_the_row() {
    let history = History::new().ends(Status::Deployed, 'a');
    assert_eq!(history.earlier(), Err(NoRollback::NothingEarlier));
    let history = history.put(&[env("hello")]).ends(Status::Deployed, 'a');
    assert_eq!(history.earlier(), Ok(1), "a change of `Env` alone is one");
    let history = history.put(&[(Attribute::Scale, Some(Value::Whole(3)))]);
    let history = history.ends(Status::Deployed, 'a');
    assert_eq!(history.earlier(), Ok(1), "another number of instances is no other release");
    assert_eq!(history.changes(&Asked::Earlier, &[]), written('a', 1, &[(Attribute::Env, None)]));
    let history = history.put(&[(Attribute::Redeploy, Some(Value::Whole(1)))]);
    let history = history.ends(Status::Deployed, 'b');
    assert_eq!(history.earlier(), Ok(3), "the branch had moved");
    assert_eq!(history.changes(&Asked::Earlier, &[]), written('a', 2, &[]));
}

#[test]
fn a_rollback_is_taken_back_by_the_next_one() {
    let history = History::new().ends(Status::Deployed, 'a');
    let mut history = history.put(&[env("hello")]).ends(Status::Deployed, 'a');
    for (number, redeploy, serves) in [(1, 1, None), (2, 2, env("hello").1), (3, 3, None)] {
        let found = history.asked(&Asked::Earlier, &[]).unwrap();
        assert_eq!(found.entry.number, Some(number));
        assert_eq!(found.changes, written('a', redeploy, &[(Attribute::Env, serves)]));
        let changes: Vec<_> = found.changes.into_iter().collect();
        history = history.put(&changes).ends(Status::Deployed, 'a');
    }
}

#[test]
fn what_is_not_deployed_yet_is_taken_back_to_what_is() {
    let history = History::new().ends(Status::Deployed, 'a').put(&[env("hello")]);
    assert_eq!(history.earlier(), Ok(1), "nobody has answered yet");
    let mut history = history.put(&[env("other")]);
    history.row.report.status = Some(Status::Deploying);
    history.row.report.generation = Some(history.row.generation());
    assert_eq!(history.earlier(), Ok(1), "it is under way");
    let branch = History::new().ends(Status::Deployed, 'a');
    let branch = branch.put(&[(Attribute::Version, Some(text("next")))]);
    assert_eq!(branch.earlier(), Ok(1), "another branch may come to another commit");
}

#[test]
fn a_revision_that_was_deployed_more_than_once_means_its_newest_entry_that_differs() {
    let history = History::new()
        .put(&[env("one")])
        .ends(Status::Deployed, 'a')
        .put(&[env("two")])
        .ends(Status::Deployed, 'a')
        .put(&[env("three")])
        .ends(Status::Deployed, 'a');
    let asked = Asked::parse("AAAAAAA").unwrap();
    assert_eq!(history.asked(&asked, &[]).unwrap().entry.number, Some(2));
    assert_eq!(history.changes(&asked, &[]), written('a', 1, &[env("two")]));
    let history = history.put(&[env("four")]).ends(Status::Deployed, 'b');
    assert_eq!(history.asked(&asked, &[]).unwrap().entry.number, Some(3));
    // Where none differs, it is pinned there.
    let same = History::new().ends(Status::Deployed, 'a');
    assert_eq!(same.changes(&asked, &[]), written('a', 1, &[]));
}

#[test]
fn a_number_means_its_entry_whatever_stands_in_the_row() {
    let history = History::new()
        .put(&[env("one")])
        .ends(Status::Deployed, 'a')
        .put(&[env("two")])
        .ends(Status::DeployFailed, 'a')
        .put(&[env("three")])
        .ends(Status::Deployed, 'b');
    let number = |text: &str| history.asked(&Asked::parse(text).unwrap(), &[]);
    assert_eq!(number("1").unwrap().changes, written('a', 1, &[env("one")]));
    assert_eq!(number("3").unwrap().changes, written('b', 1, &[]));
    assert_eq!(number("2"), Err(NoRollback::Failed));
    assert_eq!(number("4"), Err(NoRollback::Unknown));
}

#[test]
fn what_says_how_much_of_an_app_runs_stays_and_so_does_what_is_kept() {
    let history = History::new()
        .put(&[env("one"), (Attribute::Health, Some(text("/a")))])
        .ends(Status::Deployed, 'a')
        .put(&[
            env("two"),
            (Attribute::Scale, Some(Value::Whole(3))),
            (Attribute::Health, None),
            (Attribute::Redeploy, Some(Value::Whole(4))),
            (Attribute::Follow, Some(Value::Boolean(true))),
        ])
        .ends(Status::Deployed, 'b');
    let health = (Attribute::Health, Some(text("/a")));
    let all = [env("one"), health.clone()];
    assert_eq!(history.changes(&Asked::Earlier, &[]), written('a', 5, &all));
    let kept = history.changes(&Asked::Earlier, &[Attribute::Env]);
    assert_eq!(kept, written('a', 5, &[health]));
    // Who keeps the branch follows it as before.
    let kept = history.changes(&Asked::Earlier, &[Attribute::Version]);
    let expected = Vec::from(all).into_iter();
    let redeploy = (Attribute::Redeploy, Some(Value::Whole(5)));
    assert_eq!(kept, expected.chain([redeploy]).collect());
    for attribute in Attribute::ALL {
        assert!(!history.changes(&Asked::Earlier, &[attribute]).contains_key(&attribute));
    }
}

#[test]
fn what_is_kept_makes_no_release_another_one() {
    let history = History::new()
        .put(&[(Attribute::Health, Some(text("/a")))])
        .ends(Status::Deployed, 'a')
        .put(&[(Attribute::Health, None)])
        .ends(Status::Deployed, 'a')
        .put(&[env("two")])
        .ends(Status::Deployed, 'a');
    let found = history.asked(&Asked::Earlier, &[Attribute::Env]).unwrap();
    assert_eq!(found.entry.number, Some(1));
}

#[test]
fn the_platforms_repository_is_written_where_it_has_changed_or_nobody_can_tell() {
    let repo = |text: &str| (Attribute::Repo, Some(Value::Text(text.to_owned())));
    let path = |text: &str| (Attribute::Path, Some(Value::Text(text.to_owned())));
    let settings = |repository: &str, path: Option<&str>| {
        Some(Settings {
            repository: Repository::parse(repository).ok(),
            path: path.map(str::to_owned),
            ..Settings::for_tests()
        })
    };
    let none = (Attribute::Repo, None);
    for (then_path, now, changes) in [
        (None, settings("/srv/default", Some("apps")), vec![none.clone()]),
        (None, settings("/srv/default", Some("web")), vec![none.clone(), path("apps")]),
        (None, settings("/srv/default", None), vec![none.clone(), path("apps")]),
        (None, settings("/srv/new", Some("apps")), vec![repo("/srv/default"), path("apps")]),
        (None, None, vec![repo("/srv/default"), path("apps")]),
        (Some("."), settings("/srv/new", None), vec![repo("/srv/default"), path(".")]),
        (Some("b"), settings("/srv/default", None), vec![none.clone(), path("b")]),
    ] {
        let mut history = History::new()
            .put(&[none.clone(), (Attribute::Path, then_path.map(text))])
            .ends(Status::Deployed, 'a')
            .put(&[repo("/srv/shop"), (Attribute::Path, None)])
            .ends(Status::Deployed, 'b');
        history.settings = now;
        let asked = Asked::Number(1);
        assert_eq!(history.changes(&asked, &[]), written('a', 1, &changes), "{then_path:?}");
    }
    // What differs is what the defaults come to.
    let mut history = History::new()
        .put(std::slice::from_ref(&none))
        .ends(Status::Deployed, 'a')
        .put(&[env("one")])
        .ends(Status::Deployed, 'a');
    assert_eq!(history.earlier(), Ok(1));
    history.settings = settings("/srv/new", None);
    assert_eq!(history.earlier(), Ok(2));
    history.settings = None;
    assert_eq!(history.earlier(), Ok(1), "the row is as it was deployed, as far as anybody knows");
}

#[test]
fn an_entry_of_the_first_form_offers_its_commit_alone_and_only_in_its_repository() {
    let history = History::new()
        .put(&[env("one")])
        .ends(Status::Deployed, 'a')
        .of_the_first_form()
        .put(&[env("two")])
        .ends(Status::Deployed, 'b')
        .of_the_first_form();
    let found = history.asked(&Asked::Earlier, &[]).unwrap();
    assert_eq!((found.is_whole, found.changes), (false, written('a', 1, &[])));
    let failed = history.put(&[env("three")]).ends(Status::DeployFailed, 'b');
    let found = failed.asked(&Asked::Earlier, &[]).unwrap();
    assert_eq!((found.is_whole, found.changes), (false, written('b', 1, &[])));
    let moved = failed.put(&[(Attribute::Repo, Some(text("/srv/other")))]);
    assert_eq!(moved.asked(&Asked::Earlier, &[]), Err(NoRollback::NothingEarlier));
    let asked = Asked::Revision("aaaaaaa".to_owned());
    assert_eq!(moved.asked(&asked, &[]), Err(NoRollback::AnotherRepository));
}

#[test]
fn a_release_that_was_lost_offers_its_commit() {
    let mut history = History::new()
        .put(&[env("one")])
        .ends(Status::Deployed, 'a')
        .put(&[env("two")])
        .ends(Status::DeployFailed, 'a');
    history.releases.clear();
    let found = history.asked(&Asked::Number(1), &[]).unwrap();
    assert_eq!((found.is_whole, found.changes), (false, written('a', 1, &[])));
}

#[test]
fn digits_must_be_those_of_one_revision() {
    let mut history = History::new().ends(Status::Deployed, 'a');
    history.entries[0].revision = Commit::parse(&format!("{}{}", "a".repeat(10), "b".repeat(30)));
    let history = history.put(&[env("x")]).ends(Status::Deployed, 'a');
    let asked = |text: &str| history.asked(&Asked::parse(text).unwrap(), &[]);
    assert_eq!(asked("aaaaaaa"), Err(NoRollback::Ambiguous));
    assert_eq!(asked("aaaaaaaaaab").unwrap().entry.number, Some(1));
    assert_eq!(asked("bbbbbbb"), Err(NoRollback::Unknown));
    for bad in ["", "aaaaaa", "main", "-1", "1 ", "+1", &"a".repeat(41)] {
        assert_eq!(Asked::parse(bad), None, "{bad}");
    }
    assert_eq!(Asked::parse("12"), Some(Asked::Number(12)));
    assert_eq!(Asked::parse("1234567"), Some(Asked::Revision("1234567".to_owned())));
}

#[test]
fn the_way_back_is_the_branch_that_was_deployed_last_in_that_repository() {
    let version = |text: &str| (Attribute::Version, Some(Value::Text(text.to_owned())));
    let history = History::new()
        .ends(Status::Deployed, 'a')
        .put(&[version("next")])
        .ends(Status::Deployed, 'b')
        .put(&[version("broken")])
        .ends(Status::DeployFailed, 'b');
    let branch = |history: &History, number| {
        history.asked(&Asked::Number(number), &[]).unwrap().branch.unwrap_or_default()
    };
    assert_eq!(branch(&history, 1), "next");
    let other = [version("theirs"), (Attribute::Repo, Some(text("/srv/other")))];
    let history = history.put(&other).ends(Status::Deployed, 'c');
    assert_eq!((branch(&history, 1), branch(&history, 4)), ("next".into(), "theirs".into()));
}

#[test]
fn a_rollback_to_what_stands_there_changes_nothing() {
    let pinned = (Attribute::Version, Some(text(commit('a').as_str())));
    let history = History::new().put(&[pinned]).ends(Status::Deployed, 'a');
    let found = history.asked(&Asked::Number(1), &[]).unwrap();
    assert!(found.changes_nothing(&history.row.user));
    let history = history.put(&[env("one")]);
    assert!(!history.asked(&Asked::Number(1), &[]).unwrap().changes_nothing(&history.row.user));
}

#[test]
fn no_count_is_too_high_to_be_raised() {
    for (count, raised) in [(Value::Whole(i64::MAX), i64::MAX), (text("many"), 1)] {
        let history = History::new()
            .ends(Status::Deployed, 'a')
            .put(&[(Attribute::Redeploy, Some(count))])
            .ends(Status::DeployFailed, 'a');
        assert_eq!(history.changes(&Asked::Earlier, &[]), written('a', raised, &[]));
    }
}
