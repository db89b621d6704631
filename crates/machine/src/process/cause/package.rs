//! How package managers say why they cannot install.

use crate::process::cause::found::{Found, is_passed_on};

/// So many lines of one complaint are told.
const MOST: usize = 4;

/// npm: <https://docs.npmjs.com/cli/v11/using-npm/logging>, up to version 9 with `ERR!`.
pub(crate) fn npm(lines: &[String]) -> Option<Found> {
    let own = |line: &str| {
        let text = line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!"))?;
        Some(text.to_owned())
    };
    let end = lines.iter().rposition(|line| own(line).is_some())?;
    let begin = (0..end).rev().find(|&line| own(&lines[line]).is_none() && !lines[line].is_empty());
    let said: Vec<String> =
        lines[begin.map_or(0, |line| line + 1)..=end].iter().filter_map(|line| own(line)).collect();
    let is_advice = |text: &&String| NPM_ADVICE.iter().any(|word| text.trim_start().contains(word));
    let mut told = Vec::new();
    let mut code = None;
    for text in said.iter().take_while(|text| !is_advice(text)) {
        let text = text.trim();
        if let Some(named) = text.strip_prefix("code ") {
            code = named.starts_with('E').then(|| named.to_owned());
        } else if !NPM_PASSED_ON.iter().any(|word| text.starts_with(word)) && !is_passed_on(text) {
            told.push(without_tag(text, code.as_deref()).to_owned());
        }
    }
    told.retain(|line| !line.is_empty());
    (!told.is_empty()).then(|| Found { end, lines: telling_first(told, code.as_deref()) })
}

/// Where the advice begins, of which the rest is.
const NPM_ADVICE: [&str; 8] = [
    "Fix the upstream dependency conflict",
    "For a full report see",
    "Note that you can also install from",
    "In most cases you or one of your",
    "Clean install a project",
    "To see a list of scripts",
    "Usage:",
    "Did you mean",
];
/// How npm says that what it ran has failed.
const NPM_PASSED_ON: [&str; 6] =
    ["path ", "command failed", "command sh ", "command git ", "workspace ", "location "];

/// A line without the word that npm puts before each of a kind.
fn without_tag<'a>(text: &'a str, code: Option<&str>) -> &'a str {
    let tags =
        ["notarget", "404", "engine", "notsup", "JSON.parse", "enoent", "network", "request"];
    match text.split_once(' ') {
        Some((tag, rest)) if tags.contains(&tag) || Some(tag) == code => rest.trim(),
        Some(_) | None => {
            if tags.contains(&text) {
                ""
            } else {
                text
            }
        }
    }
}

/// Of a conflict and of a stale lock file, what disagrees goes before that it does.
fn telling_first(mut told: Vec<String>, code: Option<&str>) -> Vec<String> {
    let is_telling = |line: &String| match code {
        Some("ERESOLVE") => {
            line.starts_with("peer ")
                || line.starts_with("Found: ")
                || line.starts_with("Conflicting peer")
        }
        Some("EUSAGE") => line.starts_with("Missing: ") || line.starts_with("Invalid: "),
        Some("EBADENGINE") => line.starts_with("Required: ") || line.starts_with("Actual: "),
        Some(_) | None => false,
    };
    if code == Some("ERESOLVE") {
        told.retain(|line| {
            is_telling(line)
                || line.contains("unable to resolve")
                || line.starts_with("While resolving")
        });
    }
    if code == Some("E404") {
        told.retain(|line| !line.starts_with("Not Found - GET"));
    }
    let (mut first, rest): (Vec<String>, Vec<String>) = told.into_iter().partition(is_telling);
    if code == Some("ERESOLVE") {
        first.reverse();
    }
    // That it disagrees is the sentence that the rest explains, where it is short.
    let mut rest = rest.into_iter();
    let sentence = if code == Some("EUSAGE") { None } else { rest.next() };
    let told = sentence.into_iter().chain(first).chain(rest);
    told.take(MOST).collect()
}

