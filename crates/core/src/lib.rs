//! The rule of Rowhouse, pure: what a row means, what to do next, and what to say about it.

mod commit;

pub use commit::Commit;
