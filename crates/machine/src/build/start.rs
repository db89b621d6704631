//! Chooses how an app is started that does not say it in a Procfile, and says what to type where
//! nobody knows.

use std::path::PathBuf;

use rowhouse_core::AppName;

use crate::build::convention::hint::{Hint, hint};
use crate::build::convention::known::LANGUAGES;
use crate::build::convention::unbuilt::{Unbuilt, unused};
use crate::build::convention::{Convention, Start};
use crate::build::error::RecipeError;
use crate::build::put::put;
use crate::build::source::Source;
use crate::build::web::Web;

/// How an app is started without a `web` line.
pub(crate) struct Usual {
    pub(crate) web: Web,
    /// The same for the build's log.
    pub(crate) told: String,
}

/// The start of the language that knows most of the app.
pub(crate) fn usual(
    app: &AppName,
    source: &Source<'_>,
    is_replaced: bool,
    found: &[Convention],
    unbuilt: &[Unbuilt],
) -> Result<Usual, RecipeError> {
    let starts = found.iter().filter_map(|one| Some((one.kind, one.start.as_ref()?)));
    let starts: Vec<(&str, &Start)> = starts.collect();
    let best = starts.iter().map(|(_, start)| start.rank()).max();
    let best: Vec<&(&str, &Start)> =
        starts.iter().filter(|(_, start)| Some(start.rank()) == best).collect();
    if let [(kind, start)] = best.as_slice() {
        let told = match start {
            Start::Command(text) | Start::Framework(text) => format!("it is started by `{text}`"),
            Start::Site(_) => "the site that its build makes is served".to_owned(),
        };
        return Ok(Usual { web: web(start), told: format!("{told} ({kind})") });
    }
    if found.is_empty() && source.has_inside("index.html")? {
        let told = "its files are served, for there is an `index.html`".to_owned();
        return Ok(Usual { web: Web::Static(PathBuf::from(".")), told });
    }
    let reason = match best.as_slice() {
        [] => unknown(app, source, is_replaced, found, unbuilt),
        several => too_many(app, several),
    };
    Ok(Usual { told: reason.clone(), web: Web::Unknown(reason) })
}

fn web(start: &Start) -> Web {
    match start {
        Start::Command(text) | Start::Framework(text) => Web::Command(text.clone()),
        Start::Site(site) => Web::Made(site.clone()),
    }
}

fn too_many(app: &AppName, starts: &[&(&str, &Start)]) -> String {
    let texts = starts.iter().map(|(kind, start)| match start {
        Start::Command(text) | Start::Framework(text) => (*kind, text.clone()),
        Start::Site(site) => {
            let folder = site.folders.first().map(|folder| folder.display().to_string());
            (*kind, format!("static {}", folder.unwrap_or_else(|| ".".to_owned())))
        }
    });
    let texts: Vec<(&str, String)> = texts.collect();
    let ways: Vec<String> = texts.iter().map(|(kind, text)| format!("`{text}` ({kind})")).collect();
    let example = texts.first().map_or("", |(_, text)| text);
    format!(
        "there is more than one way to run this app: {}; choose one with a line such as `web: \
         {example}` in a `Procfile`, or by `{}`",
        ways.join(", "),
        put(app, &[("web", example)])
    )
}

fn unknown(
    app: &AppName,
    source: &Source<'_>,
    is_replaced: bool,
    found: &[Convention],
    unbuilt: &[Unbuilt],
) -> String {
    let mut signs: Vec<String> =
        unbuilt.iter().map(|one| format!("`{}` ({})", one.file, one.language)).collect();
    signs.extend(found.iter().map(|one| one.without_start.clone()));
    if source.folder.join("Procfile").exists() {
        signs.push("a `Procfile` without `web:`".to_owned());
    }
    signs.extend(unused(source));
    let hint = hint(source);
    if let Some(Hint { file, command }) = &hint {
        signs.push(format!("`{file}`, which starts it with `{command}`"));
    }
    let signs = if signs.is_empty() {
        let files = LANGUAGES.iter().flat_map(|language| language.files);
        let files: Vec<String> = files.map(|file| format!("`{file}`")).collect();
        format!(
            "looked for a `Procfile` with `web:`, an `index.html`, and one of {}",
            files.join(", ")
        )
    } else {
        format!("found {}", signs.join(" and "))
    };
    let example = found.first().map_or("./serve --bind $HOST:$PORT", |one| one.example.as_str());
    let lines = match (&hint, unbuilt.first()) {
        (Some(hint), _) => vec![("web", hint.command.as_str())],
        (None, Some(one)) if !is_replaced => {
            vec![("build", one.build.as_str()), ("web", one.web.as_str())]
        }
        (None, _) => vec![("web", example)],
    };
    let texts: Vec<String> = lines.iter().map(|(name, text)| format!("`{name}: {text}`")).collect();
    let texts = match texts.as_slice() {
        [web] => format!("a line such as {web}"),
        several => format!("the lines {}", several.join(" and ")),
    };
    format!(
        "there is no way to run this app: {signs}; add a `Procfile` with {texts}, or type `{}`",
        put(app, &lines)
    )
}
