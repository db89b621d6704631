//! Env files as dotenv reads them: lines of `KEY=VALUE`, quotes over several lines, comments. `$`
//! is a letter like others. No text of a file stands in an error: it may be a secret.

use std::collections::BTreeMap;

use rowhouse_core::is_variable_name;
use thiserror::Error;

/// What is wrong with a file, and in which of its lines, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) wrong: Wrong,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Wrong {
    #[error("has no `=`")]
    NoEquals,
    #[error("has something before its `=` that is no name of a variable")]
    NoName,
    #[error("opens a quote that is never closed")]
    Unclosed,
    #[error("goes on behind the quote that ends its value")]
    AfterQuote,
}

impl Wrong {
    /// What to do about it.
    pub(crate) fn cure(self) -> &'static str {
        match self {
            Wrong::NoEquals => "write lines of KEY=VALUE; those that begin with `#` are left out",
            Wrong::NoName => "a name must be letters, digits and `_`, not beginning with a digit",
            Wrong::Unclosed => {
                "close it; a value that has one kind of quote in it can be put in another, and in \
                 double quotes `\\\"` is a quote"
            }
            Wrong::AfterQuote => "put the whole value in quotes; a comment begins with `#`",
        }
    }
}

/// The variables of a file; of those that are set twice, the last one.
pub(crate) fn parse(file: &str) -> Result<BTreeMap<String, String>, Mistake> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let file = file.replace("\r\n", "\n").replace('\r', "\n");
    let mut found = BTreeMap::new();
    let (mut rest, mut line) = (file.as_str(), 1);
    while !rest.is_empty() {
        let after = if is_left_out(first_line(rest).0) {
            first_line(rest).1
        } else {
            let (name, value, after) = statement(rest, line)?;
            found.insert(name.to_owned(), value);
            after
        };
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(found)
}

/// A line, and what comes after it.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// Whether nothing stands there but perhaps a comment.
fn is_left_out(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Name and value at the beginning of a text, and what comes after their last line.
fn statement(text: &str, line: usize) -> Result<(&str, String, &str), Mistake> {
    let mistake = |wrong| Mistake { line, wrong };
    let (before, value) = text
        .split_once('=')
        .filter(|(before, _)| !before.contains('\n'))
        .ok_or(mistake(Wrong::NoEquals))?;
    let name = exported(before.trim());
    if !is_variable_name(name) {
        return Err(mistake(Wrong::NoName));
    }
    let blank = |letter: char| letter.is_whitespace() && letter != '\n';
    let begun = value.trim_start_matches(blank);
    let quote = begun.chars().next().filter(|first| matches!(first, '"' | '\'' | '`'));
    let (value, after) = if let Some(quote) = quote {
        quoted(&begun[1..], quote, line)?
    } else {
        let (value, after) = first_line(value);
        (bare(value).to_owned(), after)
    };
    Ok((name, value, after))
}

/// The name in `export NAME`. A variable may be named `export`, too.
fn exported(text: &str) -> &str {
    let name = text.strip_prefix("export").filter(|name| name.starts_with(char::is_whitespace));
    name.map_or(text, str::trim_start)
}

/// A value without quotes ends at a comment, which begins with `#` behind a blank.
fn bare(line: &str) -> &str {
    let starts_comment =
        |at: &usize| line[..*at].chars().next_back().is_some_and(char::is_whitespace);
    let comment = line.match_indices('#').map(|(at, _)| at).find(starts_comment);
    line[..comment.unwrap_or(line.len())].trim()
}

/// The value up to the quote that closes it, and what comes after that line.
fn quoted(text: &str, quote: char, line: usize) -> Result<(String, &str), Mistake> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            let (tail, after) = first_line(&text[at + 1..]);
            let line = line + text[..at].matches('\n').count();
            let mistake = Mistake { line, wrong: Wrong::AfterQuote };
            return if is_left_out(tail) { Ok((value, after)) } else { Err(mistake) };
        }
        if letter != '\\' {
            value.push(letter);
            continue;
        }
        let Some((_, escaped)) = letters.next() else { break };
        match meaning(quote, escaped) {
            Some(meaning) => value.push(meaning),
            None => value.extend([letter, escaped]),
        }
    }
    Err(Mistake { line, wrong: Wrong::Unclosed })
}

