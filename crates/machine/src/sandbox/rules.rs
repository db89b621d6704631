//! What files and ports a process may use, and whom it may signal, held by Landlock
//! (`landlock(7)`): whatever the kernel knows of it, and nothing where it knows none.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus,
    Scope,
};

/// The newest rules that this was tried with.
const KNOWN: ABI = ABI::V6;

/// The newest version of the rules that this kernel enforces, up to the newest that is used here;
/// 0: none.
pub(crate) fn newest() -> u8 {
    let known = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6];
    let versions = (1..).zip(known);
    versions.filter(|(_, abi)| is_enforced(*abi)).map(|(version, _)| version).max().unwrap_or(0)
}

fn is_enforced(abi: ABI) -> bool {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let rules = rules.handle_access(AccessFs::from_all(abi));
    let rules = match AccessNet::from_all(abi) {
        none if none.is_empty() => rules,
        ports => rules.and_then(|rules| rules.handle_access(ports)),
    };
    let rules = match Scope::from_all(abi) {
        none if none.is_empty() => rules,
        scopes => rules.and_then(|rules| rules.scope(scopes)),
    };
    rules.and_then(Ruleset::create).is_ok()
}

/// The rules of one process, its folders found: they hold once they are put on.
#[derive(Debug)]
pub(crate) struct Rules(RulesetCreated);

impl Rules {
    /// Opens what may be used, where it lies now. A folder that is not there is none that could be
    /// used.
    pub(crate) fn open(
        listed: Option<&Path>,
        readable: &[PathBuf],
        writable: &[PathBuf],
        ports: &[u16],
    ) -> io::Result<Rules> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))
            .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
            .and_then(|rules| rules.scope(Scope::AbstractUnixSocket | Scope::Signal))
            .and_then(Ruleset::create)
            .map_err(failed)?;
        let read = AccessFs::from_read(KNOWN);
        let all = AccessFs::from_all(KNOWN) & !(AccessFs::MakeBlock | AccessFs::MakeChar);
        let listed = listed.map(|path| (path.to_owned(), AccessFs::ReadDir.into()));
        let mut ruleset = ruleset;
        let readable = readable.iter().map(|path| (path.clone(), read));
        let writable = writable.iter().map(|path| (path.clone(), all));
        for (path, access) in listed.into_iter().chain(readable).chain(writable) {
            let Ok(opened) = PathFd::new(&path) else { continue };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
            ruleset = ruleset.add_rule(PathBeneath::new(opened, access)).map_err(failed)?;
        }
        for port in ports {
            let rule = NetPort::new(*port, AccessNet::BindTcp);
            ruleset = ruleset.add_rule(rule).map_err(failed)?;
        }
        Ok(Rules(ruleset))
    }

    /// Puts them on this process for good, and on everything that it starts.
    pub(crate) fn put_on(self) -> io::Result<()> {
        let status = self.0.restrict_self().map_err(failed)?;
        match status.ruleset {
            RulesetStatus::NotEnforced => Err(failed("the kernel does not enforce them")),
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot set rules of Landlock: {error}"))
}
