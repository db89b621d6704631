//! The branch that a repository takes for its main one, asked through the git of this machine.

use rowhouse_core::Repository;
use rowhouse_machine::git::error::GitError;
use rowhouse_machine::git::mirror::Mirrors;

use crate::failure::bad_input;
use crate::output::quoted;

/// The default branch of a repository.
///
/// # Errors
/// It is no address that git may be given, does not answer, or has none.
pub(crate) async fn default_branch(mirrors: &Mirrors, repository: &str) -> anyhow::Result<String> {
    let repository = Repository::parse(repository)
        .map_err(|error| bad_input(error.to_string(), "give another one with `--repo`"))?;
    mirrors.default_branch(&repository).await.map_err(|error| match error {
        GitError::Refused { reason } => bad_input(reason, "name the version with `--version REF`"),
        error @ (GitError::Denied { .. } | GitError::Unreachable { .. }) => {
            let ask = format!("git ls-remote {}", quoted(&repository.to_string()));
            bad_input(
                error.to_string(),
                format!("look at the address: `{ask}` must answer, and ask for nothing"),
            )
        }
        error @ (GitError::DiskFull { .. } | GitError::Io { .. }) => error.into(),
    })
}
