//! The programs that run on AWS: found beside this one, else built by cargo from the checkout that
//! this one is of.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use rowhouse_aws::package::{Architecture, Programs};
use serde_json::Value;

use crate::failure::bad_input;
use crate::output;

const REACTOR: &str = "app-demo-reactor-lambda";
const CERTIFICATES: &str = "create-elb-backend-certificates";
const INSTANCE: &str = "rowhouse";

/// The commands that make them.
const FUNCTIONS: [&str; 4] = ["--profile", "function", "--package", "rowhouse-aws"];
const PROGRAM: [&str; 3] = ["--release", "--package", "rowhouse"];

/// The processor of this machine.
pub(crate) fn of_this_machine() -> Architecture {
    if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::X86_64 }
}

/// Finds the programs, or makes them.
pub(crate) fn programs(architecture: Architecture) -> anyhow::Result<Programs> {
    let itself = std::env::current_exe().context("cannot tell where this program lies")?;
    let checkout = checkout();
    // What lies in cargo's folder may be old, or made for looking into; cargo knows at once what is
    // up to date.
    let is_built = checkout.as_ref().is_some_and(|checkout| itself.starts_with(checkout));
    let folder = itself.parent().unwrap_or(Path::new("/"));
    if !is_built && let Some(programs) = beside(folder, architecture) {
        return Ok(programs);
    }
    match checkout {
        Some(checkout) if has_cargo() => built(&checkout, architecture),
        Some(_) | None => Err(bad_input(
            format!(
                "there are no `{REACTOR}`, `{CERTIFICATES}` and `{INSTANCE}` for {} beside `{}`, \
                 and no checkout to build them from",
                architecture.as_str(),
                itself.display()
            ),
            format!(
                "in a checkout of Rowhouse: `cargo build {}{target} && cargo build {}{target}`, \
                 then put the three programs beside this one",
                FUNCTIONS.join(" "),
                PROGRAM.join(" "),
                target = target(architecture)
                    .map_or_else(String::new, |target| format!(" --target {target}"))
            ),
        )),
    }
}

/// The checkout that this program was built from, if it is still there.
fn checkout() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    root.join("crates/aws/Cargo.toml").is_file().then(|| root.to_owned())
}

fn has_cargo() -> bool {
    let version = Command::new("cargo").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn beside(folder: &Path, architecture: Architecture) -> Option<Programs> {
    let found = |name: &str| {
        let path = folder.join(name);
        (of_file(&path) == Some(architecture)).then_some(path)
    };
    Some(Programs {
        reactor: found(REACTOR)?,
        certificates: found(CERTIFICATES)?,
        instance: found(INSTANCE)?,
    })
}

fn of_file(path: &Path) -> Option<Architecture> {
    use std::io::Read as _;
    let mut head = [0; 20];
    std::fs::File::open(path).ok()?.read_exact(&mut head).ok()?;
    Architecture::of(&head)
}

/// What cargo is told where this machine has another processor.
fn target(architecture: Architecture) -> Option<&'static str> {
    (architecture != of_this_machine()).then(|| architecture.target())
}

fn built(checkout: &Path, architecture: Architecture) -> anyhow::Result<Programs> {
    output::note("building the programs; the first time takes minutes");
    let functions = cargo(checkout, &FUNCTIONS, architecture)?;
    let program = cargo(checkout, &PROGRAM, architecture)?;
    let find = |programs: &[PathBuf], name: &str| {
        let found = programs.iter().find(|path| path.file_name().is_some_and(|file| file == name));
        found.cloned().with_context(|| format!("cargo made no `{name}`"))
    };
    Ok(Programs {
        reactor: find(&functions, REACTOR)?,
        certificates: find(&functions, CERTIFICATES)?,
        instance: find(&program, INSTANCE)?,
    })
}

/// Builds, and says which programs came out.
fn cargo(
    checkout: &Path,
    what: &[&str],
    architecture: Architecture,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut command = Command::new("cargo");
    command.arg("build").args(what).args(["--locked", "--message-format=json-render-diagnostics"]);
    if let Some(target) = target(architecture) {
        command.args(["--target", target]);
        command.envs(linker(target));
    }
    // What `cargo run` tells its program of a package is not about those that are built here; some
    // of their build scripts would take each other value for a change, and everything would be
    // built again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let output = command
        .current_dir(checkout)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run `cargo`")?;
    if !output.status.success() {
        let what = what.join(" ");
        return Err(match target(architecture) {
            None => anyhow::anyhow!("`cargo build {what}` failed"),
            Some(target) => bad_input(
                format!("`cargo build {what} --target {target}` failed"),
                format!(
                    "it needs `rustup target add {target}` and a cross compiler (on Debian \
                     `apt install crossbuild-essential-{}`); or run this command on such a machine",
                    if target.starts_with("aarch64") { "arm64" } else { "amd64" }
                ),
            ),
        });
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    };
    Ok(messages.lines().filter_map(executable).collect())
}

/// The linker of Debian's cross compilers, where cargo is not told of another.
fn linker(target: &str) -> Option<(String, String)> {
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    let program = target.replace("-unknown", "") + "-gcc";
    let is_there = Command::new(&program).arg("--version").output().is_ok();
    (is_there && std::env::var_os(&variable).is_none()).then_some((variable, program))
}

/// The processor of a type of instances: Graviton's families have a `g` after their generation.
pub(crate) fn of_instance_type(kind: &str) -> Architecture {
    let family = kind.split('.').next().unwrap_or_default();
    let options = family.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let options = options.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if family == "a1" || options.starts_with('g') {
        Architecture::Arm64
    } else {
        Architecture::X86_64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_instances_tells_its_processor() {
        for arm in
            ["t4g.micro", "m7g.large", "c6gn.medium", "r8gd.xlarge", "a1.large", "g5g.xlarge"]
        {
            assert_eq!(of_instance_type(arm), Architecture::Arm64, "{arm}");
        }
        for intel in ["t3.micro", "m7i-flex.large", "c6a.large", "g4dn.xlarge", "g5.xlarge"] {
            assert_eq!(of_instance_type(intel), Architecture::X86_64, "{intel}");
        }
    }
}
