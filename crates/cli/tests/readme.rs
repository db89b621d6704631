//! The README's commands do what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::path::Path;
use std::process::Command;

use house::House;

/// The `console` blocks as pairs of a command and the lines that it prints; `…` stands for
/// anything.
fn session(readme: &str) -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (line, inside) {
            ("```console", false) => inside = true,
            ("```", true) => inside = false,
            (_, false) => {}
            (line, true) => match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), Vec::new())),
                None => steps.last_mut().unwrap().1.push(line.to_owned()),
            },
        }
    }
    steps
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let house = House::new(&[]);
    let port = house.port.to_string();
    let mut script = String::from("set -e\n");
    let steps = session(&readme);
    assert!(steps.len() > 10, "{steps:?}");
    for (number, (command, _)) in steps.iter().enumerate() {
        let command = command.replace("8080", &port);
        let command = if command == "rowhouse up &" {
            // The output of a background job is looked at when it is there.
            format!(
                "rowhouse up --listen 127.0.0.1:{port} > up.out 2>&1 &\n\
                 until grep --quiet '^or: ' up.out; do sleep 0.05; done\ncat up.out"
            )
        } else {
            command
        };
        script.extend(["echo '@@", &number.to_string(), "'\n", &command, "\n"]);
    }
    let bin = Path::new(house::PROGRAM).parent().unwrap().display().to_string();
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(house.room())
        .env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()))
        .env_remove("ROWHOUSE_DATA")
        .env("HOME", house.room())
        .env("GIT_AUTHOR_NAME", "Reader")
        .env("GIT_AUTHOR_EMAIL", "reader@localhost")
        .env("GIT_COMMITTER_NAME", "Reader")
        .env("GIT_COMMITTER_EMAIL", "reader@localhost")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let context = format!("{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{context}");
    for (number, (command, lines)) in steps.iter().enumerate() {
        let from = printed.find(&format!("@@{number}\n")).unwrap();
        let after = &printed[from..];
        let to = after[2..].find("@@").map_or(after.len(), |end| end + 2);
        let mut rest = &after[..to];
        for part in lines.iter().flat_map(|line| line.split('…')) {
            let words = part.trim().replace("8080", &port);
            let at = rest
                .find(&words)
                .unwrap_or_else(|| panic!("`{command}`: no `{words}` in:\n{context}"));
            rest = &rest[at + words.len()..];
        }
    }
    assert_eq!(house.processes(), vec![]);
}
