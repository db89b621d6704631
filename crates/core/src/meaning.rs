//! What each attribute means, or what is wrong with it: was, and what is allowed. A rule about an
//! attribute stands here and nowhere else.

use std::collections::BTreeMap;
use std::fmt;

use crate::address::without_password;
use crate::attribute::{Attribute, UserAttributes, Value};
use crate::environment::{Environment, PLATFORM_VARIABLES, is_variable_name};
use crate::quoted::shortened;
use crate::repository::{Repository, Transport};
use crate::settings::Limits;
use crate::version::Version;

const TEXT_LIMIT: usize = 2048;
/// What the keys and texts of an object may be long together.
const OBJECT_LIMIT: usize = 64 * 1024;

/// What is wrong with an attribute, in a sentence that says what it was and what is allowed; never
/// with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    pub attribute: Attribute,
    said: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.said)
    }
}

pub(crate) fn wrong(attribute: Attribute, was: &str, allowed: &str) -> Objection {
    Objection { attribute, said: format!("`{}` is {was}: it must be {allowed}", attribute.name()) }
}

fn missing(attribute: Attribute, allowed: &str) -> Objection {
    Objection {
        attribute,
        said: format!("`{}` is missing: it must be {allowed}", attribute.name()),
    }
}

pub(crate) fn has(attribute: Attribute, what: &str) -> Objection {
    Objection { attribute, said: format!("`{}` has {what}", attribute.name()) }
}

/// It is understood, and not done yet; `instead`: what is.
pub(crate) fn not_offered(attribute: Attribute, instead: &str) -> Objection {
    let said =
        format!("`{}` is not offered yet: take it out of the row; {instead}", attribute.name());
    Objection { attribute, said }
}

pub(crate) fn version(user: &UserAttributes) -> Result<Version, Objection> {
    let attribute = Attribute::Version;
    let version = text(user, attribute)?.ok_or_else(|| missing(attribute, Version::ALLOWED))?;
    Version::parse(version).map_err(|objection| {
        let was = format!("{}, which {objection}", shortened(version));
        wrong(attribute, &was, Version::ALLOWED)
    })
}

pub(crate) fn scale(user: &UserAttributes, limits: &Limits) -> Result<u32, Objection> {
    let allowed = limits.scale_allowed();
    let attribute = Attribute::Scale;
    let value = user.get(&attribute).ok_or_else(|| missing(attribute, &allowed))?;
    instances(value, limits).ok_or_else(|| wrong(attribute, &value.shown(), &allowed))
}

/// How many processes a value asks for; `None`: none that may be asked for.
pub(crate) fn instances(value: &Value, limits: &Limits) -> Option<u32> {
    let most = limits.max_scale.unwrap_or(u32::MAX);
    match value {
        Value::Whole(count) => u32::try_from(*count).ok().filter(|count| *count <= most),
        Value::Text(_)
        | Value::Real(_)
        | Value::Boolean(_)
        | Value::Map(_)
        | Value::List(_)
        | Value::Other(_) => None,
    }
}

/// `None`: the platform's own.
pub(crate) fn repository(
    user: &UserAttributes,
    limits: &Limits,
) -> Result<Option<Repository>, Objection> {
    let attribute = Attribute::Repo;
    let Some(address) = text(user, attribute)? else {
        return match limits.has_repository {
            Some(false) => Err(no_repository()),
            Some(true) | None => Ok(None),
        };
    };
    let allowed = if limits.local_repositories {
        "an `https://` or `ssh://` URL of git, `user@host:path`, or an absolute path on this \
         machine, also as \
         `file:///path`"
    } else {
        "an `https://` URL of git"
    };
    match Repository::parse(address) {
        Ok(repository)
            if limits.local_repositories || repository.transport() == Transport::Https =>
        {
            Ok(Some(repository))
        }
        Ok(repository) => Err(wrong(attribute, &shortened(&repository.to_string()), allowed)),
        Err(refused) => {
            let shown = shortened(&without_password(address));
            let was = format!("{shown}, which {}", refused.objection);
            Err(wrong(attribute, &was, allowed))
        }
    }
}

/// Neither the row nor the platform has one.
pub(crate) fn no_repository() -> Objection {
    Objection {
        attribute: Attribute::Repo,
        said:
            "`Repo` is missing, and this platform has no repository of its own: it must be a git \
            URL"
            .to_owned(),
    }
}

/// `None`: the platform's own, or the root.
pub(crate) fn path(user: &UserAttributes) -> Result<Option<String>, Objection> {
    text(user, Attribute::Path)?.map(folder).transpose()
}

pub(crate) fn env(user: &UserAttributes) -> Result<Environment, Objection> {
    let env = environment(user, Attribute::Env)?;
    match PLATFORM_VARIABLES.into_iter().find(|name| env.revealed().contains_key(*name)) {
        None => Ok(env),
        Some(name) => {
            let others = PLATFORM_VARIABLES.into_iter().filter(|other| *other != name);
            let others: Vec<String> = others.map(|name| format!("`{name}`")).collect();
            let what = format!(
                "`{name}`, which the platform gives to every process itself: it must be left out, \
                 as must {}",
                others.join(", ")
            );
            Err(has(Attribute::Env, &what))
        }
    }
}

pub(crate) fn build_env(user: &UserAttributes) -> Result<Environment, Objection> {
    environment(user, Attribute::BuildEnv)
}

