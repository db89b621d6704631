//! Recipes of every kind of app, from folders of files. Nothing is built here.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rowhouse_core::{AppName, ProcfileLines};
use rowhouse_machine::build::error::RecipeError;
use rowhouse_machine::build::recipe::{self, Recipe};
use rowhouse_machine::build::toolchain::Toolchains;
use rowhouse_machine::build::web::Web;
use tempfile::TempDir;

const WEB: (&str, &str) = ("Procfile", "web: serve\n");
const NODE: (&str, &str) = ("package.json", r#"{"scripts": {"build": "b", "start": "s"}}"#);
const RUST: (&str, &str) =
    ("Cargo.toml", "[package]\nname = \"hello\"\nversion = \"1.0.0\"\nedition = \"2021\"\n");
const MAIN: (&str, &str) = ("src/main.rs", "fn main() {}");

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Toolchains with these programs only, which do nothing.
async fn tools(room: &Path, names: &[&str]) -> Toolchains {
    let bin = room.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for name in names {
        let text = match *name {
            "python3" => format!("#!/bin/sh\necho {}\n", bin.join("python3").display()),
            "python3-without-venv" => {
                "#!/bin/sh\ncase \"$*\" in *venv*) exit 1;; esac; echo /usr/bin/python3\n".into()
            }
            _ => "#!/bin/sh\n".to_owned(),
        };
        let file = bin.join(name.strip_suffix("-without-venv").unwrap_or(name));
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Toolchains::probe(&BTreeMap::from([("PATH".into(), bin.display().to_string())])).await
}

/// What the platform does with an app whose row has no lines of its own.
async fn recipe(checkout: &Path, folder: &Path, tools: &Toolchains) -> Result<Recipe, RecipeError> {
    let shop = AppName::parse("shop").unwrap();
    let found = recipe::recipe(&shop, checkout, folder, tools, None).await?;
    found.web(&ProcfileLines::default())?;
    Ok(found)
}

const ALL: [&str; 12] = [
    "python3", "node", "npm", "yarn", "pnpm", "bun", "cargo", "go", "bundle", "ruby", "php",
    "composer",
];

async fn with(names: &[&str], files: &[(&str, &str)]) -> Result<Recipe, RecipeError> {
    let (app, room) = (folder(files), tempfile::tempdir().unwrap());
    let app = fs::canonicalize(app.path()).unwrap();
    let mut found = recipe(&app, &app, &tools(room.path(), names).await).await?;
    // The folders of a test have other names each time.
    for argument in found.build.iter_mut().flat_map(|step| &mut step.command) {
        let text = argument.replace(room.path().to_str().unwrap(), "");
        *argument = text.replace(app.to_str().unwrap(), "");
    }
    Ok(found)
}

async fn read(files: &[(&str, &str)]) -> Recipe {
    with(&ALL, files).await.unwrap()
}

async fn fails(names: &[&str], files: &[(&str, &str)]) -> String {
    with(names, files).await.unwrap_err().to_string()
}

fn commands(recipe: &Recipe) -> Vec<String> {
    recipe.build.iter().map(|step| step.command.join(" ")).collect()
}

fn command(text: &str) -> Web {
    Web::Command(text.to_owned())
}

/// With the machine's own cargo.
async fn real(files: &[(&str, &str)]) -> Result<Recipe, RecipeError> {
    let toolchains = Toolchains::probe(&std::env::vars().collect()).await;
    assert!(toolchains.find("cargo").is_some(), "`cargo` must be on `PATH`");
    let app = folder(files);
    let app = fs::canonicalize(app.path()).unwrap();
    recipe(&app, &app, &toolchains).await
}

#[tokio::test]
async fn a_procfile_says_how_an_app_runs() {
    let text = "release: migrate\nweb: serve $PORT\nworker: work\nclock: tick\n";
    let found = read(&[("Procfile", text)]).await;
    assert_eq!(found.web, command("serve $PORT"));
    assert_eq!(found.release.as_deref(), Some("migrate"));
    assert_eq!(found.not_run, ["clock", "worker"]);
    assert_eq!((found.kind.as_str(), found.build.len()), ("Procfile", 0));
}

#[tokio::test]
async fn build_of_a_procfile_replaces_the_conventions_and_their_toolchains() {
    let text = "web: serve\nbuild: make all && echo $HOME\n";
    let files = [("Procfile", text), ("requirements.txt", ""), NODE, RUST, MAIN];
    let found = with(&[], &files).await.unwrap();
    assert_eq!(found.build.len(), 1);
    assert_eq!(found.build[0].command, ["sh", "-c", "make all && echo $HOME"]);
    assert_eq!(found.path, [Path::new(".venv/bin"), Path::new("node_modules/.bin")]);
}

#[tokio::test]
async fn python_without_uv_is_built_by_venv_and_pip() {
    let found = read(&[WEB, ("requirements.txt", "flask")]).await;
    assert_eq!(
        commands(&found),
        [
            "/bin/python3 -m venv .venv",
            "/.venv/bin/python -m pip install --no-input --disable-pip-version-check -r \
             requirements.txt",
        ]
    );
    assert_eq!(found.path, [PathBuf::from(".venv/bin")]);
    assert_eq!(found.kind, "Python");
}

#[tokio::test]
async fn uv_is_used_if_it_is_installed() {
    let pyproject = "[project]\nname = \"a\"\nversion = \"1\"\n";
    for (files, expected) in [
        (
            vec![WEB, ("requirements.txt", "flask")],
            vec!["uv venv .venv", "uv pip install --python .venv/bin/python -r requirements.txt"],
        ),
        (vec![WEB, ("pyproject.toml", pyproject)], vec!["uv venv .venv"]),
        (
            vec![WEB, ("pyproject.toml", pyproject), ("uv.lock", "")],
            vec!["uv sync --frozen --no-dev"],
        ),
    ] {
        assert_eq!(commands(&with(&["uv"], &files).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_pyproject_is_installed_as_what_it_is() {
    for (text, end) in [
        (
            "[build-system]\n[project]\ndynamic = [\"dependencies\"]\n",
            "pip install --no-input --disable-pip-version-check .",
        ),
        ("[tool.poetry]\n", "poetry install --only main --no-interaction --no-root"),
        ("[project]\ndependencies = [\"flask>2\"]\n", "--disable-pip-version-check -- flask>2"),
        ("[tool.ruff]\n", "-m venv .venv"),
    ] {
        let found = commands(&read(&[WEB, ("pyproject.toml", text)]).await);
        assert!(found.last().unwrap().ends_with(end), "{text}: {found:?}");
    }
}

#[tokio::test]
async fn python_without_a_procfile_is_told_what_to_write() {
    let message = fails(&ALL, &[("requirements.txt", "")]).await;
    assert!(message.contains("found `requirements.txt`"), "{message}");
    assert!(message.contains("`web: gunicorn app:app --bind $HOST:$PORT`"), "{message}");
}

#[tokio::test]
async fn what_is_there_is_named_with_the_lines_that_build_and_start_it() {
    for (files, found, lines) in [
        (
            vec![("go.mod", "module shop\n")],
            "`go.mod` without a `package main`",
            "rowhouse put shop --process web='bin/server'`",
        ),
        (
            vec![("Gemfile", ""), ("package.json", "{}")],
            "`package.json` without a `start` or a `build` script and `Gemfile` without a",
            "rowhouse put shop --process web='node server.js'`",
        ),
        (
            vec![("composer.json", "{}")],
            "`composer.json` without a `public/index.php`",
            "--process web='exec php -S $HOST:$PORT -t .'`",
        ),
        (
            vec![("pom.xml", "")],
            "`pom.xml` (Java)",
            "--process build='mvn --batch-mode package' --process web='java -jar target/*.jar'`",
        ),
        (vec![("Dockerfile", "")], "a `Dockerfile`, which is not used", "a line such as `web: "),
        (vec![("dist/index.html", "")], "a site in `dist`, which is served where", "`web: "),
    ] {
        let message = fails(&ALL, &files).await;
        let begin = format!("there is no way to run this app: found {found}");
        assert!(message.starts_with(&begin), "{message}");
        assert!(message.contains(lines), "{message}");
    }
}

#[tokio::test]
async fn what_nothing_builds_is_kept_for_a_start_that_fails() {
    let unbuilt = |found: &Recipe| -> Vec<String> {
        found.unbuilt.iter().map(|one| format!("{} {}", one.file, one.build)).collect()
    };
    let found = read(&[WEB, ("pom.xml", "")]).await;
    assert_eq!(unbuilt(&found), ["pom.xml mvn --batch-mode package"]);
    for files in [
        vec![("Procfile", "web: serve\nbuild: make\n"), ("pom.xml", "")],
        vec![("Procfile", "web: ./mvnw spring-boot:run\n"), ("pom.xml", "")],
        vec![WEB, NODE],
    ] {
        assert_eq!(unbuilt(&read(&files).await), [""; 0], "{files:?}");
    }
}

#[tokio::test]
async fn the_lock_file_chooses_the_package_manager() {
    for (lock, expected, start) in [
        ("package-lock.json", ["npm ci", "npm run build"], "npm start"),
        ("npm-shrinkwrap.json", ["npm ci", "npm run build"], "npm start"),
        ("yarn.lock", ["yarn install --frozen-lockfile", "yarn run build"], "yarn run start"),
        ("pnpm-lock.yaml", ["pnpm install --frozen-lockfile", "pnpm run build"], "pnpm run start"),
        ("bun.lock", ["bun install --frozen-lockfile", "bun run build"], "bun run start"),
        ("README.md", ["npm install", "npm run build"], "npm start"),
    ] {
        let found = read(&[NODE, (lock, "")]).await;
        assert_eq!(commands(&found), expected, "{lock}");
        assert_eq!(found.web, command(start), "{lock}");
        assert_eq!(found.path, [PathBuf::from("node_modules/.bin")]);
    }
    let found = read(&[NODE, ("yarn.lock", ""), (".yarnrc.yml", "")]).await;
    assert_eq!(commands(&found)[0], "yarn install --immutable");
}

#[tokio::test]
async fn node_starts_by_its_script_or_by_server_js() {
    let found = read(&[("package.json", "{}"), ("server.js", "")]).await;
    assert_eq!(found.web, command("node server.js"));
    assert_eq!(commands(&found), ["npm install"]);
    let found = read(&[NODE, WEB]).await;
    assert_eq!(found.web, command("serve"));
    let message = fails(&ALL, &[("package.json", "{}"), ("index.html", "")]).await;
    assert!(message.contains("`package.json` without a `start` or a `build` script"), "{message}");
}

#[tokio::test]
async fn several_languages_are_all_built_and_the_procfile_decides() {
    let found = read(&[WEB, ("requirements.txt", ""), NODE, RUST]).await;
    assert_eq!(found.kind, "Python and Node and Rust");
    assert_eq!(found.build.len(), 6);
    assert_eq!(found.web, command("serve"));
    assert_eq!(found.path, [Path::new(".venv/bin"), Path::new("node_modules/.bin")]);
}

#[tokio::test]
async fn the_one_that_has_a_start_is_started() {
    let found = read(&[("requirements.txt", ""), NODE]).await;
    assert_eq!(found.web, command("npm start"));
}

#[tokio::test]
async fn only_an_index_html_is_served_as_it_is() {
    let found = with(&[], &[("index.html", "hi"), ("style.css", "")]).await.unwrap();
    assert_eq!(found.web, Web::Static(PathBuf::from(".")));
    assert_eq!((found.kind.as_str(), found.build.len()), ("static files", 0));
}

#[tokio::test]
async fn a_large_page_in_any_encoding_is_a_page() {
    let app = folder(&[]);
    fs::write(app.path().join("index.html"), vec![0xe4; 5 << 20]).unwrap();
    let toolchains = Toolchains::probe(&BTreeMap::new()).await;
    let found = recipe(app.path(), app.path(), &toolchains).await.unwrap();
    assert_eq!(found.web, Web::Static(PathBuf::from(".")));
}

#[tokio::test]
async fn where_nothing_fits_the_error_lists_what_was_looked_for() {
    let message = fails(&ALL, &[("README.md", "")]).await;
    for part in ["`Procfile`", "`package.json`", "`Cargo.toml`", "`index.html`"] {
        assert!(message.contains(part), "{message}");
    }
    let message = fails(&ALL, &[("Procfile", "worker: x\n")]).await;
    assert!(message.contains("found a `Procfile` without `web:`"), "{message}");
}

#[tokio::test]
async fn a_missing_toolchain_is_named_with_its_cure() {
    let python = ("requirements.txt", "");
    for (names, file, tool, cure) in [
        (&[] as &[&str], python, "`python3`", "apt install python3 python3-venv"),
        (&["python3-without-venv"], python, "`python3-venv`", "apt install python3-venv"),
        (&[], NODE, "`node`", "apt install nodejs npm"),
        (&["node"], NODE, "`npm`", "apt install nodejs npm"),
        (&[], RUST, "`cargo`", "rustup"),
    ] {
        let message = fails(names, &[WEB, file]).await;
        let wanted = format!("{tool} is not installed");
        assert!(message.contains(&wanted) && message.contains(cure), "{message}");
    }
    let message = fails(&["node"], &[NODE, ("yarn.lock", "")]).await;
    assert!(message.contains("npm install --global yarn"), "{message}");
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named() {
    assert!(fails(&ALL, &[("package.json", "{")]).await.contains("`package.json`"));
    assert!(fails(&ALL, &[("Procfile", "web")]).await.contains("line 1 of the Procfile"));
    let app = folder(&[]);
    std::os::unix::fs::symlink("/etc/passwd", app.path().join("Procfile")).unwrap();
    let toolchains = Toolchains::probe(&BTreeMap::new()).await;
    let message = recipe(app.path(), app.path(), &toolchains).await.unwrap_err().to_string();
    assert!(message.contains("leads out of the repository"), "{message}");
}

#[tokio::test]
async fn the_one_binary_of_a_crate_is_the_web_command() {
    let found = real(&[RUST, MAIN, ("Cargo.lock", "")]).await;
    let found = found.unwrap();
    assert_eq!(found.web, command("exec ./target/release/hello"));
    assert_eq!(
        found.build[0].command,
        ["cargo", "build", "--release", "--target-dir", "target", "--locked"]
    );
}

#[tokio::test]
async fn several_binaries_need_a_procfile_or_a_default() {
    let two = [RUST, MAIN, ("src/bin/tool.rs", "fn main() {}")];
    let found = real(&two).await;
    let message = found.unwrap_err().to_string();
    assert!(message.contains("./target/release/hello"), "{message}");
    assert!(message.contains("./target/release/tool"), "{message}");
    let text = format!("{}default-run = \"hello\"\n", RUST.1);
    let found = real(&[("Cargo.toml", &text), two[1], two[2]]).await.unwrap();
    assert_eq!(found.web, command("exec ./target/release/hello"));
}

#[tokio::test]
async fn a_manifest_that_is_no_manifest_does_not_show_other_files() {
    let room = folder(&[("secret", "pass word of another\n")]);
    let app = folder(&[("Cargo.toml", "[workspace]\nmembers = [\"x\"]\n"), ("x/src/main.rs", "")]);
    let link = app.path().join("x/Cargo.toml");
    std::os::unix::fs::symlink(room.path().join("secret"), link).unwrap();
    let toolchains = Toolchains::probe(&std::env::vars().collect()).await;
    let app = fs::canonicalize(app.path()).unwrap();
    let found = recipe(&app, &app, &toolchains).await;
    let message = found.unwrap_err().to_string();
    assert!(!message.contains("word"), "{message}");
}

#[tokio::test]
async fn asking_cargo_runs_nothing_of_the_app() {
    let trace = tempfile::tempdir().unwrap();
    let trace = trace.path().join("trace");
    let script = format!("#!/bin/sh\ntouch {}\nexec rustc \"$@\"\n", trace.display());
    let config = "[build]\nrustc = \"./evil\"\nrustc-wrapper = \"./evil\"\n";
    let files = [RUST, MAIN, (".cargo/config.toml", config), ("evil", &script)];
    let app = folder(&files);
    fs::set_permissions(app.path().join("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    let toolchains = Toolchains::probe(&std::env::vars().collect()).await;
    assert!(toolchains.find("cargo").is_some(), "`cargo` must be on `PATH`");
    let app = fs::canonicalize(app.path()).unwrap();
    recipe(&app, &app, &toolchains).await.unwrap();
    assert!(!trace.exists());
    assert!(!app.join("target").exists());
}

/// The recipe of the app in `inner` of a repository with these files and links.
async fn inside(
    inner: &str,
    files: &[(&str, &str)],
    links: &[(&str, &str)],
) -> Result<Recipe, RecipeError> {
    let (app, room) = (folder(files), tempfile::tempdir().unwrap());
    for (name, target) in links {
        std::os::unix::fs::symlink(target, app.path().join(name)).unwrap();
    }
    let checkout = fs::canonicalize(app.path()).unwrap();
    recipe(&checkout, &checkout.join(inner), &tools(room.path(), &ALL).await).await
}

#[tokio::test]
async fn a_package_of_a_workspace_is_installed_by_the_manager_of_the_lock_file_at_its_root() {
    let member = ("apps/web/package.json", r#"{"scripts": {"start": "s"}}"#);
    let root = ("package.json", r#"{"workspaces": ["apps/*"]}"#);
    let pnpm = ("pnpm-workspace.yaml", "packages: [apps/*]\n");
    for (files, install, start) in [
        (&[root, ("yarn.lock", "")] as &[_], "yarn install --frozen-lockfile", "yarn run start"),
        (
            &[root, ("yarn.lock", ""), (".yarnrc.yml", "")],
            "yarn install --immutable",
            "yarn run start",
        ),
        (&[pnpm, ("pnpm-lock.yaml", "")], "pnpm install --frozen-lockfile", "pnpm run start"),
        (&[root, ("package-lock.json", "{}")], "npm ci", "npm start"),
        (&[root, ("bun.lock", "")], "bun install --frozen-lockfile", "bun run start"),
        // A lock file of its own goes first, and one of no workspace is somebody else's.
        (&[root, ("yarn.lock", ""), ("apps/web/package-lock.json", "{}")], "npm ci", "npm start"),
        (&[("package.json", "{}"), ("yarn.lock", "")], "npm install", "npm start"),
        (&[("package.json", "{"), ("yarn.lock", "")], "npm install", "npm start"),
    ] {
        let found = inside("apps/web", &[files, &[member]].concat(), &[]).await.unwrap();
        assert_eq!(found.build[0].command.join(" "), install, "{files:?}");
        assert_eq!(found.web, command(start));
        let at_root = found.path.contains(&PathBuf::from("../../node_modules/.bin"));
        assert_eq!(
            at_root,
            !files.iter().any(|(name, _)| name.starts_with("apps")) && install != "npm install"
        );
    }
}

#[tokio::test]
async fn requirements_that_are_linked_within_the_repository_are_read() {
    let files = [("requirements/base.txt", "flask\n"), ("web/Procfile", "web: serve\n")];
    let link = ("web/requirements.txt", "../requirements/base.txt");
    let found = inside("web", &files, &[link]).await.unwrap();
    assert!(found.build[1].command.ends_with(&["-r", "requirements.txt"].map(str::to_owned)));
    let out = ("web/requirements.txt", "../../elsewhere");
    assert!(inside("web", &files, &[out]).await.is_err());
    // The built-in static server leaves no folder.
    let page = [("pages/index.html", ""), ("web/about.html", "")];
    let said = inside("web", &page, &[("web/index.html", "../pages/index.html")]).await;
    assert!(said.unwrap_err().to_string().contains("leads out of the app's folder"));
}

#[tokio::test]
async fn a_pyproject_is_read_as_toml() {
    for (text, step) in [
        ("[project]  # the shop\ndependencies = ['a']\n", "a"),
        ("project = { name = 'a', dependencies = ['b'] }\n", "b"),
        ("[ project ]\r\ndependencies = [\r\n'a', # it\r\n]\r\n", "a"),
        ("[build-system] # how\nrequires = []\n", "."),
    ] {
        let found = with(&["python3"], &[WEB, ("pyproject.toml", text)]).await.unwrap();
        assert!(found.build[1].command.iter().any(|word| word == step), "{text}");
    }
    let text = "a = \"\"\"\n[project]\n\"\"\"\n";
    let found = with(&["python3"], &[WEB, ("pyproject.toml", text)]).await.unwrap();
    assert_eq!(found.build.len(), 1, "a text that looks like a table is none");
    let said = fails(&["python3"], &[WEB, ("pyproject.toml", "[project\n")]).await;
    assert!(said.contains("cannot read `pyproject.toml` of the app: TOML parse error"), "{said}");
}

#[tokio::test]
async fn a_package_manager_that_is_not_there_is_brought() {
    let named = |text: &'static str| ("package.json", text);
    let pinned = r#"{"packageManager": "pnpm@9.1.0+sha512.0a", "scripts": {"start": "s"}}"#;
    let berry = r#"{"packageManager": "yarn@4.2.2", "scripts": {"start": "s"}}"#;
    for (files, brought, install) in [
        (vec![NODE, ("yarn.lock", "")], "yarn@1", "yarn install --frozen-lockfile"),
        (
            vec![NODE, ("yarn.lock", "#\n__metadata:\n  version: 6\n")],
            "@yarnpkg/cli-dist@3",
            "yarn install --immutable",
        ),
        (
            vec![NODE, ("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")],
            "pnpm@8",
            "pnpm install --frozen-lockfile",
        ),
        (
            vec![NODE, ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")],
            "pnpm@9",
            "pnpm install --frozen-lockfile",
        ),
        (vec![NODE, ("bun.lock", "")], "bun@latest", "bun install --frozen-lockfile"),
        (
            vec![named(pinned), ("pnpm-lock.yaml", "")],
            "pnpm@9.1.0",
            "pnpm install --frozen-lockfile",
        ),
        (vec![named(pinned)], "pnpm@9.1.0", "pnpm install"),
        (vec![named(berry)], "@yarnpkg/cli-dist@4.2.2", "yarn install --no-immutable"),
    ] {
        let found = with(&["node", "npm"], &files).await.unwrap();
        let expected = format!(
            "npm install --global --no-audit --no-fund --prefix .package-manager {brought}"
        );
        assert_eq!(commands(&found)[..2], [expected, install.to_owned()], "{files:?}");
        assert!(found.path.contains(&PathBuf::from(".package-manager/bin")));
    }
}

#[tokio::test]
async fn frameworks_of_node_are_started_by_their_own_servers() {
    for (package, start, build) in [
        ("next", "next start --hostname $HOST --port $PORT", "next build"),
        ("nuxt", "node .output/server/index.mjs", "nuxt build"),
        ("@sveltejs/adapter-node", "PROTOCOL_HEADER=x-forwarded-proto node build", "vite build"),
        ("@remix-run/serve", "remix-serve ./build/server/index.js", "remix vite:build"),
        ("@react-router/serve", "react-router-serve ./build/server/index.js", "react-router build"),
        ("@astrojs/node", "node ./dist/server/entry.mjs", "astro build"),
    ] {
        let text = format!(r#"{{"dependencies": {{"{package}": "1"}}}}"#);
        let found = read(&[("package.json", &text)]).await;
        assert_eq!(found.web, command(start));
        assert_eq!(commands(&found), ["npm install", build]);
    }
    let automatic = r#"{"devDependencies": {"@sveltejs/adapter-auto": "1", "@sveltejs/kit": "1"},
                        "scripts": {"build": "vite build"}}"#;
    let found = read(&[("package.json", automatic)]).await;
    assert_eq!(commands(&found)[1], "env GCP_BUILDPACKS=node npm run build");
    let berry = [
        ("package.json", r#"{"dependencies": {"next": "1"}}"#),
        ("yarn.lock", ""),
        (".yarnrc.yml", ""),
    ];
    let found = read(&berry).await;
    assert_eq!(found.web, command("yarn next start --hostname $HOST --port $PORT"));
    let exported = ("next.config.mjs", "export default {\n  output: 'export',\n}\n");
    let text =
        fails(&ALL, &[("package.json", r#"{"dependencies": {"next": "1"}}"#), exported]).await;
    assert!(text.contains("there is no way to run this app"), "{text}");
}

#[tokio::test]
async fn a_server_for_work_is_no_start() {
    for (start, is_one) in [
        ("vite", true),
        ("vite --host", true),
        ("PORT=3 react-scripts start", true),
        ("ng serve", true),
        ("vite preview", false),
        ("node server.js", false),
        ("next start", false),
        ("vitedge", false),
    ] {
        let text = format!(r#"{{"scripts": {{"start": "{start}"}}}}"#);
        let found = with(&ALL, &[("package.json", &text)]).await;
        match found {
            Ok(found) => assert!(!is_one && found.web == command("npm start"), "{start}"),
            Err(error) => {
                let told = format!("whose `start` script is a server for work (`{start}`)");
                assert!(is_one && error.to_string().contains(&told), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn node_is_started_with_the_file_that_there_is_or_will_be() {
    for (package, file, start) in [
        (r#"{"main": "./src/app.js"}"#, "src/app.js", "node src/app.js"),
        (r#"{"main": "index.js"}"#, "app.js", "node app.js"),
        (r#"{"main": "dist/main.js", "scripts": {"build": "tsc"}}"#, "a.ts", "node dist/main.js"),
        (r#"{"main": "../evil.js"}"#, "index.mjs", "node index.mjs"),
        (r#"{"main": "a.js; rm"}"#, "index.js", "node index.js"),
    ] {
        let found = read(&[("package.json", package), (file, "")]).await;
        assert_eq!(found.web, command(start), "{package}");
    }
    let bun = [("package.json", r#"{"module": "index.ts"}"#), ("index.ts", ""), ("bun.lock", "")];
    assert_eq!(read(&bun).await.web, command("bun index.ts"));
    let nest = r#"{"scripts": {"start": "nest start", "start:prod": "node dist/main"}}"#;
    assert_eq!(read(&[("package.json", nest)]).await.web, command("npm run start:prod"));
}

#[tokio::test]
async fn what_an_app_needs_of_its_workspace_is_built_before_it() {
    let root = ("package.json", r#"{"workspaces": ["apps/*"]}"#);
    let app = r#"{"name": "web", "scripts": {"build": "b", "start": "s"}}"#;
    let member = ("apps/web/package.json", app);
    let pnpm = ("pnpm-workspace.yaml", "packages: [apps/*]\n");
    for (files, build) in [
        (
            vec![root, member, ("package-lock.json", ""), ("turbo.json", "{}")],
            "turbo run build --filter=web",
        ),
        (vec![pnpm, member, ("pnpm-lock.yaml", "")], "pnpm --filter web... run --if-present build"),
        (vec![root, member, ("package-lock.json", "")], "npm run build"),
    ] {
        let found = inside("apps/web", &files, &[]).await.unwrap();
        assert_eq!(commands(&found)[1], build);
    }
    let message = fails(&ALL, &[root, member]).await;
    assert!(message.contains("where the row's `Path` names one of `apps/web`"), "{message}");
}

#[tokio::test]
async fn packages_for_work_are_taken_away_where_that_is_safe() {
    let package = |start: &str| {
        format!(r#"{{"devDependencies": {{"a": "1"}}, "scripts": {{"start": "{start}"}}}}"#)
    };
    let lock = ("package-lock.json", "");
    let prune = "npm prune --omit=dev --ignore-scripts".to_owned();
    let (plain, other) = (package("node server.js"), package("tsx server.ts"));
    for (files, is_safe) in [
        (vec![("package.json", plain.as_str()), lock], true),
        (vec![("package.json", plain.as_str())], false),
        (vec![("package.json", other.as_str()), lock], false),
        (vec![("package.json", plain.as_str()), ("pnpm-lock.yaml", "")], false),
        (vec![("package.json", plain.as_str()), lock, ("Procfile", "release: a\n")], false),
    ] {
        let found = read(&files).await;
        assert_eq!(commands(&found).contains(&prune), is_safe, "{files:?}");
    }
}

#[tokio::test]
async fn deno_starts_by_its_task_or_by_its_main_file() {
    let cache = "DENO_DIR=.deno DENO_SERVE_ADDRESS=tcp:$HOST:$PORT";
    let tasks =
        "{\n  // how\n  \"tasks\": {\"start\": \"x\", \"build\": {\"command\": \"y\"},},\n}";
    let found = with(&["deno"], &[("deno.jsonc", tasks), ("main.ts", "")]).await.unwrap();
    assert_eq!(found.web, command(&format!("{cache} deno task start")));
    assert_eq!(
        commands(&found),
        [
            "env DENO_DIR=.deno deno install --entrypoint main.ts",
            "env DENO_DIR=.deno deno task build"
        ]
    );
    let found = with(&["deno"], &[("deno.json", "{}"), ("main.ts", "")]).await.unwrap();
    let run = "deno run --allow-net --allow-env --allow-read --allow-sys main.ts";
    assert_eq!(found.web, command(&format!("{cache} {run}")));
    let message = fails(&[], &[("deno.lock", "{}"), ("main.ts", "")]).await;
    assert!(message.contains("`npm install --global deno`"), "{message}");
}

const GO_MAIN: &str = "package main\n\nfunc main() {}\n";

#[tokio::test]
async fn the_one_program_of_a_go_module_is_built_and_started_also_where_a_procfile_names_it() {
    let module = ("go.mod", "module example.com/you/shop/v2\n\ngo 1.19\n");
    let library = ("shop.go", "package shop\n");
    let build = "go build -modcacherw -buildvcs=false -o";
    for (files, output, web) in [
        (vec![module, ("main.go", GO_MAIN)], "bin/shop .", "exec ./bin/shop"),
        (
            vec![module, library, ("cmd/api/main.go", GO_MAIN), ("cmd/doc.go", "package cmd\n")],
            "bin/api ./cmd/api",
            "exec ./bin/api",
        ),
        (
            vec![module, ("main.go", GO_MAIN), ("Procfile", "web: ./server --fast\n")],
            "server .",
            "./server --fast",
        ),
        (vec![module, ("main.go", GO_MAIN), ("Procfile", "web: shop\n")], "bin/shop .", "shop"),
    ] {
        let found = read(&files).await;
        assert_eq!(commands(&found), [format!("{build} {output}")], "{files:?}");
        assert_eq!(found.web, command(web));
        assert_eq!(found.path, [PathBuf::from("bin")]);
    }
    let found = read(&[module, ("main.go", GO_MAIN), ("Procfile", "web: go run .\n")]).await;
    assert_eq!(found.build, []);
    let two = [module, ("cmd/a/main.go", GO_MAIN), ("cmd/b/main.go", GO_MAIN)];
    let said = fails(&ALL, &two).await;
    assert!(said.contains("more than one program (`bin/a`, `bin/b`)"), "{said}");
    assert!(said.ends_with("`rowhouse put shop --process web='bin/a'`"), "{said}");
}

#[tokio::test]
async fn a_rails_app_with_a_package_json_is_rails_and_its_assets_are_made_last() {
    let files = [
        ("Gemfile", "gem 'rails'\n"),
        ("Gemfile.lock", "GEM\n  specs:\n    propshaft (1.0)\n    puma (6.0)\n"),
        ("bin/rails", ""),
        ("config.ru", ""),
        NODE,
    ];
    let found = read(&files).await;
    let rails = "exec bundle exec rails server --binding $HOST --port $PORT";
    assert_eq!((found.kind.as_str(), &found.web), ("Node and Ruby", &command(rails)));
    let built = commands(&found);
    assert_eq!(built[..2], ["npm install", "npm run build"]);
    assert_eq!(built[3], "bundle install");
    assert!(built[2].contains("frozen") && built[4].ends_with("rails assets:precompile"));
    // Its tools not being there costs only what they would have built.
    let found = with(&["bundle", "ruby"], &files).await.unwrap();
    assert_eq!((found.web, found.build.len()), (command(rails), 3));
    assert_eq!(found.unbuilt[0].file, "package.json");
    assert!(found.unbuilt[0].lacks.as_deref().unwrap().contains("`node` is not installed"));
}

#[tokio::test]
async fn a_rack_app_is_served_by_puma_if_it_is_among_its_gems() {
    for (gems, web) in [
        ("gem \"puma\"\n", "exec bundle exec puma --bind tcp://$HOST:$PORT"),
        ("gem \"rack\"\n", "exec bundle exec rackup --host $HOST --port $PORT"),
    ] {
        let found = read(&[("Gemfile", gems), ("config.ru", "")]).await;
        assert_eq!(found.web, command(web));
        assert!(!commands(&found)[0].contains("frozen"));
    }
}

#[tokio::test]
async fn php_is_served_from_its_public_folder_and_by_frankenphp_if_it_is_there() {
    let page = ("public/index.php", "");
    let composer = ("composer.json", r#"{"require": {"php": ">=8", "slim/slim": "4"}}"#);
    let found = read(&[page, composer]).await;
    assert_eq!(found.web, command("exec php -S $HOST:$PORT -t public"));
    assert!(commands(&found)[0].starts_with("composer install --no-dev"));
    let plain = [("index.php", ""), ("composer.json", r#"{"require": {"php": ">=8"}}"#)];
    let found = with(&["php"], &plain).await.unwrap();
    assert_eq!((found.web, found.build), (command("exec php -S $HOST:$PORT -t ."), vec![]));
    let found = with(&["frankenphp"], &[page]).await.unwrap();
    let franken = "exec frankenphp php-server --listen $HOST:$PORT --root public";
    assert_eq!(found.web, command(franken));
    // A framework of its own files goes over what else has a start.
    let found = read(&[page, composer, ("artisan", ""), NODE]).await;
    assert_eq!(found.web, command("exec php -S $HOST:$PORT -t public"));
}

#[tokio::test]
async fn the_site_that_a_build_makes_is_served_unless_something_else_has_a_start() {
    let site = |text: &'static str| ("package.json", text);
    let vite = site(r#"{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}}"#);
    let astro = site(
        r#"{"scripts": {"build": "astro build"}, "dependencies": {"astro": "5", "vite": "5"}}"#,
    );
    for (package, is_single_page) in [(vite, true), (astro, false)] {
        let found = read(&[package, ("public/index.html", ""), ("index.html", "")]).await;
        let Web::Made(made) = found.web else { panic!("{:?}", found.web) };
        assert_eq!(made.is_single_page, is_single_page);
        let folders = ["dist", "build", "out", "_site"].map(PathBuf::from);
        assert_eq!(made.folders, folders, "`public` is no output: it is in the repository");
    }
    let found = read(&[vite, ("go.mod", "module shop\n"), ("main.go", GO_MAIN)]).await;
    assert_eq!(found.web, command("exec ./bin/shop"));
    for (line, web) in [
        ("static dist", Web::Static("dist".into())),
        ("static --single dist", Web::SinglePage("dist".into())),
        ("static ../dist", command("static ../dist")),
        ("static", command("static")),
    ] {
        assert_eq!(read(&[vite, ("Procfile", &format!("web: {line}\n"))]).await.web, web);
    }
}

#[tokio::test]
async fn lines_of_the_row_go_over_those_of_the_procfile_and_an_empty_one_takes_one_away() {
    let files = [NODE, ("Procfile", "web: serve\nrelease: migrate\nclock: tick\n")];
    let found = read(&files).await;
    let lines = |text: &str| serde_json::from_str::<ProcfileLines>(text).unwrap();
    let web = |text: &str| found.web(&lines(text)).unwrap();
    assert_eq!(web("{}"), command("serve"));
    assert_eq!(web(r#"{"web": "./other"}"#), command("./other"));
    assert_eq!(web(r#"{"web": ""}"#), command("npm start"));
    assert_eq!(web(r#"{"web": "static dist"}"#), Web::Static("dist".into()));
    let (none, other) = (lines(r#"{"release": ""}"#), lines(r#"{"release": "x", "mail": "m"}"#));
    assert_eq!((found.release(&none), found.release(&other)), (None, Some("x")));
    assert_eq!(found.not_run(&other), ["clock", "mail"]);
    assert_eq!(found.not_run(&lines(r#"{"clock": ""}"#)), [""; 0]);
    let bare = [("Procfile", "web: serve\n"), ("README.md", "")];
    let found = read(&bare).await;
    let said = found.web(&lines(r#"{"web": ""}"#)).unwrap_err().to_string();
    assert!(said.starts_with("there is no way to run this app"), "{said}");
}

#[tokio::test]
async fn what_was_looked_at_is_told_a_line_each() {
    let found = read(&[NODE, ("Gemfile", "")]).await;
    let told = found.looked_at.join("\n");
    for line in [
        "Python: there is no `requirements.txt` and no `pyproject.toml`",
        "Node: `package.json` is there",
        "Ruby: `Gemfile` is there; `Gemfile` without a `config.ru` or a `bin/rails`",
        "it is started by `npm start` (Node)",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[tokio::test]
async fn what_another_platforms_file_starts_is_what_is_to_be_typed() {
    let railway = ("railway.json", r#"{"deploy": {"startCommand": "python main.py --fast"}}"#);
    let said = fails(&ALL, &[("requirements.txt", ""), railway]).await;
    assert!(
        said.contains("`railway.json`, which starts it with `python main.py --fast`"),
        "{said}"
    );
    assert!(said.ends_with("`rowhouse put shop --process web='python main.py --fast'`"), "{said}");
}

/// What `docs/languages.md` says in the row of its table that begins with a word.
fn documented<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("| {name} |");
    let row = page.lines().find(|line| line.starts_with(&begin));
    row.unwrap_or_else(|| panic!("no row of the table begins with `{begin}`")).split('`').collect()
}

#[test]
fn the_page_about_languages_and_the_code_say_the_same() {
    use rowhouse_machine::build::convention::known::{LANGUAGES, SITE_FOLDERS};
    use rowhouse_machine::process::environment::DEFAULTS;
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/languages.md"));
    let page = page.unwrap();
    for language in LANGUAGES {
        let words = documented(&page, language.name);
        for file in language.files {
            assert!(words.contains(file), "the row of {} lacks `{file}`", language.name);
        }
    }
    for folder in SITE_FOLDERS {
        assert!(documented(&page, "Sites").contains(&folder), "{folder}");
    }
    for (name, value) in DEFAULTS {
        let said = format!("{name}={value}");
        assert!(documented(&page, "Variables").contains(&said.as_str()), "{said}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what"));
    assert_eq!(rows.count(), LANGUAGES.len() + 2, "each row is of a language, or of sites");
}
