//! The functions' log: JSON, one line an event, to where Lambda collects it.

use tracing_subscriber::EnvFilter;

/// The variable that says how much is told.
const VARIABLE: &str = "ROWHOUSE_LOG";

/// Installs the subscriber. Each line carries its time, for whoever exports them.
pub fn init() {
    let filter = EnvFilter::try_from_env(VARIABLE)
        .unwrap_or_else(|_| EnvFilter::new("warn,rowhouse_core=info,rowhouse_aws=info"));
    let subscriber = tracing_subscriber::fmt().json().with_env_filter(filter).with_ansi(false);
    // Whoever has installed one already keeps it.
    let _ = subscriber.flatten_event(true).with_current_span(true).with_span_list(false).try_init();
}
