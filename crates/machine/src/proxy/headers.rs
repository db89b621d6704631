//! Headers: which ones end at the proxy, and which ones it adds.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
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

const fn bad(why: &'static str) -> Refusal {
    (StatusCode::BAD_REQUEST, why)
}

/// Finds the host that a request is for, and brings its target into the form that an app expects.
///
/// `None`: it names no host.
pub(super) fn host(parts: &mut Parts) -> Result<Option<HeaderValue>, Refusal> {
    if parts.method == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "This is no tunnel.\n"));
    }
    let host = host_header(parts)?;
    let Some(authority) = parts.uri.authority() else {
        if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
            return Err(bad("The target of the request is no path.\n"));
        }
        return Ok(host);
    };
    if parts.uri.scheme().is_none() {
        return Err(bad("The target of the request is no path.\n"));
    }
    let (_, named) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
    let named = HeaderValue::from_str(named)
        .ok()
        .filter(|named| is_host(named.as_bytes()))
        .ok_or(bad("The target names no host.\n"))?;
    // RFC 9112, 3.2: both are the same, or somebody on the way may have read the other one.
    if host.is_some_and(|host| !are_same(&host, &named, parts.uri.scheme_str())) {
        return Err(bad("The target and the Host header name different hosts.\n"));
    }
    let root = || PathAndQuery::from_static("/");
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(root);
    parts.uri = Uri::from(path);
    parts.headers.insert(HOST, named.clone());
    Ok(Some(named))
}

/// RFC 9112, 3.2: exactly one, and of one name.  Only old clients may leave it out.
fn host_header(parts: &Parts) -> Result<Option<HeaderValue>, Refusal> {
    let mut values = parts.headers.get_all(HOST).iter();
    let Some(host) = values.next() else {
        return match parts.version {
            Version::HTTP_09 | Version::HTTP_10 => Ok(None),
            _ => Err(bad("The request has no Host header.\n")),
        };
    };
    if values.next().is_some() {
        return Err(bad("More than one Host header.\n"));
    }
    if !is_host(host.as_bytes()) {
        return Err(bad("The Host header is not the name of a host.\n"));
    }
    Ok(Some(host.clone()))
}

/// Whether this can be a host and a port.  A comma, which a name might have, separates two.
fn is_host(host: &[u8]) -> bool {
    let literal = host.iter().rposition(|&byte| byte == b']').map_or(0, |end| end + 1);
    let (literal, rest) = host.split_at(literal);
    let colon = rest.iter().position(|&byte| byte == b':').unwrap_or(rest.len());
    let (name, port) = rest.split_at(colon);
    let in_literal = |byte: &u8| byte.is_ascii_alphanumeric() || b":.%-_~".contains(byte);
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let stands = match literal {
        [] => true,
        [b'[', inner @ .., b']'] => name.is_empty() && inner.iter().all(in_literal),
        [..] => false,
    };
    stands && name.iter().all(in_name) && port.iter().skip(1).all(u8::is_ascii_digit)
}

/// Whether two hosts are the same, the scheme's own port or none.
fn are_same(one: &HeaderValue, other: &HeaderValue, scheme: Option<&str>) -> bool {
    let port: &[u8] = if scheme == Some("https") { b":443" } else { b":80" };
    let bare = |host: &'_ HeaderValue| {
        let host = host.as_bytes();
        let host = host.strip_suffix(port).or_else(|| host.strip_suffix(b":")).unwrap_or(host);
        host.to_ascii_lowercase()
    };
    bare(one) == bare(other)
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
    let coding = headers.get(TRANSFER_ENCODING);
    let is_chunked = coding.is_some();
    if let Some(coding) = coding
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err((StatusCode::NOT_IMPLEMENTED, "Unknown transfer coding.\n"));
    }
    let asked = upgradable && parts.version == Version::HTTP_11 && names(headers, b"upgrade");
    let protocol = if asked { protocols(headers) } else { None };
    headers.remove(UPGRADE);
    let trailers = headers.remove(TE).is_some_and(|te| has(&te, b"trailers"));
    remove_hop_by_hop(headers);
    headers.remove(PROXY_AUTHORIZATION);
    // The client was told to go on as soon as the body is wanted; the app need not do it again.
    headers.remove(EXPECT);
    if is_chunked {
        // Otherwise hyper takes it that a GET has no body.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
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

/// The protocols that an upgrade may lead to (RFC 9110, 7.8).
fn protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let all = headers.get_all(UPGRADE).iter().flat_map(tokens);
    let left: Vec<&[u8]> = all.filter(|protocol| !is_http(protocol)).collect();
    HeaderValue::from_bytes(&left.join(&b", "[..])).ok().filter(|left| !left.is_empty())
}

/// Whether requests would go on in this protocol, past the rules of this proxy.
fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
    [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"].iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// Whether an answer that switches protocols leads to one that was let through.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    !headers.get_all(UPGRADE).iter().flat_map(tokens).any(is_http)
}

/// An interim answer of an app (RFC 9110, 15.2), as bytes for the client.
pub(super) fn interim(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut headers = headers.clone();
    remove_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(UPGRADE);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Leaves at most one word on how long a body is (RFC 9112, 6.3): chunks overrule a length, and
/// equal lengths are one.
fn agree_on_length(headers: &mut HeaderMap) {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return };
    if values.next().is_none()
        && first.as_bytes().iter().all(u8::is_ascii_digit)
        && !headers.contains_key(TRANSFER_ENCODING)
    {
        return;
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter().flat_map(tokens).map(length);
    let agreed = lengths.reduce(|one, other| one.filter(|_| one == other)).flatten();
    // Where they differ there is no body, or hyper would have refused the answer.
    headers.remove(CONTENT_LENGTH);
    if let (Some(length), false) = (agreed, headers.contains_key(TRANSFER_ENCODING)) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn length(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Turns the headers of an app's answer into those of the answer to the client.
pub(super) fn backward(parts: &mut http::response::Parts) {
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;
    agree_on_length(headers);
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
    fn an_absolute_target_is_made_a_path() {
        let mut parts =
            parts("http://me@shop.localhost:8080/a?b", &[("host", "shop.localhost:8080")]);
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
