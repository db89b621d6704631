//! Pages: what the proxy answers itself when no app does.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::proxy::body::ResponseBody;
use crate::proxy::routes::Vacancy;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The longest host name that is repeated to who asked for it.
const HOST: usize = 255;

/// No app has this host name.
pub(super) fn unknown(host: &[u8]) -> Response<ResponseBody> {
    let host = escape(&host[..host.len().min(HOST)]);
    let asked = if host.is_empty() {
        "The request names no host.".to_owned()
    } else {
        format!("Nothing is deployed at <strong>{host}</strong>.")
    };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>No such app</title>\n\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}</style>\n\
         <h1>No such app</h1>\n<p>{asked}</p>\n\
         <p>An app answers here as soon as the row with its name is deployed.</p>\n</html>\n"
    );
    answer(StatusCode::NOT_FOUND, &HTML, Bytes::from(page))
}

/// The app is known, and nobody can take the request.
pub(super) fn nobody(app: &str, why: Vacancy) -> Response<ResponseBody> {
    let (text, seconds) = match why {
        Vacancy::Unready => {
            (format!("No instance of {app} is ready. Try again in a moment.\n"), "1")
        }
        Vacancy::ScaledToZero => {
            (format!("{app} is scaled to 0: `rowhouse scale {app} 1` starts an instance.\n"), "60")
        }
        Vacancy::NeverUp => {
            (format!("{app} has not come up yet: `rowhouse show {app}` says how it is.\n"), "5")
        }
    };
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &TEXT, Bytes::from(text));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    response
}

/// The instance that had the request failed.
pub(super) fn failed(app: &str) -> Response<ResponseBody> {
    let text = format!("{app} did not answer the request.\n");
    answer(StatusCode::BAD_GATEWAY, &TEXT, Bytes::from(text))
}

/// The instance that has the request takes too long.
pub(super) fn silent(app: &str) -> Response<ResponseBody> {
    let text = format!("{app} did not answer in time.\n");
    let mut response = answer(StatusCode::GATEWAY_TIMEOUT, &TEXT, Bytes::from(text));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A request that the proxy does not pass on.
pub(super) fn refused(status: StatusCode, why: &'static str) -> Response<ResponseBody> {
    let mut response = answer(status, &TEXT, Bytes::from_static(why.as_bytes()));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

fn answer(status: StatusCode, kind: &HeaderValue, text: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::page(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_cannot_bring_markup() {
        assert_eq!(escape(br#"<a b='c' d="&">"#), "&lt;a b=&#39;c&#39; d=&quot;&amp;&quot;&gt;");
    }
}
