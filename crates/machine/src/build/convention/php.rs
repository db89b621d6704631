//! The convention of PHP: packages by Composer (<https://getcomposer.org/doc>), served by
//! `FrankenPHP` if there is one, else by PHP's own server
//! (<https://www.php.net/manual/en/features.commandline.webserver.php>), which is for small loads.

use serde::Deserialize;

use crate::build::convention::{Convention, Language, Start};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

pub(crate) const LANGUAGE: Language =
    Language { name: "PHP", files: &["composer.json", "public/index.php", "index.php"] };

/// What Composer installs beside PHP itself and its extensions.
#[derive(Default, Deserialize)]
struct Composer {
    #[serde(default)]
    require: serde_json::Value,
    #[serde(default)]
    autoload: serde_json::Value,
}

impl Composer {
    fn has_work(&self) -> bool {
        let names = self.require.as_object().into_iter().flat_map(|names| names.keys());
        let is_package = |name: &String| name.contains('/');
        names.filter(|name| is_package(name)).count() > 0 || !self.autoload.is_null()
    }
}

/// PHP, by the page that is its entrance or by `composer.json`; steps only with `tools`.
pub(crate) fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let [composer, public, index] = LANGUAGE.files else { return Ok(None) };
    let about = source.read(composer)?;
    let (has_public, has_index) = (source.has(public)?, source.has(index)?);
    if about.is_none() && !has_public && !has_index {
        return Ok(None);
    }
    let about: Composer = match about.as_deref().map(serde_json::from_str) {
        Some(parsed) => parsed.map_err(|error: serde_json::Error| RecipeError::BadFile {
            file: (*composer).to_owned(),
            reason: error.to_string(),
        })?,
        None => Composer::default(),
    };
    let mut steps = Vec::new();
    let is_franken = tools.is_some_and(|tools| tools.find("frankenphp").is_some());
    if let Some(tools) = tools {
        let missing = |tool: &str, wanted_by: &str, cure: &str| RecipeError::Missing {
            tool: tool.to_owned(),
            wanted_by: format!("`{wanted_by}`"),
            cure: cure.to_owned(),
        };
        if !is_franken && tools.find("php").is_none() {
            let by = if has_public { public } else { index };
            return Err(missing("php", by, "`apt install php-cli`, or https://frankenphp.dev"));
        }
        if about.has_work() {
            if tools.find("composer").is_none() {
                return Err(missing("composer", composer, "`apt install composer`"));
            }
            let install = ["composer", "install", "--no-dev", "--no-interaction", "--no-progress"];
            let install = install.into_iter().chain(["--optimize-autoloader"]);
            steps.push(Step::new("install PHP packages", install));
        }
    }
    let folder = if has_public { "public" } else { "." };
    let command = if is_franken {
        format!("exec frankenphp php-server --listen $HOST:$PORT --root {folder}")
    } else {
        format!("exec php -S $HOST:$PORT -t {folder}")
    };
    let start = match (source.has("artisan")?, has_public || has_index) {
        (true, true) => Some(Start::Framework(command.clone())),
        (false, true) => Some(Start::Command(command.clone())),
        (_, false) => None,
    };
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start,
        path: vec!["vendor/bin".into()],
        without_start: format!("`{composer}` without a `{public}` or an `{index}`"),
        example: command,
        notes: Vec::new(),
    }))
}