/// What a letter behind a backslash stands for; `None`: for both of them.
fn meaning(quote: char, escaped: char) -> Option<char> {
    match (quote, escaped) {
        ('\'', '\\' | '\'') | ('"', '\\' | '\'' | '"') => Some(escaped),
        ('"', 'n') => Some('\n'),
        ('"', 'r') => Some('\r'),
        ('"', 't') => Some('\t'),
        ('"', 'a') => Some('\u{7}'),
        ('"', 'b') => Some('\u{8}'),
        ('"', 'f') => Some('\u{c}'),
        ('"', 'v') => Some('\u{b}'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables as `A=1|B=2`, or the mistake.
    fn read(file: &str) -> String {
        match parse(file) {
            Ok(found) => {
                let pairs = found.iter().map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<String>>().join("|")
            }
            Err(Mistake { line, wrong }) => format!("line {line} {wrong}"),
        }
    }

    #[track_caller]
    fn check(table: &[(&str, &str)]) {
        for (file, expected) in table {
            assert_eq!(read(file), *expected, "{file:?}");
        }
    }

    #[test]
    fn what_dotenv_of_node_and_of_python_read_alike_is_read_so() {
        check(&[
            ("", ""),
            ("A=1\nB=2\n", "A=1|B=2"),
            ("A = x ", "A=x"),
            ("  A=1\n\n#B=2\n \t\n", "A=1"),
            ("A=", "A="),
            ("A=\"\"\nB=''", "A=|B="),
            ("A==b=c", "A==b=c"),
            ("A=two words", "A=two words"),
            ("A=1\nA=2", "A=2"),
            // Comments.
            ("A=a #b", "A=a"),
            ("A=x\t# y # z", "A=x"),
            ("A= # c", "A="),
            ("A=\"q\" # it's", "A=q"),
            ("A='q'#c", "A=q"),
            ("A=\"x # y\"", "A=x # y"),
            // Quotes.
            ("A=\"it's\"", "A=it's"),
            ("A='say \"x\"'", "A=say \"x\""),
            ("A=a\"b\"", "A=a\"b\""),
            ("A=\"a\nb\"\nB=1", "A=a\nb|B=1"),
            ("A='a\n\n#b'\nB=1", "A=a\n\n#b|B=1"),
            ("A='{\"a\": [1, 2]}'", "A={\"a\": [1, 2]}"),
            // Escapes in double quotes alone.
            ("A=\"a\\nb\\rc\"", "A=a\nb\rc"),
            ("A='a\\nb'", "A=a\\nb"),
            ("A=a\\nb", "A=a\\nb"),
            ("A=\"\\u0041\\d\\\n\"", "A=\\u0041\\d\\\n"),
            // Nothing is expanded.
            ("A=$x$$", "A=$x$$"),
            ("A=\"\\$x $Y ${Z}\"", "A=\\$x $Y ${Z}"),
            // `export`, ends of lines, and what an editor puts first.
            ("export A=1\nexport\tB=2", "A=1|B=2"),
            ("export=1", "export=1"),
            ("A=1\r\nB=\"x\r\ny\"\r\nC=3\rD=4", "A=1|B=x\ny|C=3|D=4"),
            ("\u{feff}A=1", "A=1"),
            ("A=a\u{a0}", "A=a"),
        ]);
    }

    #[test]
    fn where_the_two_differ_the_one_is_followed_that_loses_nothing() {
        check(&[
            // Python, as a shell: node cuts a password or a colour at a `#` without a blank.
            ("A=pa#ss", "A=pa#ss"),
            ("A=#fff", "A=#fff"),
            // Python: node leaves the backslash that somebody wrote to escape.
            ("A=\"a\\\"b\"", "A=a\"b"),
            ("A=\"a\\\\nb\"", "A=a\\nb"),
            ("A=\"a\\tb\"", "A=a\tb"),
            ("A='it\\'s'", "A=it's"),
            ("A='a\\\\b'", "A=a\\b"),
            // Node: Python keeps the quotes, and makes a bogus variable of the second line.
            ("A=`it's \"x\"`", "A=it's \"x\""),
            ("A=`a\nb`\nB=1", "A=a\nb|B=1"),
            // Node: Python leaves it out.
            ("export = 1", "export=1"),
            // Python, which reads nothing here: node has half a value, and its quote in it.
            ("A=\"abc", "line 1 opens a quote that is never closed"),
            ("A='tis\nB=1", "line 1 opens a quote that is never closed"),
            ("A='C:\\'", "line 1 opens a quote that is never closed"),
            ("A=\"x\" y", "line 1 goes on behind the quote that ends its value"),
            ("A='a' 'b'", "line 1 goes on behind the quote that ends its value"),
            // Python: to node it is a variable, which `A:b` would not be.
            ("A: b", "line 1 has no `=`"),
            // Node: to Python it is the variable `A`. No shell takes it.
            ("'A'=1", "line 1 has something before its `=` that is no name of a variable"),
            // Python: node takes the next line for the value.
            ("A=\nB=1", "A=|B=1"),
        ]);
    }

    #[test]
    fn what_neither_reads_names_the_line_and_none_of_its_text() {
        let name = "has something before its `=` that is no name of a variable";
        check(&[
            ("A=1\n\nhunter2", "line 3 has no `=`"),
            ("export hunter2", "line 1 has no `=`"),
            ("A=\"x\ny\"\nhunter2", "line 3 has no `=`"),
            ("A=\"x\ny\" hunter2", "line 2 goes on behind the quote that ends its value"),
            ("B=\"1\r\n2\"\r\nA=\"hunter2\n\n", "line 3 opens a quote that is never closed"),
            ("A=\"hunter2\\", "line 1 opens a quote that is never closed"),
            ("URL: postgres://u:hunter2@h?a=b", &format!("line 1 {name}")),
            ("#\n=hunter2", &format!("line 2 {name}")),
            ("hunter 2=x", &format!("line 1 {name}")),
            ("hunter.2=x", &format!("line 1 {name}")),
            ("2hunter=x", &format!("line 1 {name}")),
        ]);
    }
}
