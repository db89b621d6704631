//! The attributes that are understood and not offered yet: what is wrong with one is said first,
//! and what is right says that nobody does it. What they are part of is pinned.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rowhouse_core::{
    App, AppName, Attribute, EnvDigest, Generation, Limits, Manifest, Plan, Report, Row, Settings,
    Source, UserAttributes, Value, objections,
};

const FURTHER: [Attribute; 7] = [
    Attribute::Procfile,
    Attribute::Workers,
    Attribute::Cron,
    Attribute::Domains,
    Attribute::Memory,
    Attribute::Protocol,
    Attribute::Hook,
];

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| text(item)).collect())
}

fn row(changes: &[(Attribute, Value)]) -> Row {
    let mut user = UserAttributes::from([
        (Attribute::Version, text("main")),
        (Attribute::Scale, Value::Whole(1)),
    ]);
    user.extend(changes.iter().cloned());
    let key = AppName::parse("shop").unwrap().key();
    Row { key, user, report: Report::default(), seq: 0 }
}

fn reason(attribute: Attribute, value: Value) -> String {
    let row = row(&[(attribute, value)]);
    App::parse(&row, &Settings::for_tests()).unwrap_err().to_string()
}

#[track_caller]
fn refused(attribute: Attribute, value: Value, said: &str) {
    let reason = reason(attribute, value);
    assert!(reason.starts_with(&format!("`{}` ", attribute.name())), "{reason}");
    assert!(reason.contains(said) && reason.contains("must be"), "{said}: {reason}");
    assert!(!reason.contains("not offered"), "{reason}");
}

/// One that nothing is wrong with.
fn valid(attribute: Attribute) -> Vec<Value> {
    match attribute {
        Attribute::Procfile => vec![
            object([("web", text("./serve --port $PORT"))]),
            object([("build", text("make")), ("release", text("")), ("my_worker-1", text("a"))]),
        ],
        Attribute::Workers => {
            vec![object([("worker", Value::Whole(1)), ("mail", Value::Whole(3))])]
        }
        Attribute::Cron => vec![
            object([("tidy", text("*/5 * * * * ./tidy")), ("mail", text("@daily mail"))]),
            object([("tidy", text("TZ=Europe/Berlin 30 4 * * MON-FRI ./tidy"))]),
        ],
        Attribute::Domains => vec![
            list(&["example.com"]),
            list(&["Bücher.Example.", "*.example.com", "www.example.com=example.com"]),
            list(&["example.com", "EXAMPLE.com"]),
            list(&["notlocalhost", "localhost.example"]),
        ],
        Attribute::Memory => vec![Value::Whole(16), Value::Whole(512)],
        Attribute::Protocol => vec![text("h2c")],
        Attribute::Hook => vec![text("s3cret"), text(&"x".repeat(256))],
        Attribute::Version
        | Attribute::Scale
        | Attribute::Repo
        | Attribute::Path
        | Attribute::Env
        | Attribute::BuildEnv
        | Attribute::Health
        | Attribute::HealthTimeout
        | Attribute::Follow
        | Attribute::Redeploy => Vec::new(),
    }
}

/// What a row may say of it as if it said nothing.
fn default(attribute: Attribute) -> Option<Value> {
    match attribute {
        Attribute::Procfile | Attribute::Workers | Attribute::Cron => Some(object([])),
        Attribute::Domains => Some(list(&[])),
        Attribute::Protocol => Some(text("http1")),
        Attribute::Version
        | Attribute::Scale
        | Attribute::Repo
        | Attribute::Path
        | Attribute::Env
        | Attribute::BuildEnv
        | Attribute::Health
        | Attribute::HealthTimeout
        | Attribute::Follow
        | Attribute::Redeploy
        | Attribute::Memory
        | Attribute::Hook => None,
    }
}

fn is_offered(attribute: Attribute) -> bool {
    !FURTHER.contains(&attribute) || matches!(attribute, Attribute::Procfile | Attribute::Memory)
}

#[test]
fn a_row_that_uses_one_is_told_that_it_is_not_offered_yet_and_what_to_do() {
    for attribute in FURTHER.into_iter().filter(|one| !is_offered(*one)) {
        assert!(!valid(attribute).is_empty(), "{attribute:?}");
        for value in valid(attribute) {
            let reason = reason(attribute, value);
            let begin = format!("`{}` is not offered yet: take it out", attribute.name());
            assert!(reason.starts_with(&begin), "{reason}");
        }
    }
}

