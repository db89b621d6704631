//! Where a platform is, for whoever types commands.

use std::time::Duration;

/// How a platform is reached from this command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    before: String,
    after: String,
    /// What to do where no reactor is at work, or none that hears at once.
    pub cure: String,
    /// How long to wait between two looks at it.
    pub pause: Duration,
}

impl Location {
    /// `before` and `after`: the options that choose it, on either side of a command's own words;
    /// empty where it is the one that is meant anyway.
    pub fn new(before: String, after: String, cure: String, pause: Duration) -> Location {
        Location { before, after, cure, pause }
    }

    /// A command to paste that works on this very platform.
    pub fn command(&self, words: &str) -> String {
        let parts = ["rowhouse", &self.before, words, &self.after];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_platform_where_it_must() {
        let command = |before: &str, after: &str| {
            let [before, after] = [before, after].map(str::to_owned);
            Location::new(before, after, String::new(), Duration::ZERO).command("show shop")
        };
        assert_eq!(command("", ""), "rowhouse show shop");
        assert_eq!(command("--aws --region x", ""), "rowhouse --aws --region x show shop");
        assert_eq!(command("", "--data /srv"), "rowhouse show shop --data /srv");
    }
}
