//! The environment of an app's process: what is documented, and nothing that the platform was
//! started with.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an environment is made from.
#[derive(Clone, Debug)]
pub struct Given {
    /// Folders of the build that go first on `PATH`.
    pub first_on_path: Vec<PathBuf>,
    pub platform_path: String,
    pub home: PathBuf,
    pub temporary: PathBuf,
    /// The app's own folder, kept across versions.
    pub data: PathBuf,
    /// `None` for a process that serves nothing, such as `release:`.
    pub port: Option<u16>,
    pub name: String,
    pub version: String,
    pub revision: String,
    /// The row's `Env`.
    pub env: BTreeMap<String, String>,
}

/// What makes a program behave as in production, where the row does not say otherwise.
pub const DEFAULTS: [(&str, &str); 7] = [
    ("LANG", "C.UTF-8"),
    ("NODE_ENV", "production"),
    ("PYTHONUNBUFFERED", "1"),
    ("RACK_ENV", "production"),
    ("RAILS_ENV", "production"),
    ("RAILS_LOG_TO_STDOUT", "1"),
    ("RAILS_SERVE_STATIC_FILES", "1"),
];

/// The row's variables, and beside them the platform's own, [`rowhouse_core::PLATFORM_VARIABLES`],
/// of which a valid row has none. `PATH` and `LANG` are the row's to change, and so is what makes a
/// program behave as in production: Python's words are seen at once, and the frameworks of Node and
/// Ruby know where they run.
pub fn of_instance(given: Given) -> BTreeMap<String, String> {
    let mut path: Vec<String> =
        given.first_on_path.iter().map(|folder| folder.display().to_string()).collect();
    path.push(given.platform_path);
    let mut environment = BTreeMap::from([("PATH".to_owned(), path.join(":"))]);
    environment.extend(DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment.extend(given.env);
    let own = [
        ("HOME", given.home.display().to_string()),
        ("TMPDIR", given.temporary.display().to_string()),
        ("DATA_DIR", given.data.display().to_string()),
        ("HOST", "127.0.0.1".to_owned()),
        ("APP_NAME", given.name),
        ("APP_VERSION", given.version),
        ("APP_REVISION", given.revision),
    ];
    environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    match given.port {
        Some(port) => environment.insert("PORT".to_owned(), port.to_string()),
        None => environment.remove("PORT"),
    };
    environment
}

#[cfg(test)]
mod tests {
    use rowhouse_core::PLATFORM_VARIABLES;

    use super::*;

    #[test]
    fn an_environment_has_what_is_documented_and_the_rows_own() {
        let environment = of_instance(Given {
            first_on_path: vec!["/build/.venv/bin".into()],
            platform_path: "/usr/bin:/bin".into(),
            home: "/home".into(),
            temporary: "/tmp".into(),
            data: "/data".into(),
            port: Some(20_001),
            name: "shop".into(),
            version: "main".into(),
            revision: "c".repeat(40),
            env: BTreeMap::from([
                ("GREETING".to_owned(), "hello".to_owned()),
                ("LANG".to_owned(), "de_DE.UTF-8".to_owned()),
                ("NODE_ENV".to_owned(), "staging".to_owned()),
            ]),
        });
        let names: Vec<&str> = environment.keys().map(String::as_str).collect();
        let mut documented = [
            &PLATFORM_VARIABLES[..],
            &["GREETING", "LANG", "NODE_ENV", "PATH", "PYTHONUNBUFFERED", "RACK_ENV", "RAILS_ENV"],
            &["RAILS_LOG_TO_STDOUT", "RAILS_SERVE_STATIC_FILES"],
        ]
        .concat();
        documented.sort_unstable();
        assert_eq!(names, documented);
        assert_eq!(environment["PORT"], "20001");
        assert_eq!(environment["LANG"], "de_DE.UTF-8");
        assert_eq!(environment["NODE_ENV"], "staging");
        assert_eq!(environment["PYTHONUNBUFFERED"], "1");
        assert_eq!(environment["PATH"], "/build/.venv/bin:/usr/bin:/bin");
    }
}
