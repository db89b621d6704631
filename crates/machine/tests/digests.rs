//! Of what an app is made here, as far as a row says it by an attribute that not every row has:
//! what touches a running instance, what touches a build, and what neither.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rowhouse_core::{
    App, Attribute, Commit, Deployment, Generation, HttpProtocol, Plan, Report, Row, RowKey,
    Settings, Source, Target, UserAttributes, Value,
};
use rowhouse_machine::build::request::BuildKey;
use rowhouse_machine::stack::InstanceDigest;

fn plan(change: impl FnOnce(&mut App)) -> Plan {
    let user: UserAttributes =
        [(Attribute::Version, Value::Text("main".to_owned())), (Attribute::Scale, Value::Whole(1))]
            .into();
    let (settings, generation) = (Settings::for_tests(), Generation::of(&user));
    let key = RowKey("shop".to_owned());
    let row = Row { key, user, report: Report::default(), seq: 0 };
    let mut app = App::parse(&row, &settings).unwrap();
    change(&mut app);
    let commit = Commit::parse(&"c".repeat(40)).unwrap();
    let deployment = Deployment {
        target: Target::of(&generation, &commit, &settings.digest),
        generation,
        source: Source::of(&app),
        commit,
        settings: settings.digest,
    };
    Plan { app, deployment }
}

/// What a plan would have if the row said so.
fn with(name: &str, value: &str) -> Plan {
    plan(|app| {
        let mut form = serde_json::to_value(&*app).unwrap();
        form[name] = serde_json::from_str(value).unwrap();
        *app = serde_json::from_value(form).unwrap();
    })
}

fn build(plan: &Plan) -> BuildKey {
    let (app, commit) = (&plan.app, &plan.deployment.commit);
    BuildKey::of(&app.repository, &app.path, commit, app.build_env.revealed())
        .with_line(app.procfile.line("build"))
}

fn instance(plan: &Plan) -> InstanceDigest {
    InstanceDigest::of(plan, &build(plan))
}

#[test]
fn memory_protocol_and_the_line_for_web_make_new_instances_of_the_same_build() {
    let bare = plan(|_| {});
    let mut seen = vec![instance(&bare)];
    for changed in [
        with("procfile", r#"{"web":"./serve"}"#),
        with("procfile", r#"{"web":""}"#),
        with("memory", "512"),
        with("protocol", r#""h2c""#),
    ] {
        assert_eq!(build(&changed), build(&bare));
        let digest = instance(&changed);
        assert!(!seen.contains(&digest), "{:?}", changed.app);
        seen.push(digest);
    }
    assert_eq!(instance(&plan(|app| app.protocol = HttpProtocol::Http1)), seen[0]);
}

#[test]
fn the_line_for_build_makes_another_build() {
    let bare = plan(|_| {});
    let made = with("procfile", r#"{"build":"make"}"#);
    let taken_away = with("procfile", r#"{"build":""}"#);
    assert_ne!(build(&made), build(&bare));
    assert_ne!(build(&made), build(&taken_away));
    assert_ne!(build(&taken_away), build(&bare));
    assert_ne!(instance(&made), instance(&bare));
}

#[test]
fn what_runs_beside_web_and_how_it_is_reached_touches_no_running_instance() {
    let bare = plan(|_| {});
    for changed in [
        with("procfile", r#"{"worker":"./work"}"#),
        with("workers", r#"{"worker":2}"#),
        with("cron", r#"{"tidy":"@daily ./tidy"}"#),
        with("domains", r#"{"example.com":null}"#),
        with("hook", r#""secret""#),
    ] {
        assert_ne!(changed.app, bare.app);
        assert_eq!((build(&changed), instance(&changed)), (build(&bare), instance(&bare)));
    }
}

#[test]
fn what_they_are_part_of_keeps_its_digest() {
    let all = plan(|app| {
        let mut form = serde_json::to_value(&*app).unwrap();
        let lines = BTreeMap::from([("web", "./serve"), ("build", "make")]);
        form["procfile"] = serde_json::to_value(lines).unwrap();
        form["memory"] = 512.into();
        form["protocol"] = "h2c".into();
        *app = serde_json::from_value(form).unwrap();
    });
    assert_eq!(build(&all).as_str(), "4ac99505c78dd69ab7f65df6de8f4f8b");
    assert_eq!(instance(&all).0, "7c158521c01624f372cde05e83462664");
}
