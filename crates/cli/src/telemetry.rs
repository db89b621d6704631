//! What the libraries tell, for an operator who asks: `RUST_LOG=info rowhouse up`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sends it to stderr; by default only what a person must know.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let colour = crate::output::has_colours(std::io::stderr().is_terminal());
    // A second installation can only be a test's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| crate::output::Stderr)
        .with_ansi(colour)
        .try_init();
}
