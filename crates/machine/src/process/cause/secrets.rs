//! The values of a row that no reason repeats: they are blotted out of what a process said.

use rowhouse_core::App;

/// What stands in place of a value.
const BLOT: &str = "***";
/// A value of fewer letters is a word or a number that says nothing without its name.
const FEWEST: usize = 6;
/// With what a program ends the part of a value that it shows, or begins the rest.
const CUTS: [&str; 2] = ["...", "…"];

/// The values of a row's `Env` and `BuildEnv`, as programs print them: whole, a line of them, or
/// escaped.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// The longest first: a part of one is no value of its own.
    texts: Vec<String>,
}

impl Secrets {
    pub(crate) fn of(app: &App) -> Secrets {
        let values = [&app.env, &app.build_env].into_iter().flat_map(|env| env.revealed().values());
        Secrets::from_values(values.map(String::as_str))
    }

    fn from_values<'a>(values: impl Iterator<Item = &'a str>) -> Secrets {
        let mut texts: Vec<String> = values
            .flat_map(|value| value.lines())
            .flat_map(|line| {
                let json = serde_json::Value::from(line).to_string();
                let escaped = &json[1..json.len() - 1];
                let password = password(line).unwrap_or_default();
                [line.trim(), escaped.trim(), password].map(str::to_owned)
            })
            .filter(|text| text.chars().count() >= FEWEST)
            .collect();
        texts.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        texts.dedup();
        Secrets { texts }
    }

    /// A line without the values in it, also where a program shows the beginning or the end of one
    /// alone.
    pub(crate) fn blotted(&self, line: &str) -> String {
        let mut blotted = line.to_owned();
        for text in &self.texts {
            blotted = blotted.replace(text, BLOT);
        }
        for cut in CUTS {
            if !self.texts.is_empty() && blotted.contains(cut) {
                let parts: Vec<&str> = blotted.split(cut).collect();
                let last = parts.len() - 1;
                let parts = parts.iter().enumerate().map(|(at, part)| {
                    let part =
                        if at < last { self.without_beginning(part) } else { (*part).into() };
                    if at > 0 { self.without_end(&part) } else { part }
                });
                blotted = parts.collect::<Vec<String>>().join(cut);
            }
        }
        blotted
    }

    /// A text without the beginning of a value that it ends with.
    fn without_beginning(&self, part: &str) -> String {
        let begun = self
            .texts
            .iter()
            .flat_map(|text| text.char_indices().skip(FEWEST).map(|(end, _)| &text[..end]));
        let longest = begun.filter(|begun| part.ends_with(begun)).map(str::len).max();
        longest.map_or_else(
            || part.to_owned(),
            |length| format!("{}{BLOT}", &part[..part.len() - length]),
        )
    }

    /// A text without the end of a value that it begins with.
    fn without_end(&self, part: &str) -> String {
        let ended = self.texts.iter().flat_map(|text| {
            text.char_indices().rev().skip(FEWEST - 1).map(|(begin, _)| &text[begin..])
        });
        let longest = ended.filter(|ended| part.starts_with(ended)).map(str::len).max();
        longest.map_or_else(|| part.to_owned(), |length| format!("{BLOT}{}", &part[length..]))
    }
}

/// The password in a URL, which a client may tell by itself.
fn password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let (account, _) = rest.split_once('/').map_or(rest, |(host, _)| host).rsplit_once('@')?;
    account.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blotted(values: &[&str], line: &str) -> String {
        Secrets::from_values(values.iter().copied()).blotted(line)
    }

    #[test]
    fn a_value_is_blotted_out_wherever_it_stands() {
        assert_eq!(blotted(&["hunter2"], "hunter2: no 'hunter2'"), "***: no '***'");
        assert_eq!(blotted(&["hunter2", "hunter2-and-more"], "hunter2-and-more"), "***");
        assert_eq!(blotted(&["größer"], "größer als groß"), "*** als groß");
        assert_eq!(blotted(&["say \"hello\""], r#"{"a":"say \"hello\""}"#), r#"{"a":"***"}"#);
        assert_eq!(blotted(&["-----BEGIN\nabcdefgh\n"], "line 2: abcdefgh"), "line 2: ***");
        assert_eq!(
            blotted(&["-----BEGIN\nabcdefgh\n"], r"'-----BEGIN\nabcdefgh\n'"),
            r"'***\n***\n'"
        );
    }

    #[test]
    fn the_password_of_a_url_is_blotted_out_by_itself_too() {
        let url = "postgres://shop:correct-horse@db.example.com/shop?sslmode=off";
        let said = "password 'correct-horse' of 'shop' at db.example.com is wrong";
        assert_eq!(blotted(&[url], said), "password '***' of 'shop' at db.example.com is wrong");
        assert_eq!(blotted(&["redis://localhost:6379/0"], "localhost:6379"), "localhost:6379");
    }

    #[test]
    fn short_values_are_words_of_a_sentence() {
        assert_eq!(blotted(&["8080", "debug", ""], "port 8080, debug"), "port 8080, debug");
    }

    #[test]
    fn the_ends_of_a_value_that_a_program_has_cut_are_blotted_out_too() {
        let value = "postgres://shop:correct-horse-battery-staple@db.example.com:5432/shop";
        let cut = "input_value='postgres://shop:correct-...xample.com:5432/shop', input_type=str";
        assert_eq!(blotted(&[value], cut), "input_value='***...***', input_type=str");
        assert_eq!(blotted(&[value], "postgres: connecting... no"), "postgres: connecting... no");
        assert_eq!(blotted(&[value], "value postgres://sh…"), "value ***…");
        assert_eq!(blotted(&[], "so ... what"), "so ... what");
    }
}
