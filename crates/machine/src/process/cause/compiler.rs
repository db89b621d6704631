//! How compilers, linkers and those who run them say what is wrong with a program.

use crate::process::cause::found::{Found, bare, is_passed_on, number};

/// So many complaints of one run are told: later ones follow from earlier ones.
const COMPLAINTS: usize = 3;

/// Complaints with their place before them: `main.go:6:2: undefined: y` of Go
/// (<https://pkg.go.dev/cmd/go>), `a.c:1:25: error: …` of C compilers and javac
/// (<https://www.gnu.org/prep/standards/html_node/Errors.html>), and `a.ts(1,7): error TS2322: …`
/// of TypeScript.
pub(crate) fn located(lines: &[String]) -> Option<Found> {
    let end = lines.iter().rposition(|line| is_located(bare(line)))?;
    // One run has at most a few lines of code between two of its complaints.
    let mut begin = end;
    while let Some(before) =
        (begin.saturating_sub(8)..begin).find(|&line| is_located(bare(&lines[line])))
    {
        begin = before;
    }
    let complaints =
        lines[begin..=end].iter().map(|line| bare(line)).filter(|line| is_located(line));
    let mut told: Vec<String> = complaints.take(COMPLAINTS).map(str::to_owned).collect();
    // Which command helps, says Go.
    if told.last().is_some_and(|line| line.ends_with(':')) {
        told.extend(lines.get(end + 1).map(|line| bare(line).to_owned()));
    }
    Some(Found { end, lines: told })
}

fn is_located(text: &str) -> bool {
    let Some((file, rest)) = text.split_once([':', '(']) else { return false };
    if file.is_empty() || file.contains(' ') || !file.contains('.') {
        return false;
    }
    let Some((_, rest)) = number(rest) else { return false };
    // A column may follow.
    let says =
        rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || ",):".contains(letter));
    let is_ended = rest[..rest.len() - says.len()].ends_with(':');
    let Some(says) = says.strip_prefix(' ').filter(|_| is_ended) else { return false };
    let errors = ["error: ", "fatal error: ", "error TS", "syntax error"];
    std::path::Path::new(file).extension().is_some_and(|end| end == "go")
        || errors.iter().any(|word| says.starts_with(word))
}

/// What a linker does not find: <https://sourceware.org/binutils/docs/ld/>
pub(crate) fn linker(lines: &[String]) -> Option<Found> {
    let words = [
        "undefined reference to ",
        "undefined symbol: ",
        "cannot find -l",
        "unable to find library ",
    ];
    let is_told = |line: &&String| words.iter().any(|word| line.contains(word));
    let end = lines.iter().rposition(|line| is_told(&line))?;
    let told = lines.iter().filter(is_told).take(COMPLAINTS).map(|line| {
        let text = bare(line);
        text.strip_prefix("= note: ").unwrap_or(text).to_owned()
    });
    Some(Found { end, lines: told.collect() })
}

/// What `make` itself cannot do:
/// <https://www.gnu.org/software/make/manual/html_node/Error-Messages.html>
pub(crate) fn make(lines: &[String]) -> Option<Found> {
    let is_own = |line: &String| {
        line.starts_with("make")
            && line.split_once("*** ").is_some_and(|(_, says)| !says.starts_with('['))
    };
    let end = lines.iter().rposition(is_own)?;
    Some(Found { end, lines: vec![lines[end].clone()] })
}

/// The errors of Maven: <https://maven.apache.org/maven-logging.html>
pub(crate) fn maven(lines: &[String]) -> Option<Found> {
    let end = lines.iter().rposition(|line| maven_said(line).is_some())?;
    let said: Vec<&str> = lines.iter().filter_map(|line| maven_said(line)).collect();
    let located = said.iter().filter(|text| text.contains(":[")).copied();
    let located: Vec<&str> = located.take(COMPLAINTS).collect();
    let told = if located.is_empty() { said } else { located };
    Some(Found { end, lines: told.into_iter().take(COMPLAINTS).map(str::to_owned).collect() })
}

/// What a line of Maven says is wrong, without advice and without what passes on that a plugin has
/// failed.
fn maven_said(line: &str) -> Option<&str> {
    let text = line.strip_prefix("[ERROR] ").or_else(|| line.strip_prefix("[FATAL] "))?;
    let text = text.split(" -> [Help ").next().unwrap_or(text).trim();
    let text = text.strip_prefix("[ERROR] ").unwrap_or(text);
    let goal = text.strip_prefix("Failed to execute goal ");
    let goal = goal.and_then(|text| text.split_once("on project ")?.1.split_once(": "));
    let text = goal.map_or(text, |(_, why)| why);
    let is_advice = MAVEN_ADVICE.iter().any(|word| text.starts_with(word));
    (!text.is_empty() && !is_advice && !is_passed_on(text)).then_some(text)
}

const MAVEN_ADVICE: [&str; 8] = [
    "Some problems were encountered while",
    "The build could not read",
    "To see the full stack trace",
    "Re-run Maven",
    "For more information",
    "[Help ",
    "COMPILATION ERROR",
    "After correcting the problems",
];
