//! Which tools there are to build apps with, and the environment that builds get of the platform's
//! own. What is built with them is left to `recipe` and `build`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::build::version::Version;
use crate::process::command;

/// Tools whose version shows in what is built with them; `ldd` tells that of the C library.
const TOLD_APART: [&str; 11] =
    ["bun", "cargo", "cc", "ldd", "node", "npm", "pnpm", "python3", "rustc", "uv", "yarn"];

const LIMIT: Duration = Duration::from_secs(30);

/// Variables of the platform that builds get too: where toolchains are, whom to trust, and the way
/// to the registries.
const PASSED: [&str; 24] = [
    "ALL_PROXY",
    "ASDF_DATA_DIR",
    "ASDF_DIR",
    "CURL_CA_BUNDLE",
    "FNM_DIR",
    "GOPROXY",
    "GOROOT",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_HOME",
    "MISE_DATA_DIR",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "NVM_DIR",
    "PYENV_ROOT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "VOLTA_HOME",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The settings of package managers, by how their names begin.
const PASSED_PREFIXES: [&str; 9] = [
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "NPM_CONFIG_",
    "PIP_",
    "RUSTUP_",
    "UV_",
    "YARN_",
    "npm_config_",
];

/// Settings that would lead a build out of its own folders.
const WITHHELD: [&str; 12] = [
    "NPM_CONFIG_CACHE",
    "NPM_CONFIG_PREFIX",
    "PIP_CACHE_DIR",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "UV_CACHE_DIR",
    "UV_PROJECT_ENVIRONMENT",
    "YARN_CACHE_FOLDER",
    "npm_config_cache",
    "npm_config_prefix",
];

/// A Python that was asked where it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Python {
    Missing,
    /// It cannot make virtual environments: Debian keeps that in a package of its own.
    WithoutVenv,
    /// The interpreter itself, not a shim that finds it by `HOME`.
    At(PathBuf),
}

/// The tools of this machine, as they are at the time of one build.
#[derive(Clone, Debug)]
pub struct Toolchains {
    path: String,
    python: Python,
    settings: BTreeMap<String, String>,
}

impl Toolchains {
    /// Looks at the tools that the platform's own environment (`PATH`, `HOME` and settings of
    /// package managers) leads to.
    pub async fn probe(platform: &BTreeMap<String, String>) -> Toolchains {
        let path = platform.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
        let mut path = path.to_owned();
        let python = python(&path, platform).await;
        if let (Python::At(real), Some(found)) = (&python, find("python3", &path)) {
            let folder = real.parent().unwrap_or(real);
            if Some(folder) != found.parent() {
                path = format!("{}:{path}", folder.display());
            }
        }
        Toolchains { path, python, settings: settings(platform) }
    }

    /// The platform's `PATH`, with the real Python before a shim of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The interpreter that virtual environments are made with.
    pub fn python(&self) -> &Python {
        &self.python
    }

    /// Where `name` is, if it is installed.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        find(name, &self.path)
    }

    /// What the tools that are installed say of themselves, a line each. Builds of machines on
    /// which these differ are not exchanged.
    pub async fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        for tool in TOLD_APART {
            let Some(found) = self.find(tool) else { continue };
            versions.push(format!("{tool}: {}", self.said_of_itself(&found).await));
        }
        versions
    }

    /// The version of a tool, if it is installed and says one.
    pub async fn version(&self, tool: &str) -> Option<Version> {
        Version::parse(&self.said_of_itself(&self.find(tool)?).await)
    }

    /// The Pythons beside the usual one: on `PATH` under their own names, and those of pyenv. Only
    /// such are told that make virtual environments.
    pub async fn pythons(&self) -> Vec<(Version, PathBuf)> {
        let named = (8..30).filter_map(|minor| self.find(&format!("python3.{minor}")));
        let pyenv = self.settings.get("PYENV_ROOT").map(|root| Path::new(root).join("versions"));
        let installed = inside(pyenv.as_deref()).into_iter().map(|one| one.join("bin/python3"));
        let mut found = BTreeMap::new();
        for program in named.chain(installed) {
            if let Python::At(real) = python_at(&program, &self.settings).await
                && let Some(version) = Version::parse(&self.said_of_itself(&real).await)
            {
                found.entry(version).or_insert(real);
            }
        }
        found.into_iter().collect()
    }

    /// The folders of the Nodes that nvm has installed.
    pub fn nodes(&self) -> Vec<(Version, PathBuf)> {
        let nvm = self.settings.get("NVM_DIR").map(|root| Path::new(root).join("versions/node"));
        let installed = inside(nvm.as_deref()).into_iter().filter_map(|folder| {
            let version = Version::parse(folder.file_name()?.to_str()?)?;
            let programs = folder.join("bin");
            programs.join("node").is_file().then_some((version, programs))
        });
        installed.collect()
    }

    /// The first line of what a tool says of its version.
    async fn said_of_itself(&self, program: &Path) -> String {
        let mut command = Command::new(program);
        command.arg("--version").current_dir("/").env_clear().env("PATH", &self.path);
        command.env("HOME", "/nonexistent").env("LC_ALL", "C");
        let said = command::run(command, LIMIT).await.map(|outcome| outcome.text());
        said.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
    }

    /// The operator's settings that builds get: toolchain folders, certificates, registries,
    /// proxies.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }
}

