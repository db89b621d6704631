//! How programs of each language say that they have crashed.

use crate::process::cause::found::{Found, bare, column};

/// Exceptions of Python, also in a frame, and its syntax errors:
/// <https://docs.python.org/3/library/traceback.html>
pub(crate) fn python(lines: &[String]) -> Option<Found> {
    let frame = lines.iter().rposition(|line| python_frame(line).is_some())?;
    let depth = column(&lines[frame]);
    let end = (frame + 1..lines.len())
        .find(|&line| !bare(&lines[line]).is_empty() && column(&lines[line]) < depth)?;
    let exception = bare(&lines[end]);
    let name = exception.split(':').next().unwrap_or_default();
    if name.is_empty()
        || !name.chars().all(|letter| letter.is_alphanumeric() || "._".contains(letter))
    {
        return None;
    }
    let is_inside = |line: &&usize| {
        let text = &lines[**line];
        column(text) >= depth && !bare(text).is_empty()
    };
    let begin =
        frame - (0..frame).rev().collect::<Vec<usize>>().iter().take_while(is_inside).count();
    let own = (begin..=frame).rev().find_map(|line| {
        let place = python_frame(&lines[line]).filter(|(file, _)| is_own_python(file))?;
        let code = lines.get(line + 1).map_or("", |code| bare(code));
        Some(format!("{}:{}: {code}", place.0, place.1))
    });
    let more = lines[end + 1..].iter().take(2).take_while(|line| is_more_of_a_message(line));
    let mut told = vec![exception.to_owned()];
    told.extend(own);
    told.extend(python_before(&lines[..begin]));
    told.extend(more.map(|line| bare(line).to_owned()));
    Some(Found { end, lines: told })
}

/// The file and the line of a frame.
fn python_frame(line: &str) -> Option<(&str, &str)> {
    let (file, rest) = bare(line).strip_prefix("File \"")?.split_once("\", line ")?;
    let number = rest.split(',').next().unwrap_or(rest);
    number.chars().all(|letter| letter.is_ascii_digit()).then_some((file, number))
}

fn is_own_python(file: &str) -> bool {
    let others = ["site-packages/", "dist-packages/", "/lib/python", ".venv/bin/"];
    !file.starts_with('<') && !others.iter().any(|part| file.contains(part))
}

fn is_more_of_a_message(line: &str) -> bool {
    let ends =
        ["[", "ERROR", "INFO", "During handling", "The above exception", "note:", "hint:", "+-"];
    !line.trim().is_empty() && !ends.iter().any(|end| bare(line).starts_with(end))
}

/// The exception before the one whose traceback begins after these lines.
fn python_before(lines: &[String]) -> Option<String> {
    let mut above = lines.iter().rev().map(|line| bare(line)).filter(|line| !line.is_empty());
    let link = above.find(|line| !line.contains("Traceback (most recent call last)"))?;
    let word = if link.starts_with("The above exception was the direct cause") {
        "caused by"
    } else if link.starts_with("During handling of the above exception") {
        "after"
    } else {
        return None;
    };
    above.next().map(|exception| format!("{word} {exception}"))
}

/// Errors of JavaScript with the frames of V8, also within what npm repeats:
/// <https://v8.dev/docs/stack-trace-api>
pub(crate) fn node(lines: &[String]) -> Option<Found> {
    let end = lines.iter().rposition(|line| node_frame(line).is_some())?;
    let mut causes = Vec::new();
    let mut head = None;
    for line in (end.saturating_sub(100)..end).rev() {
        let text = bare(&lines[line]);
        if let Some(cause) = text.strip_prefix("[cause]: ") {
            causes.push(format!("caused by {cause}"));
        } else if is_node_error(text) {
            head = Some(line);
            break;
        }
    }
    let head = head?;
    let frames = (head + 1..=end).find(|&line| node_frame(&lines[line]).is_some())?;
    let is_message =
        |line: &&str| !line.is_empty() && *line != "Require stack:" && !line.starts_with("- ");
    let text = bare(&lines[head]);
    // Of this one the end alone says what it is about.
    let reason = text.find("The promise rejected with the reason").map(|at| text[at..].to_owned());
    let mut told = vec![reason.unwrap_or_else(|| text.to_owned())];
    let details = lines[head + 1..frames].iter().map(|line| bare(line)).filter(is_message);
    told.extend(details.take(2).map(str::to_owned));
    let own = lines[frames..=end]
        .iter()
        .filter_map(|line| node_frame(line))
        .find(|place| is_own_node(place));
    told.append(&mut causes);
    match own {
        Some(place) => told.push(format!("at {place}")),
        None => told.extend(excerpt(&lines[..head])),
    }
    Some(Found { end, lines: told })
}

