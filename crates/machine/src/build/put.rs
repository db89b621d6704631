//! The command that a user types so that a row has the lines that its app lacks.

use rowhouse_core::AppName;

/// What a user types so that the row has these lines.
pub(crate) fn put(app: &AppName, lines: &[(&str, &str)]) -> String {
    let options = lines.iter().map(|(name, text)| {
        let text = text.replace('\'', r"'\''");
        format!(" --process {name}='{text}'")
    });
    format!("rowhouse put {app}{}", options.collect::<String>())
}
