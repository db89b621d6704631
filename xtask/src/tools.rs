//! Tools that checks and tests need: found, or installed under `.tools` of the checkout, or by the system's
//! package manager where that is allowed; else a sentence that says what is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout").to_owned()
}

/// Runs a command in the checkout, its output shown, and fails when it does.
pub fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    run_with(program, arguments, &[])
}

/// The same with environment variables.
pub fn run_with(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> anyhow::Result<()> {
    println!("$ {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run `{program}`"))?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Whether a program is on `PATH`.
pub fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// Finds programs, each given with the Debian package that has it, and installs the packages that are missing
/// where this user may.
pub fn need(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_root || !has("apt-get") {
        bail!(
            "missing: {list}; install them, on Debian with `sudo apt-get install {list}`",
            list = missing.join(" ")
        );
    }
    run_with("apt-get", &["update", "-qq"], &[("DEBIAN_FRONTEND", "noninteractive")])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    run_with("apt-get", &arguments, &[("DEBIAN_FRONTEND", "noninteractive")])
}

/// A program from PyPI in the checkout's own virtual environment.
pub fn from_pypi(program: &str, requirement: &str) -> anyhow::Result<PathBuf> {
    from_pypi_beside(program, requirement, &[])
}

/// The same beside others that must keep what they need: without their names, its newest dependencies would take the
/// place of theirs.
fn from_pypi_beside(program: &str, requirement: &str, others: &[&str]) -> anyhow::Result<PathBuf> {
    let environment = root().join(".tools/python");
    let found = environment.join("bin").join(program);
    if found.is_file() {
        return Ok(found);
    }
    need(&[("python3", "python3")])?;
    let works = environment.join("bin/pip").is_file();
    if !works {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !made {
            need(&[("no-such-program-but-the-module-venv", "python3-venv")])?;
            run("python3", &["-m", "venv", &environment.display().to_string()])?;
        }
    }
    let pip = environment.join("bin/pip").display().to_string();
    let mut arguments = vec!["install", "--quiet", requirement];
    arguments.extend(others);
    run(&pip, &arguments)?;
    if !found.is_file() {
        bail!("`{requirement}` has no program `{program}`");
    }
    Ok(found)
}

/// The folder of the programs that stand for AWS and its users in tests: two emulators, a proxy that breaks their
/// answers, and the AWS CLI.
pub fn emulators() -> anyhow::Result<PathBuf> {
    const AWS_CLI: &str = "awscli==1.46.3";
    const MINISTACK: &str = "ministack==1.5.33";
    from_pypi("aws", AWS_CLI)?;
    from_pypi("microburst", "microburst==0.10.0")?;
    let ministack = from_pypi("ministack", MINISTACK)?;
    from_pypi_beside("moto_server", "moto[server]==5.2.5", &[MINISTACK, AWS_CLI])?;
    Ok(ministack.parent().context("a program lies in a folder")?.to_owned())
}
