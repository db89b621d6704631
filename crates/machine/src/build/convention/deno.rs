//! The convention of Deno: what its modules are cached from, and the `start` task or the main file.
//!
//! Sources: <https://docs.deno.com/runtime/fundamentals/configuration/>,
//! <https://docs.deno.com/runtime/reference/env_variables/>,
//! <https://docs.deno.com/runtime/reference/cli/install/>.

use serde_json::Value;

use crate::build::convention::{Convention, Language, Start};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

pub(crate) const LANGUAGE: Language =
    Language { name: "Deno", files: &["deno.json", "deno.jsonc", "deno.lock"] };

/// Where the modules are, that a build brings and an instance uses.
const CACHE: &str = "DENO_DIR=.deno";
/// The address of `Deno.serve`, which is another one if nobody says it.
const ADDRESS: &str = "DENO_SERVE_ADDRESS=tcp:$HOST:$PORT";
/// Files that an app begins with, in this order.
const FILES: [&str; 6] = ["main.ts", "main.js", "server.ts", "index.ts", "mod.ts", "src/main.ts"];

/// Deno, by its own files; steps only with `tools`.
pub(crate) fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let mut named = None;
    for file in LANGUAGE.files {
        if named.is_none() && source.has(file)? {
            named = Some(*file);
        }
    }
    let Some(named) = named else { return Ok(None) };
    let about = match named {
        "deno.lock" => Value::Null,
        file => read(file, &source.read(file)?.unwrap_or_default())?,
    };
    let mut main = None;
    for file in FILES {
        if main.is_none() && source.has(file)? {
            main = Some(file);
        }
    }
    let task = |name: &str| about.get("tasks").and_then(|tasks| tasks.get(name)).is_some();
    let start = match main {
        _ if task("start") => Some(Start::Framework(format!("{CACHE} {ADDRESS} deno task start"))),
        Some(file) => Some(Start::Command(format!(
            "{CACHE} {ADDRESS} deno run --allow-net --allow-env --allow-read --allow-sys {file}"
        ))),
        None => None,
    };
    let mut steps = Vec::new();
    if let Some(tools) = tools {
        if tools.find("deno").is_none() {
            return Err(RecipeError::Missing {
                tool: "deno".to_owned(),
                wanted_by: format!("`{named}`"),
                cure: "`npm install --global deno`, or from https://deno.com".to_owned(),
            });
        }
        let words = ["env", CACHE, "deno", "install"];
        let entry = main.map(|file| ["--entrypoint", file]).into_iter().flatten();
        steps.push(Step::new("install Deno modules", words.into_iter().chain(entry)));
        if task("build") {
            let words = ["env", CACHE, "deno", "task", "build"];
            steps.push(Step::new("run the `build` task", words));
        }
    }
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start,
        path: Vec::new(),
        without_start: format!("`{named}` without a `start` task"),
        example: "deno run --allow-net --allow-env --allow-read main.ts".to_owned(),
        notes: Vec::new(),
    }))
}

/// Reads JSON with comments and with commas before ends.
fn read(file: &str, text: &str) -> Result<Value, RecipeError> {
    serde_json::from_str(&plain(text))
        .map_err(|error| RecipeError::BadFile { file: file.to_owned(), reason: error.to_string() })
}

fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(letter) = rest.chars().next() {
        let length = if letter == '"' {
            let mut is_escaped = false;
            let end = rest[1..].find(|one| {
                let is_end = one == '"' && !is_escaped;
                is_escaped = one == '\\' && !is_escaped;
                is_end
            });
            let length = end.map_or(rest.len(), |end| end + 2);
            plain.push_str(&rest[..length]);
            length
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            if letter == '}' || letter == ']' {
                let end = plain.trim_end().len();
                if plain[..end].ends_with(',') {
                    plain.truncate(end - 1);
                }
            }
            plain.push(letter);
            letter.len_utf8()
        };
        rest = &rest[length..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_last_commas_are_no_part_of_the_json() {
        let text = "{ // a \"comment\"\n  \"a\": \"http://x,}\", /* } */ \"b\": [1, 2, ],\n}";
        let expected = serde_json::json!({"a": "http://x,}", "b": [1, 2]});
        assert_eq!(read("deno.jsonc", text).unwrap(), expected);
        assert!(read("deno.jsonc", "{\"a\\\"//\": ").is_err());
    }
}