pub(crate) fn health(user: &UserAttributes) -> Result<Option<String>, Objection> {
    text(user, Attribute::Health)?.map(probe_path).transpose()
}

/// Seconds.
pub(crate) fn health_timeout(user: &UserAttributes) -> Result<u32, Objection> {
    whole(user, Attribute::HealthTimeout, 60, 1..=3600)
}

pub(crate) fn follow(user: &UserAttributes) -> Result<bool, Objection> {
    user.get(&Attribute::Follow).map_or(Ok(false), |value| {
        value.as_flag().ok_or_else(|| wrong(Attribute::Follow, &value.shown(), "true or false"))
    })
}

pub(crate) fn redeploy(user: &UserAttributes) -> Result<u64, Objection> {
    // What a table's whole numbers reach to, and one less than what `u64` does.
    whole(user, Attribute::Redeploy, 0, 0..=i64::MAX)
}

pub(crate) fn text(user: &UserAttributes, attribute: Attribute) -> Result<Option<&str>, Objection> {
    match text_of_any_length(user, attribute)? {
        Some(text) if text.len() > TEXT_LIMIT => Err(wrong(
            attribute,
            &format!("a text of {} bytes", text.len()),
            &format!("at most {TEXT_LIMIT} bytes long"),
        )),
        text => Ok(text),
    }
}

/// The same where the attribute's own rule says how long it may be.
pub(crate) fn text_of_any_length(
    user: &UserAttributes,
    attribute: Attribute,
) -> Result<Option<&str>, Objection> {
    match user.get(&attribute) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(attribute, &attribute.shown(other), "a text")),
    }
}

pub(crate) fn whole<N: TryFrom<i64>>(
    user: &UserAttributes,
    attribute: Attribute,
    default: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<N, Objection> {
    let value = user.get(&attribute).cloned().unwrap_or(Value::Whole(default));
    let number = match &value {
        Value::Whole(number) if range.contains(number) => N::try_from(*number).ok(),
        Value::Whole(_)
        | Value::Text(_)
        | Value::Real(_)
        | Value::Boolean(_)
        | Value::Map(_)
        | Value::List(_)
        | Value::Other(_) => None,
    };
    let allowed = if *range.end() == i64::MAX {
        "a whole number, 0 or more".to_owned()
    } else {
        format!("a whole number from {} to {}", range.start(), range.end())
    };
    number.ok_or_else(|| wrong(attribute, &value.shown(), &allowed))
}

fn folder(text: &str) -> Result<String, Objection> {
    let trimmed = text.trim_end_matches('/');
    let trimmed = if trimmed == "." { "" } else { trimmed.strip_prefix("./").unwrap_or(trimmed) };
    let fits = !text.starts_with('/')
        && !text.chars().any(|letter| letter.is_control() || letter == '\\')
        && (trimmed.is_empty()
            || trimmed.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
    if fits {
        Ok(trimmed.to_owned())
    } else {
        Err(wrong(
            Attribute::Path,
            &shortened(text),
            "a folder inside the repository, such as `examples/hello`, without `..` and not \
             beginning with `/`",
        ))
    }
}

fn probe_path(text: &str) -> Result<String, Objection> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        wrong(Attribute::Health, &shortened(text), "a path that begins with `/`, such as `/health`")
    })
}

fn environment(user: &UserAttributes, attribute: Attribute) -> Result<Environment, Objection> {
    let allowed = "an object of texts, such as {\"GREETING\": \"hello\"}";
    let mut variables = BTreeMap::new();
    for (name, value) in entries(user, attribute, allowed)? {
        let value = variable(name, value).map_err(|what| has(attribute, &what))?;
        variables.insert(name.clone(), value.to_owned());
    }
    Ok(variables.into())
}

/// The entries of an object, of which an absent one has none.
pub(crate) fn entries<'a>(
    user: &'a UserAttributes,
    attribute: Attribute,
    allowed: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, Objection> {
    let entries = match user.get(&attribute) {
        None => None,
        Some(Value::Map(entries)) => Some(entries),
        // The text of a bad one may hold half a secret, so it is not repeated.
        Some(Value::Text(_)) => {
            return Err(wrong(attribute, "a text that is no JSON object", allowed));
        }
        Some(other) => return Err(wrong(attribute, &attribute.shown(other), allowed)),
    };
    let entries = entries.into_iter().flatten();
    let size = |(name, value): (&String, &Value)| match value {
        Value::Text(text) => name.len() + text.len() + 2,
        Value::Whole(_)
        | Value::Real(_)
        | Value::Boolean(_)
        | Value::Map(_)
        | Value::List(_)
        | Value::Other(_) => name.len() + 2,
    };
    let size: usize = entries.clone().map(size).sum();
    if size > OBJECT_LIMIT {
        let was = format!("{size} bytes in all");
        return Err(wrong(attribute, &was, &format!("at most {OBJECT_LIMIT} bytes")));
    }
    Ok(entries)
}

/// The text of a variable, or what the environment has there that it must not.
fn variable<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    if !is_variable_name(name) {
        return Err(format!(
            "a variable named {}: a name must be letters, digits and `_`, not beginning with a \
             digit",
            shortened(name)
        ));
    }
    let Value::Text(value) = value else {
        return Err(format!("a value of `{name}` that is no text: put it in quotes"));
    };
    if value.contains('\0') {
        return Err(format!("a NUL character in `{name}`: no process can be given one"));
    }
    Ok(value)
}
