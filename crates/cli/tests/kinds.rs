//! Apps of each kind, unchanged from a git repository, with the real package managers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use house::{House, Repository};

fn runs(house: &House, name: &str, repository: &Repository, says: &str) {
    let commit = repository.git(&["rev-parse", "HEAD"]);
    house.put(name, "main", 1, repository);
    house.deployed(name, &commit, 1);
    let page = house.page(name).unwrap();
    assert!(page.contains(says), "{name}: {page}");
}

#[test]
fn a_flask_app_runs_from_its_requirements_with_gunicorn() {
    let house = House::start();
    let repository = house.repository("flask");
    repository.commit(
        "one",
        &[
            ("requirements.txt", "flask==3.1.0\ngunicorn==23.0.0\n"),
            (
                "app.py",
                "from flask import Flask\napp = Flask(__name__)\n\n\n@app.get('/')\ndef \
                hello():\n    return 'hello from flask'\n",
            ),
            ("Procfile", "web: gunicorn --bind $HOST:$PORT --workers 2 app:app\n"),
        ],
    );
    runs(&house, "flask", &repository, "hello from flask");
}

#[test]
fn a_node_app_runs_from_its_lock_file() {
    let house = House::start();
    let repository = house.repository("node");
    repository.commit(
        "one",
        &[
            (
                "package.json",
                "{\"name\": \"app\", \"version\": \"1.0.0\", \"scripts\": \
                {\"start\": \"node server.js\"}, \"dependencies\": {\"is-number\": \"7.0.0\"}}\n",
            ),
            (
                "server.js",
                "const isNumber = \
                require('is-number');\nrequire('http').createServer((_, answer) => \
                answer.end('hello from node ' + \
                isNumber(process.env.PORT))).listen(process.env.PORT, process.env.HOST);\n",
            ),
        ],
    );
    // The lock file as npm itself makes it, without where it was downloaded from.
    let status = std::process::Command::new("npm")
        .args([
            "install",
            "--package-lock-only",
            "--ignore-scripts",
            "--omit-lockfile-registry-resolved",
        ])
        .current_dir(&repository.path)
        .output()
        .expect("`npm` must be installed: `apt-get install npm`");
    assert!(status.status.success(), "{status:?}");
    repository.git(&["add", "package-lock.json"]);
    repository.git(&["commit", "--quiet", "--message", "lock"]);
    runs(&house, "node", &repository, "hello from node true");
}

#[test]
fn a_rust_crate_in_a_sub_folder_of_this_very_repository_runs_with_path() {
    let house = House::start();
    let checkout = Repository {
        path: std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()
            .unwrap(),
    };
    // The files as they are here now, in a repository of their own: the checkout may have no commit
    // of them yet.
    let repository = house.repository("checkout");
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs", "src/look.rs", "src/page.html"] {
        let from = checkout.path.join("examples/hello").join(name);
        let to = repository.path.join("examples/hello").join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
    let commit = repository.commit("one", &[]);
    house.sql(&format!(
        "insert into apps (name, version, scale, repo, path) values ('hello', 'main', 1, '{}', \
         'examples/hello')",
        repository.path.display()
    ));
    house.deployed("hello", &commit, 1);
    assert!(house.page("hello").unwrap().starts_with(&format!("hello main ({})", &commit[..7])));
}

#[test]
fn a_static_folder_is_served() {
    let house = House::start();
    let repository = house.repository("static");
    repository.commit("one", &[("index.html", "<h1>hello from a file</h1>"), ("a/b.css", "b {}")]);
    runs(&house, "static", &repository, "hello from a file");
    assert_eq!(house.get("static", "/a/b.css").unwrap(), (200, "b {}".to_owned()));
    assert_eq!(house.get("static", "/../../secret").unwrap().0, 404);
}

#[test]
fn a_procfile_alone_is_enough_also_with_a_build_in_another_language() {
    let house = House::start();
    let repository = house.repository("shell");
    let serve = "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr \
        => \"127.0.0.1:$ENV{PORT}\", \
                 Listen => 9, ReuseAddr => 1); while ($c = $s->accept) { while (<$c>) { last if \
                 /^\\r?$/ } \
                 print $c \"HTTP/1.1 200 OK\\r\\nContent-Length: \" . length($ENV{SAYS}) . \
                 \"\\r\\nConnection: close\\r\\n\\r\\n$ENV{SAYS}\"; close $c }'";
    repository.commit(
        "one",
        &[("Procfile", &format!("web: SAYS='hello from perl' {serve}\nworker: sleep 1\n"))],
    );
    runs(&house, "shell", &repository, "hello from perl");
    let row = house.row("shell");
    assert!(row.reason.contains("worker"), "{row:?}");

    let built = house.repository("built");
    built.commit(
        "one",
        &[
            (
                "hello.c",
                "#include <stdio.h>\nint main(void) { puts(\"hello from c\"); return 0; }\n",
            ),
            (
                "Procfile",
                &format!("build: cc -o hello hello.c\nweb: SAYS=\"$(./hello)\" {serve}\n"),
            ),
        ],
    );
    runs(&house, "built", &built, "hello from c");
}

#[test]
fn an_app_that_cannot_be_run_is_told_what_was_looked_for() {
    let house = House::start();
    let repository = house.repository("empty");
    repository.commit("one", &[("README", "nothing to run")]);
    house.put("empty", "main", 1, &repository);
    let row = house.failed("empty", "Procfile");
    for looked_for in ["package.json", "Cargo.toml", "index.html"] {
        assert!(row.reason.contains(looked_for), "{}", row.reason);
    }
}
