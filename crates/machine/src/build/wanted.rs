//! Which version of a language an app asks for, and what is done about it: what is on this machine
//! is used if it fits, and else the row says what is wanted, what is there, and the cure.
//!
//! Sources: <https://devcenter.heroku.com/articles/python-runtimes>,
//! <https://github.com/nvm-sh/nvm#nvmrc>,
//! <https://docs.npmjs.com/cli/v11/configuring-npm/package-json#engines>,
//! <https://asdf-vm.com/manage/configuration.html>.

use crate::build::error::RecipeError;
use crate::build::source::Source;
use crate::build::version::{Fit, Range, Version};

/// What somebody wrote of the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// In which file.
    pub(crate) file: &'static str,
    /// In its own words.
    pub(crate) text: String,
    /// What must be kept.
    range: Range,
    /// What would be best.
    exact: Option<Range>,
    /// Whether a newer one is only told.
    is_minimum: bool,
}

impl Wanted {
    /// A version of which the first `parts` numbers must be these.
    pub(crate) fn exactly(file: &'static str, text: &str, parts: usize) -> Option<Wanted> {
        let text = text.trim();
        let range = Range::beginning(text, parts)?;
        Some(Wanted {
            file,
            text: text.to_owned(),
            range,
            exact: Range::beginning(text, 3),
            is_minimum: false,
        })
    }

    /// A range that all of must be kept.
    pub(crate) fn within(file: &'static str, text: &str) -> Option<Wanted> {
        let range = Range::parse(text)?;
        Some(Wanted { file, text: text.to_owned(), range, exact: None, is_minimum: false })
    }

    /// A range of which only the beginning must be kept.
    pub(crate) fn from(file: &'static str, text: &str) -> Option<Wanted> {
        Wanted::within(file, text).map(|wanted| Wanted { is_minimum: true, ..wanted })
    }

    /// How Debian calls the program of the version: `python3.13`.
    pub(crate) fn program(&self, name: &str) -> String {
        let version = Version::parse(&self.text).map(|version| version.to_string());
        let version = version.unwrap_or_default();
        let parts: Vec<&str> = version.split('.').take(2).collect();
        format!("{name}{}", parts.join("."))
    }

    /// Whether this version may be used.
    pub(crate) fn allows(&self, version: &Version) -> bool {
        match self.range.fit(version) {
            Fit::Fits => true,
            Fit::TooOld => false,
            Fit::Outside => self.is_minimum,
        }
    }

    /// What is to be told of this version, if it is used.
    ///
    /// # Errors
    /// It may not be used.
    pub(crate) fn check(
        &self,
        language: &'static str,
        there: &Version,
        cure: &str,
    ) -> Result<Option<String>, RecipeError> {
        let Wanted { file, text, range, exact, .. } = self;
        if !self.allows(there) {
            return Err(RecipeError::Version {
                language,
                wanted: text.clone(),
                file,
                there: there.to_string(),
                cure: cure.to_owned(),
            });
        }
        let best = exact.as_ref().unwrap_or(range);
        let told = best.fit(there) != Fit::Fits;
        Ok(told.then(|| format!("`{file}` asks for {language} {text}, and {there} is used")))
    }
}

/// The first word of a file that names a version, without its comments.
pub(crate) fn first_word(source: &Source<'_>, file: &str) -> Result<Option<String>, RecipeError> {
    let Some(text) = source.read(file)? else { return Ok(None) };
    let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines.find(|line| !line.is_empty()).map(str::to_owned))
}

/// What `.tool-versions` says of a tool, by one of its names there.
pub(crate) fn of_tool(source: &Source<'_>, names: &[&str]) -> Result<Option<String>, RecipeError> {
    let Some(text) = source.read(".tool-versions")? else { return Ok(None) };
    let mut lines = text.lines().map(str::split_whitespace);
    Ok(lines.find_map(|mut words| {
        names.contains(&words.next()?).then(|| words.next().map(str::to_owned))?
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: Option<Wanted>, there: &str) -> Result<Option<String>, String> {
        let there = Version::parse(there).unwrap();
        let end = wanted.unwrap().check("Node", &there, "install it");
        end.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_exact_or_a_minimum_is_kept_and_the_rest_is_told() {
        let exact = || Wanted::exactly(".nvmrc", "v20.11.1\n", 1);
        assert_eq!(check(exact(), "20.11.1"), Ok(None));
        let told = check(exact(), "20.20.2").unwrap().unwrap();
        assert_eq!(told, "`.nvmrc` asks for Node v20.11.1, and 20.20.2 is used");
        for there in ["18.0.0", "22.0.0"] {
            let said = check(exact(), there).unwrap_err();
            assert_eq!(
                said,
                format!(
                    "`.nvmrc` asks for Node v20.11.1, and this machine has {there}; install it"
                )
            );
        }
        let least = || Wanted::from("package.json", "18.x");
        assert_eq!(check(least(), "18.1.0"), Ok(None));
        assert!(check(least(), "20.0.0").unwrap().is_some());
        assert!(check(least(), "16.0.0").is_err());
        assert!(check(Wanted::within("pyproject.toml", "<3.11"), "3.11.0").is_err());
    }
}
