//! HTTP to whatever is not AWS's own: hosts that users name. Only https, and only to public
//! addresses, checked where the connection is made and again at every redirect; what comes back is
//! bounded in time and size.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use rowhouse_core::shortened;
use thiserror::Error;
use url::Host;

use crate::client::choose_cryptography;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const TOTAL_LIMIT: Duration = Duration::from_secs(20);
const REDIRECT_LIMIT: usize = 5;
const SIZE_LIMIT: usize = 8 * 1024 * 1024;

// Some git hosts tell git from a browser by the first four letters.
const USER_AGENT: &str = concat!("git/rowhouse-", env!("CARGO_PKG_VERSION"));

/// The client for hosts that users name.
#[derive(Debug)]
pub(crate) struct Outbound {
    policy: HostPolicy,
    roots: Vec<Certificate>,
    /// Made when first needed: reading the system's roots would lengthen every cold start.
    client: OnceLock<Result<Client, OutboundError>>,
}

/// Why a host gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OutboundError {
    /// It may not be asked, or answers with what nobody would read to its end.
    #[error("{0}")]
    Forbidden(String),
    /// It did not answer, or not to its end.
    #[error("{0}")]
    Silent(String),
}

/// What a host answered, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Where it came from, after redirects.
    pub(crate) url: Url,
    pub(crate) body: Vec<u8>,
}

impl Outbound {
    /// `allowed_hosts`: may have any address (`AllowedRepositoryHosts`).
    pub(crate) fn new(allowed_hosts: &[String]) -> Outbound {
        Outbound::trusting(allowed_hosts, Vec::new())
    }

    /// Trusts these roots besides the system's.
    pub(crate) fn trusting(allowed_hosts: &[String], roots: Vec<Certificate>) -> Outbound {
        let allowed = allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Outbound { policy: HostPolicy(Arc::new(allowed)), roots, client: OnceLock::new() }
    }

    /// Why this address may not be asked, whatever its name resolves to.
    pub(crate) fn objection(&self, url: &Url) -> Option<String> {
        self.policy.objection(url)
    }

