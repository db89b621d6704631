//! The package manager of a Node app, by its lock file or its `packageManager`: how it installs,
//! and where it comes from if this machine does not have it.
//!
//! Sources: <https://docs.npmjs.com/cli/v11/commands/npm-ci>, <https://pnpm.io/cli/install>,
//! <https://classic.yarnpkg.com/en/docs/cli/install>, <https://yarnpkg.com/cli/install>,
//! <https://bun.sh/docs/cli/install>, <https://nodejs.org/api/corepack.html>.

use std::path::{Path, PathBuf};

use crate::build::convention::node::package::Package;
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;
use crate::build::version::{Fit, Range};

/// Where a package manager puts the programs of packages.
const PROGRAMS: &str = "node_modules/.bin";
/// Where one is put that this machine does not have; it starts the app, too.
const BROUGHT: &str = ".package-manager";

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Npm,
    /// Yarn 1.
    Yarn,
    /// Yarn 2 and later.
    Berry,
    Pnpm,
    Bun,
}

impl Kind {
    /// Its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Kind::Npm => "npm",
            Kind::Yarn | Kind::Berry => "yarn",
            Kind::Pnpm => "pnpm",
            Kind::Bun => "bun",
        }
    }

    fn install(self, is_locked: bool) -> Vec<&'static str> {
        let program = self.program();
        match (self, is_locked) {
            (Kind::Npm, true) => vec![program, "ci"],
            (Kind::Berry, true) => vec![program, "install", "--immutable"],
            (Kind::Yarn | Kind::Pnpm | Kind::Bun, true) => {
                vec![program, "install", "--frozen-lockfile"]
            }
            (Kind::Berry, false) => vec![program, "install", "--no-immutable"],
            (Kind::Npm | Kind::Yarn | Kind::Pnpm | Kind::Bun, false) => vec![program, "install"],
        }
    }
}

/// The package manager of an app.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) kind: Kind,
    pub(crate) is_locked: bool,
    /// The root of the workspace that the app is a package of, relative to the app's folder.
    pub(crate) root: Option<PathBuf>,
    /// The versions that can read the lock file, and the one that is brought.
    version: Option<String>,
    accepted: Option<Range>,
    is_brought: bool,
}

impl Manager {
    /// The manager that the lock file belongs to, which a workspace has at its root alone; each of
    /// them finds that root by itself.
    pub(crate) fn of(source: &Source<'_>, package: &Package) -> Result<Manager, RecipeError> {
        if let Some(manager) = Manager::at(source, package)? {
            return Ok(manager);
        }
        let mut root = PathBuf::new();
        for folder in source.folder.ancestors().skip(1) {
            if !folder.starts_with(source.checkout) {
                break;
            }
            root.push("..");
            let above = Source { folder, ..*source };
            // What is wrong with it is not the app's.
            let package = Package::read(&above).ok().flatten().unwrap_or_default();
            let is_root =
                package.is_workspace() || above.has("pnpm-workspace.yaml").unwrap_or(false);
            if is_root && let Some(manager) = Manager::at(&above, &package)? {
                return Ok(Manager { root: Some(root), ..manager });
            }
        }
        Ok(Manager::new(Kind::Npm, false, None, None))
    }

    fn new(
        kind: Kind,
        is_locked: bool,
        version: Option<String>,
        accepted: Option<&str>,
    ) -> Manager {
        let accepted = accepted.and_then(Range::parse);
        Manager { kind, is_locked, root: None, version, accepted, is_brought: false }
    }

    /// The manager that this folder's lock file or its package names.
    fn at(source: &Source<'_>, package: &Package) -> Result<Option<Manager>, RecipeError> {
        let has = |name: &str| source.folder.join(name).is_file();
        let yarn = if has("yarn.lock") { source.read("yarn.lock")? } else { None };
        let is_berry = has(".yarnrc.yml")
            || yarn.as_deref().is_some_and(|text| text.contains("\n__metadata:"));
        let yarn_kind = if is_berry { Kind::Berry } else { Kind::Yarn };
        let locks = [
            (Kind::Npm, has("package-lock.json") || has("npm-shrinkwrap.json")),
            (yarn_kind, yarn.is_some()),
            (Kind::Pnpm, has("pnpm-lock.yaml")),
            (Kind::Bun, has("bun.lock") || has("bun.lockb")),
        ];
        let locked = |kind: Kind| locks.iter().any(|(one, is_there)| *one == kind && *is_there);
        if let Some((name, version)) = package.manager() {
            let major = Range::beginning(version, 1);
            let kind = match name {
                "npm" => Some(Kind::Npm),
                "pnpm" => Some(Kind::Pnpm),
                "bun" => Some(Kind::Bun),
                "yarn" if version.starts_with("1.") => Some(Kind::Yarn),
                "yarn" => Some(Kind::Berry),
                _ => None,
            };
            let is_version =
                version.chars().all(|one| one.is_ascii_alphanumeric() || ".-".contains(one));
            if let (Some(kind), true) = (kind, is_version) {
                // npm's own versions read one another's files.
                let accepted = major.filter(|_| kind != Kind::Npm);
                let version = Some(version.to_owned());
                return Ok(Some(Manager {
                    accepted,
                    ..Manager::new(kind, locked(kind), version, None)
                }));
            }
        }
        let Some((kind, _)) = locks.into_iter().find(|(_, is_there)| *is_there) else {
            return Ok(None);
        };
        let (version, accepted) = match kind {
            Kind::Npm | Kind::Bun => (None, None),
            Kind::Yarn => (Some("1"), Some("1")),
            Kind::Berry => match lock_version(yarn.as_deref(), "version:") {
                Some(0..=7) => (Some("3"), Some("2 || 3")),
                Some(_) | None => (Some("4"), Some(">=4")),
            },
            Kind::Pnpm => {
                match lock_version(source.read("pnpm-lock.yaml")?.as_deref(), "lockfileVersion:") {
                    Some(0..=5) => (Some("7"), Some("6 || 7")),
                    Some(6..=8) => (Some("8"), Some("8 || 9")),
                    Some(_) | None => (Some("9"), Some(">=9")),
                }
            }
        };
        Ok(Some(Manager::new(kind, true, version.map(str::to_owned), accepted)))
    }

