//! Documents that name things of the source name things that exist.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of all tests below a folder.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().map(str::trim).peekable();
            while let Some(line) = lines.next() {
                let is_test = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = lines.peek().and_then(|next| {
                    next.trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()
                });
                found.extend(name.filter(|_| is_test).map(str::to_owned));
            }
        }
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_defect_of_the_original_has_a_test_or_a_reason() {
    let mut known = BTreeSet::new();
    tests(&root().join("crates"), &mut known);
    let document = read("docs/original.md");
    let mut numbers = Vec::new();
    for line in document.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(Ok(number)) = cells.get(1).map(|cell| cell.parse::<usize>()) else { continue };
        numbers.push(number);
        let proof = cells[4];
        match proof.strip_prefix("cannot occur: ") {
            None => {
                let names = quoted(proof);
                assert_eq!(names.len(), 1, "{number}: {proof}");
                assert!(known.contains(names[0]), "{number}: there is no test `{}`", names[0]);
            }
            Some(reason) => {
                let mut names = quoted(reason).into_iter();
                let Some(path) = names.next() else { continue };
                assert!(root().join(path).exists(), "{number}: there is no `{path}`");
                for resource in names {
                    let text = read(path);
                    let declared = format!("\n  {resource}:\n");
                    assert!(text.contains(&declared), "{number}: `{path}` has no `{resource}`");
                }
            }
        }
    }
    assert_eq!(numbers, (1..=59).collect::<Vec<usize>>());
}

/// Calls of the SDK in a source, as AWS names them: `create_stack()` is `CreateStack`.
fn calls(source: &str) -> BTreeSet<String> {
    const VERBS: [&str; 9] =
        ["cancel", "continue", "create", "delete", "describe", "get", "put", "rollback", "update"];
    let found = source.split('.').filter_map(|rest| rest.split_once("()")).map(|(name, _)| name);
    let is_call = |name: &&str| {
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let verb = name.split_once('_').map_or("", |(verb, _)| verb);
        is_name && VERBS.contains(&verb)
    };
    let as_action = |name: &str| -> String {
        let word = |word: &str| word[..1].to_uppercase() + &word[1..];
        name.split('_').map(word).collect()
    };
    found.filter(is_call).map(as_action).collect()
}

#[test]
fn the_reactors_role_may_do_all_that_the_reactor_does() {
    let found: BTreeSet<String> = ["platform", "table"]
        .iter()
        .flat_map(|name| calls(&read(&format!("crates/aws/src/{name}.rs"))))
        .collect();
    for expected in ["RollbackStack", "ContinueUpdateRollback", "UpdateItem", "DescribeRules"] {
        assert!(found.contains(expected), "{found:?}");
    }
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':');
        words.filter_map(|word| word.split_once(':')).map(|(_, action)| action.to_owned()).collect()
    };
    // The rule of a shared load balancer is no matter of an installation by hand.
    for (policy, is_by_hand) in
        [("templates/platform.yaml", false), ("templates/lambda_policy.json", true)]
    {
        let allowed = words(&read(policy));
        let missing: Vec<&String> = found.difference(&allowed).collect();
        let missing: Vec<&&String> = missing
            .iter()
            .filter(|name| !(is_by_hand && name.as_str() == "DescribeRules"))
            .collect();
        assert!(missing.is_empty(), "{policy}: {missing:?}");
    }
}
