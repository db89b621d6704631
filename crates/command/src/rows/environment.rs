//! Environment variables as they are given to `put`: to set and to remove, from options, a file and
//! stdin.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use rowhouse_core::{Attribute, Row, Value};

use crate::failure::bad_input;
use crate::rows::args::Put;

/// Variables to set and to remove.
#[derive(Default)]
pub(crate) struct EnvironmentChange {
    set: BTreeMap<String, String>,
    unset: Vec<String>,
}

impl EnvironmentChange {
    /// What `put` is to do to `Env`: options go over the file.
    pub(crate) fn of_app(put: &Put) -> anyhow::Result<EnvironmentChange> {
        let mut set = BTreeMap::new();
        if let Some(path) = &put.env_file {
            let file = std::fs::read_to_string(path).map_err(|error| {
                bad_input(
                    format!("cannot read the file `{}`: {error}", path.display()),
                    "`--env-file` takes a file of KEY=VALUE lines",
                )
            })?;
            set.extend(lines(path, &file)?);
        }
        let given = pairs(&put.env, "--env")?;
        if given.values().filter(|value| *value == "-").count() > 1 {
            return Err(bad_input(
                "only one value can be read from stdin",
                "put the others into a file, and name it with `--env-file FILE`",
            ));
        }
        for (key, value) in given {
            let value = if value == "-" { from_stdin(&key)? } else { value };
            set.insert(key, value);
        }
        if let Some(key) = put.unset_env.iter().find(|key| set.contains_key(*key)) {
            return Err(bad_input(
                format!("`{key}` is both set and unset"),
                "leave one of the two out",
            ));
        }
        Ok(EnvironmentChange { set, unset: put.unset_env.clone() })
    }

    /// What `put` is to do to `BuildEnv`.
    pub(crate) fn of_build(put: &Put) -> anyhow::Result<EnvironmentChange> {
        Ok(EnvironmentChange { set: pairs(&put.build_env, "--build-env")?, unset: Vec::new() })
    }

    /// The attribute's new value; `None` where nothing was asked of it.
    pub(crate) fn apply(
        &self,
        row: Option<&Row>,
        attribute: Attribute,
    ) -> anyhow::Result<Option<Value>> {
        if self.set.is_empty() && self.unset.is_empty() {
            return Ok(None);
        }
        let mut entries = match row.and_then(|row| row.user.get(&attribute)) {
            None => BTreeMap::new(),
            Some(Value::Map(entries)) => entries.clone(),
            Some(_) => {
                return Err(bad_input(
                    format!(
                        "the row's `{}` is no map, so nothing can be set in it",
                        attribute.name()
                    ),
                    "set it right, or remove it, in the table itself",
                ));
            }
        };
        for key in &self.unset {
            entries.remove(key);
        }
        let set = self.set.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone())));
        entries.extend(set);
        Ok(Some(Value::Map(entries)))
    }
}

fn lines(path: &Path, file: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (index, line) in file.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = pair(line.strip_prefix("export ").unwrap_or(line)) else {
            // The value of a mistyped secret is not repeated.
            return Err(bad_input(
                format!("line {} of the file `{}` has no `=`", index + 1, path.display()),
                "write lines of KEY=VALUE; those that begin with `#` are left out",
            ));
        };
        found.insert(key, unquoted(&value).to_owned());
    }
    Ok(found)
}

fn pairs(given: &[String], option: &str) -> anyhow::Result<BTreeMap<String, String>> {
    given
        .iter()
        .map(|text| {
            pair(text).ok_or_else(|| {
                bad_input(
                    format!("`{option}` got a text without `=`"),
                    format!("write `{option} KEY=VALUE`"),
                )
            })
        })
        .collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
}

/// The value of `KEY="a value"` without its quotes.
fn unquoted(value: &str) -> &str {
    let bare =
        ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    bare.unwrap_or(value)
}

fn from_stdin(key: &str) -> anyhow::Result<String> {
    let mut value = String::new();
    std::io::stdin()
        .read_to_string(&mut value)
        .with_context(|| format!("cannot read the value of `{key}` from stdin"))?;
    let value = value.strip_suffix('\n').unwrap_or(&value);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_as_people_write_one() {
        let file = "# a comment\n\nA=1\nexport B='two words'\n  C=\"x=y\"\nD=\n";
        let found = lines(Path::new("variables"), file).unwrap();
        let found: Vec<(&str, &str)> =
            found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, [("A", "1"), ("B", "two words"), ("C", "x=y"), ("D", "")]);
    }

    #[test]
    fn a_mistyped_secret_is_not_repeated() {
        let error = pairs(&["hunter2".to_owned()], "--env").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let error = lines(Path::new("variables"), "A=1\n\nhunter2").unwrap_err().to_string();
        assert_eq!(error, "line 3 of the file `variables` has no `=`");
    }
}
