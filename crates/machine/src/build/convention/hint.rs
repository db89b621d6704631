//! What the files of other platforms say of an app's start, for a reason where nothing else does:
//! <https://docs.railway.com/reference/config-as-code>, <https://render.com/docs/blueprint-spec>,
//! <https://fly.io/docs/reference/configuration>, <https://nixpacks.com/docs/configuration/file>,
//! and a `Dockerfile`'s `CMD`. None of them is obeyed.

use crate::build::source::Source;

/// A longer command is not repeated (bytes).
const LONGEST: usize = 200;

/// A start that another platform's file names.
pub(crate) struct Hint {
    pub(crate) file: &'static str,
    pub(crate) command: String,
}

type Reader = fn(&str) -> Option<String>;

const READERS: [(&str, Reader); 7] = [
    ("railway.json", of_json),
    ("railway.toml", of_railway),
    ("render.yaml", of_render),
    ("fly.toml", of_fly),
    ("nixpacks.toml", of_nixpacks),
    ("Dockerfile", of_dockerfile),
    ("Containerfile", of_dockerfile),
];

/// The first start that one of these files names. One that cannot be read names none.
pub(crate) fn hint(source: &Source<'_>) -> Option<Hint> {
    READERS.into_iter().find_map(|(file, reader)| {
        let command = reader(&source.read(file).ok()??)?.trim().to_owned();
        let is_shown = !command.is_empty()
            && command.len() <= LONGEST
            && !command.chars().any(|letter| letter.is_control() || letter == '`');
        is_shown.then_some(Hint { file, command })
    })
}

fn of_json(text: &str) -> Option<String> {
    let about: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(about.get("deploy")?.get("startCommand")?.as_str()?.to_owned())
}

fn of_table(text: &str, place: [&str; 2]) -> Option<String> {
    let about: toml::Table = text.parse().ok()?;
    Some(about.get(place[0])?.get(place[1])?.as_str()?.to_owned())
}

fn of_railway(text: &str) -> Option<String> {
    of_table(text, ["deploy", "startCommand"])
}

fn of_nixpacks(text: &str) -> Option<String> {
    of_table(text, ["start", "cmd"])
}

fn of_fly(text: &str) -> Option<String> {
    of_table(text, ["processes", "app"]).or_else(|| of_table(text, ["processes", "web"]))
}

/// Only the plain form of the one line counts.
fn of_render(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| {
        line.trim().trim_start_matches("- ").strip_prefix("startCommand:").map(str::trim)
    })?;
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        line.strip_prefix(quote)?.strip_suffix(quote).filter(|inner| !inner.contains(quote))
    });
    let is_block = line.starts_with(['|', '>']);
    (!is_block).then(|| quoted.unwrap_or(line).to_owned())
}

/// The last `CMD`, in either of its forms; with an `ENTRYPOINT` it is no command.
fn of_dockerfile(text: &str) -> Option<String> {
    let instruction = |line: &str| {
        let (word, rest) = line.trim().split_once(char::is_whitespace)?;
        Some((word.to_ascii_uppercase(), rest.trim().to_owned()))
    };
    let lines: Vec<(String, String)> = text.lines().filter_map(instruction).collect();
    if lines.iter().any(|(word, _)| word == "ENTRYPOINT") {
        return None;
    }
    let (_, command) = lines.into_iter().rfind(|(word, _)| word == "CMD")?;
    if command.ends_with('\\') {
        return None;
    }
    if !command.starts_with('[') {
        return Some(command);
    }
    let words: Vec<String> = serde_json::from_str(&command).ok()?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "./_-:=@,+".contains(letter);
    words.iter().all(|word| word.chars().all(plain)).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_names_its_start_or_none() {
        for (reader, text, expected) in [
            (of_json as Reader, r#"{"deploy": {"startCommand": "node a.js"}}"#, Some("node a.js")),
            (of_json, "{", None),
            (of_railway, "[deploy]\nstartCommand = \"./serve\"\n", Some("./serve")),
            (of_render, "services:\n  - type: web\n    startCommand: \"./a b\"\n", Some("./a b")),
            (
                of_render,
                "services:\n  - startCommand: gunicorn app:app\n",
                Some("gunicorn app:app"),
            ),
            (of_render, "    startCommand: |\n      a\n", None),
            (of_fly, "app = \"shop\"\n[processes]\napp = \"./serve\"\n", Some("./serve")),
            (of_nixpacks, "[start]\ncmd = \"./serve\"\n", Some("./serve")),
            (of_dockerfile, "FROM a\nCMD x\ncmd [\"node\", \"a.js\"]\n", Some("node a.js")),
            (of_dockerfile, "CMD [\"sh\", \"-c\", \"a && b\"]\n", None),
            (of_dockerfile, "ENTRYPOINT [\"a\"]\nCMD b\n", None),
            (of_dockerfile, "CMD python app.py\n", Some("python app.py")),
        ] {
            assert_eq!(reader(text).as_deref(), expected, "{text}");
        }
    }
}
