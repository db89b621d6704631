//! Refusal: what a client is told whose head is not read to its end.

use http::StatusCode;

/// In place of the bare answer that hyper gives to a head that it cannot read.  `None`: the bytes
/// are no such answer.
pub(super) fn in_place_of(bare: &[u8]) -> Option<Vec<u8>> {
    let rest = bare.strip_prefix(b"HTTP/1.1 ").or_else(|| bare.strip_prefix(b"HTTP/1.0 "))?;
    let why = match rest.get(..3)? {
        b"400" => "The request is no HTTP.\n",
        b"414" => "The target of the request is too long.\n",
        b"431" => "The headers of the request are too large together.\n",
        _ => return None,
    };
    let head = str::from_utf8(bare.strip_suffix(b"\r\n\r\n")?).ok()?;
    let (before, after) = head.split_once("content-length: 0\r\n")?;
    let length = why.len();
    Some(
        format!(
            "{before}content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n\
             content-length: {length}\r\n{after}\r\n\r\n{why}"
        )
        .into_bytes(),
    )
}

/// Whether hyper has found that a head is too large.
pub(super) fn is_of_size(bare: &[u8]) -> bool {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    bare.get(9..12) == Some(status.as_str().as_bytes())
}

/// There was no room for a large head, for as long as a client may wait.
pub(super) fn no_room() -> Vec<u8> {
    let why = "There are too many requests with large headers. Try again in a moment.\n";
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
         cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{why}",
        why.len()
    )
    .into_bytes()
}
