//! Rolling back to a release, on a real platform: what failed, and what was changed, is taken back
//! with every attribute of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::process::Output;

use house::{House, Repository};
use rowhouse_core::{Attribute, RowKey};
use rowhouse_machine::table::TableFile;

/// An app that refuses to run with a bad environment, and says who it is.
const APP: &str = "import os, http.server\n\
    assert os.environ.get('GREETING') != 'wrong', 'this greeting is wrong'\n\
    class Handler(http.server.BaseHTTPRequestHandler):\n    \
        def do_GET(self):\n        \
            text = (os.environ.get('GREETING', 'none') + ' of ' + TAG).encode()\n        \
            self.send_response(500 if self.path == '/sick' else 200)\n        \
            self.send_header('Content-Length', str(len(text)))\n        \
            self.end_headers()\n        \
            self.wfile.write(text)\n\
    TAG = open('tag').read()\n\
    address = (os.environ['HOST'], int(os.environ['PORT']))\n\
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()\n";

fn commit(repository: &Repository, tag: &str) -> String {
    let procfile = "web: exec python3 web.py\n";
    repository.commit(tag, &[("web.py", APP), ("Procfile", procfile), ("tag", tag)])
}

#[track_caller]
fn ends(output: &Output, status: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{all}");
    all
}

/// A platform with the app `shop`, deployed with a greeting.
fn shop() -> (House, Repository) {
    let house = House::start();
    let repository = house.repository("app");
    commit(&repository, "one");
    let path = repository.path.display().to_string();
    let put = ["put", "shop", "--repo", &path, "--env", "GREETING=hello"];
    ends(&house.rowhouse(&put), 0);
    assert_eq!(house.page("shop").unwrap(), "hello of one");
    (house, repository)
}

#[test]
fn a_bad_environment_is_rolled_back_to_the_one_before() {
    let (house, _repository) = shop();
    let said = ends(&house.rowhouse(&["put", "shop", "--env", "GREETING=wrong"]), 1);
    assert!(said.contains("this greeting is wrong"), "{said}");
    let said = ends(&house.rowhouse(&["rollback", "shop"]), 0);
    assert!(said.contains("shop: Env: GREETING=*** → ***\n"), "{said}");
    assert!(!said.contains("hello") && !said.contains("wrong"), "{said}");
    assert_eq!(house.page("shop").unwrap(), "hello of one");
    assert_eq!(house.sql("select env from apps"), r#"{"GREETING":"hello"}"#);
}

#[test]
fn a_bad_path_probe_or_repository_is_rolled_back_to_the_one_before() {
    let (house, _repository) = shop();
    let other = house.repository("other").path.display().to_string();
    for bad in [
        &["--path", "nowhere"] as &[&str],
        &["--health", "/sick", "--health-timeout", "1s"],
        &["--repo", &other, "--build-env", "A=b"],
    ] {
        let put = [&["put", "shop"] as &[&str], bad].concat();
        ends(&house.rowhouse(&put), 1);
        ends(&house.rowhouse(&["rollback", "shop"]), 0);
        assert_eq!(house.page("shop").unwrap(), "hello of one");
    }
    assert_eq!(house.sql("select path, health, health_timeout, build_env from apps"), "|||");
}

#[test]
fn what_somebody_wrote_that_is_no_app_is_rolled_back_too() {
    let (house, _repository) = shop();
    house.set("shop", "env = '[]', path = '/etc', health = 7");
    house.wait_row("shop", |row| row.status == "invalid");
    ends(&house.rowhouse(&["rollback", "shop"]), 0);
    assert_eq!(house.page("shop").unwrap(), "hello of one");
}

#[test]
fn changes_of_the_environment_alone_are_releases_and_are_numbered() {
    let (house, repository) = shop();
    ends(&house.rowhouse(&["put", "shop", "--env", "GREETING=welcome"]), 0);
    ends(&house.rowhouse(&["scale", "shop", "2"]), 0);
    // The branch has moved meanwhile, and is none of its business.
    commit(&repository, "two");
    let said = ends(&house.rowhouse(&["rollback", "shop"]), 0);
    assert!(said.contains(", release 1 of "), "{said}");
    assert!(said.contains("rowhouse put shop --version main"), "{said}");
    assert_eq!(house.page("shop").unwrap(), "hello of one");
    assert_eq!(house.row("shop").healthy, 2, "the number of instances stays");
    let history = ends(&house.rowhouse(&["history", "shop"]), 0);
    let numbers: Vec<&str> =
        history.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["4", "3", "2", "1"], "{history}");
    ends(&house.rowhouse(&["rollback", "shop", "2"]), 0);
    assert_eq!(house.page("shop").unwrap(), "welcome of one");
    // The attribute that is kept stays, and all others go back.
    ends(&house.rowhouse(&["put", "shop", "--version", "main", "--health", "/"]), 0);
    assert_eq!(house.page("shop").unwrap(), "welcome of two");
    ends(&house.rowhouse(&["rollback", "shop", "1", "--keep", "env", "--keep", "Health"]), 0);
    assert_eq!(house.page("shop").unwrap(), "welcome of one");
    assert_eq!(house.sql("select health from apps"), "/");
    let refused = ends(&house.rowhouse(&["rollback", "shop", "--keep", "Colour"]), 1);
    assert!(refused.contains("`BuildEnv`"), "{refused}");
}

#[test]
fn the_platforms_repository_is_that_of_the_release_wherever_it_has_gone() {
    let mut house = House::new(&[]);
    let [old, new] = ["old", "new"].map(|name| {
        let repository = house.repository(name);
        commit(&repository, name);
        repository.path.display().to_string()
    });
    house.arguments = vec!["--repo".to_owned(), old.clone()];
    house.up();
    ends(&house.rowhouse(&["put", "shop"]), 0);
    assert_eq!(house.page("shop").unwrap(), "none of old");
    house.end_up("-TERM");
    house.arguments = vec!["--repo".to_owned(), new.clone()];
    house.up();
    ends(&house.rowhouse(&["redeploy", "shop"]), 0);
    assert_eq!(house.page("shop").unwrap(), "none of new");
    let said = ends(&house.rowhouse(&["rollback", "shop"]), 0);
    assert!(said.contains(&format!("shop: Repo: (none) → `{old}`\n")), "{said}");
    assert_eq!(house.page("shop").unwrap(), "none of old");
}

#[test]
fn a_release_goes_with_the_last_entry_that_speaks_of_it() {
    let (house, _repository) = shop();
    ends(&house.rowhouse(&["put", "shop", "--env", "GREETING=welcome"]), 0);
    let releases = || TableFile::open(&house.table()).unwrap().releases(&RowKey("shop".into()));
    let kept = releases().unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.values().all(|kept| kept.revealed().contains_key(&Attribute::Repo)));
    ends(&house.rowhouse(&["rm", "shop"]), 0);
    assert_eq!(releases().unwrap().len(), 2, "they outlive the row as the history does");
    house.sql("delete from history where number = 1");
    assert_eq!(releases().unwrap().len(), 1);
    house.sql("delete from history");
    assert_eq!(releases().unwrap().len(), 0);
}
