//! The convention of Ruby: gems by Bundler (<https://bundler.io/man/bundle-config.1.html>), Rails
//! by its own server (<https://guides.rubyonrails.org/command_line.html>), else what `config.ru`
//! says.

use crate::build::convention::{Convention, Language, Start};
use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::step::Step;
use crate::build::toolchain::Toolchains;

pub(crate) const LANGUAGE: Language = Language { name: "Ruby", files: &["Gemfile", "config.ru"] };

/// Bundler takes the settings of the app's folder before those of the environment, so that what
/// `BuildEnv` says is written there.
const SETTINGS: &str = "\
if [ -z \"$BUNDLE_PATH__SYSTEM\" ]; then \
bundle config set --local path \"${BUNDLE_PATH:-vendor/bundle}\"; fi && \
bundle config set --local without \"${BUNDLE_WITHOUT:-development:test}\"";
/// Nothing is installed that the lock file does not have.
const FROZEN: &str = "bundle config set --local frozen \"${BUNDLE_FROZEN:-true}\"";
/// Rails wants a secret to start with, also where nothing is kept secret with it.
const ASSETS: &str = "\
RAILS_ENV=\"${RAILS_ENV:-production}\" SECRET_KEY_BASE_DUMMY=1 \
SECRET_KEY_BASE=\"${SECRET_KEY_BASE:-for-the-build-alone}\" \
exec bundle exec rails assets:precompile";

/// Ruby, by `Gemfile` or `config.ru`; steps only with `tools`.
pub(crate) fn convention(
    source: &Source<'_>,
    tools: Option<&Toolchains>,
) -> Result<Option<Convention>, RecipeError> {
    let gems = source.read("Gemfile")?;
    let has_rack = source.has("config.ru")?;
    if gems.is_none() && !has_rack {
        return Ok(None);
    }
    let lock = source.read("Gemfile.lock")?;
    let named = |gem: &str| {
        let in_lock = lock.as_deref().is_some_and(|lock| {
            lock.lines().any(|line| line.trim().split(' ').next() == Some(gem))
        });
        let quoted = [format!("'{gem}'"), format!("\"{gem}\"")];
        in_lock || gems.as_deref().is_some_and(|gems| quoted.iter().any(|gem| gems.contains(gem)))
    };
    let is_rails = source.has("bin/rails")? && gems.is_some();
    let mut steps = Vec::new();
    if let Some(tools) = tools {
        let tool = if gems.is_some() { "bundle" } else { "ruby" };
        if tools.find(tool).is_none() {
            return Err(RecipeError::Missing {
                tool: tool.to_owned(),
                wanted_by: if gems.is_some() { "`Gemfile`" } else { "`config.ru`" }.to_owned(),
                cure: "`apt install ruby bundler`".to_owned(),
            });
        }
        if gems.is_some() {
            let settings = match lock {
                Some(_) => format!("{SETTINGS} && {FROZEN}"),
                None => SETTINGS.to_owned(),
            };
            steps.push(Step::new("set Bundler up", ["sh", "-c", &settings]));
            steps.push(Step::new("install gems", ["bundle", "install"]));
        }
        if is_rails && (named("sprockets") || named("sprockets-rails") || named("propshaft")) {
            steps.push(Step::new("make Rails' assets", ["sh", "-c", ASSETS]));
        }
    }
    let bundled = if gems.is_some() { "bundle exec " } else { "" };
    let start = if is_rails {
        let command = "exec bundle exec rails server --binding $HOST --port $PORT";
        Some(Start::Framework(command.to_owned()))
    } else if has_rack && named("puma") {
        Some(Start::Command(format!("exec {bundled}puma --bind tcp://$HOST:$PORT")))
    } else if has_rack {
        Some(Start::Command(format!("exec {bundled}rackup --host $HOST --port $PORT")))
    } else {
        None
    };
    Ok(Some(Convention {
        kind: LANGUAGE.name,
        steps,
        start,
        path: Vec::new(),
        without_start: "`Gemfile` without a `config.ru` or a `bin/rails`".to_owned(),
        example: "bundle exec ruby app.rb".to_owned(),
        notes: Vec::new(),
    }))
}
