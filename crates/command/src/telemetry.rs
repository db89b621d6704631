//! What the libraries tell, for an operator who asks: `RUST_LOG=info rowhouse up`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sends it to stderr; `usual`: what is told where nobody asks for more, only what a person must
/// know.
pub fn install(usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let colour = crate::output::has_colours(std::io::stderr().is_terminal());
    // A second installation can only be a test's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| crate::output::Stderr)
        .with_ansi(colour)
        .try_init();
}
