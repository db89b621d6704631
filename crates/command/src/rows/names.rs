//! Names that somebody may have meant.

use rowhouse_core::{AppName, RowKey, StoredRow, shortened};

use crate::client::Client;
use crate::failure::bad_input;
use crate::output::clean;

/// How many names a hint lists.
const SHOWN: usize = 20;
/// A name where nothing else is at hand.
const EXAMPLE: &str = "shop";

/// A name for an app that need not exist yet.
pub fn new(text: &str) -> anyhow::Result<AppName> {
    AppName::parse(text).map_err(|reason| {
        let such = closest(text).unwrap_or_else(|| EXAMPLE.to_owned());
        bad_input(reason, format!("such as `{such}`"))
    })
}

/// A name as somebody typed it for an app that need not exist.
pub(crate) fn known(client: &impl Client, text: &str) -> anyhow::Result<AppName> {
    AppName::parse(text).map_err(|reason| {
        bad_input(reason, format!("`{}` lists the apps", client.location().command("ls")))
    })
}

/// The row of that name, or an error that says which there are.
pub(crate) async fn row(client: &impl Client, name: &str) -> anyhow::Result<StoredRow> {
    match client.get(&RowKey(name.to_owned())).await? {
        Some(row) => Ok(row),
        None => Err(no_such_app(client, name).await?),
    }
}

/// The error for a name that nothing has.
pub(crate) async fn no_such_app(client: &impl Client, name: &str) -> anyhow::Result<anyhow::Error> {
    let rows = client.list().await?;
    let names: Vec<String> = rows.into_iter().map(|stored| stored.row.key.0).collect();
    let hint = hint(&names, name).unwrap_or_else(|| {
        let command = client.location().command("put NAME --repo URL");
        format!("there is no app yet: `{command}` makes one")
    });
    Ok(bad_input(format!("no app is named {}", shortened(name)), hint))
}

/// The name of an app that a folder's name gives; an error with the words to type where a letter of
/// it would be lost.
pub fn of_folder(folder: &str) -> anyhow::Result<AppName> {
    let closest = closest(folder);
    let count = |text: &str| text.chars().filter(|letter| letter.is_alphanumeric()).count();
    let whole = closest.as_deref().filter(|name| count(name) == count(folder));
    whole.and_then(|name| AppName::parse(name).ok()).ok_or_else(|| {
        let example = closest.as_deref().unwrap_or(EXAMPLE);
        bad_input(
            format!("the folder's name, {}, gives no name for an app", shortened(folder)),
            format!("give it one, such as `rowhouse deploy --name {example}`"),
        )
    })
}

/// A legal host name that is as close to the text as can be; `None`: nothing of it may stand there.
fn closest(text: &str) -> Option<String> {
    let mut name = String::new();
    for letter in text.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_start_matches(|letter: char| !letter.is_ascii_lowercase());
    let name = name.get(..63).unwrap_or(name).trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// Says which names there are, the closest first; `None` where there are none.
fn hint(names: &[String], typed: &str) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let close = names
        .iter()
        .map(|name| (distance(name, typed), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.chars().count())
        .min();
    let meant = close.map(|(_, name)| format!("did you mean `{}`? ", clean(name)));
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| clean(name)).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}there are: {}{more}", meant.unwrap_or_default(), shown.join(", ")))
}

/// How many letters must be changed, left out or put in (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    // Nothing longer is a name; a row's key may be of any length.
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, against) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use crate::failure::BadInput;

    use super::*;

    #[test]
    fn a_folder_gives_a_name_where_no_letter_is_lost_and_else_the_words_to_type() {
        for (folder, name) in [("shop", "shop"), ("My Shop_2", "my-shop-2"), ("(a).b.", "a-b")] {
            assert_eq!(of_folder(folder).unwrap().as_str(), name);
        }
        let long = "x".repeat(80);
        for (folder, example) in [
            ("日本", "shop"),
            ("123", "shop"),
            ("...", "shop"),
            ("", "shop"),
            ("2nd", "nd"),
            ("Ünïcode", "n-code"),
            (&long, &long[..63]),
        ] {
            let error = of_folder(folder).unwrap_err();
            let hint = error.downcast::<BadInput>().unwrap().hint.unwrap();
            let words = format!("give it one, such as `rowhouse deploy --name {example}`");
            assert_eq!(hint, words, "{folder}");
        }
    }

    #[test]
    fn the_closest_name_is_offered_and_all_are_listed() {
        let names = ["hello".to_owned(), "shop".to_owned()];
        assert_eq!(hint(&names, "helo").unwrap(), "did you mean `hello`? there are: hello, shop");
        assert_eq!(hint(&names, "zebra").unwrap(), "there are: hello, shop");
        assert_eq!(hint(&[], "zebra"), None);
    }

    #[test]
    fn a_distance_counts_letters() {
        for (one, other, letters) in [
            ("", "ab", 2),
            ("shop", "shop", 0),
            ("shop", "hop", 1),
            ("shop", "shpo", 2),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }
}
