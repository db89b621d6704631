//! Versions of languages, and the ranges in which repositories ask for them, in the words of npm,
//! of Python's packages and of version managers alike.
//!
//! Sources: <https://docs.npmjs.com/cli/v11/using-npm/semver>,
//! <https://packaging.python.org/en/latest/specifications/version-specifiers/>,
//! <https://python-poetry.org/docs/dependency-specification/>.

use std::fmt;

/// A released version: `20.11.1`. What stands behind a `-` or a letter is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// Reads what a tool says of itself: `v20.20.2`, `Python 3.11.7`.
    pub fn parse(text: &str) -> Option<Version> {
        let begin = text.find(|letter: char| letter.is_ascii_digit())?;
        let parts = parts(&text[begin..])?;
        Some(Version(padded(&parts)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version([major, minor, patch]) = self;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

/// What a repository asks for: one of these, each of them all of its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Vec<Vec<Bound>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// This one or a later one.
    From([u32; 3]),
    Below([u32; 3]),
    Not([u32; 3]),
}

/// How a version stands to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Fits,
    /// It is older than anything in the range.
    TooOld,
    /// It is newer, or excluded.
    Outside,
}

impl Range {
    /// Reads a range; `None`: it names no numbers (`lts/*`, `latest`), and asks for nothing.
    pub fn parse(text: &str) -> Option<Range> {
        let alternatives = text.split("||").map(alternative).collect::<Option<Vec<_>>>()?;
        (!alternatives.iter().all(Vec::is_empty)).then_some(Range(alternatives))
    }

    /// All versions that begin with the first `parts` numbers of this one.
    pub fn beginning(text: &str, parts: usize) -> Option<Range> {
        let text = text.trim().trim_start_matches('v');
        let mut found = self::parts(text)?;
        found.truncate(parts);
        Some(Range(vec![same(&found)]))
    }

    /// How `version` stands to it.
    pub fn fit(&self, version: &Version) -> Fit {
        let Range(alternatives) = self;
        let holds = |bound: &Bound| match *bound {
            Bound::From(least) => version.0 >= least,
            Bound::Below(limit) => version.0 < limit,
            Bound::Not(other) => version.0 != other,
        };
        let is_older = |bound: &Bound| match *bound {
            Bound::From(least) => version.0 < least,
            Bound::Below(_) | Bound::Not(_) => false,
        };
        if alternatives.iter().any(|bounds| bounds.iter().all(holds)) {
            Fit::Fits
        } else if alternatives.iter().all(|bounds| bounds.iter().any(is_older)) {
            Fit::TooOld
        } else {
            Fit::Outside
        }
    }
}

/// The bounds of one alternative.
fn alternative(text: &str) -> Option<Vec<Bound>> {
    let text = text.trim();
    if let Some((from, to)) = text.split_once(" - ") {
        let mut bounds = vec![Bound::From(padded(&parts(from)?))];
        bounds.extend(same(&parts(to)?).into_iter().filter(|one| matches!(one, Bound::Below(_))));
        return Some(bounds);
    }
    // An operator may stand apart from its version.
    let is_operator = |letter: char| "<>=~^!".contains(letter);
    let (mut bounds, mut operator) = (Vec::new(), String::new());
    for word in text.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()) {
        let rest = word.trim_start_matches(is_operator);
        operator.push_str(&word[..word.len() - rest.len()]);
        if !rest.is_empty() {
            bounds.extend(bounds_of(&operator, &parts(rest)?)?);
            operator.clear();
        }
    }
    operator.is_empty().then_some(bounds)
}

fn bounds_of(operator: &str, parts: &[u32]) -> Option<Vec<Bound>> {
    let least = padded(parts);
    let upto = |place: usize| vec![Bound::From(least), Bound::Below(after(parts, place))];
    if parts.is_empty() {
        return Some(Vec::new());
    }
    Some(match operator {
        "" | "=" | "==" | "===" => same(parts),
        ">=" => vec![Bound::From(least)],
        ">" if parts.len() < 3 => vec![Bound::From(after(parts, parts.len() - 1))],
        ">" => vec![Bound::From(least), Bound::Not(least)],
        "<" => vec![Bound::Below(least)],
        "<=" => vec![Bound::Below(after(parts, parts.len() - 1))],
        "!=" => vec![Bound::Not(least)],
        "~" | "~>" => upto(parts.len().saturating_sub(1).min(1)),
        "~=" => upto(parts.len().saturating_sub(2)),
        "^" => {
            let first = parts.iter().position(|part| *part != 0);
            upto(first.unwrap_or(parts.len() - 1))
        }
        _ => return None,
    })
}

