//! Questions to whoever sits at the terminal.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::failure::bad_input;
use crate::output;

/// Asks on a terminal; where there is none, nobody can have answered. `unasked`: what to type
/// there.
pub(crate) async fn is_wanted(question: &str, unasked: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(bad_input("nobody can be asked here", unasked));
    }
    output::note(&format!("{question} Type `yes`:"));
    std::io::stderr().flush().context("cannot ask")?;
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.context("cannot ask")?.context("cannot read the answer")?;
    Ok(answer.trim() == "yes")
}