    /// The step that brings it, where this machine does not have it, or one that cannot read the
    /// app's lock file.
    ///
    /// # Errors
    /// There is nothing to bring it with.
    pub(crate) async fn bring(&mut self, tools: &Toolchains) -> Result<Option<Step>, RecipeError> {
        let program = self.kind.program();
        let missing = |tool: &str, cure: &str| RecipeError::Missing {
            tool: tool.to_owned(),
            wanted_by: "`package.json`".to_owned(),
            cure: cure.to_owned(),
        };
        let cure = "`apt install nodejs npm`, or from https://nodejs.org";
        if self.kind != Kind::Bun && tools.find("node").is_none() {
            return Err(missing("node", cure));
        }
        if tools.find(program).is_some() {
            let Some(accepted) = &self.accepted else { return Ok(None) };
            let there = tools.version(program).await;
            if there.is_none_or(|there| accepted.fit(&there) == Fit::Fits) {
                return Ok(None);
            }
        }
        if tools.find("npm").is_none() {
            return Err(match self.kind {
                Kind::Npm => missing("npm", cure),
                Kind::Yarn | Kind::Berry => missing(program, "`npm install --global yarn`"),
                Kind::Pnpm => missing(program, "`npm install --global pnpm`"),
                Kind::Bun => missing(program, "`npm install --global bun`, or from https://bun.sh"),
            });
        }
        self.is_brought = true;
        let package = if self.kind == Kind::Berry { "@yarnpkg/cli-dist" } else { program };
        let version = self.version.as_deref().unwrap_or("latest");
        let what = format!("{package}@{version}");
        let title = format!("install {program}, which the app's packages are installed with");
        let words = ["npm", "install", "--global", "--no-audit", "--no-fund", "--prefix", BROUGHT];
        Ok(Some(Step::new(&title, words.into_iter().chain([what.as_str()]))))
    }

    /// The command that installs the packages.
    pub(crate) fn install(&self) -> Step {
        Step::new("install Node packages", self.kind.install(self.is_locked))
    }

    /// The command that runs a script.
    pub(crate) fn run(&self, script: &str) -> Vec<String> {
        [self.kind.program(), "run", script].map(str::to_owned).to_vec()
    }

    /// The text that starts a script.
    pub(crate) fn start(&self, script: &str) -> String {
        match (self.kind, script) {
            (Kind::Npm, "start") => "npm start".to_owned(),
            _ => self.run(script).join(" "),
        }
    }

    /// The text that starts a program of a package, or Node with a file: Yarn's later versions know
    /// alone where packages are.
    pub(crate) fn program(&self, words: &str) -> String {
        match (self.kind, words.strip_prefix("node ")) {
            (Kind::Berry, _) => format!("yarn {words}"),
            (Kind::Bun, Some(file)) => format!("bun {file}"),
            (Kind::Bun | Kind::Npm | Kind::Yarn | Kind::Pnpm, _) => words.to_owned(),
        }
    }

    /// The folders that its programs are in, relative to the app's.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        let root = self.root.as_ref().map(|root| root.join(PROGRAMS));
        let brought = self.is_brought.then(|| Path::new(BROUGHT).join("bin"));
        [Some(PathBuf::from(PROGRAMS)), root, brought].into_iter().flatten().collect()
    }
}

/// The first number that stands behind a word at the beginning of a line.
fn lock_version(text: Option<&str>, word: &str) -> Option<u32> {
    let rest = text?.lines().take(20).find_map(|line| line.trim().strip_prefix(word))?;
    let digits = rest.trim_start_matches([' ', '\'', '"']);
    let end = digits.find(|one: char| !one.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}
