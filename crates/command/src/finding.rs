//! What a check of a doctor found: whether it is well, what was seen, and the cure.

use serde_json::{Value, json};

use crate::failure::{BadInput, Exit};
use crate::output;

/// How one check went.
#[derive(Clone, Debug)]
pub struct Finding {
    what: &'static str,
    state: State,
    said: String,
    cure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Fine,
    /// Something to know of, that breaks nothing.
    Warning,
    /// Only some apps need it.
    Missing,
    Broken,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Fine => "ok",
            State::Warning => "warning",
            State::Missing => "missing",
            State::Broken => "broken",
        }
    }
}

impl Finding {
    pub fn fine(what: &'static str, said: impl Into<String>) -> Finding {
        Finding { what, state: State::Fine, said: said.into(), cure: None }
    }

    /// What is well, and what may be done about it all the same.
    pub fn noted(what: &'static str, said: &str, advice: impl Into<String>) -> Finding {
        let said = output::clean(said);
        Finding { what, state: State::Fine, said, cure: Some(advice.into()) }
    }

    pub fn bad(
        what: &'static str,
        state: State,
        said: impl Into<String>,
        cure: impl Into<String>,
    ) -> Finding {
        Finding { what, state, said: output::clean(&said.into()), cure: Some(cure.into()) }
    }

    /// A check that could not be made.
    pub fn unknown(what: &'static str, error: &anyhow::Error) -> Finding {
        let hint = error.downcast_ref::<BadInput>().and_then(|bad| bad.hint.clone());
        let cure = hint.unwrap_or_else(|| "ask again in a while".to_owned());
        Finding::bad(what, State::Broken, format!("{error:#}"), cure)
    }

    /// As `--json` tells it.
    pub fn to_json(&self) -> Value {
        json!({
            "Check": self.what,
            "State": self.state.word(),
            "Said": self.said,
            "Cure": self.cure,
        })
    }

    fn tell(&self) {
        output::hanging(&format!("{:8} {:12} ", self.state.word(), self.what), &self.said);
        if let Some(cure) = &self.cure {
            output::hanging(&format!("{:21} → ", ""), cure);
        }
    }
}

/// Tells all findings, as lines or as `Checks` of a document that says of what they are; exit
/// status 1 where something is broken.
pub fn tell(findings: &[Finding], mut document: Value, as_json: bool) -> Exit {
    if as_json {
        document["Checks"] = findings.iter().map(Finding::to_json).collect();
        output::json(&document, true);
    } else {
        findings.iter().for_each(Finding::tell);
    }
    let is_broken = findings.iter().any(|finding| finding.state == State::Broken);
    if is_broken { Exit::Yours } else { Exit::Done }
}
