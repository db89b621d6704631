//! What the attributes mean by which an app is reached: `Domains`, `Protocol` and `Hook`.

use std::collections::BTreeMap;

use crate::attribute::{Attribute, UserAttributes, Value};
use crate::counted::counted;
use crate::domains::{Domains, HostName, HostNameObjection};
use crate::http_protocol::HttpProtocol;
use crate::meaning::{Objection, has, text_of_any_length, wrong};
use crate::quoted::shortened;
use crate::secret::Secret;
use crate::settings::Limits;

/// As many names as one certificate may have. <https://letsencrypt.org/docs/rate-limits/>
const MOST_DOMAINS: usize = 100;
/// A secret is compared on every ring. A ring does no more than have the app looked at, so a short
/// one is the user's choice.
const LONGEST_HOOK: usize = 256;

pub(crate) fn domains(user: &UserAttributes, limits: &Limits) -> Result<Domains, Objection> {
    let attribute = Attribute::Domains;
    let allowed =
        "a list of host names, such as [\"example.com\", \"www.example.com=example.com\"]";
    let items = match user.get(&attribute) {
        None => return Ok(Domains::default()),
        Some(Value::List(items)) => items,
        Some(Value::Text(_)) => {
            return Err(wrong(attribute, "a text that is no JSON array", allowed));
        }
        Some(other) => return Err(wrong(attribute, &other.shown(), allowed)),
    };
    if items.len() > MOST_DOMAINS {
        let was = format!("a list of {} names", items.len());
        return Err(wrong(attribute, &was, &format!("a list of at most {MOST_DOMAINS}")));
    }
    let mut names: BTreeMap<HostName, Option<HostName>> = BTreeMap::new();
    for item in items {
        let Value::Text(item) = item else {
            let what = format!("{}, which is no text: it must be {allowed}", item.shown());
            return Err(has(attribute, &what));
        };
        let (name, target) = domain(item, limits)?;
        if names.get(&name).is_some_and(|known| *known != target) {
            let what = format!("`{}` twice, with two meanings: it must be one", name.as_str());
            return Err(has(attribute, &what));
        }
        names.insert(name, target);
    }
    for (name, target) in &names {
        if let Some(target) = target
            && (target == name || matches!(names.get(target), Some(Some(_))))
        {
            let what = format!(
                "`{}={}`, which leads to a name that redirects itself: that must be one where the \
                 app answers, or somebody else",
                name.as_str(),
                target.as_str()
            );
            return Err(has(attribute, &what));
        }
    }
    Ok(names.into())
}

/// A name, and where it redirects to.
fn domain(item: &str, limits: &Limits) -> Result<(HostName, Option<HostName>), Objection> {
    let (name, target) = match item.split_once('=') {
        Some((name, target)) => (name, Some(target)),
        None => (item, None),
    };
    let bad = |objection: &str| {
        let what = format!(
            "{}, which {objection}: it must be a host name such as `example.com`, `*.example.com` \
             or `www.example.com=example.com`",
            shortened(item)
        );
        has(Attribute::Domains, &what)
    };
    let parsed = |text: &str| {
        HostName::parse(text).map_err(|objection: HostNameObjection| bad(&objection.to_string()))
    };
    let name = parsed(name)?;
    if let Some(domain) = limits.domain.as_deref().filter(|domain| name.is_within(domain)) {
        return Err(bad(&format!("is under the platform's own domain, `{domain}`")));
    }
    let target = target.map(parsed).transpose()?;
    if target.as_ref().is_some_and(HostName::is_wildcard) {
        return Err(bad("leads to more names than one"));
    }
    Ok((name, target))
}

pub(crate) fn protocol(user: &UserAttributes) -> Result<HttpProtocol, Objection> {
    let attribute = Attribute::Protocol;
    text_of_any_length(user, attribute)?.map_or(Ok(HttpProtocol::default()), |word| {
        HttpProtocol::parse(word)
            .ok_or_else(|| wrong(attribute, &shortened(word), "`http1` or `h2c`"))
    })
}

pub(crate) fn hook(user: &UserAttributes) -> Result<Option<Secret>, Objection> {
    let attribute = Attribute::Hook;
    let Some(text) = text_of_any_length(user, attribute)? else { return Ok(None) };
    let allowed =
        format!("1 to {LONGEST_HOOK} letters, digits and other visible characters of ASCII");
    match text.len() {
        0 => Err(wrong(attribute, "an empty text", &allowed)),
        length if length > LONGEST_HOOK => {
            Err(wrong(attribute, &format!("a text of {}", counted(length, "byte")), &allowed))
        }
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(wrong(attribute, "a text with a blank or another such character", &allowed))
        }
        _ => Ok(Some(text.to_owned().into())),
    }
}