async fn python(path: &str, platform: &BTreeMap<String, String>) -> Python {
    let Some(found) = find("python3", path) else { return Python::Missing };
    python_at(&found, platform).await
}

/// Where this Python really is.
async fn python_at(found: &Path, environment: &BTreeMap<String, String>) -> Python {
    for (modules, good) in [("sys, venv, ensurepip", true), ("sys", false)] {
        let mut command = Command::new(found);
        command.args(["-I", "-c", &format!("import {modules}; print(sys.executable)")]);
        command.current_dir("/").env_clear().envs(environment);
        let Ok(outcome) = command::run(command, LIMIT).await else { continue };
        let real = PathBuf::from(outcome.text());
        if outcome.success() && real.is_absolute() {
            return if good { Python::At(real) } else { Python::WithoutVenv };
        }
    }
    Python::Missing
}

/// What is in a folder, if there is one.
fn inside(folder: Option<&Path>) -> Vec<PathBuf> {
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
    entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn find(name: &str, path: &str) -> Option<PathBuf> {
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    let mut files = folders.map(|folder| folder.join(name));
    files.find(|file| {
        fs::metadata(file)
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    })
}

/// The operator's settings that builds get: toolchain folders, certificates, registries, proxies.
pub(crate) fn settings(platform: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let passed = |name: &str| {
        PASSED.contains(&name)
            || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && !WITHHELD.contains(&name)
    };
    let set = platform.iter().filter(|(name, _)| passed(name));
    let mut settings: BTreeMap<String, String> =
        set.map(|(name, value)| (name.clone(), value.clone())).collect();
    let Some(home) = platform.get("HOME").map(Path::new) else { return settings };
    for (name, places) in [
        ("RUSTUP_HOME", &[".rustup"] as &[&str]),
        ("PYENV_ROOT", &[".pyenv"]),
        ("NVM_DIR", &[".nvm"]),
        ("VOLTA_HOME", &[".volta"]),
        ("PIP_CONFIG_FILE", &[".config/pip/pip.conf", ".pip/pip.conf"]),
        ("UV_CONFIG_FILE", &[".config/uv/uv.toml"]),
        ("npm_config_userconfig", &[".npmrc"]),
    ] {
        let upper = name.to_ascii_uppercase();
        if settings.contains_key(name) || settings.contains_key(&upper) {
            continue;
        }
        if let Some(place) = places.iter().map(|place| home.join(place)).find(|it| it.exists()) {
            settings.insert(name.to_owned(), place.display().to_string());
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_settings_of_tools_are_passed_on() {
        let found = settings(&platform(&[
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("GIT_SSH_COMMAND", "s"),
            ("CARGO_HOME", "/c"),
            ("PIP_INDEX_URL", "i"),
            ("PIP_USER", "1"),
            ("https_proxy", "p"),
            ("npm_config_registry", "r"),
        ]));
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["PIP_INDEX_URL", "https_proxy", "npm_config_registry"]);
    }

    #[test]
    fn settings_at_their_usual_places_are_found() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".rustup")).unwrap();
        fs::write(home.path().join(".npmrc"), "").unwrap();
        let text = home.path().to_str().unwrap();
        let found = settings(&platform(&[("HOME", text), ("PYENV_ROOT", "/p")]));
        assert_eq!(found["RUSTUP_HOME"], format!("{text}/.rustup"));
        assert_eq!(found["npm_config_userconfig"], format!("{text}/.npmrc"));
        assert_eq!(found["PYENV_ROOT"], "/p");
        assert_eq!(found.len(), 3);
    }

    #[tokio::test]
    async fn without_a_path_there_is_no_python() {
        let toolchains = Toolchains::probe(&platform(&[("PATH", "/nonexistent")])).await;
        assert_eq!(toolchains.python(), &Python::Missing);
        assert_eq!(toolchains.find("sh"), None);
    }

    #[tokio::test]
    async fn a_shim_of_python_is_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("python3");
        fs::write(
            &shim,
            "#!/bin/sh\ntest -n \"$HOME\" && \
             exec /usr/bin/env -i PATH=/usr/bin:/bin python3 \"$@\"\n",
        )
        .unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let toolchains = Toolchains::probe(&platform(&[("PATH", &path), ("HOME", "/")])).await;
        match toolchains.python() {
            Python::At(real) => {
                assert_ne!(real, &shim);
                assert!(toolchains.path().starts_with(real.parent().unwrap().to_str().unwrap()));
            }
            // A machine whose own Python cannot make environments.
            Python::WithoutVenv | Python::Missing => {}
        }
    }
}
