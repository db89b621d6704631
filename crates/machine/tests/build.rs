//! Builds, from real repositories with the real toolchains of the machine and its registries. Of
//! the package managers that nobody must have, one that is not installed is said to be skipped.

#![expect(clippy::print_stderr, reason = "what is skipped is said")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rowhouse_core::{AppName, Commit, ProcfileLines, Repository};
use rowhouse_machine::build::error::{BuildError, RecipeError};
use rowhouse_machine::build::request::{BuildId, BuildKey, BuildRequest};
use rowhouse_machine::build::step::{Runner, Step};
use rowhouse_machine::build::toolchain::{Python, Toolchains};
use rowhouse_machine::build::web::Web;
use rowhouse_machine::build::{Builds, Built};
use rowhouse_machine::git::error::GitError;
use rowhouse_machine::git::mirror::Mirrors;
use rowhouse_machine::process::end::End;
use rowhouse_machine::supply::Supply;
use tempfile::TempDir;

/// Runs steps with nothing around them, and remembers them.
struct Plain {
    limit: Duration,
    ran: Mutex<Vec<(Step, BTreeMap<String, String>)>>,
}

impl Plain {
    fn new() -> Plain {
        Plain { limit: Duration::from_mins(5), ran: Mutex::default() }
    }

    fn count(&self) -> usize {
        self.ran.lock().unwrap().len()
    }
}

impl Runner for Plain {
    fn tell(&self, _: &[String]) {}

