//! What a `package.json` says of an app.
//!
//! Source: <https://docs.npmjs.com/cli/v11/configuring-npm/package-json>.

use serde::Deserialize;
use serde_json::Value;

use crate::build::error::RecipeError;
use crate::build::source::Source;

/// A `package.json`. A field that is not of its kind is as one that is not there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Package {
    name: Value,
    main: Value,
    module: Value,
    scripts: Value,
    dependencies: Value,
    dev_dependencies: Value,
    engines: Value,
    volta: Value,
    #[serde(rename = "packageManager")]
    manager: Value,
    workspaces: Value,
}

impl Package {
    /// The package of an app, if it is one.
    ///
    /// # Errors
    /// A file that is no JSON.
    pub(crate) fn read(source: &Source<'_>) -> Result<Option<Package>, RecipeError> {
        let Some(text) = source.read("package.json")? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| RecipeError::BadFile {
            file: "package.json".to_owned(),
            reason: error.to_string(),
        })
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_str()
    }

    /// The files that it names as its own, those for people who use it first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &str> {
        [&self.main, &self.module].into_iter().filter_map(Value::as_str)
    }

    pub(crate) fn script(&self, name: &str) -> Option<&str> {
        self.scripts.get(name)?.as_str()
    }

    /// Whether it depends on a package, to run or to be built.
    pub(crate) fn has(&self, package: &str) -> bool {
        [&self.dependencies, &self.dev_dependencies].iter().any(|all| all.get(package).is_some())
    }

    /// Whether there are packages that only who works on it needs.
    pub(crate) fn has_development(&self) -> bool {
        self.dev_dependencies.as_object().is_some_and(|all| !all.is_empty())
    }

    /// The Node that it asks for exactly, as Volta does.
    pub(crate) fn exact_node(&self) -> Option<&str> {
        self.volta.get("node")?.as_str()
    }

    /// The range of Nodes that it asks for.
    pub(crate) fn node(&self) -> Option<&str> {
        self.engines.get("node")?.as_str()
    }

    /// The package manager that it names, with its version: `pnpm`, `9.1.0`.
    pub(crate) fn manager(&self) -> Option<(&str, &str)> {
        let (name, version) = self.manager.as_str()?.split_once('@')?;
        Some((name, version.split('+').next().unwrap_or(version)))
    }

    /// Whether it is the root of a workspace.
    pub(crate) fn is_workspace(&self) -> bool {
        !self.workspaces.is_null()
    }
}
