//! The hosted zone that a domain is in.

use aws_sdk_route53::types::HostedZone;

use crate::account::{Account, told};
use crate::delegation;
use crate::failure::bad_input;

/// A public hosted zone.
#[derive(Debug)]
pub(crate) struct Zone {
    /// Without the path before it.
    pub(crate) id: String,
    /// Without the dot at its end.
    pub(crate) name: String,
    pub(crate) name_servers: Vec<String>,
}

/// The zone of that id, which the domain must be in.
pub(crate) async fn given(account: &Account, id: &str, domain: &str) -> anyhow::Result<Zone> {
    let client = aws_sdk_route53::Client::new(&account.config);
    let asked = client.get_hosted_zone().id(id).send().await;
    let answer =
        asked.map_err(|error| told(&format!("cannot use the hosted zone `{id}`"), &error))?;
    let name = answer.hosted_zone().map(name).unwrap_or_default();
    if !is_within(domain, &name) {
        return Err(bad_input(
            format!("the hosted zone `{id}` is of `{name}`, and `{domain}` is not in it"),
            "give the zone of the domain or of a parent, or leave `--hosted-zone` out to have it \
             found",
        ));
    }
    let servers = answer.delegation_set().map(|set| set.name_servers().to_vec());
    Ok(Zone { id: bare(id).to_owned(), name, name_servers: servers.unwrap_or_default() })
}

/// The nearest public zone that the domain is in.
pub(crate) async fn find(account: &Account, domain: &str) -> anyhow::Result<Zone> {
    let client = aws_sdk_route53::Client::new(&account.config);
    let mut parent = domain;
    while parent.contains('.') {
        let request = client.list_hosted_zones_by_name().dns_name(parent).max_items(10);
        let listed = request.send().await;
        let listed = listed.map_err(|error| told("cannot list the hosted zones", &error))?;
        let is_public =
            |zone: &&HostedZone| zone.config().is_none_or(|config| !config.private_zone());
        let fits = |zone: &&HostedZone| name(zone) == parent;
        let mut fitting = listed.hosted_zones().iter().filter(fits).filter(is_public);
        if let Some(zone) = fitting.next() {
            if fitting.next().is_some() {
                return Err(bad_input(
                    format!("there are several hosted zones of `{parent}`"),
                    "say which one is in use with `--hosted-zone ID`; `aws route53 \
                     list-hosted-zones` lists them",
                ));
            }
            return given(account, zone.id(), domain).await;
        }
        parent = parent.split_once('.').map_or("", |(_, rest)| rest);
    }
    Err(bad_input(
        format!("account {} has no hosted zone that `{domain}` is in", account.id),
        format!(
            "`aws route53 create-hosted-zone --name {domain} --caller-reference 1` makes one; \
             then have the domain delegated to its name servers, where it is registered"
        ),
    ))
}

/// Whether public DNS leads to the zone; a text says why not.
///
/// # Errors
/// Nobody could be asked.
pub(crate) async fn delegated(zone: &Zone) -> std::io::Result<Result<(), String>> {
    let known = delegation::name_servers(&zone.name).await?;
    if known.iter().any(|server| zone.name_servers.contains(server)) {
        return Ok(Ok(()));
    }
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let wanted = zone.name_servers.join(", ");
    Ok(Err(format!("public DNS has {known} as name servers of {}, and not {wanted}", zone.name)))
}

fn name(zone: &HostedZone) -> String {
    zone.name().trim_end_matches('.').to_owned()
}

fn bare(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

fn is_within(domain: &str, zone: &str) -> bool {
    domain == zone
        || domain.strip_suffix(zone).is_some_and(|before| !zone.is_empty() && before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_in_its_own_zone_and_in_those_of_its_parents() {
        assert!(is_within("apps.example.com", "apps.example.com"));
        assert!(is_within("apps.example.com", "example.com"));
        assert!(!is_within("apps.example.com", "ample.com"));
        assert!(!is_within("example.com", "apps.example.com"));
        assert!(!is_within("example.com", ""));
    }
}
