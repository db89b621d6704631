//! The conventions of languages: what builds and starts an app that says nothing itself. Choosing
//! among them is left to `recipe`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::command;
use crate::recipe::{RecipeError, Step, is_there, read};
use crate::toolchain::{Python, Toolchains};

const LIMIT: Duration = Duration::from_mins(1);

/// Installs what a `pyproject.toml` without a build system depends on: it is no package itself.
const DEPENDENCIES: &str = "\
import subprocess, sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open('pyproject.toml', 'rb') as file:
    names = tomllib.load(file).get('project', {}).get('dependencies', [])
pip = [sys.executable, '-m', 'pip', 'install', '--no-input', '--disable-pip-version-check']
sys.exit(subprocess.call([*pip, '--', *names]) if names else 0)
";

/// What one language says about an app.
#[derive(Debug)]
pub(crate) struct Convention {
    pub(crate) kind: &'static str,
    pub(crate) steps: Vec<Step>,
    /// How it is started, where there is a rule for it.
    pub(crate) start: Option<String>,
    /// The folder that goes on `PATH`.
    pub(crate) path: Option<&'static str>,
    /// What was found, when it gives no start.
    pub(crate) without_start: String,
    /// A start as users of the language write it.
    pub(crate) example: &'static str,
}

/// Python, by `requirements.txt` or `pyproject.toml`; steps only with `tools`.
pub(crate) fn python(
    folder: &Path,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let requirements = is_there(folder, "requirements.txt")?;
    let project = read(folder, "pyproject.toml")?;
    if !requirements && project.is_none() {
        return Ok(None);
    }
    let named = if requirements { "requirements.txt" } else { "pyproject.toml" };
    let has = |table: &str| {
        project.as_deref().unwrap_or_default().lines().any(|line| line.trim() == table)
    };
    let package = has("[build-system]") || has("[tool.poetry]");
    let install = if requirements {
        Install::Requirements
    } else if package {
        Install::Package
    } else if has("[project]") {
        Install::Dependencies
    } else {
        Install::Nothing
    };
    let locked = project.is_some() && is_there(folder, "uv.lock")?;
    let steps = match tools {
        None => Vec::new(),
        Some(tools) if tools.find("uv").is_some() => with_uv(locked, install),
        Some(tools) => with_pip(folder, tools, named, install)?,
    };
    Ok(Some(Convention {
        kind: "Python",
        steps,
        start: None,
        path: Some(".venv/bin"),
        without_start: format!("`{named}`, which does not say how a Python app is started"),
        example: "gunicorn app:app --bind $HOST:$PORT",
    }))
}

#[derive(Clone, Copy)]
enum Install {
    Requirements,
    Package,
    Dependencies,
    Nothing,
}

fn with_uv(locked: bool, install: Install) -> Vec<Step> {
    let title = "install Python packages";
    let make = Step::new("make a virtual environment", ["uv", "venv", ".venv"]);
    let pip = ["uv", "pip", "install", "--python", ".venv/bin/python"];
    if locked {
        return vec![Step::new(title, ["uv", "sync", "--frozen", "--no-dev"])];
    }
    match install {
        Install::Requirements => {
            vec![make, Step::new(title, pip.into_iter().chain(["-r", "requirements.txt"]))]
        }
        Install::Package => vec![make, Step::new(title, pip.into_iter().chain(["."]))],
        Install::Dependencies => vec![Step::new(title, ["uv", "sync", "--no-dev"])],
        Install::Nothing => vec![make],
    }
}

fn with_pip(
    folder: &Path,
    tools: &Toolchains,
    named: &str,
    install: Install,
) -> Result<Vec<Step>, RecipeError> {
    let missing = |tool: &str, cure: &str| {
        Err(RecipeError::Missing {
            tool: tool.to_owned(),
            wanted_by: format!("`{named}`"),
            cure: cure.to_owned(),
        })
    };
    let python = match tools.python() {
        Python::At(python) => python.display().to_string(),
        Python::Missing => return missing("python3", "`apt install python3 python3-venv`"),
        Python::WithoutVenv => return missing("python3-venv", "`apt install python3-venv`"),
    };
    let mut steps =
        vec![Step::new("make a virtual environment", [python.as_str(), "-m", "venv", ".venv"])];
    let inner = folder.join(".venv/bin/python").display().to_string();
    let pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
    let rest: Vec<&str> = match install {
        Install::Requirements => pip.into_iter().chain(["-r", "requirements.txt"]).collect(),
        Install::Package => pip.into_iter().chain(["."]).collect(),
        Install::Dependencies => vec!["-c", DEPENDENCIES],
        Install::Nothing => return Ok(steps),
    };
    let command = [inner.as_str()].into_iter().chain(rest);
    steps.push(Step::new("install Python packages", command));
    Ok(steps)
}

#[derive(Default, Deserialize)]
struct Package {
    #[serde(default)]
    scripts: BTreeMap<String, serde_json::Value>,
}

