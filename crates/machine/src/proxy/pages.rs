//! Pages: what the proxy answers itself when no app does.
//!
//! They look alike: a page for who reads HTML, a line or two of text for everybody else.  Commands
//! are told only where whoever asks can type them.

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, VARY, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::proxy::routes::Vacancy;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The longest host name that is repeated to who asked for it.
const HOST: usize = 255;

/// Who says that a request came through somebody else.
static THROUGH: [HeaderName; 3] =
    [HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("forwarded"), VIA];

/// Who reads a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    /// HTML is asked for by name, as browsers do.
    reads_html: bool,
    /// The request comes from this machine, and through nobody.
    is_operator: bool,
}

impl Reader {
    /// `is_local`: the connection comes from this machine.
    pub(super) fn of(headers: &HeaderMap, is_local: bool) -> Reader {
        Reader {
            reads_html: headers.get_all(ACCEPT).iter().any(names_html),
            is_operator: is_local && !THROUGH.iter().any(|name| headers.contains_key(name)),
        }
    }
}

fn names_html(accept: &HeaderValue) -> bool {
    let mut ranges = accept.as_bytes().split(|&byte| byte == b',');
    ranges.any(|range| {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
        let is_refused = |part: &[u8]| {
            let quality = part.strip_prefix(b"q=");
            quality.is_some_and(|quality| quality.iter().all(|byte| matches!(byte, b'0' | b'.')))
        };
        is_html && !parts.any(is_refused)
    })
}

/// What a page says.  Words in backquotes are to be typed.
struct Page {
    status: StatusCode,
    title: String,
    said: String,
    /// What the operator can do about it, or whoever reads it.
    advice: String,
}

/// No app has this host name.
pub(super) fn unknown(host: &[u8], reader: Reader) -> Response<Bytes> {
    let host = String::from_utf8_lossy(&host[..host.len().min(HOST)]);
    let said = if host.is_empty() {
        "The request names no host.".to_owned()
    } else {
        format!("Nothing is deployed at {host}.")
    };
    let advice = if reader.is_operator {
        "An app answers here as soon as the row with its name is deployed: `rowhouse ls` lists \
         those that there are."
    } else {
        "Check the address."
    };
    let (status, title) = (StatusCode::NOT_FOUND, "No such app".to_owned());
    Page { status, title, said, advice: advice.to_owned() }.answer(reader)
}

/// The app is known, and nobody can take the request.
pub(super) fn nobody(app: &str, why: Vacancy, reader: Reader) -> Response<Bytes> {
    let (said, advice, seconds) = match why {
        Vacancy::Unready => (
            format!("No instance of {app} is ready."),
            format!("Try again in a moment; `rowhouse show {app}` says how it is."),
            "1",
        ),
        Vacancy::ScaledToZero => (
            format!("{app} is scaled to 0."),
            format!("`rowhouse scale {app} 1` starts an instance."),
            "60",
        ),
        Vacancy::NeverUp => (
            format!("{app} has not come up yet."),
            format!("`rowhouse show {app}` says how it is."),
            "5",
        ),
    };
    let (said, advice) = match why {
        _ if reader.is_operator => (said, advice),
        Vacancy::Unready => {
            (format!("{app} cannot answer just now."), "Try again in a moment.".to_owned())
        }
        Vacancy::ScaledToZero => (format!("{app} is switched off."), "Try again later.".to_owned()),
        Vacancy::NeverUp => {
            (format!("{app} is not there yet."), "Try again in a moment.".to_owned())
        }
    };
    let (status, title) = (StatusCode::SERVICE_UNAVAILABLE, format!("{app} is not available"));
    let mut response = Page { status, title, said, advice }.answer(reader);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    response
}

/// The instance that had the request failed.
pub(super) fn failed(app: &str, reader: Reader) -> Response<Bytes> {
    bad_gateway(app, format!("{app} did not answer the request."), reader)
}

/// The instance that had the request sent something that cannot be read.
pub(super) fn unreadable(app: &str, reader: Reader) -> Response<Bytes> {
    bad_gateway(app, format!("{app} sent an answer that is no HTTP."), reader)
}

fn bad_gateway(app: &str, said: String, reader: Reader) -> Response<Bytes> {
    let (status, title) = (StatusCode::BAD_GATEWAY, format!("{app} failed"));
    Page { status, title, said, advice: look_at_log(app, reader) }.answer(reader)
}

/// The instance that has the request takes too long.
pub(super) fn silent(app: &str, reader: Reader) -> Response<Bytes> {
    let (status, title) = (StatusCode::GATEWAY_TIMEOUT, format!("{app} takes too long"));
    let said = format!("{app} did not answer in time.");
    let mut response =
        Page { status, title, said, advice: look_at_log(app, reader) }.answer(reader);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn look_at_log(app: &str, reader: Reader) -> String {
    if reader.is_operator {
        format!("`rowhouse logs {app}` shows what it wrote.")
    } else {
        "Try again in a moment.".to_owned()
    }
}

/// A request that the proxy does not pass on.
pub(super) fn refused(status: StatusCode, why: &'static str) -> Response<Bytes> {
    let mut response = answer(status, &TEXT, Bytes::from_static(why.as_bytes()));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

impl Page {
    fn answer(&self, reader: Reader) -> Response<Bytes> {
        let Page { status, title, said, advice } = self;
        let mut response = if reader.reads_html {
            let [title, said, advice] = [title, said, advice].map(|text| html(text));
            let page = format!(
                "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width\">\n\
                 <title>{title}</title>\n<style>{STYLE}</style>\n\
                 <main>\n<h1>{title}</h1>\n<p>{said}</p>\n<p>{advice}</p>\n</main>\n</html>\n"
            );
            answer(*status, &HTML, Bytes::from(page))
        } else {
            answer(*status, &TEXT, Bytes::from(format!("{said} {advice}\n")))
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response
    }
}

const STYLE: &str = ":root{color-scheme:light dark}\
     body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}\
     h1,p{overflow-wrap:anywhere}";

fn answer(status: StatusCode, kind: &HeaderValue, text: Bytes) -> Response<Bytes> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Text as HTML, with what is to be typed marked.
fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    let mut typed = false;
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '`' => {
                html.push_str(if typed { "</code>" } else { "<code>" });
                typed = !typed;
            }
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_cannot_bring_markup() {
        assert_eq!(html(r#"<a b='c' d="&">"#), "&lt;a b=&#39;c&#39; d=&quot;&amp;&quot;&gt;");
        assert_eq!(html("Type `rm <x>`."), "Type <code>rm &lt;x&gt;</code>.");
    }

    #[test]
    fn html_is_for_those_that_name_it() {
        let names = |accept: &'static str| names_html(&HeaderValue::from_static(accept));
        assert!(names("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(names("application/json, Text/HTML;q=0.5"));
        assert!(!names("*/*") && !names("application/json") && !names("text/html;q=0"));
    }
}
