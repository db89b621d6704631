//! What the libraries tell: a sentence each, as all that is told; or as an operator asks for it,
//! `RUST_LOG=info rowhouse up`.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

use crate::output;

/// Sends it to stderr; `usual`: what is told where nobody asks for more, only what a person must
/// know.
pub fn install(usual: &str) {
    let is_asked = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some_and(|asked| !asked.is_empty());
    let asked = is_asked.then(EnvFilter::try_from_default_env).and_then(|asked| {
        asked
            .inspect_err(|error| {
                output::warning(&format!("`RUST_LOG` is not understood, and left aside: {error}"));
            })
            .ok()
    });
    // A second installation can only be a test's.
    let _ = match asked {
        Some(filter) => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| output::Stderr)
            .with_ansi(output::has_colours(std::io::stderr().is_terminal()))
            .finish()
            .try_init(),
        None => registry().with(EnvFilter::new(usual)).with(Sentences).try_init(),
    };
}

/// Tells each event as a sentence.
struct Sentences;

impl<S: Subscriber> Layer<S> for Sentences {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        let text = output::clean(&sentence.to_string());
        let level = *event.metadata().level();
        if level == Level::ERROR {
            output::problem(&text);
        } else if level == Level::WARN {
            output::warning(&text);
        } else {
            output::note(&text);
        }
    }
}

/// An event as a sentence: `shop: cannot look; will retry (database is locked)`.
#[derive(Debug, Default)]
struct Sentence {
    app: Option<String>,
    message: String,
    /// The reason first, which needs no name.
    reason: Option<String>,
    others: Vec<String>,
}

impl Sentence {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "app" => self.app = Some(value),
            "reason" | "error" => self.reason = Some(value),
            name => self.others.push(format!("{} {value}", name.replace('_', " "))),
        }
    }
}

impl Visit for Sentence {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(app) = &self.app {
            write!(formatter, "{app}: ")?;
        }
        formatter.write_str(&self.message)?;
        for (at, part) in self.reason.iter().chain(&self.others).enumerate() {
            formatter.write_str(if at == 0 { " (" } else { ", " })?;
            formatter.write_str(part)?;
        }
        if self.reason.is_some() || !self.others.is_empty() {
            formatter.write_char(')')?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::warn;

    use super::*;

    /// Keeps the sentences.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut sentence = Sentence::default();
            event.record(&mut sentence);
            self.0.lock().unwrap().push(sentence.to_string());
        }
    }

    #[test]
    fn an_event_is_told_as_a_sentence() {
        let kept = Arc::<Mutex<Vec<String>>>::default();
        tracing::subscriber::with_default(registry().with(Kept(Arc::clone(&kept))), || {
            warn!(app = "shop", reason = %"it is locked", "cannot look; will retry");
            warn!(client = %"192.0.2.1", times = 3, "too many connections");
            warn!("nothing else");
        });
        let expected = [
            "shop: cannot look; will retry (it is locked)",
            "too many connections (client 192.0.2.1, times 3)",
            "nothing else",
        ];
        assert_eq!(*kept.lock().unwrap(), expected);
    }
}
