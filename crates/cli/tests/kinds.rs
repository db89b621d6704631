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

/// What a test of a language needs, which a machine that builds this may lack.
fn needs(tool: &str, package: &str) {
    let found = std::process::Command::new("which").arg(tool).output().unwrap();
    assert!(found.status.success(), "`{tool}` must be installed: `apt-get install {package}`");
}

#[test]
fn a_go_program_runs_from_its_module_alone_and_where_a_procfile_names_it() {
    needs("go", "golang-go");
    let house = House::start();
    let repository = house.repository("go");
    let main = "package main\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc \
                main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, r \
                *http.Request) {\n\t\tfmt.Fprint(w, \"hello from go\")\n\t})\n\t\
                http.ListenAndServe(os.Getenv(\"HOST\")+\":\"+os.Getenv(\"PORT\"), nil)\n}\n";
    repository.commit("one", &[("go.mod", "module example.com/shop\n"), ("main.go", main)]);
    runs(&house, "go", &repository, "hello from go");
    repository.commit("two", &[("Procfile", "web: ./server\n")]);
    runs(&house, "named", &repository, "hello from go");
}

#[test]
fn a_php_page_runs_without_a_procfile() {
    needs("php", "php-cli");
    let house = House::start();
    let repository = house.repository("php");
    repository.commit("one", &[("public/index.php", "<?php echo 'hello from ' . 'php';\n")]);
    runs(&house, "php", &repository, "hello from php");
    assert!(house.get("php", "/any/path").unwrap().1.contains("hello from php"));
}

#[test]
fn gems_are_installed_where_a_procfile_says_web_alone() {
    needs("bundle", "ruby bundler");
    let house = House::start();
    let repository = house.repository("ruby");
    let app = "require 'socket'\nserver = TCPServer.new(ENV['HOST'], ENV['PORT'].to_i)\nloop do\n  \
               client = server.accept\n  until client.gets.to_s.strip.empty? do end\n  body = \
               \"hello from #{Bundler.default_gemfile.basename}\"\n  client.write \"HTTP/1.1 200 \
               OK\\r\\nContent-Length: #{body.size}\\r\\nConnection: close\\r\\n\\r\\n#{body}\"\n  \
               client.close\nend\n";
    repository.commit(
        "one",
        &[
            ("Gemfile", "source 'https://rubygems.org'\n"),
            ("app.rb", app),
            ("Procfile", "web: exec bundle exec ruby app.rb\n"),
        ],
    );
    runs(&house, "ruby", &repository, "hello from Gemfile");
}

#[test]
fn the_site_that_a_build_makes_is_served_and_its_paths_are_the_browsers_affair() {
    let house = House::start();
    let repository = house.repository("site");
    let build = "mkdir -p dist && echo '<h1>hello from a build</h1>' > dist/index.html";
    let package =
        format!(r#"{{"name": "site", "version": "1.0.0", "scripts": {{"build": "{build}"}}}}"#);
    repository.commit("one", &[("package.json", &package)]);
    runs(&house, "site", &repository, "hello from a build");
    assert_eq!(house.get("site", "/some/path").unwrap().0, 404);
    repository.commit("two", &[("Procfile", "web: static --single dist\n")]);
    runs(&house, "single", &repository, "hello from a build");
    assert!(house.get("single", "/some/path").unwrap().1.contains("hello from a build"));
    assert_eq!(house.get("single", "/missing.js").unwrap().0, 404);
}

#[test]
fn a_row_says_what_its_repository_does_not() {
    let house = House::start();
    let repository = house.repository("bare");
    let commit = repository.commit("one", &[("hello.txt", "hello from a row\n")]);
    house.put("bare", "main", 1, &repository);
    let row = house.failed("bare", "there is no way to run this app");
    let hint = "`rowhouse put bare --process web='./serve --bind $HOST:$PORT'`";
    assert!(row.reason.ends_with(hint), "{}", row.reason);
    let put = |options: &[&str]| {
        let output = house.rowhouse(&[&["put", "bare"], options].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{options:?}: {said}");
        house.deployed("bare", &commit, 1)
    };
    let serve = |from: &str| format!("exec python3 -m http.server --bind $HOST $PORT {from}");
    put(&["--process", &format!("web={}", serve(""))]);
    let before = house.pids("bare");
    assert!(house.get("bare", "/hello.txt").unwrap().1.contains("hello from a row"));
    // What is released and what else there may be touches nothing that runs.
    let row = put(&["--process", "release=echo released", "--process", "mail=./mail"]);
    assert!(row.reason.contains("not run here, of its Procfile: mail"), "{row:?}");
    assert_eq!(house.pids("bare"), before);
    // What is built is another build, and other instances.
    put(&[
        "--process",
        "build=mkdir made && cp hello.txt made/built.txt",
        "--unset-process",
        "mail",
    ]);
    assert!(house.get("bare", "/made/built.txt").unwrap().1.contains("hello from a row"));
    assert_ne!(house.pids("bare"), before);
    put(&["--process", "web=static made"]);
    assert!(house.get("bare", "/built.txt").unwrap().1.contains("hello from a row"));
    let output = house.rowhouse(&["put", "bare", "--unset-process", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(house.get("bare", "/built.txt").unwrap().1.contains("hello from a row"));
    let output = house.rowhouse(&["put", "bare", "--process", "my web=x"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1 to 63 letters, digits"), "{said}");
}