    /// Asks, and reads the answer to its end. `prepare` adds headers and a body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: Url,
        prepare: impl FnOnce(RequestBuilder) -> RequestBuilder + Send,
    ) -> Result<Answer, OutboundError> {
        if let Some(reason) = self.objection(&url) {
            return Err(OutboundError::Forbidden(reason));
        }
        let client = self.client.get_or_init(|| self.client()).as_ref().map_err(Clone::clone)?;
        let response = prepare(client.request(method, url)).send().await.map_err(trouble)?;
        let (status, url) = (response.status(), response.url().clone());
        let body = bounded(response).await?;
        Ok(Answer { status, url, body })
    }

    fn client(&self) -> Result<Client, OutboundError> {
        choose_cryptography();
        let policy = self.policy.clone();
        Client::builder()
            .https_only(true)
            .no_proxy()
            .referer(false)
            .user_agent(USER_AGENT)
            .tls_certs_merge(self.roots.clone())
            .redirect(Policy::custom(move |attempt| policy.redirected(attempt)))
            .dns_resolver(Arc::new(self.policy.clone()))
            .connect_timeout(CONNECT_LIMIT)
            .timeout(TOTAL_LIMIT)
            .build()
            .map_err(trouble)
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, OutboundError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(trouble)? {
        if body.len() + chunk.len() > SIZE_LIMIT {
            let megabytes = SIZE_LIMIT / 1024 / 1024;
            let reason = format!("its answer is longer than {megabytes} MB");
            return Err(OutboundError::Forbidden(reason));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says what happened; the outer ones repeat the address, with whatever stands
/// in it.
fn trouble(error: reqwest::Error) -> OutboundError {
    let error = error.without_url();
    if error.is_timeout() {
        let seconds = TOTAL_LIMIT.as_secs();
        return OutboundError::Silent(format!("no answer within {seconds} seconds"));
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // Ours comes back from where a connection is made, and from where a redirect is followed.
    if let Some(forbidden) = cause.downcast_ref::<OutboundError>() {
        return forbidden.clone();
    }
    let said = cause.to_string();
    OutboundError::Silent(said.chars().filter(|letter| !letter.is_control()).take(200).collect())
}

/// Which hosts may be asked: public ones, and those that are named here.
#[derive(Clone, Debug)]
struct HostPolicy(Arc<BTreeSet<String>>);

impl HostPolicy {
    fn is_allowed(&self, host: &str) -> bool {
        self.0.contains(host)
    }

    fn objection(&self, url: &Url) -> Option<String> {
        if url.scheme() != "https" {
            return Some(format!("{} is not `https`", shortened(url.scheme())));
        }
        let address = match url.host() {
            None => return Some("it names no host".to_owned()),
            Some(Host::Domain(_)) => return None,
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        let is_allowed = url.host_str().is_some_and(|host| self.is_allowed(host));
        (!is_allowed && !is_public(address)).then(|| forbidden(&address.to_string(), address))
    }

    fn redirected(&self, attempt: Attempt<'_>) -> reqwest::redirect::Action {
        if attempt.previous().len() > REDIRECT_LIMIT {
            let reason = format!("it redirects more than {REDIRECT_LIMIT} times");
            return attempt.error(OutboundError::Forbidden(reason));
        }
        match self.objection(attempt.url()) {
            Some(reason) => {
                let reason = format!("it redirects to where {reason}");
                attempt.error(OutboundError::Forbidden(reason))
            }
            None => attempt.follow(),
        }
    }
}

impl Resolve for HostPolicy {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let mut addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((host, 0)).await?.collect();
            if !policy.is_allowed(host) {
                let refused = addresses.first().map(SocketAddr::ip);
                addresses.retain(|address| is_public(address.ip()));
                if let (true, Some(refused)) = (addresses.is_empty(), refused) {
                    return Err(OutboundError::Forbidden(forbidden(host, refused)).into());
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn forbidden(host: &str, address: IpAddr) -> String {
    format!(
        "{} has the address {address}, which is not a public one: whoever runs the platform can \
         allow the host by `rowhouse aws install --allowed-repository-hosts`, or by \
         `AllowedRepositoryHosts` \
         in config.json",
        shortened(host)
    )
}

/// Networks that are not the public internet.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Of the one block that is public, what is not.
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
const SPECIAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_public(address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(address) => return is_public_v4(address),
        IpAddr::V6(address) => address,
    };
    if let Some(inner) = inner_v4(address) {
        return is_public_v4(inner);
    }
    let is_in = |network: Ipv6Addr, length: u32| {
        (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0
    };
    let is_global = is_in(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    is_global && !SPECIAL_V6.iter().any(|(network, length)| is_in(*network, *length))
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4
        .iter()
        .any(|(network, length)| (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0)
}

/// The IPv4 address that an IPv6 one stands for: mapped, by a translator (NAT64) or by a relay
/// (6to4).
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let joined = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(joined(high, low))
        }
        [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "140.82.121.3",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "223.255.255.255",
            "::ffff:140.82.121.3",
            "64:ff9b::8c52:7903",
            "2606:50c0:8000::153",
            "2a05:d018::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[track_caller]
    fn objection(allowed: &[&str], url: &str) -> Option<String> {
        let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
        Outbound::new(&allowed).objection(&Url::parse(url).unwrap())
    }

    #[test]
    fn an_address_in_any_spelling_is_looked_at_before_anything_is_sent() {
        for url in [
            "http://github.com/a",
            "ftp://github.com/a",
            "https://127.0.0.1/a",
            "https://127.1/a",
            "https://0x7f000001/a",
            "https://2130706433/a",
            "https://0/a",
            "https://169.254.169.254/latest",
            "https://[::1]/a",
            "https://[::ffff:127.0.0.1]/a",
            "https://user:word@10.0.0.1:8443/a",
        ] {
            assert!(objection(&[], url).is_some(), "{url}");
        }
        for url in ["https://github.com/a", "https://140.82.121.3/a"] {
            assert_eq!(objection(&[], url), None, "{url}");
        }
    }

    #[test]
    fn an_allowed_host_may_have_any_address_and_no_other_host_may() {
        assert_eq!(objection(&["10.0.0.1"], "https://10.0.0.1/a"), None);
        assert_eq!(objection(&["[::1]"], "https://[::1]:8443/a"), None);
        assert!(objection(&["10.0.0.1"], "https://10.0.0.2/a").is_some());
        assert!(objection(&["10.0.0.1"], "http://10.0.0.1/a").is_some());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused_unless_it_is_allowed() {
        let resolved = async |allowed: &[&str]| {
            let allowed = allowed.iter().map(|host| (*host).to_owned()).collect();
            let policy = HostPolicy(Arc::new(allowed));
            policy.resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        let refusal = resolved(&[]).await.map_err(|error| error.to_string()).unwrap_err();
        assert!(refusal.contains("`localhost`") && refusal.contains("`AllowedRepositoryHosts`"));
        assert!(resolved(&["localhost"]).await.unwrap() > 0);
    }
}