/// Where the code is of which Node shows a line before an error that has no frame in it.
fn excerpt(above: &[String]) -> Option<String> {
    let from = above.len().saturating_sub(6);
    let line = (from..above.len()).find(|&line| {
        let number = above[line].rsplit_once(':').map_or("", |(_, number)| number);
        above[line].contains('.') && number.parse::<u32>().is_ok() && is_own_node(&above[line])
    })?;
    let code = above.get(line + 1).map_or("", |code| code.trim());
    Some(format!("{}: {code}", above[line]))
}

/// The place of a frame, such as `server.js:3:10`.
fn node_frame(line: &str) -> Option<&str> {
    let text = bare(line).strip_prefix("at ")?.trim_end_matches(" {");
    let place = text
        .strip_suffix(')')
        .and_then(|text| text.rsplit_once('('))
        .map_or(text, |(_, place)| place);
    let mut parts = place.rsplitn(3, ':');
    let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
    (is_number(parts.next()) && is_number(parts.next())).then(|| {
        let place = place.strip_prefix("async ").unwrap_or(place);
        place.strip_prefix("file://").unwrap_or(place)
    })
}

fn is_own_node(place: &str) -> bool {
    !place.starts_with("node:") && !place.contains("node_modules/") && !place.starts_with('<')
}

/// `TypeError: …`, `Error [ERR_MODULE_NOT_FOUND]: …`, `UnhandledPromiseRejection: …`.
fn is_node_error(text: &str) -> bool {
    let name = text.split([':', ' ', '[']).next().unwrap_or_default();
    let is_name = name.chars().all(|letter| letter.is_alphanumeric() || "._$".contains(letter));
    let ends = ["Error", "Exception", "Rejection"];
    is_name && ends.iter().any(|end| name.ends_with(end))
}

/// What is thrown that is no error has no frames:
/// <https://nodejs.org/api/cli.html#--trace-uncaught>
pub(crate) fn node_thrown(lines: &[String]) -> Option<Found> {
    let end = lines.iter().rposition(|line| line.starts_with("(Use `node --trace-uncaught"))?;
    let caret = lines[..end].iter().rposition(|line| line.trim() == "^")?;
    let thrown = lines[caret + 1..end].iter().find(|line| !line.trim().is_empty())?;
    let told = [Some(thrown.clone()), excerpt(&lines[..caret])];
    Some(Found { end, lines: told.into_iter().flatten().collect() })
}

/// Exceptions of Java and its relatives, of which the innermost cause comes first:
/// <https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/lang/Throwable.html#printStackTrace()>
pub(crate) fn java(lines: &[String]) -> Option<Found> {
    let end = lines.iter().rposition(|line| java_frame(line).is_some())?;
    let is_part = |line: &str| {
        let text = bare(line);
        java_frame(text).is_some()
            || ["Caused by: ", "Suppressed: ", "... "].iter().any(|word| text.starts_with(word))
    };
    let head = (0..end).rev().find(|&line| !is_part(&lines[line]))?;
    let cause = (head..end).rev().find(|&line| bare(&lines[line]).starts_with("Caused by: "));
    let root = cause.unwrap_or(head);
    let own = lines[root..=end]
        .iter()
        .filter_map(|line| java_frame(line))
        .find(|frame| is_own_java(frame));
    let name = |line: usize| {
        let text = bare(&lines[line]);
        let text = text.strip_prefix("Caused by: ").unwrap_or(text);
        let thread =
            text.strip_prefix("Exception in thread \"").and_then(|text| text.split_once("\" "));
        thread.map_or(text, |(_, exception)| exception).to_owned()
    };
    let mut told = vec![name(root)];
    told.extend(own.map(|frame| format!("at {frame}")));
    told.extend(cause.map(|_| name(head)));
    Some(Found { end, lines: told })
}

fn java_frame(line: &str) -> Option<&str> {
    let frame = bare(line).strip_prefix("at ")?;
    let (method, place) = frame.strip_suffix(')')?.split_once('(')?;
    let files = [".java:", ".kt:", ".scala:", ".groovy:", ".clj:"];
    let is_place = files.iter().any(|file| place.contains(file))
        || ["Native Method", "Unknown Source"].contains(&place);
    (is_place && !method.contains(' ')).then_some(frame)
}

