//! A user's text in a sentence of ours.

/// A user's text in quotes, at most 60 characters of it, nothing in it that could drive a terminal.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