    async fn run(
        &self,
        step: &Step,
        folder: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<End, io::Error> {
        self.ran.lock().unwrap().push((step.clone(), environment.clone()));
        let mut command = tokio::process::Command::new("env");
        command.arg("-i").args(environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(&step.command).current_dir(folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        match tokio::time::timeout(self.limit, command.status()).await {
            Err(_) => Ok(End::TimedOut),
            Ok(status) => {
                let status = status?;
                let signalled = || End::Signalled(status.signal().unwrap_or(0));
                Ok(status.code().map_or_else(signalled, End::Exited))
            }
        }
    }
}

struct Workshop {
    room: TempDir,
    builds: Arc<Builds>,
}

impl Workshop {
    fn new() -> Workshop {
        let room = tempfile::tempdir().unwrap();
        let origin = room.path().join("origin");
        fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "--quiet", "--initial-branch=main"]);
        let builds = Arc::new(builds(room.path()));
        Workshop { room, builds }
    }

    fn with(files: &[(&str, &str)]) -> (Workshop, BuildRequest) {
        let workshop = Workshop::new();
        let request = workshop.request(files);
        (workshop, request)
    }

    /// Commits these files, and asks for them.
    fn request(&self, files: &[(&str, &str)]) -> BuildRequest {
        let origin = self.room.path().join("origin");
        for (name, text) in files {
            let path = origin.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        git(&origin, &["add", "--all"]);
        git(&origin, &["commit", "--quiet", "--allow-empty", "--message", "files"]);
        BuildRequest {
            app: AppName::parse("shop").unwrap(),
            repository: Repository::parse(origin.to_str().unwrap()).unwrap(),
            path: String::new(),
            commit: Commit::parse(&git(&origin, &["rev-parse", "HEAD"])).unwrap(),
            build_env: BTreeMap::new(),
            procfile: ProcfileLines::default(),
            home: self.room.path().join("home"),
        }
    }

    async fn build(&self, request: &BuildRequest) -> Result<Built, BuildError> {
        self.builds.build(request, &Plain::new()).await
    }

    fn there(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.room.path().join("builds/shop")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn builds(room: &Path) -> Builds {
    let mirrors = Arc::new(Mirrors::new(room.join("mirrors")));
    Builds::new(room.join("builds"), mirrors, std::env::vars().collect())
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgSign=false"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn output(folder: &Path, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).current_dir(folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn has(tools: &[&str]) -> bool {
    let toolchains = Toolchains::probe(&std::env::vars().collect()).await;
    let missing = tools.iter().find(|tool| match **tool {
        "venv" => !matches!(toolchains.python(), Python::At(_)),
        tool => toolchains.find(tool).is_none(),
    });
    if let Some(tool) = missing {
        let optional = ["yarn", "pnpm", "bun", "uv"].contains(tool);
        assert!(optional, "`{tool}` must be installed: `cargo xtask test` does it");
        eprintln!("skipped: there is no {tool}");
    }
    missing.is_none()
}

const SHELL: (&str, &str) =
    ("Procfile", "web: serve\nbuild: echo built > \"$WHERE\" && echo x >> log\n");

fn shell() -> (Workshop, BuildRequest) {
    let (workshop, mut request) = Workshop::with(&[SHELL]);
    request.build_env.insert("WHERE".to_owned(), "out put".to_owned());
    (workshop, request)
}

#[tokio::test]
async fn build_of_a_procfile_runs_in_a_shell_with_the_build_environment() {
    let (workshop, request) = shell();
    assert_eq!(workshop.builds.finished(&request.id()), None);
    let runner = Plain::new();
    let built = workshop.builds.build(&request, &runner).await.unwrap();
    assert_eq!(fs::read_to_string(built.folder.join("out put")).unwrap(), "built\n");
    assert_eq!(built.recipe.web, Web::Command("serve".to_owned()));
    assert_eq!(workshop.builds.finished(&request.id()), Some(built));
    let (_, environment) = runner.ran.lock().unwrap().remove(0);
    assert_eq!(environment["HOME"], request.home.display().to_string());
    assert_eq!(environment["LANG"], "C.UTF-8");
    assert!(environment["PATH"].starts_with(workshop.room.path().to_str().unwrap()));
    assert!(!Path::new(&environment["TMPDIR"]).exists());
    assert!(!environment.keys().any(|name| name.starts_with("CARGO_PKG_")));
}

#[tokio::test]
async fn what_is_built_is_not_built_again() {
    let (workshop, request) = shell();
    let runner = Plain::new();
    let first = workshop.builds.build(&request, &runner).await.unwrap();
    fs::rename(workshop.room.path().join("origin"), workshop.room.path().join("away")).unwrap();
    let next_life = builds(workshop.room.path());
    assert_eq!(next_life.build(&request, &runner).await.unwrap(), first);
    assert_eq!(runner.count(), 1);
}

/// Packs a build on one machine, and lays it out for another one that has nothing of it.
async fn supplied(request: &BuildRequest, workshop: &Workshop) -> (Builds, PathBuf) {
    let built = workshop.build(request).await.unwrap();
    let folder = workshop.room.path().join("supply");
    fs::create_dir(&folder).unwrap();
    let supply = Supply::new(&folder);
    let file = supply.build(&built.id.key);
    workshop.builds.pack(&built.id, &file).unwrap();
    workshop.builds.prune(&BTreeSet::new(), 0).unwrap();
    assert_eq!(workshop.there(), BTreeSet::new());
    (builds(workshop.room.path()).with_supply(Some(supply)), file)
}

#[tokio::test]
async fn a_supplied_build_takes_the_place_of_building() {
    let (workshop, mut request) = Workshop::with(&[
        ("app/Procfile", "web: serve\nbuild: echo built > log && ln -s log link\n"),
        ("README", "of the repository"),
    ]);
    request.path = "app".to_owned();
    let (elsewhere, _) = supplied(&request, &workshop).await;
    let runner = Plain::new();
    let built = elsewhere.build(&request, &runner).await.unwrap();
    assert_eq!(runner.count(), 0);
    assert_eq!(fs::read_to_string(built.folder.join("link")).unwrap(), "built\n");
    assert!(built.checkout.join("README").is_file());
    assert_eq!(built.recipe.web, Web::Command("serve".to_owned()));
    assert_eq!(builds(workshop.room.path()).finished(&request.id()), Some(built));
}

#[tokio::test]
async fn a_virtual_environment_of_the_systems_python_works_where_it_was_not_made() {
    let platform = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    if !matches!(Toolchains::probe(&platform).await.python(), Python::At(_)) {
        eprintln!("skipped: the system's own Python makes no virtual environments");
        return;
    }
    let (workshop, request) = Workshop::with(&[
        ("requirements.txt", "# nothing\n"),
        ("Procfile", "web: python -m http.server\n"),
    ]);
    let builds = |supply| {
        let mirrors = Arc::new(Mirrors::new(workshop.room.path().join("mirrors")));
        let folder = workshop.room.path().join("builds");
        Builds::new(folder, mirrors, platform.clone()).with_supply(supply)
    };
    let built = builds(None).build(&request, &Plain::new()).await.unwrap();
    let folder = workshop.room.path().join("supply");
    fs::create_dir(&folder).unwrap();
    let supply = Supply::new(&folder);
    builds(None).pack(&built.id, &supply.build(&built.id.key)).unwrap();
    builds(None).prune(&BTreeSet::new(), 0).unwrap();
    let runner = Plain::new();
    let taken = builds(Some(supply)).build(&request, &runner).await.unwrap();
    assert_eq!((runner.count(), &taken), (0, &built));
    let script = "import sys; print(sys.prefix)";
    let prefix = output(&taken.folder, taken.folder.join(".venv/bin/python"), &["-c", script]);
    assert_eq!(Path::new(&prefix), taken.folder.join(".venv"));
    output(&taken.folder, taken.folder.join(".venv/bin/pip"), &["--version"]);
}

#[tokio::test]
async fn a_supplied_build_that_is_no_good_leads_to_an_own_one() {
    let (workshop, request) = shell();
    let (elsewhere, file) = supplied(&request, &workshop).await;
    let whole = fs::read(&file).unwrap();
    let damages: [&dyn Fn(); 4] = [
        &|| fs::write(&file, &whole[..whole.len() / 2]).unwrap(),
        &|| fs::write(&file, "").unwrap(),
        &|| fs::write(&file, "no archive at all").unwrap(),
        &|| {
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
        },
    ];
    for damage in damages {
        damage();
        let runner = Plain::new();
        let built = elsewhere.build(&request, &runner).await.unwrap();
        assert_eq!(runner.count(), 1);
        assert_eq!(fs::read_to_string(built.folder.join("log")).unwrap(), "x\n");
        elsewhere.prune(&BTreeSet::new(), 0).unwrap();
    }
}

#[tokio::test]
async fn requests_at_the_same_time_build_once() {
    let (workshop, request) = shell();
    let runner = Plain::new();
    let build = || workshop.builds.build(&request, &runner);
    let (first, second, third) = tokio::join!(build(), build(), build());
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(fs::read_to_string(third.unwrap().folder.join("log")).unwrap(), "x\n");
    assert_eq!(runner.count(), 1);
}

#[tokio::test]
async fn an_interrupted_build_is_begun_again() {
    let (workshop, request) = shell();
    let left = workshop.builds.place(&request.id());
    fs::create_dir_all(left.join("checkout")).unwrap();
    fs::write(left.join("checkout/log"), "half\n").unwrap();
    fs::write(left.join("built.json.new"), "{").unwrap();
    assert_eq!(workshop.builds.finished(&request.id()), None);
    let built = workshop.build(&request).await.unwrap();
    assert_eq!(fs::read_to_string(built.folder.join("log")).unwrap(), "x\n");
}

#[tokio::test]
async fn a_build_that_nobody_waits_for_any_more_can_be_built_by_the_next() {
    struct Never;
    impl Runner for Never {
        fn tell(&self, _: &[String]) {}

        async fn run(
            &self,
            _: &Step,
            _: &Path,
            _: &BTreeMap<String, String>,
        ) -> Result<End, io::Error> {
            std::future::pending().await
        }
    }
    let (workshop, request) = shell();
    let (builds, same) = (Arc::clone(&workshop.builds), request.clone());
    let building = tokio::spawn(async move { builds.build(&same, &Never).await });
    while workshop.there().is_empty() {
        tokio::task::yield_now().await;
    }
    building.abort();
    assert!(building.await.unwrap_err().is_cancelled());
    workshop.build(&request).await.unwrap();
}

#[tokio::test]
async fn a_step_that_fails_is_the_app_s_fault_and_leaves_nothing() {
    let text = "web: x\nbuild: mkdir -p a/b && chmod 500 a && exit 7\n";
    let (workshop, request) = Workshop::with(&[("Procfile", text)]);
    let error = workshop.build(&request).await.unwrap_err();
    assert!(error.is_refused());
    assert_eq!(
        error.to_string(),
        "build step `run `build` of the Procfile` ended with exit status 7"
    );
    assert!(workshop.there().is_empty());
}

#[tokio::test]
async fn a_step_that_is_killed_or_hangs_is_told_as_such() {
    for (text, expected) in [("kill -9 $$", End::Signalled(9)), ("exec sleep 600", End::TimedOut)] {
        let procfile = format!("web: x\nbuild: {text}\n");
        let (workshop, request) = Workshop::with(&[("Procfile", &procfile)]);
        let limit = Duration::from_secs(2);
        let runner = Plain { limit, ran: Mutex::default() };
        let error = workshop.builds.build(&request, &runner).await.unwrap_err();
        assert!(matches!(&error, BuildError::Failed { end, .. } if *end == expected), "{error:?}");
    }
}

#[tokio::test]
async fn an_app_in_a_folder_of_the_repository_is_built_there() {
    let (workshop, mut request) = Workshop::with(&[("apps/shop/index.html", "shop"), ("a", "")]);
    request.path = "./apps//shop/".to_owned();
    let built = workshop.build(&request).await.unwrap();
    assert!(built.folder.ends_with("checkout/apps/shop") && built.checkout.join("a").exists());
    request.path = "apps/shop".to_owned();
    assert_eq!(request.key(), built.id.key);
}

#[tokio::test]
async fn a_path_that_leads_out_or_nowhere_is_refused() {
    let (workshop, _) = Workshop::with(&[("index.html", ""), ("apps/shop/index.html", "")]);
    let origin = workshop.room.path().join("origin");
    for (name, target) in [("out", "/etc"), ("up", "../../.."), ("inner", "apps/shop")] {
        std::os::unix::fs::symlink(target, origin.join(name)).unwrap();
    }
    let mut request = workshop.request(&[]);
    for (path, why) in [
        ("..", "has `..` in it"),
        ("apps/../../x", "has `..` in it"),
        ("/etc", "is absolute"),
        ("out", "leads out of the repository"),
        ("up", "leads out of the repository"),
        ("index.html", "is not a folder"),
        ("none", "is not in this commit"),
        ("-x", "is not in this commit"),
    ] {
        request.path = path.to_owned();
        let error = workshop.build(&request).await.unwrap_err();
        assert!(matches!(error, BuildError::BadPath { .. }) && error.is_refused());
        assert!(error.to_string().contains(why), "{error}");
    }
    request.path = "inner".to_owned();
    assert!(workshop.build(&request).await.unwrap().folder.ends_with("apps/shop"));
}

#[tokio::test]
async fn what_makes_a_build_another_build_is_in_its_key() {
    let (_workshop, request) = shell();
    let mut keys = BTreeSet::from([request.key()]);
    let mut other = |change: fn(&mut BuildRequest)| {
        let mut changed = request.clone();
        change(&mut changed);
        assert!(keys.insert(changed.key()));
    };
    other(|it| it.path = "a".to_owned());
    other(|it| it.commit = Commit::parse(&"0".repeat(40)).unwrap());
    other(|it| it.repository = Repository::parse("/other").unwrap());
    other(|it| it.build_env.clear());
    other(|it| {
        it.build_env.insert("B".to_owned(), "C".to_owned());
    });
    let mut home = request.clone();
    home.home = PathBuf::from("/elsewhere");
    assert_eq!(home.key(), request.key());
    assert_eq!(BuildKey::parse(request.key().as_str()), Some(request.key()));
    assert_eq!(BuildKey::parse("../../etc"), None);
}

#[tokio::test]
async fn errors_of_git_and_of_the_recipe_come_through() {
    let (workshop, mut request) = Workshop::with(&[("README.md", "")]);
    let error = workshop.build(&request).await.unwrap_err();
    assert!(matches!(error, BuildError::NoWay(RecipeError::NoStart(_))) && error.is_refused());
    request.commit = Commit::parse(&"0".repeat(40)).unwrap();
    let error = workshop.build(&request).await.unwrap_err();
    assert!(matches!(error, BuildError::Git(GitError::Refused { .. })) && error.is_refused());
    fs::rename(workshop.room.path().join("origin"), workshop.room.path().join("away")).unwrap();
    request.commit = Commit::parse(&"1".repeat(40)).unwrap();
    let error = workshop.build(&request).await.unwrap_err();
    assert!(matches!(error, BuildError::Git(GitError::Denied { .. })) && error.is_refused());
    assert!(workshop.there().is_empty());
}

#[tokio::test]
async fn pruning_keeps_what_it_must_and_what_was_used_last() {
    let workshop = Workshop::new();
    let mut ids = Vec::new();
    for text in ["one", "two", "three", "four"] {
        let request = workshop.request(&[("index.html", text)]);
        ids.push(workshop.build(&request).await.unwrap().id);
    }
    fs::create_dir(workshop.room.path().join("builds/shop").join("ab".repeat(16))).unwrap();
    // Asking for it is a use.
    workshop.builds.finished(&ids[1]).unwrap();
    workshop.builds.prune(&BTreeSet::from([ids[0].clone()]), 1).unwrap();
    let kept = [&ids[0], &ids[1]].map(|id| id.key.as_str().to_owned());
    assert_eq!(workshop.there(), BTreeSet::from(kept));
    assert!(workshop.builds.finished(&ids[3]).is_none());
    workshop.builds.prune(&BTreeSet::new(), 0).unwrap();
    assert!(workshop.there().is_empty());
}

#[tokio::test]
async fn a_build_that_apps_shared_once_is_used_as_long_as_it_is_wanted_and_then_goes() {
    let (workshop, request) = shell();
    let built = workshop.build(&request).await.unwrap();
    let shared = workshop.room.path().join("builds").join(request.key().as_str());
    fs::rename(workshop.builds.place(&request.id()), &shared).unwrap();
    for name in ["shop", "blog"] {
        let id = BuildId { app: AppName::parse(name).unwrap(), ..request.id() };
        let found = workshop.builds.finished(&id).unwrap();
        assert_eq!(found.checkout, shared.join("checkout"));
        workshop.builds.prune(&BTreeSet::from([id]), 0).unwrap();
    }
    workshop.builds.prune(&BTreeSet::new(), 0).unwrap();
    assert!(!shared.exists());
    assert_eq!(workshop.build(&request).await.unwrap(), built);
}

#[tokio::test]
async fn what_a_build_left_in_its_home_leads_the_platform_nowhere() {
    let (workshop, request) = shell();
    let room = workshop.room.path();
    let operator = room.join("operator");
    fs::create_dir(&operator).unwrap();
    fs::write(operator.join("config.toml"), "# the operator's\n").unwrap();
    let precious = room.join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("config.toml"), "precious").unwrap();
    let mut platform: BTreeMap<String, String> = std::env::vars().collect();
    platform.insert("CARGO_HOME".to_owned(), operator.display().to_string());
    let mirrors = Arc::new(Mirrors::new(room.join("mirrors")));
    let builds = Builds::new(room.join("builds"), mirrors, platform);
    fs::create_dir_all(request.home.join(".cargo")).unwrap();
    let own = request.home.join(".cargo/config.toml");
    std::os::unix::fs::symlink(precious.join("config.toml"), &own).unwrap();
    builds.build(&request, &Plain::new()).await.unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap(), "# the operator's\n");

    fs::remove_dir_all(request.home.join(".cargo")).unwrap();
    std::os::unix::fs::symlink(&precious, request.home.join(".cargo")).unwrap();
    builds.prune(&BTreeSet::new(), 0).unwrap();
    builds.build(&request, &Plain::new()).await.unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap(), "# the operator's\n");
    assert_eq!(fs::read_to_string(precious.join("config.toml")).unwrap(), "precious");
}

#[tokio::test]
async fn an_app_whose_name_looks_like_a_build_keeps_its_own() {
    let (workshop, request) = shell();
    let app = AppName::parse(&"ab".repeat(16)).unwrap();
    let request = BuildRequest { app, ..request };
    let built = workshop.build(&request).await.unwrap();
    workshop.builds.prune(&BTreeSet::from([request.id()]), 0).unwrap();
    assert_eq!(workshop.builds.finished(&request.id()), Some(built));
    workshop.builds.prune(&BTreeSet::new(), 0).unwrap();
    assert_eq!(workshop.builds.finished(&request.id()), None);
}

#[tokio::test]
async fn pruning_leaves_a_build_that_is_being_made() {
    struct Pruning(Arc<Builds>);
    impl Runner for Pruning {
        fn tell(&self, _: &[String]) {}

        async fn run(
            &self,
            _: &Step,
            folder: &Path,
            _: &BTreeMap<String, String>,
        ) -> Result<End, io::Error> {
            self.0.prune(&BTreeSet::new(), 0)?;
            Ok(End::Exited(i32::from(!folder.exists())))
        }
    }
    let (workshop, request) = shell();
    let builds = Arc::clone(&workshop.builds);
    workshop.builds.build(&request, &Pruning(builds)).await.unwrap();
}

#[tokio::test]
async fn a_flask_app_is_built_and_its_server_finds_it() {
    if !has(&["venv"]).await {
        return;
    }
    let (workshop, request) = Workshop::with(&[
        ("requirements.txt", "flask==3.0.3\ngunicorn==22.0.0\n"),
        ("Procfile", "web: gunicorn app:app --bind $HOST:$PORT\n"),
        ("app.py", "from flask import Flask\napp = Flask(__name__)\n"),
    ]);
    let built = workshop.build(&request).await.unwrap();
    assert_eq!(built.recipe.kind, "Python");
    let gunicorn = built.folder.join(".venv/bin/gunicorn");
    assert_eq!(built.path("/bin"), format!("{}/.venv/bin:/bin", built.folder.display()));
    output(&built.folder, gunicorn, &["--check-config", "app:app"]);
}

#[tokio::test]
async fn a_pyproject_without_a_build_system_has_its_dependencies_installed() {
    if !has(&["venv"]).await {
        return;
    }
    let project = "[project]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"itsdangerous\"]\n";
    let (workshop, request) = Workshop::with(&[
        ("pyproject.toml", project),
        ("Procfile", "web: python app.py\n"),
        ("one/a.py", ""),
        ("two/b.py", ""),
    ]);
    let built = workshop.build(&request).await.unwrap();
    output(&built.folder, built.folder.join(".venv/bin/python"), &["-c", "import itsdangerous"]);
}

#[tokio::test]
async fn a_fastapi_app_without_a_server_gets_one_that_finds_it() {
    if !has(&["venv"]).await {
        return;
    }
    let (workshop, request) = Workshop::with(&[
        ("requirements.txt", "fastapi\n"),
        ("app/main.py", "from fastapi import FastAPI\n\nsite = FastAPI()\n"),
    ]);
    let built = workshop.build(&request).await.unwrap();
    let expected = "exec uvicorn --host $HOST --port $PORT app.main:site";
    assert_eq!(built.recipe.web, Web::Command(expected.to_owned()));
    assert!(built.recipe.notes[0].contains("uvicorn, which was installed"));
    let find = "from uvicorn.importer import import_from_string; \
                import_from_string('app.main:site')";
    output(&built.folder, built.folder.join(".venv/bin/python"), &["-c", find]);
}

#[tokio::test]
async fn a_django_project_has_its_files_collected_and_its_server_finds_it() {
    if !has(&["venv"]).await {
        return;
    }
    let settings = "import os\nSECRET_KEY = os.environ['SECRET_KEY']\nROOT_URLCONF = 'shop.urls'\n\
                    INSTALLED_APPS = ['django.contrib.staticfiles']\nSTATIC_URL = 'static/'\n\
                    STATIC_ROOT = 'collected'\nSTATICFILES_DIRS = ['assets']\n";
    let manage = "import os, sys\n\
                  os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\
                  from django.core.management import execute_from_command_line\n\
                  execute_from_command_line(sys.argv)\n";
    let wsgi = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\
                from django.core.wsgi import get_wsgi_application\n\
                application = get_wsgi_application()\n";
    let (workshop, request) = Workshop::with(&[
        ("pyproject.toml", "[project]\nname = 'a'\nversion = '1'\ndependencies = ['django<6']\n"),
        ("manage.py", manage),
        ("shop/__init__.py", ""),
        ("shop/settings.py", settings),
        ("shop/urls.py", "urlpatterns = []\n"),
        ("shop/wsgi.py", wsgi),
        ("assets/shop.css", ""),
    ]);
    let built = workshop.build(&request).await.unwrap();
    let expected = "exec gunicorn --bind $HOST:$PORT shop.wsgi";
    assert_eq!(built.recipe.web, Web::Command(expected.to_owned()));
    assert!(built.folder.join("collected/shop.css").is_file());
    let gunicorn = built.folder.join(".venv/bin/gunicorn");
    let check = ["SECRET_KEY=k", gunicorn.to_str().unwrap(), "--check-config", "shop.wsgi"];
    output(&built.folder, "env", &check);
}

#[tokio::test]
async fn an_app_of_poetry_is_installed_by_poetry_which_is_brought() {
    if !has(&["venv"]).await {
        return;
    }
    let project = "[tool.poetry]\npackage-mode = false\n\
                   [tool.poetry.dependencies]\npython = '>=3.9'\n";
    let (workshop, request) =
        Workshop::with(&[("pyproject.toml", project), ("Procfile", "web: python app.py\n")]);
    let built = workshop.build(&request).await.unwrap();
    assert!(built.folder.join("poetry.lock").is_file());
    assert!(built.recipe.build.iter().any(|step| step.title.starts_with("install poetry")));
}

/// Has `manager` make its lock, and builds by it.
async fn node_app(manager: &str, lock: &[&str], install: &str) {
    if !has(&["node", manager]).await {
        return;
    }
    let script =
        r#"node -e \"require('fs').writeFileSync('out', String(require('is-number')(7)))\""#;
    let package = format!(
        "{{\"name\": \"a\", \"version\": \"1.0.0\", \"dependencies\": {{\"is-number\": \"7.0.0\"}},
         \"scripts\": {{\"build\": \"{script}\", \"start\": \"node server.js\"}}}}"
    );
    let files = [("package.json", package.as_str()), (".gitignore", "node_modules")];
    let (workshop, _) = Workshop::with(&files);
    output(&workshop.room.path().join("origin"), manager, lock);
    let request = workshop.request(&[]);
    let built = workshop.build(&request).await.unwrap();
    assert_eq!(built.recipe.build[0].command.join(" "), install);
    assert_eq!(fs::read_to_string(built.folder.join("out")).unwrap(), "true");
}

#[tokio::test]
async fn a_node_app_is_installed_by_its_lock_and_built() {
    let lock = ["install", "--package-lock-only", "--no-audit"];
    node_app("npm", &lock, "npm ci").await;
}

#[tokio::test]
async fn a_node_app_of_another_package_manager_is_built_by_that_one() {
    let lock = ["install", "--ignore-scripts"];
    node_app("yarn", &lock, "yarn install --frozen-lockfile").await;
    node_app("pnpm", &lock, "pnpm install --frozen-lockfile").await;
    node_app("bun", &lock, "bun install --frozen-lockfile").await;
}

#[tokio::test]
async fn a_rust_app_is_compiled_and_only_its_program_is_kept() {
    if !has(&["cargo"]).await {
        return;
    }
    let (workshop, request) = Workshop::with(&[
        (
            "Cargo.toml",
            "[package]\nname = \"hello\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\
             [dependencies]\nitoa = \"1\"\n",
        ),
        ("src/main.rs", "fn main() { println!(\"{}\", itoa::Buffer::new().format(42)) }"),
    ]);
    let built = workshop.build(&request).await.unwrap();
    assert_eq!(built.recipe.web, Web::Command("exec ./target/release/hello".to_owned()));
    assert_eq!(output(&built.folder, "./target/release/hello", &[]), "42");
    assert!(!built.folder.join("target/release/deps").exists());
}
