//! What a platform writes down outlives it: names that are computed and records that are kept stay
//! as they are, to the byte, so that the next version finds the builds, adopts the instances and
//! carries on the operations of this one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rowhouse_core::{
    App, AppName, Attempt, Attribute, Commit, Deployment, Generation, Plan, Report, Repository,
    Row, RowKey, Settings, Source, Target, UserAttributes, Value,
};
use rowhouse_machine::build::request::BuildKey;
use rowhouse_machine::instance::InstanceId;
use rowhouse_machine::process::supervised::snapshot;
use rowhouse_machine::stack::journal::JournalFile;
use rowhouse_machine::stack::{InstanceDigest, InstanceRecord, Ongoing, StackRecord};

fn commit() -> Commit {
    Commit::parse(&"c".repeat(40)).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn variables(name: &str, value: &str) -> Value {
    Value::Map([(name.to_owned(), text(value))].into())
}

/// What becomes of a row that says all that a row can say.
fn plan() -> Plan {
    let user: UserAttributes = [
        (Attribute::Version, text("feature/a")),
        (Attribute::Scale, Value::Whole(2)),
        (Attribute::Repo, text("https://user:token@host/owner/shop.git")),
        (Attribute::Path, text("apps/web")),
        (Attribute::Env, variables("GREETING", "hello")),
        (Attribute::BuildEnv, variables("MODE", "release")),
        (Attribute::Health, text("/up")),
        (Attribute::HealthTimeout, Value::Whole(30)),
        (Attribute::Follow, Value::Boolean(true)),
        (Attribute::Redeploy, Value::Whole(3)),
    ]
    .into();
    let settings = Settings::for_tests();
    let generation = Generation::of(&user);
    let key = RowKey("shop".to_owned());
    let app = App::parse(&Row { key, user, report: Report::default(), seq: 0 }, &settings).unwrap();
    let deployment = Deployment {
        target: Target::of(&generation, &commit(), &settings.digest),
        generation,
        source: Source::of(&app),
        commit: commit(),
        settings: settings.digest,
    };
    Plan { app, deployment }
}

fn key() -> BuildKey {
    let plan = plan();
    BuildKey::of(&plan.app.repository, &plan.app.path, &commit(), plan.app.build_env.revealed())
}

fn record(ongoing: Option<Ongoing>) -> StackRecord {
    let plan = plan();
    StackRecord {
        name: AppName::parse("shop").unwrap(),
        id: "5f5e100-123-1".to_owned(),
        serial: 4,
        running: Some(Box::new(plan.clone())),
        tried: Some(Attempt {
            target: plan.deployment.target.clone(),
            commit: commit(),
            reason: "exited with status 3".to_owned(),
        }),
        ongoing,
        instances: vec![InstanceRecord {
            id: InstanceId("ccccccc-1".to_owned()),
            port: 20_001,
            digest: InstanceDigest::of(&plan, &key()),
            commit: commit(),
            born: 3,
        }],
        started: 1,
        builds: vec![key().as_str().to_owned()],
        released: vec![InstanceDigest::of(&plan, &key()).0],
    }
}

const KEY: &str = "6665fc6711674f05291fdd133549d620";
const DIGEST: &str = "59bdd3c1a3e5a83e0ba83c983fb0f9be";
const PLAN: &str = concat!(
    r#"{"app":{"name":"shop","version":"feature/a","scale":2,"#,
    r#""repository":"https://user:token@host/owner/shop.git","path":"apps/web","#,
    r#""env":{"GREETING":"hello"},"build_env":{"MODE":"release"},"health":"/up","#,
    r#""health_timeout":30,"follow":true,"redeploy":3},"deployment":{"#,
    r#""target":"v1-c2a5e67aa0366b9818db43ce83369e27","#,
    r#""generation":"v1-6a316db70716cb1758ffbe1b9b934276","#,
    r#""source":"v1-5f1fb5581db194219928f76b04842e35","#,
    r#""commit":"cccccccccccccccccccccccccccccccccccccccc","#,
    r#""settings":"v1-484132b8d93ebb2eed0bae6b3176b598"}}"#
);

/// As a platform wrote it, with an operation under way.
fn written(ongoing: &str) -> String {
    let (before, after) = (
        concat!(
            r#""tried":{"target":"v1-c2a5e67aa0366b9818db43ce83369e27","#,
            r#""commit":"cccccccccccccccccccccccccccccccccccccccc","#,
            r#""reason":"exited with status 3"}"#
        ),
        concat!(
            r#""instances":[{"id":"ccccccc-1","port":20001,"#,
            r#""digest":"59bdd3c1a3e5a83e0ba83c983fb0f9be","#,
            r#""commit":"cccccccccccccccccccccccccccccccccccccccc","born":3}],"started":1,"#,
            r#""builds":["6665fc6711674f05291fdd133549d620"],"#,
            r#""released":["59bdd3c1a3e5a83e0ba83c983fb0f9be"]}"#
        ),
    );
    let name = r#"{"name":"shop","id":"5f5e100-123-1","serial":4"#;
    format!(r#"{name},"running":{PLAN},{before},"ongoing":{ongoing},{after}"#)
}

#[test]
fn a_build_is_found_under_the_key_that_it_was_made_under() {
    assert_eq!(key().as_str(), KEY);
    let repository = Repository::parse("/srv/git/shop").unwrap();
    let bare = BuildKey::of(&repository, "", &commit(), &std::collections::BTreeMap::new());
    assert_eq!(bare.as_str(), "c40792f82a1b5f9c189fb30a48ff32d5");
}

#[test]
fn an_instance_has_the_digest_that_it_was_started_with() {
    assert_eq!(InstanceDigest::of(&plan(), &key()).0, DIGEST);
}

#[test]
fn a_plan_is_written_as_it_was() {
    assert_eq!(serde_json::to_string(&plan()).unwrap(), PLAN);
}

#[test]
fn a_record_is_written_as_it_was_and_what_was_written_is_read_back() {
    let attempt = record(None).tried;
    let failed = serde_json::to_string(&attempt).unwrap();
    for (ongoing, written) in [
        (None, "null".to_owned()),
        (
            Some(Ongoing::Create { plan: Box::new(plan()), moved: false }),
            format!(r#"{{"Create":{{"plan":{PLAN},"moved":false}}}}"#),
        ),
        (
            Some(Ongoing::Update { plan: Box::new(plan()), moved: true }),
            format!(r#"{{"Update":{{"plan":{PLAN},"moved":true}}}}"#),
        ),
        (
            Some(Ongoing::RollBack { failed: attempt }),
            format!(r#"{{"RollBack":{{"failed":{failed}}}}}"#),
        ),
        (Some(Ongoing::RollBack { failed: None }), r#"{"RollBack":{"failed":null}}"#.to_owned()),
        (Some(Ongoing::Delete), r#""Delete""#.to_owned()),
    ] {
        let (record, written) = (record(ongoing), self::written(&written));
        assert_eq!(serde_json::to_string(&record).unwrap(), written);
        assert_eq!(serde_json::from_str::<StackRecord>(&written).unwrap(), record);
    }
}

#[test]
fn a_journal_of_an_earlier_platform_is_read_and_written_to_the_byte() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("journal.sqlite");
    drop(JournalFile::open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    let before = written("null");
    raw.execute("insert into stacks (name, record) values ('shop', ?1)", [&before]).unwrap();
    let journal = JournalFile::open(&path).unwrap();
    let name = AppName::parse("shop").unwrap();
    let read = journal.stack(&name).unwrap().unwrap();
    assert_eq!(read, record(None));
    journal.write(&read).unwrap();
    let after: String = raw.query_row("select record from stacks", [], |row| row.get(0)).unwrap();
    assert_eq!(after, before);
}

#[test]
fn how_a_process_ended_is_read_where_an_earlier_parent_wrote_it() {
    for (written, words) in [
        (r#"{"Exited":3}"#, "exited with status 3"),
        (r#"{"Signalled":9}"#, "was killed by signal 9 (SIGKILL)"),
        (r#""TimedOut""#, "did not end within its time limit"),
        (r#"{"NotStarted":"it is gone"}"#, "could not be started: it is gone"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("end.json"), written).unwrap();
        assert_eq!(snapshot(folder.path()).end.unwrap().to_string(), words);
    }
}
