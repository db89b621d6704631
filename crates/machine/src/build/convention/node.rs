//! The convention of Node: packages by the manager whose lock file is there, and the scripts of
//! `package.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::build::convention::{Convention, Language, Start, output};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

pub(crate) const LANGUAGE: Language = Language { name: "Node", files: &["package.json"] };

#[derive(Default, Deserialize)]
struct Package {
    #[serde(default)]
    scripts: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    dependencies: BTreeMap<String, serde_json::Value>,
    #[serde(default, rename = "devDependencies")]
    dev_dependencies: BTreeMap<String, serde_json::Value>,
    /// The packages that it is the root of.
    #[serde(default)]
    workspaces: Option<serde_json::Value>,
}

/// How a package manager is asked to install.
type Install = &'static [&'static str];

/// The package managers by their lock files.
const LOCKS: [(&str, &str, Install); 6] = [
    ("package-lock.json", "npm", &["npm", "ci"]),
    ("npm-shrinkwrap.json", "npm", &["npm", "ci"]),
    ("yarn.lock", "yarn", &["yarn", "install", "--frozen-lockfile"]),
    ("pnpm-lock.yaml", "pnpm", &["pnpm", "install", "--frozen-lockfile"]),
    ("bun.lock", "bun", &["bun", "install", "--frozen-lockfile"]),
    ("bun.lockb", "bun", &["bun", "install", "--frozen-lockfile"]),
];
/// Where a package manager puts the programs of packages.
const PROGRAMS: &str = "node_modules/.bin";

/// Node, by `package.json`; steps only with `tools`.
pub(crate) fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let Some(package) = package(source)? else { return Ok(None) };
    let Found { manager, install, root } = manager(source)?;
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
        steps.push(Step::new("install Node packages", install.iter().copied()));
        if package.scripts.contains_key("build") {
            steps.push(Step::new("run the `build` script", [manager, "run", "build"]));
        }
    }
    let has_package = |name: &str| {
        package.dependencies.contains_key(name) || package.dev_dependencies.contains_key(name)
    };
    let command = if package.scripts.contains_key("start") {
        Some(if manager == "npm" { "npm start".to_owned() } else { format!("{manager} run start") })
    } else if source.has("server.js")? {
        Some(if manager == "bun" { "bun server.js" } else { "node server.js" }.to_owned())
    } else {
        None
    };
    let is_built = package.scripts.contains_key("build");
    let start = match command {
        Some(command) => Some(Start::Command(command)),
        None => is_built.then(|| Start::Site(output::site(source, has_package))),
    };
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start,
        path: [Some(PathBuf::from(PROGRAMS)), root.map(|root| root.join(PROGRAMS))]
            .into_iter()
            .flatten()
            .collect(),
        without_start: "`package.json` without a `start` or a `build` script".to_owned(),
        example: "node server.js".to_owned(),
    }))
}

fn package(source: &Source<'_>) -> Result<Option<Package>, RecipeError> {
    let Some(text) = source.read("package.json")? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| RecipeError::BadFile {
        file: "package.json".to_owned(),
        reason: error.to_string(),
    })
}

/// The package manager of an app.
struct Found {
    manager: &'static str,
    install: Install,
    /// The root of the workspace that the app is a package of, relative to the app's folder.
    root: Option<PathBuf>,
}

/// The package manager that the lock file belongs to, which a workspace has at its root alone; each
/// of them finds that root by itself.
fn manager(source: &Source<'_>) -> Result<Found, RecipeError> {
    if let Some((manager, install)) = locked(source)? {
        return Ok(Found { manager, install, root: None });
    }
    let mut root = PathBuf::new();
    for folder in source.folder.ancestors().skip(1) {
        if !folder.starts_with(source.checkout) {
            break;
        }
        root.push("..");
        let above = Source { folder, ..*source };
        if is_workspace(&above)
            && let Some((manager, install)) = locked(&above)?
        {
            return Ok(Found { manager, install, root: Some(root) });
        }
    }
    Ok(Found { manager: "npm", install: &["npm", "install"], root: None })
}

/// Whether this is the root of a workspace. What is wrong with it is not the app's.
fn is_workspace(source: &Source<'_>) -> bool {
    let package = package(source).ok().flatten().unwrap_or_default();
    package.workspaces.is_some_and(|workspaces| !workspaces.is_null())
        || source.has("pnpm-workspace.yaml").unwrap_or(false)
}

fn locked(source: &Source<'_>) -> Result<Option<(&'static str, Install)>, RecipeError> {
    let lock = LOCKS.into_iter().find(|(lock, ..)| source.folder.join(lock).is_file());
    let Some((_, manager, install)) = lock else { return Ok(None) };
    // Yarn 2 and later have another word for it.
    if manager == "yarn" && source.has(".yarnrc.yml")? {
        return Ok(Some((manager, &["yarn", "install", "--immutable"])));
    }
    Ok(Some((manager, install)))
}
