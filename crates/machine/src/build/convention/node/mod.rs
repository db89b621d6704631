//! The convention of Node and Bun: packages by the manager whose lock file is there, and the
//! scripts of `package.json`, or else the server of a framework or the file that Node is started
//! with.

pub(crate) mod framework;
pub(crate) mod manager;
pub(crate) mod package;

use std::fs;
use std::path::{Path, PathBuf};

use crate::build::convention::node::framework::{Framework, SVELTE_FOR_NODE, script};
use crate::build::convention::node::manager::{Kind, Manager};
use crate::build::convention::node::package::Package;
use crate::build::convention::{Convention, Language, Start, output};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;
use crate::build::version::Version;
use crate::build::wanted::{Wanted, first_word, of_tool};

pub(crate) const LANGUAGE: Language = Language { name: "Node", files: &["package.json"] };

/// Files that Node is started with where nothing else is said; npm's own is the first.
const FILES: [&str; 6] =
    ["server.js", "index.js", "index.mjs", "index.cjs", "app.js", "src/index.js"];
/// Those that Bun starts, too.
const TYPED: [&str; 4] = ["server.ts", "index.ts", "index.tsx", "src/index.ts"];
/// Folders that a build makes.
const MADE: [&str; 4] = ["build/", "dist/", "lib/", "out/"];
/// Where the apps of a workspace usually are.
const PACKAGES: [&str; 3] = ["apps", "packages", "services"];

/// Node, by `package.json`; steps only with `tools`.
pub(crate) async fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
    has_web: bool,
) -> Result<Option<Convention>, RecipeError> {
    let Some(package) = Package::read(source)? else { return Ok(None) };
    let mut manager = Manager::of(source, &package)?;
    let framework = Framework::of(source, &package)?;
    let start = match start(source, &package, &manager, framework)? {
        Some(text) if framework.is_some() => Some(Start::Framework(text)),
        Some(text) => Some(Start::Command(text)),
        None => build_script(&package)
            .map(|_| Start::Site(output::site(source, |name| package.has(name)))),
    };
    let (mut steps, mut notes, mut node) = (Vec::new(), Vec::new(), None);
    if let Some(tools) = tools {
        steps.extend(manager.bring(tools).await?);
        if manager.kind != Kind::Bun {
            let wanted = wanted(source, &package, manager.root.as_ref())?;
            (node, notes) = choose(&wanted, tools).await?;
        }
        steps.push(manager.install());
        steps.extend(build(source, &package, &manager, framework));
        if !has_web && !source.has("Procfile")? {
            steps.extend(prune(&package, &manager));
        }
    }
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start,
        path: manager.path().into_iter().chain(node).collect(),
        without_start: without_start(source, &package),
        example: "node server.js".to_owned(),
        notes,
    }))
}

/// How the app is started, if something says it.
fn start(
    source: &Source<'_>,
    package: &Package,
    manager: &Manager,
    framework: Option<Framework>,
) -> Result<Option<String>, RecipeError> {
    if let Some(script) = script(package) {
        return Ok(Some(manager.start(script)));
    }
    if let Some(framework) = framework {
        return Ok(Some(manager.program(framework.start)));
    }
    let is_built = build_script(package).is_some();
    let is_plain = |file: &str| {
        file.chars().all(|one| one.is_ascii_alphanumeric() || "._-/@".contains(one))
            && !file.split('/').any(|part| part == "..")
            && !file.starts_with(['/', '-'])
    };
    let mut files = vec![FILES[0]];
    files.extend(package.entries().map(|file| file.trim_start_matches("./")));
    files.extend(&FILES[1..]);
    if manager.kind == Kind::Bun {
        files.extend(TYPED);
    }
    for file in files {
        let extension = Path::new(file).extension().and_then(|it| it.to_str());
        let is_typed = matches!(extension, Some("ts" | "tsx"));
        if !is_plain(file) || is_typed && manager.kind != Kind::Bun {
            continue;
        }
        let is_made = is_built && MADE.iter().any(|folder| file.starts_with(folder));
        if is_made || source.folder.join(file).is_file() && source.has(file)? {
            return Ok(Some(manager.program(&format!("node {file}"))));
        }
    }
    Ok(None)
}

/// The script that builds the app; Heroku's own goes first.
fn build_script(package: &Package) -> Option<&'static str> {
    ["heroku-postbuild", "build"].into_iter().find(|name| package.script(name).is_some())
}

