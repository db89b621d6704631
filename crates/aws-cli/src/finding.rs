//! What a check found: whether it is well, what was seen, and the cure.

use serde_json::{Value, json};

use crate::output;

/// How one check went.
pub(crate) struct Finding {
    what: &'static str,
    state: State,
    said: String,
    cure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Fine,
    /// Something to know of, that breaks nothing.
    Warning,
    Broken,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Fine => "ok",
            State::Warning => "warning",
            State::Broken => "broken",
        }
    }
}

impl Finding {
    pub(crate) fn fine(what: &'static str, said: impl Into<String>) -> Finding {
        Finding { what, state: State::Fine, said: said.into(), cure: None }
    }

    pub(crate) fn bad(
        what: &'static str,
        state: State,
        said: impl Into<String>,
        cure: impl Into<String>,
    ) -> Finding {
        Finding { what, state, said: output::clean(&said.into()), cure: Some(cure.into()) }
    }

    /// A check that could not be made.
    pub(crate) fn unknown(what: &'static str, error: &anyhow::Error) -> Finding {
        let hint =
            error.downcast_ref::<crate::failure::BadInput>().and_then(|bad| bad.hint.clone());
        let cure = hint.unwrap_or_else(|| "ask again in a while".to_owned());
        Finding::bad(what, State::Broken, format!("{error:#}"), cure)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "Check": self.what, "State": self.state.word(), "Said": self.said, "Cure": self.cure })
    }

    pub(crate) fn tell(&self) {
        output::line(&format!("{:8} {:12} {}", self.state.word(), self.what, self.said));
        if let Some(cure) = &self.cure {
            output::line(&format!("{:21} → {cure}", ""));
        }
    }
}
