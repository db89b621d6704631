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
        .stdin(Stdio::null())
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
    from_pypi_apart("python", program, &[requirement])
}

/// The same in an environment of that name, apart from what would not go together with it.
pub fn from_pypi_apart(
    environment: &str,
    program: &str,
    requirements: &[&str],
) -> anyhow::Result<PathBuf> {
    let environment = root().join(".tools").join(environment);
    let found = environment.join("bin").join(program);
    if found.is_file() {
        return Ok(found);
    }
    install(&environment, requirements)?;
    if !found.is_file() {
        bail!("`{}` has no program `{program}`", requirements.join(" "));
    }
    Ok(found)
}

/// A module from PyPI in the environment of `from_pypi`.
pub fn module_from_pypi(module: &str, requirement: &str) -> anyhow::Result<()> {
    let environment = root().join(".tools/python");
    let found = Command::new(environment.join("bin/python3"))
        .args(["-c", &format!("import {module}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found { Ok(()) } else { install(&environment, &[requirement]) }
}

/// All at once, so that one does not take the place of what another needs.
fn install(environment: &Path, requirements: &[&str]) -> anyhow::Result<()> {
    need(&[("python3", "python3")])?;
    let works = environment.join("bin/pip").is_file();
    if !works {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(environment)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !made {
            need(&[("no-such-program-but-the-module-venv", "python3-venv")])?;
            run("python3", &["-m", "venv", &environment.display().to_string()])?;
        }
    }
    // Not `bin/pip`: in an environment that was copied with its checkout, that one installs into the first one's.
    let python = environment.join("bin/python3").display().to_string();
    run(&python, &[&["-m", "pip", "install", "--quiet"], requirements].concat())
}

/// The folder of the programs that stand for AWS and its users in tests: two emulators, a proxy that breaks their
/// answers, and the AWS CLI.
pub fn emulators() -> anyhow::Result<PathBuf> {
    const AWS_CLI: &str = "awscli==1.46.3";
    const MINISTACK: &str = "ministack==1.5.33";
    from_pypi("aws", AWS_CLI)?;
    from_pypi("microburst", "microburst==0.10.0")?;
    let ministack = from_pypi("ministack", MINISTACK)?;
    // With the names of the others, whose dependencies it would replace by newer ones.
    from_pypi_apart("python", "moto_server", &["moto[server]==5.2.5", MINISTACK, AWS_CLI])?;
    Ok(ministack.parent().context("a program lies in a folder")?.to_owned())
}
