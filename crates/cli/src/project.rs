//! The project in a folder, as git knows it.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::failure::bad_input;

/// What `deploy` deploys.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder's name, made a legal host name.
    pub(crate) name: String,
    pub(crate) repository: String,
    /// The folder inside the repository; empty is its root.
    pub(crate) path: String,
    pub(crate) commit: String,
    /// Whether files differ from that commit.
    pub(crate) is_dirty: bool,
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .context("cannot run `git`: install it, on Debian with `apt install git`")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then_some(text))
}

impl Project {
    /// Asks git about a folder.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Project> {
        let Some(root) = git(folder, &["rev-parse", "--show-toplevel"])? else {
            return Err(bad_input(
                format!("`{}` is in no git repository", folder.display()),
                "`git init && git add . && git commit -m first` makes one",
            ));
        };
        let Some(commit) = git(folder, &["rev-parse", "--verify", "--quiet", "HEAD"])? else {
            return Err(bad_input(
                format!("the repository `{root}` has no commit yet"),
                "`git add . && git commit -m first` makes one",
            ));
        };
        let path = git(folder, &["rev-parse", "--show-prefix"])?.unwrap_or_default();
        let dirty = git(folder, &["status", "--porcelain", "--", "."])?.unwrap_or_default();
        // The remote, if others can have the commit from there; else the repository where it lies.
        let origin = git(folder, &["remote", "get-url", "origin"])?.filter(|url| {
            url.starts_with("https://") || url.starts_with("ssh://") || url.starts_with("git@")
        });
        let pushed =
            git(folder, &["branch", "--remotes", "--contains", "HEAD"])?.is_some_and(|branches| {
                branches.lines().any(|line| line.trim().starts_with("origin/"))
            });
        let folder_name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Project {
            name: label(&folder_name),
            repository: origin.filter(|_| pushed).unwrap_or(root),
            path: path.trim_end_matches('/').to_owned(),
            commit,
            is_dirty: !dirty.is_empty(),
        })
    }
}

/// A legal host name that is as close to the text as can be.
fn label(text: &str) -> String {
    let mut name = String::new();
    for letter in text.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_start_matches(|letter: char| !letter.is_ascii_lowercase());
    let name = name.get(..63).unwrap_or(name).trim_end_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_has_a_legal_name() {
        for (folder, name) in [
            ("shop", "shop"),
            ("My Shop_2", "my-shop-2"),
            ("2nd", "nd"),
            ("...", "app"),
            ("Ünï", "n"),
        ] {
            assert_eq!(label(folder), name);
            assert!(rowhouse_core::AppName::parse(name).is_ok());
        }
    }
}
