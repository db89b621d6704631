//! Reads a `Procfile`: which command each process type of an app is. What the types mean is left
//! to `recipe`.

use std::collections::BTreeMap;

use rowhouse_core::ProcessType;

/// The commands of a `Procfile`, by process type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Procfile(BTreeMap<String, String>);

/// A line that is not `name: command`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the Procfile is `{text}`: {objection}; allowed is `name: command`")]
pub struct ProcfileError {
    pub line: usize,
    pub text: String,
    pub objection: &'static str,
}

impl Procfile {
    /// Reads the text of a `Procfile`: one `name: command` a line, with comments (`#`) and empty
    /// lines between them, and line ends of either kind.
    ///
    /// # Errors
    /// The first line that is none of these, or that repeats a name.
    pub fn parse(text: &str) -> Result<Procfile, ProcfileError> {
        let mut commands = BTreeMap::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |objection| {
                let shown: String = line.chars().take(80).collect();
                Err(ProcfileError { line: index + 1, text: shown, objection })
            };
            let Some((name, command)) = line.split_once(':') else {
                return error("it has no `:`");
            };
            let (name, command) = (name.trim_end(), command.trim());
            if ProcessType::parse(name).is_none() {
                return error("its name is not of 1 to 63 letters, digits, `-` and `_`");
            }
            if command.is_empty() {
                return error("it has no command");
            }
            if command.contains('\0') {
                return error("it has a NUL in it");
            }
            if commands.insert(name.to_owned(), command.to_owned()).is_some() {
                return error("its name stands there twice");
            }
        }
        Ok(Procfile(commands))
    }

    /// How the app answers requests, with `PORT`.
    pub fn web(&self) -> Option<&str> {
        self.get("web")
    }

    /// What replaces the conventions of building.
    pub fn build(&self) -> Option<&str> {
        self.get("build")
    }

    /// What runs before traffic moves.
    pub fn release(&self) -> Option<&str> {
        self.get("release")
    }

    /// The other process types, which are not run, in alphabetical order.
    pub fn others(&self) -> Vec<String> {
        let names = self.0.keys();
        names
            .filter(|name| !["web", "build", "release"].contains(&name.as_str()))
            .cloned()
            .collect()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_empty_lines_and_either_line_end_are_read() {
        let text = "\u{feff}# the app\r\n\r\nweb: gunicorn app:app --bind $HOST:$PORT\r\n\
                    release : ./migrate  \nbuild: make\nworker: ./work\nclock_1: tick # kept";
        let file = Procfile::parse(text).unwrap();
        assert_eq!(file.web(), Some("gunicorn app:app --bind $HOST:$PORT"));
        assert_eq!(file.release(), Some("./migrate"));
        assert_eq!(file.build(), Some("make"));
        assert_eq!(file.others(), ["clock_1", "worker"]);
        assert_eq!(file.get("clock_1"), Some("tick # kept"));
    }

    #[test]
    fn an_empty_file_has_no_commands() {
        assert_eq!(Procfile::parse("").unwrap(), Procfile::default());
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line, objection) in [
            ("web", 1, "no `:`"),
            ("web: a\nweb: b", 2, "twice"),
            ("\nweb:  ", 2, "no command"),
            ("my web: a", 1, "letters"),
            (": a", 1, "letters"),
        ] {
            let error = Procfile::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(objection), "{error}");
        }
    }
}