/// Node, by `package.json`; steps only with `tools`.
pub(crate) fn node(
    folder: &Path,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let Some(text) = read(folder, "package.json")? else { return Ok(None) };
    let package: Package = serde_json::from_str(&text).map_err(|error| RecipeError::BadFile {
        file: "package.json".to_owned(),
        reason: error.to_string(),
    })?;
    let (manager, install) = manager(folder)?;
    let mut steps = Vec::new();
    if let Some(tools) = tools {
        let runtime = if manager == "bun" { "bun" } else { "node" };
        for tool in [runtime, manager] {
            if tools.find(tool).is_none() {
                return Err(RecipeError::Missing {
                    tool: tool.to_owned(),
                    wanted_by: "`package.json`".to_owned(),
                    cure: match tool {
                        "node" | "npm" => "`apt install nodejs npm`, or from https://nodejs.org",
                        "yarn" => "`npm install --global yarn`",
                        "pnpm" => "`npm install --global pnpm`",
                        _ => "`npm install --global bun`, or from https://bun.sh",
                    }
                    .to_owned(),
                });
            }
        }
        steps.push(Step::new("install Node packages", install));
        if package.scripts.contains_key("build") {
            steps.push(Step::new("run the `build` script", [manager, "run", "build"]));
        }
    }
    let start = if package.scripts.contains_key("start") {
        Some(if manager == "npm" { "npm start".to_owned() } else { format!("{manager} run start") })
    } else if is_there(folder, "server.js")? {
        Some(if manager == "bun" { "bun server.js" } else { "node server.js" }.to_owned())
    } else {
        None
    };
    Ok(Some(Convention {
        kind: "Node",
        steps,
        start,
        path: Some("node_modules/.bin"),
        without_start: "`package.json` without a `start` script".to_owned(),
        example: "node server.js",
    }))
}

/// The package manager that the lock file belongs to, and how it installs.
fn manager(folder: &Path) -> Result<(&'static str, Vec<&'static str>), RecipeError> {
    for (lock, manager, install) in [
        ("package-lock.json", "npm", &["npm", "ci"] as &[&str]),
        ("npm-shrinkwrap.json", "npm", &["npm", "ci"]),
        ("yarn.lock", "yarn", &["yarn", "install", "--frozen-lockfile"]),
        ("pnpm-lock.yaml", "pnpm", &["pnpm", "install", "--frozen-lockfile"]),
        ("bun.lock", "bun", &["bun", "install", "--frozen-lockfile"]),
        ("bun.lockb", "bun", &["bun", "install", "--frozen-lockfile"]),
    ] {
        if folder.join(lock).is_file() {
            // Yarn 2 and later have another word for it.
            if manager == "yarn" && is_there(folder, ".yarnrc.yml")? {
                return Ok((manager, vec!["yarn", "install", "--immutable"]));
            }
            return Ok((manager, install.to_vec()));
        }
    }
    Ok(("npm", vec!["npm", "install"]))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    workspace_root: String,
    #[serde(default)]
    workspace_default_members: Vec<String>,
}

#[derive(Deserialize)]
struct Crate {
    id: String,
    manifest_path: String,
    default_run: Option<String>,
    targets: Vec<Target>,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    #[serde(default, rename = "required-features")]
    required: Vec<String>,
}

/// Rust, by `Cargo.toml`. Which binary is run is asked only if no `Procfile` says it, and cargo
/// need not be there if a `Procfile` says everything.
pub(crate) async fn cargo(
    folder: &Path,
    tools: &Toolchains,
    has_web: bool,
    replaced: bool,
) -> Result<Option<Convention>, RecipeError> {
    if !is_there(folder, "Cargo.toml")? {
        return Ok(None);
    }
    if !(has_web && replaced) && tools.find("cargo").is_none() {
        return Err(RecipeError::Missing {
            tool: "cargo".to_owned(),
            wanted_by: "`Cargo.toml`".to_owned(),
            cure: "from https://rustup.rs, or `apt install cargo`".to_owned(),
        });
    }
    let start = if has_web { None } else { binary(folder, tools).await? };
    let mut build = vec!["cargo", "build", "--release", "--target-dir", "target"];
    if is_there(folder, "Cargo.lock")? {
        build.push("--locked");
    }
    // What is left over from compiling is many times as large as what was compiled.
    let tidy = ["deps", "incremental", ".fingerprint"].map(|name| format!("target/release/{name}"));
    let tidy = ["rm", "-rf", "--"].map(str::to_owned).into_iter().chain(tidy);
    Ok(Some(Convention {
        kind: "Rust",
        steps: vec![
            Step::new("compile the Rust program", build),
            Step::new("remove what is only needed to compile", tidy),
        ],
        start: start.map(|name| format!("exec ./target/release/{name}")),
        path: None,
        without_start: "`Cargo.toml` without a binary".to_owned(),
        example: "./target/release/server",
    }))
}