#[test]
fn lines_over_those_of_a_procfile_are_offered() {
    for value in valid(Attribute::Procfile) {
        let app = App::parse(&row(&[(Attribute::Procfile, value)]), &Settings::for_tests());
        assert!(!app.unwrap().procfile.is_empty());
    }
}

#[test]
fn a_row_with_a_memory_is_an_app_of_that_memory() {
    for value in valid(Attribute::Memory) {
        let row = row(&[(Attribute::Memory, value.clone())]);
        let app = App::parse(&row, &Settings::for_tests()).unwrap();
        assert_eq!(app.memory.map(|memory| Value::Whole(memory.into())), Some(value));
    }
}

#[test]
fn a_row_that_says_the_default_is_the_app_that_it_was() {
    let settings = Settings::for_tests();
    let bare = App::parse(&row(&[]), &settings).unwrap();
    for attribute in FURTHER {
        let Some(value) = default(attribute) else { continue };
        let row = row(&[(attribute, value)]);
        assert_eq!(App::parse(&row, &settings).unwrap(), bare, "{attribute:?}");
        assert_eq!(row.generation(), self::row(&[]).generation(), "{attribute:?}");
    }
    // Nobody runs none of a type.
    let none = row(&[(Attribute::Workers, object([("worker", Value::Whole(0))]))]);
    assert_eq!(App::parse(&none, &settings).unwrap(), bare);
}

#[test]
fn what_is_no_value_of_one_is_said_to_be_none() {
    for attribute in FURTHER {
        for value in [Value::Boolean(true), Value::Real(1.5), Value::Other("a blob")] {
            refused(attribute, value, "must be");
        }
    }
    for attribute in [Attribute::Procfile, Attribute::Workers, Attribute::Cron] {
        refused(attribute, text("{half of it"), "no JSON object");
        refused(attribute, list(&["web"]), "a list");
        refused(attribute, object([("my web", text("a"))]), "letters, digits");
        refused(attribute, object([("", text("a"))]), "letters, digits");
    }
    for attribute in [Attribute::Procfile, Attribute::Cron] {
        refused(attribute, object([("web", Value::Whole(1))]), "a text");
        refused(attribute, object([("web", text(&"x".repeat(70_000)))]), "at most 65536 bytes");
    }
}

#[test]
fn a_line_of_a_procfile_is_one_line() {
    for line in ["a\nb", "a\r\nb", "a\0"] {
        refused(Attribute::Procfile, object([("web", text(line))]), "a line break or a NUL");
    }
}

#[test]
fn workers_are_counted_up_to_the_platforms_maximum_and_some_types_are_none() {
    for count in [Value::Whole(-1), Value::Whole(4), Value::Real(1.5), text("1")] {
        let said = "for `worker`: it must be a whole number from 0 to 3";
        refused(Attribute::Workers, object([("worker", count)]), said);
    }
    let (user, unknown) = (
        row(&[(Attribute::Workers, object([("worker", Value::Whole(99))]))]).user,
        Limits::unknown(true),
    );
    let said = objections(&user, &unknown).iter().map(ToString::to_string).collect::<String>();
    assert!(said.starts_with("`Workers` is not offered yet"), "{said}");
    for name in ["web", "build", "release", "backup"] {
        refused(Attribute::Workers, object([(name, Value::Whole(1))]), "must be left out");
    }
}

#[test]
fn a_bad_schedule_is_named_with_what_is_allowed() {
    for (schedule, said) in [
        ("0 0 3 * * * ./tidy", "has 6 fields"),
        ("0 0 31 2 * ./tidy", "never comes"),
        ("0 3 * * *", "no command"),
        ("61 3 * * * ./tidy", "`61` for the minute"),
        ("TZ=Mars/Olympus 0 3 * * * ./tidy", "`Mars/Olympus`"),
        ("@reboot ./tidy", "`@reboot`"),
    ] {
        let value = object([("fine", text("@daily a")), ("tidy", text(schedule))]);
        refused(Attribute::Cron, value, "a schedule `tidy` that");
        refused(Attribute::Cron, object([("tidy", text(schedule))]), said);
    }
}

