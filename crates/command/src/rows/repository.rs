//! Repositories as people type them on this machine.

use rowhouse_core::{AddressObjection, Repository, without_password};

use crate::failure::bad_input;

/// A local repository by its whole path, so that it means the same to whoever reads the row.
pub fn typed(text: &str) -> anyhow::Result<String> {
    let is_path = match Repository::parse(text) {
        Ok(repository) => repository.is_local() && !text.starts_with("file://"),
        // Whatever else it is, the row's own check says so.
        Err(refused) => refused.objection == AddressObjection::NoAddress,
    };
    if !is_path {
        return Ok(text.to_owned());
    }
    let path = std::path::absolute(text)?;
    let path = path.canonicalize().map_err(|error| {
        bad_input(
            // As it was typed: an address that was misspelt comes here too, perhaps with its
            // password.
            format!("the repository `{}` cannot be found: {error}", without_password(text)),
            "`--repo` is a git URL, or the path of a git repository on this machine",
        )
    })?;
    Ok(path.display().to_string())
}