fn is_own_java(frame: &str) -> bool {
    let others = [
        "java.",
        "javax.",
        "jdk.",
        "sun.",
        "com.sun.",
        "org.springframework.",
        "org.apache.",
        "kotlin.",
    ];
    !others.iter().any(|package| frame.starts_with(package))
}

/// A panic of Rust: <https://doc.rust-lang.org/std/macro.panic.html>
pub(crate) fn rust(lines: &[String]) -> Option<Found> {
    let head = lines.iter().rposition(|line| {
        bare(line).starts_with("thread '") && line.contains("' panicked at ")
            || line.contains(") panicked at ")
    })?;
    let (_, place) = lines[head].split_once(" panicked at ")?;
    let is_message = |line: &&String| {
        let text = bare(line);
        !text.is_empty() && !text.starts_with("note: ") && !text.starts_with("stack backtrace:")
    };
    let message: Vec<String> = lines[head + 1..]
        .iter()
        .take(3)
        .take_while(is_message)
        .map(|line| bare(line).to_owned())
        .collect();
    let end = head + message.len();
    let place = format!("panicked at {}", place.trim_end_matches(':'));
    Some(Found { end, lines: message.into_iter().chain([place]).collect() })
}

/// A panic of Go, or a fatal error of its runtime: <https://go.dev/ref/spec#Handling_panics>
pub(crate) fn go(lines: &[String]) -> Option<Found> {
    let routine = lines.iter().rposition(|line| is_goroutine(line))?;
    let is_head = |line: &&usize| {
        ["panic: ", "fatal error: "].iter().any(|word| lines[**line].starts_with(word))
    };
    let before: Vec<usize> = (0..routine).rev().collect();
    let head = *before.iter().find(is_head)?;
    let first = (head..=routine).find(|&line| is_goroutine(&lines[line]))?;
    let frames = lines[first..].iter().map(|line| bare(line));
    let own = frames.filter(|line| line.contains(".go:")).find(|frame| {
        !["/go/src/", "/pkg/mod/", "/lib/go", "/usr/local/go/"]
            .iter()
            .any(|part| frame.contains(part))
    });
    let own = own.and_then(|frame| frame.split(' ').next()).map(|place| format!("at {place}"));
    let told = [Some(lines[head].clone()), own].into_iter().flatten().collect();
    Some(Found { end: routine, lines: told })
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.ends_with("]:")
}

/// Exceptions of Ruby, whose causes come after them:
/// <https://docs.ruby-lang.org/en/3.1/Exception.html#method-i-full_message>
pub(crate) fn ruby(lines: &[String]) -> Option<Found> {
    let end = lines.iter().rposition(|line| ruby_exception(line).is_some())?;
    let (mut place, message) = ruby_exception(&lines[end])?;
    let below = lines[end + 1..].iter().map(|line| bare(line));
    let frames: Vec<&str> =
        below.take_while(|line| line.starts_with("from ")).map(|line| &line[5..]).collect();
    if !is_own_ruby(place) {
        place = frames.iter().find(|frame| is_own_ruby(frame)).copied().unwrap_or(place);
    }
    let place = place.split(":in ").next().unwrap_or(place);
    let outer =
        lines[..end].iter().rev().take_while(|line| bare(line).starts_with("from ")).count();
    let outer = lines[..end - outer].last().and_then(|line| ruby_exception(line));
    let mut told = vec![message.to_owned(), format!("at {place}")];
    told.extend(outer.map(|(_, message)| message.to_owned()));
    Some(Found { end: end + frames.len(), lines: told })
}

/// Where it was raised, and what it says with its class: ``app.rb:2:in `load': no key (KeyError)``.
fn ruby_exception(line: &str) -> Option<(&str, &str)> {
    let (place, message) = line.split_once("': ")?;
    let (place, _) = place.split_once(":in `").or_else(|| place.split_once(":in '"))?;
    let class = message.strip_suffix(')')?.rsplit_once('(')?.1;
    let is_class = class.starts_with(|letter: char| letter.is_ascii_uppercase())
        && class.chars().all(|letter| letter.is_alphanumeric() || "_:".contains(letter));
    is_class.then_some((place, message))
}

fn is_own_ruby(place: &str) -> bool {
    !place.starts_with("<internal:")
        && !["/gems/", "/lib/ruby"].iter().any(|part| place.contains(part))
}