fn build(
    source: &Source<'_>,
    package: &Package,
    manager: &Manager,
    framework: Option<Framework>,
) -> Option<Step> {
    let script = build_script(package);
    let root = manager.root.as_ref().map(|root| source.folder.join(root));
    let has_turbo = root.as_ref().is_some_and(|root| root.join("turbo.json").is_file());
    let name = package.name().filter(|name| !name.starts_with('-'));
    let mut words = match (script, name, framework) {
        // What it depends on in the workspace is built before it.
        (Some("build"), Some(name), _) if has_turbo => {
            let words = ["turbo", "run", "build"].map(str::to_owned);
            words.into_iter().chain([format!("--filter={name}")]).collect()
        }
        (Some(script), Some(name), _) if root.is_some() && manager.kind == Kind::Pnpm => {
            let filter = format!("{name}...");
            ["pnpm", "--filter", &filter, "run", "--if-present", script].map(str::to_owned).to_vec()
        }
        (Some(script), ..) => manager.run(script),
        (None, _, Some(framework)) => {
            let text = manager.program(framework.build);
            text.split(' ').map(str::to_owned).collect()
        }
        (None, _, None) => return None,
    };
    if framework.is_some_and(|framework| framework.is_automatic(package)) {
        words.splice(0..0, ["env", SVELTE_FOR_NODE].map(str::to_owned));
    }
    let title = match script {
        Some(script) => format!("run the `{script}` script"),
        None => "build the app".to_owned(),
    };
    Some(Step::new(&title, words))
}

/// Takes away what only building needs, where npm knows by a lock file what that is, and the app is
/// started by Node itself, which a package for work cannot be part of.
fn prune(package: &Package, manager: &Manager) -> Option<Step> {
    let is_plain = script(package)
        .and_then(|name| package.script(name))
        .is_some_and(|text| text.starts_with("node ") && !text.contains(['&', '|', ';']));
    let knows = manager.kind == Kind::Npm && manager.is_locked && manager.root.is_none();
    let is_safe = knows && is_plain && !package.is_workspace() && package.has_development();
    is_safe.then(|| {
        let words = ["npm", "prune", "--omit=dev", "--ignore-scripts"];
        Step::new("remove packages that are only needed to build", words)
    })
}

fn without_start(source: &Source<'_>, package: &Package) -> String {
    let is_root = package.is_workspace() || source.folder.join("pnpm-workspace.yaml").is_file();
    let apps = if is_root { apps(source) } else { Vec::new() };
    if !apps.is_empty() {
        let apps: Vec<String> = apps.iter().map(|app| format!("`{app}`")).collect();
        return format!(
            "`package.json` of a workspace, whose apps are run where the row's `Path` names one of \
             {}",
            apps.join(", ")
        );
    }
    match package.script("start") {
        Some(start) => {
            let start: String = start.chars().take(60).collect();
            format!("`package.json` whose `start` script is a server for work (`{start}`)")
        }
        None => "`package.json` without a `start` or a `build` script".to_owned(),
    }
}

/// The packages of a workspace that can be started, at their usual places.
fn apps(source: &Source<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for folder in PACKAGES {
        for entry in fs::read_dir(source.folder.join(folder)).into_iter().flatten().flatten() {
            let above = Source { folder: &entry.path(), ..*source };
            let package = Package::read(&above).ok().flatten().unwrap_or_default();
            let framework = Framework::of(&above, &package).ok().flatten();
            if script(&package).is_some() || framework.is_some() {
                found.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    found.sort();
    found.truncate(8);
    found
}

/// What is said of the version of Node: by the app, and by the root of its workspace.
fn wanted(
    source: &Source<'_>,
    package: &Package,
    root: Option<&PathBuf>,
) -> Result<Vec<Wanted>, RecipeError> {
    let folder = root.map(|root| source.folder.join(root));
    let mut found = Vec::new();
    for folder in [Some(source.folder), folder.as_deref()].into_iter().flatten() {
        let source = Source { folder, ..*source };
        for file in [".node-version", ".nvmrc"] {
            let text = first_word(&source, file)?;
            found.extend(text.and_then(|text| Wanted::exactly(file, &text, 1)));
        }
        let text = of_tool(&source, &["nodejs", "node"])?;
        found.extend(text.and_then(|text| Wanted::exactly(".tool-versions", &text, 1)));
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        let exact = package.exact_node();
        found.extend(exact.and_then(|text| Wanted::exactly("package.json", text, 1)));
    }
    found.extend(package.node().and_then(|text| Wanted::from("package.json", text)));
    Ok(found)
}

/// The folder of a Node that all of these allow, if it is another than the usual one, and what is
/// to be told of it.
async fn choose(
    wanted: &[Wanted],
    tools: &Toolchains,
) -> Result<(Option<PathBuf>, Vec<String>), RecipeError> {
    if wanted.is_empty() {
        return Ok((None, Vec::new()));
    }
    let Some(there) = tools.version("node").await else { return Ok((None, Vec::new())) };
    let allowed = |version: &Version| wanted.iter().all(|one| one.allows(version));
    let others = if allowed(&there) { Vec::new() } else { tools.nodes() };
    let other = others.into_iter().filter(|(version, _)| allowed(version)).max();
    let (there, folder) = match other {
        Some((version, folder)) => (version, Some(folder)),
        None => (there, None),
    };
    let mut notes = Vec::new();
    for one in wanted {
        let cure = format!(
            "install it (`nvm install`, or from https://nodejs.org), or change `{}`",
            one.file
        );
        notes.extend(one.check("Node", &there, &cure)?);
    }
    Ok((folder, notes))
}
