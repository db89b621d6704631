//! Why a command opens the platform: what is made for an app is not made for a mistake.

/// Why a command opens the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It asks about what is there, or changes it.
    Existing,
    /// It may be the first of all. `names_source`: it says where its app comes from, so that it
    /// needs nobody else.
    First { names_source: bool },
}
