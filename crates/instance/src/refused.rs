//! The end of a rollout that did not go well.

/// Why a rollout failed, in words for the row.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);