#[test]
fn a_bad_domain_is_named_with_what_it_is() {
    for (domains, said) in [
        (vec!["https://example.com"], "is a URL"),
        (vec!["example.com:8080"], "port"),
        (vec!["10.0.0.1"], "is an address"),
        (vec!["*"], "`*`"),
        (vec!["a.*.example"], "`*`"),
        (vec!["under_score.example"], "host name"),
        (vec![""], "is empty"),
        (vec!["a.example=https://b.example"], "is a URL"),
        (vec!["a.example=b.example=c.example"], "host name"),
        (vec!["a.example=*.b.example"], "more names than one"),
        (vec!["a.example=A.example"], "redirects itself"),
        (vec!["a.example=b.example", "b.example=a.example"], "redirects itself"),
        (vec!["a.example", "A.example=b.example"], "twice"),
        (vec!["localhost"], "the platform's own domain, `localhost`"),
        (vec!["Other.LocalHost"], "the platform's own domain"),
        (vec!["*.localhost"], "the platform's own domain"),
        (vec!["a.localhost=example.com"], "the platform's own domain"),
    ] {
        refused(Attribute::Domains, list(&domains), said);
    }
    refused(Attribute::Domains, text("example.com"), "no JSON array");
    refused(Attribute::Domains, Value::List(vec![Value::Whole(1)]), "no text");
    let many: Vec<String> = (0..101).map(|number| format!("a{number}.example")).collect();
    let many = Value::List(many.iter().map(|name| text(name)).collect());
    refused(Attribute::Domains, many, "101 names");
    // To lead to the platform's own name of an app is no harm, and elsewhere neither.
    for domain in ["www.example.com=shop.localhost", "www.example.com=example.org"] {
        assert!(reason(Attribute::Domains, list(&[domain])).contains("not offered"));
    }
}

#[test]
fn memory_and_protocol_say_what_they_take() {
    for memory in [0, -1, 15, i64::MAX] {
        refused(Attribute::Memory, Value::Whole(memory), "from 16 to 16777216");
    }
    refused(Attribute::Memory, text("512M"), "`512M`");
    for protocol in ["", "HTTP1", "h2", "http2", "grpc"] {
        refused(Attribute::Protocol, text(protocol), "`http1` or `h2c`");
    }
}

#[test]
fn a_hook_is_shown_by_no_sentence_and_in_no_debug_form() {
    for hook in ["hunter2 ", "hunter2\n", "hünter2", &"hunter2".repeat(50)] {
        refused(Attribute::Hook, text(hook), "1 to 256");
        assert!(!reason(Attribute::Hook, text(hook)).contains("nter2"));
    }
    // However long it is, what is allowed is told.
    for length in [257, 2048, 2049, 100_000] {
        refused(Attribute::Hook, text(&"x".repeat(length)), "1 to 256");
        refused(Attribute::Protocol, text(&"x".repeat(length)), "`http1` or `h2c`");
    }
    refused(Attribute::Hook, text(""), "an empty text");
    refused(Attribute::Hook, Value::Whole(4711), "a number");
    refused(Attribute::Env, Value::Whole(4711), "a number");
    let user = row(&[
        (Attribute::Hook, text("hunter2")),
        (Attribute::Env, text("{\"KEY\": \"hunter2")),
        (Attribute::BuildEnv, object([("KEY", text("hunter2"))])),
        (Attribute::Path, text("web")),
    ]);
    let told = format!("{user:?} {:?} {:?}", user.user, user.user[&Attribute::Hook]);
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("`web`"), "{told}");
    let hook = rowhouse_core::Secret::from("hunter2".to_owned());
    assert_eq!(format!("{hook:?}"), "***");
    assert_eq!(hook.revealed(), "hunter2");
}

#[test]
fn every_bad_one_of_a_row_is_named_at_once() {
    let all: Vec<(Attribute, Value)> =
        FURTHER.into_iter().map(|attribute| (attribute, Value::Boolean(true))).collect();
    let reason = App::parse(&row(&all), &Settings::for_tests()).unwrap_err().to_string();
    for attribute in FURTHER {
        assert!(reason.contains(&format!("`{}` is", attribute.name())), "{reason}");
    }
}

#[test]
fn each_is_part_of_the_generation_and_of_no_source() {
    let bare = row(&[]);
    let mut seen = vec![bare.generation()];
    for attribute in FURTHER {
        for value in valid(attribute) {
            let generation = row(&[(attribute, value)]).generation();
            assert!(!seen.contains(&generation), "{attribute:?}");
            seen.push(generation);
        }
    }
    let app = App::parse(&bare, &Settings::for_tests()).unwrap();
    let full = full(app.clone());
    assert_eq!(Source::of(&full), Source::of(&app));
    assert_eq!(EnvDigest::of(&full), EnvDigest::of(&app));
}

