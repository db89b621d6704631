//! The convention of Node: packages by the manager whose lock file is there, and the scripts of
//! `package.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::build::convention::Convention;
use crate::build::error::RecipeError;
use crate::build::source::{is_there, read};
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

#[derive(Default, Deserialize)]
struct Package {
    #[serde(default)]
    scripts: BTreeMap<String, serde_json::Value>,
}

/// Node, by `package.json`; steps only with `tools`.
pub(crate) fn convention(
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
