//! The demo's git repository: the app of the first minute in three versions.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// The repository's folder in the demo's data folder.
pub(crate) const NAME: &str = "hello-repository";

/// The app of the first minute: a real app of this repository.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../../../examples/hello/Cargo.toml")),
    ("Cargo.lock", include_str!("../../../examples/hello/Cargo.lock")),
    ("src/main.rs", include_str!("../../../examples/hello/src/main.rs")),
    ("src/page.html", include_str!("../../../examples/hello/src/page.html")),
    (LOOK, include_str!("../../../examples/hello/src/look.rs")),
];
/// The file in which the versions differ.
const LOOK: &str = "src/look.rs";

const SECOND_LOOK: &str = r##"//! What differs between the versions of this app.

pub const COLOUR: &str = "#5a3fa0";
pub const GREETING: &str = "Hello again";

/// Whether the app can start.
pub fn check() -> Result<(), &'static str> {
    Ok(())
}
"##;

const BROKEN_LOOK: &str = r##"//! What differs between the versions of this app.

pub const COLOUR: &str = "#a03f3f";
pub const GREETING: &str = "Goodbye";

/// Whether the app can start.
pub fn check() -> Result<(), &'static str> {
    Err("this version is broken on purpose: it exits before it listens")
}
"##;

/// Makes the repository, with a tag a version: `v1`, `v2` in another colour, and `broken`. `main`
/// is `v2`.
pub(crate) fn make_repository(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    git(folder, &["init", "--quiet", "--initial-branch=main"])?;
    for (name, text) in FILES {
        write(folder, name, text)?;
    }
    commit(folder, "v1")?;
    write(folder, LOOK, SECOND_LOOK)?;
    commit(folder, "v2")?;
    write(folder, LOOK, BROKEN_LOOK)?;
    commit(folder, "broken")?;
    git(folder, &["reset", "--quiet", "--hard", "v2"])
}

fn commit(folder: &Path, tag: &str) -> anyhow::Result<()> {
    git(folder, &["add", "--all"])?;
    git(folder, &["commit", "--quiet", "--message", tag])?;
    git(folder, &["tag", tag])
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let parent = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Runs git without anybody's configuration and always at the same time, so that the commits are
/// the same everywhere.
fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    const DATE: &str = "2016-01-01T00:00:00Z";
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["-c", "user.name=Rowhouse", "-c", "user.email=demo@localhost"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TEMPLATE_DIR", "")
        .env("GIT_AUTHOR_DATE", DATE)
        .env("GIT_COMMITTER_DATE", DATE)
        .output()
        .context("cannot run `git`: install it, on Debian with `apt install git`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_have_the_same_commits_everywhere_and_differ_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let commits = |name: &str| {
            let path = folder.path().join(name);
            make_repository(&path).unwrap();
            ["v1", "v2", "broken"]
                .map(|tag| std::fs::read_to_string(path.join(".git/refs/tags").join(tag)).unwrap())
        };
        let (one, other) = (commits("one"), commits("other"));
        assert_eq!(one, other);
        assert!(one[0] != one[1] && one[1] != one[2]);
    }

    #[test]
    fn the_first_look_has_what_the_others_replace() {
        let (_, first) = FILES.iter().find(|(name, _)| *name == LOOK).unwrap();
        for part in ["pub const COLOUR: &str", "pub const GREETING: &str", "pub fn check()"] {
            assert!(
                first.contains(part) && SECOND_LOOK.contains(part) && BROKEN_LOOK.contains(part)
            );
        }
    }
}
