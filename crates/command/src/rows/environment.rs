//! Environment variables and lines of a Procfile as they are given to `put`: to set and to remove,
//! from options, a file and stdin.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use rowhouse_core::{Attribute, ProcessType, Row, Value, is_variable_name};

use crate::dotenv::{self, Wrong};
use crate::failure::bad_input;
use crate::rows::args::{Processes, Put};

/// Entries to set and to remove.
#[derive(Default)]
pub struct EnvironmentChange {
    set: BTreeMap<String, String>,
    unset: Vec<String>,
}

impl fmt::Debug for EnvironmentChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values are secrets.
        formatter.debug_struct("EnvironmentChange").finish_non_exhaustive()
    }
}

impl EnvironmentChange {
    /// What `put` is to do to `Env`: options go over the file.
    pub(crate) fn of_app(put: &Put) -> anyhow::Result<EnvironmentChange> {
        let mut set = BTreeMap::new();
        if let Some(path) = &put.env_file {
            set.extend(of_file(path)?);
        }
        let given = pairs(&put.env, "--env")?;
        let lines = put.processes.process.iter().filter(|text| text.ends_with("=-"));
        if given.values().filter(|value| *value == "-").count() + lines.count() > 1 {
            return Err(bad_input(
                "only one value can be read from stdin",
                "put the others into a file, and name it with `--env-file FILE`",
            ));
        }
        for (key, value) in given {
            let value = if value == "-" { from_stdin(&key)? } else { value };
            set.insert(key, value);
        }
        EnvironmentChange::new(set, &put.unset_env)
    }

    /// What is to be done to `Procfile`.
    ///
    /// # Errors
    /// What was typed is no line, or stdin cannot be read.
    pub fn of_processes(processes: &Processes) -> anyhow::Result<EnvironmentChange> {
        let mut set = BTreeMap::new();
        for text in &processes.process {
            let line = text.split_once('=').map(|(name, line)| (name.trim(), line.trim()));
            let Some((name, line)) = line.filter(|(name, _)| ProcessType::parse(name).is_some())
            else {
                return Err(bad_input(
                    format!("`--process` got {text:?}, which does not begin with a name and `=`"),
                    format!(
                        "write `--process NAME='COMMAND'`; a name is of {}",
                        ProcessType::ALLOWED
                    ),
                ));
            };
            let line = if line == "-" { from_stdin(name)?.trim().to_owned() } else { line.into() };
            set.insert(name.to_owned(), line);
        }
        EnvironmentChange::new(set, &processes.unset_process)
    }

    fn new(set: BTreeMap<String, String>, unset: &[String]) -> anyhow::Result<EnvironmentChange> {
        if let Some(key) = unset.iter().find(|key| set.contains_key(*key)) {
            return Err(bad_input(
                format!("`{key}` is both set and unset"),
                "leave one of the two out",
            ));
        }
        Ok(EnvironmentChange { set, unset: unset.to_vec() })
    }

    /// What `put` is to do to `BuildEnv`.
    pub(crate) fn of_build(put: &Put) -> anyhow::Result<EnvironmentChange> {
        Ok(EnvironmentChange { set: pairs(&put.build_env, "--build-env")?, unset: Vec::new() })
    }

    /// The attribute's new value; `None` where nothing was asked of it.
    ///
    /// # Errors
    /// What stands in the row is no map.
    pub fn apply(&self, row: Option<&Row>, attribute: Attribute) -> anyhow::Result<Option<Value>> {
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

fn of_file(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        bad_input(
            format!("cannot read the file `{shown}`: {error}"),
            "`--env-file` takes a file of KEY=VALUE lines",
        )
    })?;
    let file = String::from_utf8(bytes).map_err(|_| {
        bad_input(
            format!("the file `{shown}` is no text in UTF-8"),
            "save it as UTF-8 in your editor",
        )
    })?;
    dotenv::parse(&file).map_err(|mistake| {
        bad_input(
            format!("line {} of the file `{shown}` {}", mistake.line, mistake.wrong),
            mistake.wrong.cure(),
        )
    })
}

/// What was given with an option, which is not repeated where it is wrong: a mistyped secret is
/// one, too.
fn pairs(given: &[String], option: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(bad_input(
                format!("`{option}` got a text without `=`"),
                format!("write `{option} KEY=VALUE`"),
            ));
        };
        let name = name.trim();
        if !is_variable_name(name) {
            return Err(bad_input(
                format!("`{option}` got something before `=` that is no name of a variable"),
                Wrong::NoName.cure(),
            ));
        }
        pairs.insert(name.to_owned(), value.to_owned());
    }
    Ok(pairs)
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
    fn a_mistyped_secret_is_not_repeated() {
        let refused = |text: &str| pairs(&[text.to_owned()], "--env").unwrap_err().to_string();
        assert_eq!(refused("hunter2"), "`--env` got a text without `=`");
        assert_eq!(refused("A:hunter2"), "`--env` got a text without `=`");
        for text in ["URL:postgres://u:hunter2@h?a=b", "hunter 2=x", "2hunter=x", "=hunter2"] {
            let said = refused(text);
            assert_eq!(said, "`--env` got something before `=` that is no name of a variable");
        }
    }
}
