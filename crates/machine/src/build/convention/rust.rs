//! The convention of Rust: what cargo builds, and the one binary that it makes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::build::convention::{Convention, Language, Start};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;
use crate::process::command;

pub(crate) const LANGUAGE: Language = Language { name: "Rust", files: &["Cargo.toml"] };

const LIMIT: Duration = Duration::from_mins(1);

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
pub(crate) async fn convention(
    source: &Source<'_>,
    tools: &Toolchains,
    has_web: bool,
    replaced: bool,
) -> Result<Option<Convention>, RecipeError> {
    if !source.has("Cargo.toml")? {
        return Ok(None);
    }
    if !(has_web && replaced) && tools.find("cargo").is_none() {
        return Err(RecipeError::Missing {
            tool: "cargo".to_owned(),
            wanted_by: "`Cargo.toml`".to_owned(),
            cure: "from https://rustup.rs, or `apt install cargo`".to_owned(),
        });
    }
    let binaries = match binaries_of(source.folder, tools).await {
        Ok(binaries) => binaries,
        Err(_) if has_web => Vec::new(),
        Err(error) => return Err(error),
    };
    let paths: Vec<String> =
        binaries.iter().map(|name| format!("./target/release/{name}")).collect();
    let mut build = vec!["cargo", "build", "--release", "--target-dir", "target"];
    if source.has("Cargo.lock")? {
        build.push("--locked");
    }
    // What is left over from compiling is many times as large as what was compiled.
    let tidy = ["deps", "incremental", ".fingerprint"].map(|name| format!("target/release/{name}"));
    let tidy = ["rm", "-rf", "--"].map(str::to_owned).into_iter().chain(tidy);
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps: vec![
            Step::new("compile the Rust program", build),
            Step::new("remove what is only needed to compile", tidy),
        ],
        start: match paths.as_slice() {
            [path] => Some(Start::Command(format!("exec {path}"))),
            _ => None,
        },
        path: Vec::new(),
        without_start: match paths.as_slice() {
            [] => "`Cargo.toml` without a binary".to_owned(),
            paths => format!("`Cargo.toml` with more than one binary (`{}`)", paths.join("`, `")),
        },
        example: paths.into_iter().next().unwrap_or_else(|| "./target/release/server".to_owned()),
        notes: Vec::new(),
    }))
}

/// The binaries that `cargo build` makes in `folder`, or the default one. Cargo is asked from a
/// folder that is not the app's, so that no configuration of the app's chooses what is executed.
async fn binaries_of(folder: &Path, tools: &Toolchains) -> Result<Vec<String>, RecipeError> {
    let bad = |reason: String| RecipeError::BadFile { file: "Cargo.toml".to_owned(), reason };
    let Some(cargo) = tools.find("cargo") else { return Ok(Vec::new()) };
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
    Ok(choose(folder, &metadata))
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

fn choose(folder: &Path, metadata: &Metadata) -> Vec<String> {
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
    let names: Vec<&str> = match chosen.as_slice() {
        [name] => vec![*name],
        _ => built.iter().flat_map(|one| binaries(one)).collect(),
    };
    names.into_iter().map(str::to_owned).collect()
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
            (serde_json::json!([package("a", None, &["web"])]), &["web"] as &[&str]),
            (serde_json::json!([package("a", Some("web"), &["web", "tool"])]), &["web"]),
            (
                serde_json::json!([package("a", None, &["web"]), package("c", None, &["x"])]),
                &["web"],
            ),
            (serde_json::json!([package("a", None, &[])]), &[]),
        ] {
            let found = choose(Path::new("/app"), &metadata(&packages));
            assert_eq!(found, expected, "{packages}");
        }
    }

    #[test]
    fn in_a_member_of_a_workspace_only_its_own_binary_counts() {
        let packages = [package("a", None, &["web"]), package("b", None, &["tool"])];
        let found = choose(Path::new("/app/b"), &metadata(&serde_json::json!(packages)));
        assert_eq!(found, ["tool"]);
    }

    #[test]
    fn several_binaries_are_listed() {
        let packages = serde_json::json!([package("a", None, &["web", "tool"])]);
        assert_eq!(choose(Path::new("/app"), &metadata(&packages)), ["web", "tool"]);
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
        let found = choose(Path::new("/app"), &metadata(&serde_json::json!([one])));
        assert_eq!(found, ["web"]);
    }
}
