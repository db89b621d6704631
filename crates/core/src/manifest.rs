//! The manifest: what the instances of an app are made from, on a platform whose instances are
//! machines of their own.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::attribute::{Attribute, UserAttributes, Value};
use crate::commit::Commit;
use crate::environment::Environment;
use crate::http_protocol::HttpProtocol;
use crate::name::AppName;
use crate::operation::Plan;
use crate::process_type::ProcfileLines;
use crate::repository::Repository;
use crate::version::Version;

/// What an instance is made from. `Env` and `BuildEnv` hold secrets: their `Debug` shows names
/// alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Manifest {
    pub name: AppName,
    pub version: Version,
    #[serde(deserialize_with = "parsed")]
    pub repo: Repository,
    pub path: String,
    pub commit: Commit,
    pub env: Environment,
    pub build_env: Environment,
    pub health: Option<String>,
    pub health_timeout: u32,
    /// Raised to deploy the same again: then instances are new, too.
    pub redeploy: u64,
    #[serde(default, skip_serializing_if = "ProcfileLines::is_empty")]
    pub procfile: ProcfileLines,
    /// MiB; `None`: the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    #[serde(default, skip_serializing_if = "HttpProtocol::is_default")]
    pub protocol: HttpProtocol,
}

impl Manifest {
    /// Of a plan. `Scale` is no part of it.
    pub fn of(plan: &Plan) -> Manifest {
        let app = &plan.app;
        Manifest {
            name: app.name.clone(),
            version: app.version.clone(),
            repo: app.repository.clone(),
            path: app.path.clone(),
            commit: plan.deployment.commit.clone(),
            env: app.env.clone(),
            build_env: app.build_env.clone(),
            health: app.health.clone(),
            health_timeout: app.health_timeout,
            redeploy: app.redeploy,
            procfile: app.procfile.clone(),
            memory: app.memory,
            protocol: app.protocol,
        }
    }

    /// The manifest's bytes: the same for the same manifest.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers have a JSON form")
    }

    /// The row that makes one machine run one instance. What its version was resolved to stands
    /// beside it.
    pub fn row(&self) -> UserAttributes {
        let text = |text: &str| Some(Value::Text(text.to_owned())).filter(|_| !text.is_empty());
        let lines = self.procfile.lines().iter();
        let lines = lines.map(|(name, line)| (name.as_str().to_owned(), Value::Text(line.clone())));
        let procfile = Value::Map(lines.collect());
        let protocol = Value::Text(self.protocol.as_str().to_owned());
        let variables = |environment: &Environment| {
            let revealed = environment.revealed();
            let values =
                revealed.iter().map(|(name, text)| (name.clone(), Value::Text(text.clone())));
            Some(Value::Map(values.collect())).filter(|_| !revealed.is_empty())
        };
        [
            (Attribute::Version, text(self.version.as_str())),
            (Attribute::Scale, Some(Value::Whole(1))),
            (Attribute::Repo, text(self.repo.as_str())),
            (Attribute::Path, text(&self.path)),
            (Attribute::Env, variables(&self.env)),
            (Attribute::BuildEnv, variables(&self.build_env)),
            (Attribute::Health, self.health.as_deref().and_then(text)),
            (Attribute::HealthTimeout, Some(Value::Whole(i64::from(self.health_timeout)))),
            (Attribute::Procfile, Some(procfile).filter(|_| !self.procfile.is_empty())),
            (Attribute::Memory, self.memory.map(|memory| Value::Whole(i64::from(memory)))),
            (Attribute::Protocol, Some(protocol).filter(|_| !self.protocol.is_default())),
        ]
        .into_iter()
        .filter_map(|(attribute, value)| Some((attribute, value?)))
        .collect()
    }
}

/// An object comes from elsewhere: its address is read as if a user had written it.
fn parsed<'de, D: Deserializer<'de>>(text: D) -> Result<Repository, D::Error> {
    Repository::parse(&String::deserialize(text)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use crate::app::App;
    use crate::row::{Report, Row};
    use crate::settings::Settings;

    use super::*;

    #[test]
    fn the_row_of_a_manifest_means_the_app_that_the_manifest_was_made_from() {
        let settings = Settings::for_tests();
        let commit = Commit::parse(&"a".repeat(40)).unwrap();
        let name = AppName::parse("shop").unwrap();
        let mut plan =
            crate::testing::plan(&name, "https://example.com/shop.git", &commit, &settings);
        plan.app.path = "web".to_owned();
        plan.app.env = [("GREETING".to_owned(), "hello".to_owned())]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
            .into();
        plan.app.health = Some("/health".to_owned());
        plan.app.health_timeout = 90;
        let manifest: Manifest = serde_json::from_slice(&Manifest::of(&plan).to_json()).unwrap();
        assert_eq!(manifest, Manifest::of(&plan));
        let row = Row { key: name.key(), user: manifest.row(), report: Report::default(), seq: 0 };
        let app = App::parse(&row, &settings).unwrap();
        assert_eq!((app.scale, app.follow), (1, false));
        let expected = App { scale: 1, follow: false, redeploy: 0, ..plan.app };
        assert_eq!(app, expected);
    }
}
