//! The recognisers on what the tools really printed, in `tests/outputs`.

use std::collections::BTreeMap;
use std::fs;

use std::path::Path;

use crate::process::cause::secrets::Secrets;
use crate::process::cause::{OutputLine, Words, from_folder, words};

fn said(text: &str) -> Words {
    let lines = text.lines().map(|line| OutputLine { at: 0, text: line.to_owned() });
    words(&lines.collect::<Vec<OutputLine>>(), Path::new("/app"), &Secrets::default())
}

/// Each output's name, and below it what is to be told of it, a line each.
fn expected(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(told) => all.entry(name).or_default().push(told),
            None => name = line,
        }
    }
    all
}

#[test]
fn of_what_each_tool_printed_the_lines_that_name_the_cause_are_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outputs");
    let causes = fs::read_to_string(folder.join("causes")).unwrap();
    let causes = expected(&causes);
    let mut wrong = String::new();
    for (name, lines) in &causes {
        let bytes = fs::read(folder.join(format!("{name}.txt"))).unwrap();
        let found = match said(&String::from_utf8_lossy(&bytes)) {
            Words::Cause(found) => found,
            other @ (Words::Last(_) | Words::Nothing) => vec![format!("{other:?}")],
        };
        if found != *lines {
            wrong.extend([*name, "\n    ", &found.join("\n    "), "\n"]);
        }
    }
    assert_eq!(wrong, "");
    let outputs = fs::read_dir(&folder).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "txt")
    });
    assert_eq!(causes.len(), outputs.count(), "each output has its cause beside it");
}

#[test]
fn of_what_nobody_recognises_the_ends_of_the_last_burst_are_told() {
    let lines = |from: i64, texts: &[&str]| -> Vec<OutputLine> {
        texts.iter().map(|text| OutputLine { at: from, text: (*text).to_owned() }).collect()
    };
    let told =
        |lines: &[OutputLine]| words(lines, Path::new("/app"), &Secrets::default()).to_string();
    let usage = ["DATABASE_URL, please", "", "usage: shop", "-a", "-b", "-c", "-d"];
    let all = [lines(0, &["up"]), lines(5_000, &usage)].concat();
    assert_eq!(told(&all), "; last output: DATABASE_URL, please | … | -b | -c | -d");
    assert_eq!(told(&lines(0, &["one", "out of luck"])), "; last output: one | out of luck");
    assert_eq!(told(&lines(0, &["", " \t"])), "");
    assert_eq!(told(&[]), "");
}

#[test]
fn what_is_passed_on_is_no_cause_of_its_own() {
    let alone = said("working\nnpm error code 1\nnpm error command failed\n");
    assert!(matches!(alone, Words::Last(_) | Words::Cause(_)), "{alone:?}");
    let make = said("a.c:1:2: error: no\nmake: *** [Makefile:2: shop] Error 1\n");
    assert_eq!(make, Words::Cause(vec!["a.c:1:2: error: no".to_owned()]));
}

#[test]
fn the_latest_failure_is_the_cause() {
    let old = "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in <module>\n\
               \x20   x\n\
               NameError: name 'x' is not defined\ngoing on without it\n";
    let text = format!("{old}sh: 1: serve: not found\n");
    assert_eq!(said(&text), Words::Cause(vec!["sh: 1: serve: not found".to_owned()]));
}

#[test]
fn colours_bars_and_hidden_letters_are_not_told() {
    let bar = "\u{1b}[2K 10%\r\u{1b}[2K 20%\r\u{1b}[31merror\u{1b}[0m: no \u{7}disk\r";
    assert_eq!(said(bar), Words::Cause(vec!["error: no disk".to_owned()]));
}

#[test]
fn whatever_is_printed_the_words_are_few_and_drive_no_terminal() {
    let heads = [
        "Traceback (most recent call last):",
        "  File \"/app/a.py\", line 1",
        "npm error code E404",
        "npm error",
        "× ",
        "╰─▶ ",
        "➤ YN0001: │ ",
        "panic: ",
        "goroutine 1 [running]:",
        "[ERROR] ",
        "thread 'main' panicked at ",
        "    at f (/app/a.js:1:2)",
        "\tat a.B.c(D.java:1)",
        "error: ",
        "Caused by: ",
        "[cause]: ",
        "a:1:in `b': (C)",
        "(Use `node --trace-uncaught",
        "^",
        "a.go:1:",
        " ERR_PNPM_A",
        "Failure reason:",
        "The conflict is caused by:",
        "make: *** ",
        "sh: : not found",
        "During handling of the above exception",
        "bundler: ",
        "\u{1b}[",
        "\u{1b}]8;;",
        "│",
        "\r",
        "",
    ];
    let huge = "\u{1b}[1m€\u{202e}\u{0}".repeat(5_000);
    let mut texts: Vec<String> = Vec::new();
    for one in heads {
        for other in heads {
            texts.push(format!("{one}\n{other}\n{one}{huge}\n{other}\n{one}"));
            texts.push(format!("{one}{other}"));
        }
    }
    for text in texts {
        let told = said(&text).to_string();
        assert!(told.chars().count() < 1_500, "{text:.100}");
        assert!(!told.chars().any(char::is_control), "{told:?}");
    }
}

#[test]
fn paths_are_told_from_the_folder_that_the_process_ran_in() {
    let told = |text: &str| from_folder(text, Path::new("/data/app"));
    assert_eq!(told("no '/data/app/a.js' in /data/app"), "no 'a.js' in .");
    for other in ["/home/data/app/a.js", "/data/apple", "/data/app2/x", "x/data/app"] {
        assert_eq!(told(other), other);
    }
}
