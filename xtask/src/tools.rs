//! Tools that checks and tests need: found, or installed under `.tools` of the checkout, or by the
//! system's package manager where that is allowed; else a sentence that says what is missing.

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

/// Finds programs, each given with the Debian package that has it, and installs the packages that
/// are missing where this user may.
pub fn need(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !has("apt-get") {
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
    // Not `bin/pip`: in an environment that was copied with its checkout, that one installs into
    // the first one's.
    let python = environment.join("bin/python3").display().to_string();
    run(&python, &[&["-m", "pip", "install", "--quiet"], requirements].concat())
}

/// The folder of the programs that stand for AWS and its users in tests: two emulators, a proxy
/// that breaks their answers, and the AWS CLI.
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

/// The folder of Debian's cloud-init, unpacked with what it depends on and not installed: a machine
/// that has it would take itself for one in a cloud at its next boot.
pub fn cloud_init() -> anyhow::Result<PathBuf> {
    let folder = root().join(".tools/cloud-init");
    let unpacked = folder.join("root");
    if unpacked.join("usr/bin/cloud-init").is_file() {
        return Ok(unpacked);
    }
    if has("cloud-init") {
        // The machines of the test see it, and need nothing more.
        std::fs::create_dir_all(&unpacked)?;
        return Ok(unpacked);
    }
    if !has("apt-get") || !is_root() {
        bail!(
            "the test that boots a machine needs cloud-init in `{}`: run this as root on Debian, \
             or unpack \
             its package and those that it depends on there",
            unpacked.display()
        );
    }
    let archives = folder.join("archives");
    std::fs::create_dir_all(archives.join("partial"))?;
    run_with("apt-get", &["update", "-qq"], &[("DEBIAN_FRONTEND", "noninteractive")])?;
    let cache = format!("Dir::Cache::archives={}", archives.display());
    run(
        "apt-get",
        &[
            "install",
            "-y",
            "-qq",
            "--download-only",
            "--no-install-recommends",
            "-o",
            "APT::Sandbox::User=root",
            "-o",
            &cache,
            "cloud-init",
        ],
    )?;
    let new = folder.join("new");
    for entry in std::fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(
                "dpkg-deb",
                &["--extract", &path.display().to_string(), &new.display().to_string()],
            )?;
        }
    }
    // Where these are links to others below `usr`, folders of their name would take their place.
    for name in ["bin", "lib", "sbin"] {
        let outside = new.join(name);
        if outside.exists() {
            std::fs::remove_dir_all(outside)?;
        }
    }
    std::fs::rename(new, &unpacked)?;
    Ok(unpacked)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
