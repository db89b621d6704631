//! Numbers of users that apps may have: those that nobody else on the machine has.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::digest;

/// Those that no convention gives to anybody, by systemd's list, and, where a container has few,
/// the upper end of what is for people. <https://systemd.io/UIDS-GIDS/>
pub(crate) const RANGES: [Uids; 2] =
    [Uids { first: 1_879_048_192, last: 2_147_352_575 }, Uids { first: 50_000, last: 59_999 }];
/// How many a platform takes of them that was not told which.
const USUAL: u32 = 10_000;
/// How many places are tried where others are in the way.
const TRIED: u32 = 16;

/// The first and the last of a row of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Uids {
    first: u32,
    last: u32,
}

/// Numbers that cannot be the apps'.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UidsError {
    #[error("`{0}` is not two numbers of users, the first and the last, such as `200000-209999`")]
    Form(String),
    #[error("the numbers {uids} are not free: {} {whose}", range(*.taken))]
    Taken { uids: Uids, taken: Uids, whose: String },
}

fn range(uids: Uids) -> String {
    if uids.first == uids.last { format!("{} is", uids.first) } else { format!("{uids} are") }
}

impl FromStr for Uids {
    type Err = UidsError;

    fn from_str(text: &str) -> Result<Uids, UidsError> {
        let parsed = text.split_once('-').and_then(|(first, last)| {
            let uids = Uids { first: first.parse().ok()?, last: last.parse().ok()? };
            (uids.first <= uids.last).then_some(uids)
        });
        parsed.ok_or_else(|| UidsError::Form(text.to_owned()))
    }
}

impl fmt::Display for Uids {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

/// Numbers that somebody has.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    uids: Uids,
    whose: String,
}

pub(crate) fn is_taken(taken: &[Taken], id: u32) -> bool {
    taken.iter().any(|taken| taken.uids.has(id))
}

impl Uids {
    pub(crate) fn first(self) -> u32 {
        self.first
    }

    pub(crate) fn has(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// Each of them once, beginning with this one, if it is one.
    pub(crate) fn from(self, begin: u32) -> impl Iterator<Item = u32> {
        let begin = if self.has(begin) { begin } else { self.first };
        (begin..=self.last).chain(self.first..begin)
    }

    /// Whether nobody has one of them.
    pub(crate) fn check(self, taken: &[Taken]) -> Result<(), UidsError> {
        let clash = taken
            .iter()
            .find(|taken| taken.uids.first <= self.last && self.first <= taken.uids.last);
        match clash {
            None => Ok(()),
            Some(Taken { uids, whose }) => {
                Err(UidsError::Taken { uids: self, taken: *uids, whose: whose.clone() })
            }
        }
    }

    /// Some that nobody has, and no platform on another folder either, as far as chance goes.
    pub(crate) fn of_nobody(folder: &Path, taken: &[Taken]) -> Option<Uids> {
        let digits = digest(folder.as_os_str().as_encoded_bytes());
        let begin = digits.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        RANGES.iter().find_map(|range| {
            let places = (range.last - range.first + 1) / USUAL;
            (0..TRIED.min(places)).find_map(|attempt| {
                let place = begin.unwrap_or(0).wrapping_add(attempt) % places;
                let first = range.first + place * USUAL;
                let uids = Uids { first, last: first + USUAL - 1 };
                uids.check(taken).is_ok().then_some(uids)
            })
        })
    }
}

/// What is somebody's: by the files of users and groups and of what they may have in containers,
/// by convention, and what this container has not.
pub(crate) fn taken() -> Vec<Taken> {
    let whose = |uids, whose: String| Taken { uids, whose };
    let conventional =
        [(0, 0, "root's"), (65_534, 65_535, "nobody's"), (u32::MAX, u32::MAX, "none")];
    let mut taken: Vec<Taken> = conventional
        .into_iter()
        .map(|(first, last, who)| whose(Uids { first, last }, who.to_owned()))
        .collect();
    for (file, what) in [("/etc/passwd", "user"), ("/etc/group", "group")] {
        taken.extend(lines(file).filter_map(|fields| {
            let id = fields.get(2)?.parse().ok()?;
            let uids = Uids { first: id, last: id };
            Some(whose(uids, format!("the {what} `{}`'s", fields.first()?)))
        }));
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        taken.extend(lines(file).filter_map(|fields| {
            let first: u32 = fields.get(1)?.parse().ok()?;
            let count: u32 = fields.get(2)?.parse().ok().filter(|count| *count > 0)?;
            let uids = Uids { first, last: first.saturating_add(count - 1) };
            Some(whose(uids, format!("`{}`'s, by `{file}`", fields.first()?)))
        }));
    }
    for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let missing = unmapped(&fs::read_to_string(map).unwrap_or_default());
        taken.extend(
            missing.into_iter().map(|uids| whose(uids, "not in this container".to_owned())),
        );
    }
    taken
}