/// The one binary that `cargo build` makes in `folder`. Cargo is asked from a folder that is not
/// the app's, so that no configuration of the app's chooses what is executed.
async fn binary(folder: &Path, tools: &Toolchains) -> Result<Option<String>, RecipeError> {
    let bad = |reason: String| RecipeError::BadFile { file: "Cargo.toml".to_owned(), reason };
    let Some(cargo) = tools.find("cargo") else { return Ok(None) };
    let mut command = Command::new(cargo);
    command.current_dir("/").env_clear().envs(tools.settings());
    command.env("PATH", tools.path()).env("HOME", "/").env("CARGO_HOME", folder.join("target"));
    command.args(["metadata", "--no-deps", "--offline", "--quiet", "--format-version", "1"]);
    command.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    let outcome = command::run(command, LIMIT).await.map_err(|error| bad(error.to_string()))?;
    if !outcome.success() {
        return Err(bad(without_excerpts(&outcome.stderr)));
    }
    let metadata: Metadata =
        serde_json::from_slice(&outcome.stdout).map_err(|error| bad(error.to_string()))?;
    choose(folder, &metadata)
}

/// What cargo says, without the lines of files that it shows: a manifest may be a symbolic link to
/// a file that the app must not read.
fn without_excerpts(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| {
        let rest = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
        !line.is_empty() && !rest.trim_start().starts_with('|')
    });
    lines.take(8).collect::<Vec<&str>>().join(" ")
}

fn choose(folder: &Path, metadata: &Metadata) -> Result<Option<String>, RecipeError> {
    let manifest = folder.join("Cargo.toml");
    let is_root = Path::new(&metadata.workspace_root) == folder;
    let built = metadata.packages.iter().filter(|package| {
        if is_root {
            metadata.workspace_default_members.contains(&package.id)
        } else {
            Path::new(&package.manifest_path) == manifest
        }
    });
    let built: Vec<&Crate> = built.collect();
    let chosen: Vec<&str> = built.iter().filter_map(|one| one.default_run.as_deref()).collect();
    let names: Vec<&str> = built.iter().flat_map(|one| binaries(one)).collect();
    match (chosen.as_slice(), names.as_slice()) {
        ([name], _) | (_, [name]) => Ok(Some((*name).to_owned())),
        (_, []) => Ok(None),
        (_, names) => {
            let ways = names.iter().map(|name| format!("`./target/release/{name}`"));
            Err(RecipeError::Several {
                ways: ways.collect::<Vec<String>>().join(", "),
                example: format!("./target/release/{}", names[0]),
            })
        }
    }
}

fn binaries(package: &Crate) -> Vec<&str> {
    let default = package.features.get("default").map(Vec::as_slice).unwrap_or_default();
    let made = |target: &&Target| {
        target.kind.iter().any(|kind| kind == "bin")
            && target.required.iter().all(|feature| default.contains(feature))
    };
    package.targets.iter().filter(made).map(|target| target.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(packages: &serde_json::Value) -> Metadata {
        serde_json::from_value(serde_json::json!({
            "workspace_root": "/app", "workspace_default_members": ["a", "b"], "packages": packages,
        }))
        .unwrap()
    }

    fn package(id: &str, default_run: Option<&str>, names: &[&str]) -> serde_json::Value {
        let targets = names.iter().map(|name| serde_json::json!({"kind": ["bin"], "name": name}));
        serde_json::json!({
            "id": id, "manifest_path": format!("/app/{id}/Cargo.toml"), "default_run": default_run,
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    #[test]
    fn the_one_binary_or_the_default_one_is_run() {
        for (packages, expected) in [
            (serde_json::json!([package("a", None, &["web"])]), Some("web")),
            (serde_json::json!([package("a", Some("web"), &["web", "tool"])]), Some("web")),
            (
                serde_json::json!([package("a", None, &["web"]), package("c", None, &["x"])]),
                Some("web"),
            ),
            (serde_json::json!([package("a", None, &[])]), None),
        ] {
            let found = choose(Path::new("/app"), &metadata(&packages)).unwrap();
            assert_eq!(found.as_deref(), expected, "{packages}");
        }
    }

    #[test]
    fn in_a_member_of_a_workspace_only_its_own_binary_counts() {
        let packages = [package("a", None, &["web"]), package("b", None, &["tool"])];
        let found = choose(Path::new("/app/b"), &metadata(&serde_json::json!(packages))).unwrap();
        assert_eq!(found.as_deref(), Some("tool"));
    }

    #[test]
    fn several_binaries_are_listed() {
        let packages = serde_json::json!([package("a", None, &["web", "tool"])]);
        let message = choose(Path::new("/app"), &metadata(&packages)).unwrap_err().to_string();
        assert!(message.contains("`./target/release/web`, `./target/release/tool`"), "{message}");
    }

    #[test]
    fn what_cargo_shows_of_files_is_not_repeated() {
        let said = "error: key with no value, expected `=`\n --> x/Cargo.toml:1:7\n  |\n\
                    1 | secret words\n  |       ^\nerror: failed to load manifest";
        let shown = without_excerpts(said);
        assert!(shown.contains("expected `=`") && shown.contains("failed to load"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_binary_that_needs_a_feature_is_not_made() {
        let mut one = package("a", None, &["web", "tool"]);
        one["targets"][1]["required-features"] = serde_json::json!(["extra"]);
        let found = choose(Path::new("/app"), &metadata(&serde_json::json!([one]))).unwrap();
        assert_eq!(found.as_deref(), Some("web"));
    }
}