#[test]
fn domains_have_no_order() {
    let generation = |names: &[&str]| row(&[(Attribute::Domains, list(names))]).generation();
    assert_eq!(generation(&["a.example", "b.example"]), generation(&["b.example", "a.example"]));
    assert_eq!(generation(&["a.example", "a.example"]), generation(&["a.example"]));
    assert_ne!(generation(&["a.example"]), generation(&["b.example"]));
}

/// As an app is of which every attribute is offered: by the form in which plans are written.
fn full(app: App) -> App {
    let mut form = serde_json::to_value(app).unwrap();
    let further: BTreeMap<String, serde_json::Value> = serde_json::from_str(FULL).unwrap();
    form.as_object_mut().unwrap().extend(further);
    serde_json::from_value(form).unwrap()
}

const FULL: &str = concat!(
    r#"{"procfile":{"build":"make","web":"./serve"},"workers":{"worker":2},"#,
    r#""cron":{"tidy":"TZ=Europe/Berlin 30 4 * * 1-5 ./tidy"},"#,
    r#""domains":{"example.com":null,"www.example.com":"example.com"},"#,
    r#""memory":512,"protocol":"h2c","hook":"secret"}"#
);

#[test]
fn what_is_written_of_them_keeps_its_form() {
    let settings = Settings::for_tests();
    let user = row(&[
        (Attribute::Procfile, object([("web", text("./serve")), ("build", text("make"))])),
        (Attribute::Workers, object([("worker", Value::Whole(2))])),
        (Attribute::Cron, object([("tidy", text("@daily ./tidy"))])),
        (Attribute::Domains, list(&["www.example.com=example.com", "example.com"])),
        (Attribute::Memory, Value::Whole(512)),
        (Attribute::Protocol, text("h2c")),
        (Attribute::Hook, text("secret")),
    ])
    .user;
    assert_eq!(Generation::of(&user).as_str(), "v1-4a7a6dd01d1aff1f96228ab20cd97367");
    let app = full(App::parse(&row(&[]), &settings).unwrap());
    let written = serde_json::to_string(&app).unwrap();
    assert!(written.ends_with(&FULL[1..]), "{written}");
    assert_eq!(serde_json::from_str::<App>(&written).unwrap(), app);
    let commit = rowhouse_core::Commit::parse(&"c".repeat(40)).unwrap();
    let generation = Generation::of(&user);
    let deployment = rowhouse_core::Deployment {
        target: rowhouse_core::Target::of(&generation, &commit, &settings.digest),
        generation,
        source: Source::of(&app),
        commit,
        settings: settings.digest,
    };
    let manifest = Manifest::of(&Plan { app, deployment });
    let bytes = String::from_utf8(manifest.to_json()).unwrap();
    let further = concat!(
        r#","Redeploy":0,"Procfile":{"build":"make","web":"./serve"},"Memory":512,"#,
        r#""Protocol":"h2c"}"#
    );
    assert!(bytes.ends_with(further), "{bytes}");
    assert_eq!(serde_json::from_str::<Manifest>(&bytes).unwrap(), manifest);
    let row = manifest.row();
    let lines = object([("web", text("./serve")), ("build", text("make"))]);
    assert_eq!(row.get(&Attribute::Procfile), Some(&lines));
    for attribute in [Attribute::Memory, Attribute::Protocol] {
        assert_eq!(row.get(&attribute), user.get(&attribute), "{attribute:?}");
    }
}

/// The cells of a line of the table of both platforms, by the name in the first one.
fn platforms(name: &str) -> Vec<String> {
    let document = include_str!("../../../docs/platforms.md");
    let begin = format!("| `{name}` |");
    let lines: Vec<&str> = document.lines().filter(|line| line.starts_with(&begin)).collect();
    assert_eq!(lines.len(), 1, "docs/platforms.md has {} lines of `{name}`", lines.len());
    let cells: Vec<String> =
        lines[0].trim_matches('|').split(" | ").skip(1).map(str::to_owned).collect();
    assert_eq!(cells.len(), 2, "{name}: {cells:?}");
    cells
}

#[test]
fn the_table_of_both_platforms_has_each_attribute_and_says_which_are_not_offered() {
    for attribute in Attribute::ALL {
        for cell in platforms(attribute.name()) {
            let said = !cell.contains("not offered");
            assert_eq!(said, is_offered(attribute), "{}: {cell}", attribute.name());
        }
    }
    for name in ["Name", "status", "LoadBalancer", "Reason", "Revision", "Healthy"]
        .into_iter()
        .chain(["Generation", "Target", "Seq", "ChangedAt"])
    {
        platforms(name);
    }
}