/// Fields with colons between them, a line at a time.
fn lines(file: &str) -> impl Iterator<Item = Vec<String>> {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let fields = |line: &str| line.split(':').map(|field| field.trim().to_owned()).collect();
    text.lines().map(fields).collect::<Vec<Vec<String>>>().into_iter()
}

/// What lies between the numbers that a user namespace has, `user_namespaces(7)`.
fn unmapped(map: &str) -> Vec<Uids> {
    let mut mapped: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let first: u64 = fields.next()?.parse().ok()?;
            Some((first, first + fields.nth(1)?.parse::<u64>().ok()?))
        })
        .collect();
    mapped.sort_unstable();
    let mut missing = Vec::new();
    let mut next = 0;
    let end = u64::from(u32::MAX);
    for (first, after) in mapped.into_iter().chain([(end, end)]) {
        if first > next {
            let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            missing.push(Uids { first: narrow(next), last: narrow(first - 1) });
        }
        next = next.max(after);
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(text: &str) -> Uids {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_two_with_a_dash_between_and_the_first_is_not_larger() {
        assert_eq!(uids("200-299"), Uids { first: 200, last: 299 });
        for wrong in ["", "200", "300-200", "a-b", "-5-9", "1-4294967296", "1 - 2"] {
            assert!(wrong.parse::<Uids>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_container_has_not_lies_between_what_it_has() {
        assert_eq!(unmapped("         0          0 4294967295\n"), []);
        let few = unmapped("0 100000 1000\n2000 1 1\n");
        let missing = [uids("1000-1999"), Uids { first: 2_001, last: u32::MAX - 1 }];
        assert_eq!(few, missing);
    }

    #[test]
    fn numbers_that_somebody_has_are_refused_by_name_and_the_usual_ones_keep_clear() {
        let of = |uids, whose: &str| Taken { uids, whose: whose.to_owned() };
        let taken = [of(uids("250-250"), "the user `ann`'s"), of(uids("50000-50000"), "his")];
        let error = uids("200-299").check(&taken).unwrap_err().to_string();
        assert_eq!(error, "the numbers 200-299 are not free: 250 is the user `ann`'s");
        assert_eq!(uids("251-299").check(&taken), Ok(()));
        let usual = Uids::of_nobody(Path::new("/srv/a"), &taken).unwrap();
        let block = of(usual, "another's");
        let other = Uids::of_nobody(Path::new("/srv/a"), &[block]).unwrap();
        assert_ne!(usual, other);
        assert!(RANGES[0].has(usual.first) && RANGES[0].has(usual.last));
        // Nothing large in this container, and the only place that is left has an owner.
        let few = of(uids("60000-4294967294"), "not in this container");
        assert_eq!(
            Uids::of_nobody(Path::new("/srv/a"), std::slice::from_ref(&few)),
            Some(RANGES[1])
        );
        assert_eq!(Uids::of_nobody(Path::new("/srv/a"), &[few, taken[1].clone()]), None);
    }
}