/// The versions that begin so.
fn same(parts: &[u32]) -> Vec<Bound> {
    match parts.len() {
        0 => Vec::new(),
        length => vec![Bound::From(padded(parts)), Bound::Below(after(parts, length - 1))],
    }
}

/// The first version that differs upwards at this place.
fn after(parts: &[u32], place: usize) -> [u32; 3] {
    let mut next = padded(&parts[..=place]);
    next[place] = next[place].saturating_add(1);
    next
}

fn padded(parts: &[u32]) -> [u32; 3] {
    let mut whole = [0; 3];
    for (place, part) in whole.iter_mut().zip(parts) {
        *place = *part;
    }
    whole
}

/// The numbers of a version, up to the first that may be any.
fn parts(text: &str) -> Option<Vec<u32>> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    let mut found = Vec::new();
    for (place, part) in text.split('.').take(3).enumerate() {
        if place > 0 && part.is_empty() || ["x", "X", "*"].contains(&part) {
            break;
        }
        let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        if end == 0 {
            return None;
        }
        found.push(part[..end].parse().ok()?);
        if end < part.len() {
            break;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_npm_and_python_mean_them() {
        for (range, fits, older, outside) in [
            ("20", "20.1.0", "18.0.0", "21.0.0"),
            ("20.x", "20.20.2", "19.9.9", "22.0.0"),
            (">=18", "22.0.0", "16.1.0", ""),
            ("> 18", "19.0.0", "18.5.0", ""),
            (">=18.17 <21", "20.0.0", "18.16.9", "21.0.0"),
            ("^18.0.0 || >=20.0.0", "20.1.0", "16.0.0", "19.0.0"),
            ("^0.2.3", "0.2.9", "0.2.2", "0.3.0"),
            ("~1.2.3", "1.2.9", "1.2.2", "1.3.0"),
            ("18 - 20", "20.9.0", "17.0.0", "21.0.0"),
            ("<=20", "20.9.0", "", "21.0.0"),
            (">=3.9,<4.0", "3.11.7", "3.8.1", "4.0.0"),
            ("~=3.11", "3.13.0", "3.10.1", "4.0.0"),
            ("~=3.11.2", "3.11.7", "3.11.1", "3.12.0"),
            ("==3.11.*", "3.11.7", "3.10.0", "3.12.0"),
            (">=3.9,!=3.9.7", "3.11.0", "3.8.0", "3.9.7"),
            ("v22.1.0", "22.1.0", "22.0.9", "22.1.1"),
        ] {
            let parsed = Range::parse(range).unwrap();
            for (version, expected) in
                [(fits, Fit::Fits), (older, Fit::TooOld), (outside, Fit::Outside)]
            {
                if let Some(version) = Version::parse(version) {
                    assert_eq!(parsed.fit(&version), expected, "{range} {version}");
                }
            }
        }
    }

    #[test]
    fn words_ask_for_nothing() {
        for word in ["lts/*", "latest", "*", "", "node", "x", "pypy3.10", "==", "system"] {
            assert_eq!(Range::parse(word), None, "{word}");
        }
    }

    #[test]
    fn tools_say_their_versions_in_several_ways() {
        for (said, expected) in
            [("v20.20.2", "20.20.2"), ("Python 3.13.0rc1", "3.13.0"), ("pnpm 9", "9.0.0")]
        {
            assert_eq!(Version::parse(said).unwrap().to_string(), expected);
        }
        assert_eq!(Version::parse("none"), None);
    }

    #[test]
    fn of_a_version_file_the_first_numbers_count() {
        let range = Range::beginning("v20.11.1", 1).unwrap();
        assert_eq!(range.fit(&Version([20, 1, 0])), Fit::Fits);
        assert_eq!(range.fit(&Version([22, 1, 0])), Fit::Outside);
        assert_eq!(Range::beginning("lts/iron", 1), None);
    }
}
