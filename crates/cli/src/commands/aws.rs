//! `rowhouse aws …` and `rowhouse --aws …`: handed over to `rowhouse-aws`, a program of its own, so
//! that nobody waits for the AWS SDK to be compiled who only wants apps on this machine.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::bad_input;

const PROGRAM: &str = "rowhouse-aws";

/// Becomes that program; comes back only where it cannot.
pub(crate) fn hand_over(arguments: Vec<OsString>) -> anyhow::Error {
    let itself = std::env::current_exe().ok();
    let beside = itself.as_deref().and_then(Path::parent);
    let Some(program) = found(beside, std::env::var_os("PATH").as_deref()) else {
        return bad_input(
            format!(
                "what works on AWS is the program `{PROGRAM}`, which is neither beside this one \
                 nor on `PATH`"
            ),
            "in a checkout: `cargo build --release --package rowhouse-aws-cli`, or \
             `cargo install --path crates/aws-cli` to have it on your `PATH`",
        );
    };
    let error = Command::new(&program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("cannot run `{}`", program.display()))
}

fn found(beside: Option<&Path>, path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let on_path = path.into_iter().flat_map(std::env::split_paths);
    let folders = beside.map(Path::to_owned).into_iter().chain(on_path);
    folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_beside_goes_before_those_on_the_path() {
        let room = tempfile::tempdir().unwrap();
        let folder = |name: &str| room.path().join(name);
        for name in ["beside", "path"] {
            std::fs::create_dir(folder(name)).unwrap();
        }
        let (beside, path) = (folder("beside"), folder("path"));
        let find = || found(Some(&beside), Some(path.as_os_str()));
        assert_eq!(find(), None);
        std::fs::write(path.join(PROGRAM), "").unwrap();
        assert_eq!(find(), Some(path.join(PROGRAM)));
        std::fs::write(beside.join(PROGRAM), "").unwrap();
        assert_eq!(find(), Some(beside.join(PROGRAM)));
    }
}