/// A report with its causes drawn below it, as pnpm 12 and uv before 0.10 print it; the last cause
/// is the innermost: <https://docs.rs/miette>
pub(crate) fn diagnostic(lines: &[String]) -> Option<Found> {
    let begins = |line: &str| line.trim_start().starts_with("× ");
    let head = lines.iter().rposition(|line| begins(line))?;
    let is_part = |line: &&String| {
        !line.trim().is_empty() && line.starts_with(' ') && !line.trim_start().starts_with("help:")
    };
    let length = lines[head + 1..].iter().take_while(is_part).count();
    let block = &lines[head..=head + length];
    let innermost = block.iter().rposition(|line| line.trim_start().starts_with("╰─▶ "));
    let from = innermost.unwrap_or(0);
    let words = block[from..].iter().map(|line| {
        let text = line.trim_start_matches([' ', '│', '×']);
        text.strip_prefix("╰─▶ ").unwrap_or(text).trim()
    });
    let text = words.filter(|text| !text.is_empty()).collect::<Vec<&str>>().join(" ");
    if is_passed_on(&text) {
        return None;
    }
    let below = lines[head + length + 1..].iter().take(6).map(|line| line.trim());
    let details = below
        .take_while(|line| !line.starts_with("help:"))
        .filter_map(|line| line.strip_prefix("* "));
    let details = details.filter(|line| !line.ends_with(':')).map(str::to_owned);
    Some(Found { end: head + length, lines: std::iter::once(text).chain(details).collect() })
}

/// pnpm up to version 10, which begins with the error's name: <https://pnpm.io/errors>
pub(crate) fn pnpm(lines: &[String]) -> Option<Found> {
    let head = lines.iter().rposition(|line| line.trim_start().starts_with("ERR_PNPM_"))?;
    let (_, text) = lines[head].trim_start().split_once(' ')?;
    let why = lines[head + 1..].iter().position(|line| line.trim() == "Failure reason:");
    let why = why.and_then(|line| lines.get(head + line + 2)).map(|line| line.trim().to_owned());
    let told = [Some(text.trim().to_owned()), why].into_iter().flatten().collect();
    Some(Found { end: head, lines: told })
}

/// Yarn 2 and later, which number what they say: <https://yarnpkg.com/advanced/error-codes>
pub(crate) fn yarn_berry(lines: &[String]) -> Option<Found> {
    let said = |line: &String| {
        let (code, text) = line.strip_prefix("➤ YN")?.split_once(": ")?;
        let text = text.trim_start_matches(['│', ' ']);
        let is_change = ["+", "-", "@@"].iter().any(|sign| text.starts_with(sign));
        (YARN_ERRORS.contains(&code) && !is_change && !text.is_empty()).then(|| text.to_owned())
    };
    let end = lines.iter().rposition(|line| said(line).is_some())?;
    Some(Found { end, lines: lines.iter().filter_map(said).take(MOST).collect() })
}

/// The codes of its page that stop an installation; the others inform, or warn.
const YARN_ERRORS: [&str; 18] = [
    "0001", "0009", "0010", "0016", "0018", "0020", "0022", "0027", "0028", "0035", "0039", "0040",
    "0041", "0046", "0056", "0078", "0081", "0082",
];

/// Bundler: <https://bundler.io/guides/troubleshooting.html>
pub(crate) fn bundler(lines: &[String]) -> Option<Found> {
    let begins = |line: &String| BUNDLER.iter().any(|words| line.starts_with(words));
    let head = lines.iter().rposition(begins)?;
    let is_more = |line: &&String| !line.trim_matches([' ', '^']).is_empty();
    let more = lines[head + 1..].iter().take_while(is_more);
    let told: Vec<String> = lines[head..=head].iter().chain(more).take(MOST).cloned().collect();
    let end = head + told.len() - 1;
    // It breaks its sentences into lines.
    Some(Found {
        end,
        lines: vec![told.iter().map(|line| line.trim()).collect::<Vec<&str>>().join(" ")],
    })
}

/// How its complaints begin.
const BUNDLER: [&str; 13] = [
    "[!] There was an error parsing",
    "Bundler could not find compatible versions",
    "Because every version of ",
    "Could not fetch specs from",
    "Could not find ",
    "Could not locate Gemfile",
    "Could not reach host",
    "The deployment setting requires",
    "The dependencies in your gemfile changed",
    "The gemspec",
    "You are trying to install in deployment mode",
    "Your Ruby version is",
    "bundler: ",
];
