//! What lies in an app's folder of languages that no convention builds, with the lines of a
//! `Procfile` that do.

use rowhouse_core::AppName;
use serde::{Deserialize, Serialize};

use crate::build::convention::Language;
use crate::build::put::put;
use crate::build::source::Source;

/// A language that was found and that nothing builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbuilt {
    /// By which file it was found.
    pub file: String,
    pub language: String,
    /// The command that builds it; of an empty one nobody knows.
    pub build: String,
    /// The command that starts it.
    pub web: String,
    /// Which tool this machine lacks for it, and the cure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
}

impl Unbuilt {
    /// Of a language whose tool this machine has not; `file` is as prose names it.
    pub(crate) fn without_tool(language: &Language, file: &str, tool: &str, cure: &str) -> Unbuilt {
        Unbuilt {
            file: file.trim_matches('`').to_owned(),
            language: language.name.to_owned(),
            build: String::new(),
            web: String::new(),
            lacks: Some(format!("`{tool}` is not installed; install it: {cure}")),
        }
    }

    /// What is to be done for it, as the end of a reason.
    pub fn told(&self, app: &AppName) -> String {
        let Unbuilt { file, language, build, lacks, .. } = self;
        let begin = format!("nothing was built of `{file}` ({language})");
        match lacks {
            Some(lacks) => format!("{begin}: {lacks}"),
            None => format!(
                "{begin}: add a line such as `build: {build}` to the `Procfile`, or type `{}`",
                put(app, &[("build", build)])
            ),
        }
    }
}

/// By which file a language is known, and how it is usually built and started.
struct Sign {
    file: &'static str,
    language: &'static str,
    build: &'static str,
    web: &'static str,
    /// How commands begin that build by themselves.
    builds_itself: &'static [&'static str],
}

/// In this order; of one language the first counts.
const SIGNS: [Sign; 4] = [
    Sign {
        file: "pom.xml",
        language: "Java",
        build: "mvn --batch-mode package",
        web: "java -jar target/*.jar",
        builds_itself: &["mvn", "./mvnw"],
    },
    Sign {
        file: "build.gradle",
        language: "Java",
        build: "./gradlew build",
        web: "java -jar build/libs/*.jar",
        builds_itself: &["gradle", "./gradlew"],
    },
    Sign {
        file: "build.gradle.kts",
        language: "Java",
        build: "./gradlew build",
        web: "java -jar build/libs/*.jar",
        builds_itself: &["gradle", "./gradlew"],
    },
    Sign {
        file: "mix.exs",
        language: "Elixir",
        build: "mix deps.get && MIX_ENV=prod mix compile",
        web: "MIX_ENV=prod mix phx.server",
        builds_itself: &[],
    },
];

/// Folders that hold a finished site, where a tool has made one.
const SITES: [&str; 6] = ["dist", "public", "build", "out", "_site", "docs"];

/// The languages without a convention, the first sign of each; `web` is the command that the
/// `Procfile` has for it, which may build by itself.
pub(crate) fn unbuilt(source: &Source<'_>, web: Option<&str>) -> Vec<Unbuilt> {
    let mut found: Vec<Unbuilt> = Vec::new();
    for sign in &SIGNS {
        // What a link leads to is looked at by whoever builds it.
        let is_there = source.has(sign.file).unwrap_or(false);
        let is_known = found
            .iter()
            .any(|known| known.language.split(' ').next() == sign.language.split(' ').next());
        let begins = |command: &&str| web.is_some_and(|web| web.starts_with(*command));
        if is_there && !is_known && !sign.builds_itself.iter().any(begins) {
            found.push(Unbuilt {
                file: sign.file.to_owned(),
                language: sign.language.to_owned(),
                build: sign.build.to_owned(),
                web: sign.web.to_owned(),
                lacks: None,
            });
        }
    }
    found
}

/// What else is there of which somebody may think that it says how the app runs.
pub(crate) fn unused(source: &Source<'_>) -> Vec<String> {
    let has = |name: &str| source.has(name).unwrap_or(false);
    let containers = ["Dockerfile", "Containerfile", "docker-compose.yml", "compose.yaml"];
    let mut found: Vec<String> = containers
        .into_iter()
        .filter(|name| has(name))
        .map(|name| format!("a `{name}`, which is not used"))
        .collect();
    let sites = SITES.into_iter().filter(|folder| has(&format!("{folder}/index.html")));
    found.extend(sites.map(|folder| {
        format!("a site in `{folder}`, which is served where the row's `Path` names that folder")
    }));
    found
}
