//! What is stored outside of a process keeps its bytes: digests stand in rows, stacks and tokens,
//! plans in journals, manifests under their own digests. A change of one of these is a new format,
//! never an accident.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rowhouse_core::{
    App, AppName, Attribute, Base, Commit, Deployment, EnvDigest, Generation, Manifest, NoCommit,
    Plan, Report, Row, Settings, SettingsDigest, Source, Target, UserAttributes, Value,
};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn variables(entries: &[(&str, &str)]) -> Value {
    let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), text(value)));
    Value::Map(entries.collect::<BTreeMap<String, Value>>())
}

/// A row that says everything.
fn full() -> Row {
    let user = UserAttributes::from([
        (Attribute::Version, text("feature/größe")),
        (Attribute::Scale, Value::Whole(2)),
        (Attribute::Repo, text("https://user:hunter2@example.com/shop.git")),
        (Attribute::Path, text("web/front")),
        (Attribute::Env, variables(&[("GREETING", "hello"), ("TOKEN", "a\"b\n")])),
        (Attribute::BuildEnv, variables(&[("NODE_ENV", "production")])),
        (Attribute::Health, text("/health")),
        (Attribute::HealthTimeout, Value::Whole(90)),
        (Attribute::Follow, text("true")),
        (Attribute::Redeploy, Value::Whole(7)),
    ]);
    row(user)
}

/// A row that says what it must.
fn bare() -> Row {
    row(UserAttributes::from([
        (Attribute::Version, text("main")),
        (Attribute::Scale, Value::Whole(1)),
    ]))
}

fn row(user: UserAttributes) -> Row {
    let name = AppName::parse("shop").unwrap();
    Row { key: name.key(), user, report: Report::default(), seq: 0 }
}

fn commit() -> Commit {
    Commit::parse(&"0123456789".repeat(4)).unwrap()
}

fn plan(row: &Row) -> Plan {
    let settings = Settings::for_tests();
    let app = App::parse(row, &settings).unwrap();
    let generation = Generation::of(&row.user);
    let deployment = Deployment {
        target: Target::of(&generation, &commit(), &settings.digest),
        generation,
        source: Source::of(&app),
        commit: commit(),
        settings: settings.digest.clone(),
    };
    Plan { app, deployment }
}

#[test]
fn the_digests_of_a_row_are_what_they_were() {
    let (full, bare) = (plan(&full()), plan(&bare()));
    assert_eq!(full.deployment.generation.as_str(), "v1-25f5857eeadb434c6858a41433d14327");
    assert_eq!(bare.deployment.generation.as_str(), "v1-fafcbdf1ad5aac0acec0b8465a634614");
    assert_eq!(full.deployment.source.as_str(), "v1-aaa37f8b0d06bdc8817bce4075dbf0dc");
    assert_eq!(bare.deployment.source.as_str(), "v1-b9e7f29ddcb0d227266da4b4ca08fe39");
    assert_eq!(full.deployment.target.as_str(), "v1-797575f7a604398f25a1baf81b788f36");
    let settings = Settings::for_tests().digest;
    let without = |why| Target::without_commit(&bare.deployment.generation, why, &settings);
    let nothing = without(NoCommit::NoSuchVersion);
    assert_ne!(nothing, without(NoCommit::Denied));
    assert_eq!(nothing.as_str(), "v1-05823bbfb23e04d83d6cb04cc7db2e61");
    assert_eq!(EnvDigest::of(&full.app).as_str(), "v1-f8ecc523206f70743232c28773d0cc4b");
    assert_eq!(SettingsDigest::of("machine-1").as_str(), "v1-d5f3df0e2f42f08690c2977f2ff3f51b");
    assert_eq!(Base::of("a-stack", "7").as_str(), "v1-b59eaa82da9babf17b967ce527f80de5");
}

#[test]
fn values_of_every_type_keep_their_canonical_form() {
    let odd = UserAttributes::from([
        (Attribute::Version, Value::Real(1.5)),
        (Attribute::Scale, text("two")),
        (Attribute::Repo, Value::Other("a blob")),
        (Attribute::Path, Value::Boolean(true)),
        (Attribute::Env, Value::Map(BTreeMap::from([("N".to_owned(), Value::Whole(-1))]))),
        (Attribute::Follow, Value::Whole(1)),
    ]);
    assert_eq!(Generation::of(&odd).as_str(), "v1-fcfbee3aaf18ae16877a3f3fbbc12c89");
}

#[test]
fn a_plan_is_written_into_a_journal_as_it_was() {
    assert_eq!(
        serde_json::to_string(&plan(&full())).unwrap(),
        concat!(
            r#"{"app":{"name":"shop","version":"feature/größe","scale":2,"#,
            r#""repository":"https://user:hunter2@example.com/shop.git","path":"web/front","#,
            r#""env":{"GREETING":"hello","TOKEN":"a\"b\n"},"#,
            r#""build_env":{"NODE_ENV":"production"},"health":"/health","health_timeout":90,"#,
            r#""follow":true,"redeploy":7},"#,
            r#""deployment":{"target":"v1-797575f7a604398f25a1baf81b788f36","#,
            r#""generation":"v1-25f5857eeadb434c6858a41433d14327","#,
            r#""source":"v1-aaa37f8b0d06bdc8817bce4075dbf0dc","#,
            r#""commit":"0123456789012345678901234567890123456789","#,
            r#""settings":"v1-484132b8d93ebb2eed0bae6b3176b598"}}"#,
        )
    );
    assert_eq!(
        serde_json::to_string(&plan(&bare())).unwrap(),
        concat!(
            r#"{"app":{"name":"shop","version":"main","scale":1,"repository":"/srv/default","#,
            r#""path":"apps","env":{},"build_env":{},"health":null,"health_timeout":60,"#,
            r#""follow":false,"redeploy":0},"#,
            r#""deployment":{"target":"v1-3e2426e8b0e9a5c67e4a52dcdec4f3d1","#,
            r#""generation":"v1-fafcbdf1ad5aac0acec0b8465a634614","#,
            r#""source":"v1-b9e7f29ddcb0d227266da4b4ca08fe39","#,
            r#""commit":"0123456789012345678901234567890123456789","#,
            r#""settings":"v1-484132b8d93ebb2eed0bae6b3176b598"}}"#,
        )
    );
}

#[test]
fn a_manifest_has_the_bytes_that_it_had() {
    let bytes = |row: &Row| String::from_utf8(Manifest::of(&plan(row)).to_json()).unwrap();
    assert_eq!(
        bytes(&full()),
        concat!(
            r#"{"Name":"shop","Version":"feature/größe","#,
            r#""Repo":"https://user:hunter2@example.com/shop.git","Path":"web/front","#,
            r#""Commit":"0123456789012345678901234567890123456789","Env":{"GREETING":"hello","#,
            r#""TOKEN":"a\"b\n"},"BuildEnv":{"NODE_ENV":"production"},"Health":"/health","#,
            r#""HealthTimeout":90,"Redeploy":7}"#,
        )
    );
    assert_eq!(
        bytes(&bare()),
        concat!(
            r#"{"Name":"shop","Version":"main","Repo":"/srv/default","Path":"apps","#,
            r#""Commit":"0123456789012345678901234567890123456789","Env":{},"BuildEnv":{},"#,
            r#""Health":null,"HealthTimeout":60,"Redeploy":0}"#,
        )
    );
}
