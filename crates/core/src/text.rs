//! Texts of somebody else's, made fit to be shown.

/// A text without escape sequences and control characters.
pub fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\u{1b}' => {
                // ECMA-48: a control sequence ends with a byte from `@` to `~`.
                if rest.next_if_eq(&'[').is_some() {
                    while rest.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {}
                }
            }
            '\t' => clean.push(' '),
            letter if letter.is_control() => {}
            letter => clean.push(letter),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_can_drive_a_terminal() {
        assert_eq!(harmless("\u{1b}[31mred\u{1b}[0m\u{7}\rover\tthere\u{1b}]"), "redover there]");
    }
}
