//! What differs between the versions of this app.

pub const COLOUR: &str = "#2f6f4f";
pub const GREETING: &str = "Hello";

/// Whether the app can start.
pub fn check() -> Result<(), &'static str> {
    Ok(())
}
