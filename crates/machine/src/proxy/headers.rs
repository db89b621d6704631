//! Headers: which ones end at the proxy, and which ones it adds.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is not passed on as it is.
static ENDING: [HeaderName; 9] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    EXPECT,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Why a request is not passed on: the answer's status and text.
pub(super) type Refusal = (StatusCode, &'static str);

/// Finds the host that a request is for, and brings its target into the form that an app expects.
///
/// `None`: it names no host.
pub(super) fn host(parts: &mut Parts) -> Result<Option<HeaderValue>, Refusal> {
    if parts.method == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "This is no tunnel.\n"));
    }
    let host = match parts.headers.entry(HOST) {
        Entry::Vacant(_) => None,
        Entry::Occupied(entry) => {
            let mut values = entry.iter();
            let host = values.next().cloned();
            if values.next().is_some() {
                return Err((StatusCode::BAD_REQUEST, "More than one Host header.\n"));
            }
            host
        }
    };
    // RFC 9112, 3.2.2: the host in an absolute target wins, and replaces the header.
    let Some(authority) = parts.uri.authority() else { return Ok(host) };
    let (_, named) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
    let named = HeaderValue::from_str(named)
        .map_err(|_| (StatusCode::BAD_REQUEST, "The target names no host.\n"))?;
    let root = || PathAndQuery::from_static("/");
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(root);
    parts.uri = Uri::from(path);
    parts.headers.insert(HOST, named.clone());
    Ok(Some(named))
}

/// Who sent a request, as far as apps are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// The address that the connection comes from.
    pub(super) client: &'a HeaderValue,
    /// It is a load balancer: it has said whom it speaks for, and how they came.
    pub(super) is_balancer: bool,
}

/// Turns the headers of a client's request into those of the request to the app.
///
/// `upgradable`: the connection can be handed over if the app wishes.  Returns whether it was asked
/// for.
pub(super) fn forward(
    parts: &mut Parts,
    sender: Sender<'_>,
    host: &HeaderValue,
    upgradable: bool,
) -> Result<bool, Refusal> {
    let upgrade = parts.headers.keys().any(ends_here) && leave(parts, upgradable)?;
    let headers = &mut parts.headers;
    // A balancer that says nothing of a client asks for itself.
    if !(sender.is_balancer && headers.contains_key(&FORWARDED_FOR)) {
        let chain = chain(headers, sender.client);
        headers.insert(&FORWARDED_FOR, chain);
    }
    // Balancers pass on what a client has written here.
    headers.insert(&FORWARDED_HOST, host.clone());
    if !(sender.is_balancer && headers.contains_key(&FORWARDED_PROTO)) {
        let proto = if sender.is_balancer { "https" } else { "http" };
        headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(proto));
    }
    // The app is spoken to in HTTP/1.1, whatever the client speaks.
    parts.version = Version::HTTP_11;
    Ok(upgrade)
}

/// Removes from a request what ends here.  Returns whether an upgrade is asked for.
fn leave(parts: &mut Parts, upgradable: bool) -> Result<bool, Refusal> {
    let headers = &mut parts.headers;
    if let Some(coding) = headers.get(TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err((StatusCode::NOT_IMPLEMENTED, "Unknown transfer coding.\n"));
    }
    let protocol = headers.remove(UPGRADE).filter(|protocol| {
        // h2c would carry requests past the rules of this proxy.
        upgradable
            && parts.version == Version::HTTP_11
            && names(headers, b"upgrade")
            && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
    });
    let trailers = headers.remove(TE).is_some_and(|te| has(&te, b"trailers"));
    remove_hop_by_hop(headers);
    headers.remove(PROXY_AUTHORIZATION);
    // The client was told to go on as soon as the body is wanted; the app need not do it again.
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let upgrade = protocol.is_some();
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    Ok(upgrade)
}

/// Turns the headers of an app's answer into those of the answer to the client.
pub(super) fn backward(parts: &mut http::response::Parts) {
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;
    if !headers.keys().any(ends_here) {
        return;
    }
    let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = headers.remove(UPGRADE).filter(|_| switching);
    // A coding other than chunked has not been undone: the client must know of it.
    let coding = headers
        .remove(TRANSFER_ENCODING)
        .filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    remove_hop_by_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
    if let Some(coding) = coding {
        headers.insert(TRANSFER_ENCODING, coding);
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Whether a header may be one that is not passed on as it is.  Most messages have none, and one
/// look is cheaper than a search for each.
fn ends_here(name: &HeaderName) -> bool {
    ENDING.contains(name)
}

/// Removes what is about one connection only (RFC 9110, 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        remove_named(headers);
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
}

fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(|name| !is_common(name))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // These are not the sender's to remove: they say where a message goes and where it ends.
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    headers.remove(CONNECTION);
    for name in named {
        headers.remove(name);
    }
}

/// The names that need no look-up: they are removed in any case, or are not headers.
fn is_common(name: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// Everybody that the request came through.
fn chain(headers: &HeaderMap, client: &HeaderValue) -> HeaderValue {
    let mut before = headers.get_all(&FORWARDED_FOR).iter().peekable();
    if before.peek().is_none() {
        return client.clone();
    }
    let mut chain = Vec::with_capacity(64);
    for value in before {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(client.as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.clone())
}

fn names(headers: &HeaderMap, name: &[u8]) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| has(value, name))
}

fn has(value: &HeaderValue, name: &[u8]) -> bool {
    tokens(value).any(|token| token.eq_ignore_ascii_case(name))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn forwarded(headers: &[(&str, &str)]) -> (Parts, Result<bool, Refusal>) {
        let mut parts = parts("/", headers);
        let client = HeaderValue::from_static("192.0.2.1");
        let host = HeaderValue::from_static("shop.localhost");
        let sender = Sender { client: &client, is_balancer: false };
        let upgrade = forward(&mut parts, sender, &host, true);
        (parts, upgrade)
    }

    #[test]
    fn what_connection_names_ends_here() {
        let (parts, _) = forwarded(&[
            ("connection", "close, X-Hop"),
            ("connection", "Host, Content-Length"),
            ("x-hop", "1"),
            ("x-end", "1"),
            ("host", "shop.localhost"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("te", "gzip"),
            ("upgrade", "websocket"),
            ("content-length", "0"),
        ]);
        let mut left: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let kept = ["content-length", "host", "x-end"];
        let added = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(left, [kept, added].concat());
    }

    #[test]
    fn an_upgrade_is_passed_on_but_never_to_h2c() {
        let (parts, upgrade) =
            forwarded(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade, Ok(true));
        assert_eq!(parts.headers[CONNECTION], "upgrade");
        assert_eq!(parts.headers[UPGRADE], "websocket");
        let (parts, upgrade) = forwarded(&[("connection", "upgrade"), ("upgrade", "h2c")]);
        assert_eq!(upgrade, Ok(false));
        assert!(!parts.headers.contains_key(UPGRADE));
    }

    #[test]
    fn trailers_are_all_that_is_left_of_te() {
        let (parts, _) = forwarded(&[("te", "gzip, trailers")]);
        assert_eq!(parts.headers[TE], "trailers");
    }

    #[test]
    fn the_client_is_appended_to_those_before_it() {
        let (parts, _) =
            forwarded(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]);
        assert_eq!(parts.headers[&FORWARDED_FOR], "10.0.0.1, 10.0.0.2, 192.0.2.1");
        assert_eq!(parts.headers.get_all(&FORWARDED_FOR).iter().count(), 1);
    }

    #[test]
    fn what_a_balancer_says_of_a_client_stands_and_what_it_passes_on_does_not() {
        let client = HeaderValue::from_static("127.0.0.1");
        let host = HeaderValue::from_static("shop.apps.example.com");
        let sender = Sender { client: &client, is_balancer: true };
        let mut said = parts(
            "/",
            &[
                ("x-forwarded-for", "10.0.0.9, 192.0.2.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-port", "443"),
                ("x-forwarded-host", "bank.example.org"),
            ],
        );
        forward(&mut said, sender, &host, true).unwrap();
        assert_eq!(said.headers[&FORWARDED_FOR], "10.0.0.9, 192.0.2.1");
        assert_eq!(said.headers[&FORWARDED_PROTO], "https");
        assert_eq!(said.headers["x-forwarded-port"], "443");
        assert_eq!(said.headers[&FORWARDED_HOST], host);
        let mut silent = parts("/", &[]);
        forward(&mut silent, sender, &host, true).unwrap();
        assert_eq!(silent.headers[&FORWARDED_FOR], client);
        assert_eq!(silent.headers[&FORWARDED_PROTO], "https");
    }

    #[test]
    fn an_unknown_transfer_coding_is_refused() {
        let (_, result) = forwarded(&[("transfer-encoding", "gzip, chunked")]);
        assert_eq!(result.unwrap_err().0, StatusCode::NOT_IMPLEMENTED);
    }

    #[test]
    fn the_host_of_an_absolute_target_wins() {
        let mut parts = parts("http://me@shop.localhost:8080/a?b", &[("host", "other.localhost")]);
        assert_eq!(host(&mut parts).unwrap().unwrap(), "shop.localhost:8080");
        assert_eq!(parts.headers[HOST], "shop.localhost:8080");
        assert_eq!(parts.uri, "/a?b");
    }

    #[test]
    fn two_hosts_are_refused() {
        let mut parts = parts("/", &[("host", "a.localhost"), ("host", "a.localhost")]);
        assert_eq!(host(&mut parts).unwrap_err().0, StatusCode::BAD_REQUEST);
    }
}
