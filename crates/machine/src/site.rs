//! The built-in static server, for apps that are only files. Names, TLS and many clients at once
//! are left to the proxy before it.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_http::services::ServeFile;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A client that does not send its request's head for this long is sent away.
const HEAD_LIMIT: Duration = Duration::from_mins(1);
/// How long the listener rests when the system cannot take another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the files of `folder` until it is dropped: `index.html` for folders, `404.html` for what
/// is not there; nothing whose name begins with `.` (except `.well-known`), nothing outside.
///
/// # Errors
/// Only if `folder` is not there.
pub async fn serve(folder: PathBuf, listener: TcpListener) -> io::Result<()> {
    let root = fs::canonicalize(&folder)?;
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let root = root.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let root = root.clone();
                async move { Ok::<_, Infallible>(answer(&root, request).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
            // A client that goes away is its own affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer<B>(root: &Path, request: Request<B>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    let Some(found) = find(root, path) else { return not_found(root, &request).await };
    if found.is_dir() {
        if !path.ends_with('/') {
            return to_folder(path, request.uri().query());
        }
        return match inside(root, &found.join("index.html")).filter(|file| file.is_file()) {
            Some(index) => file(&index, &request).await,
            None => not_found(root, &request).await,
        };
    }
    if found.is_file() && !path.ends_with('/') {
        return file(&found, &request).await;
    }
    not_found(root, &request).await
}

/// The file or folder that a request's path names, if it may be seen.
fn find(root: &Path, path: &str) -> Option<PathBuf> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let mut place = root.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let hidden = part.starts_with('.') && part != ".well-known";
        if hidden || part.contains(['\0', '\\']) {
            return None;
        }
        place.push(part);
    }
    inside(root, &place)
}

/// Where a path really is; symbolic links are followed inside, and to nothing hidden.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(path).ok()?;
    let rest = real.strip_prefix(root).ok()?;
    let hidden =
        rest.iter().any(|part| part != ".well-known" && part.as_encoded_bytes()[0] == b'.');
    (!hidden).then_some(real)
}

async fn file<B>(path: &Path, request: &Request<B>) -> Response<Body> {
    let mut head = Request::new(Full::<Bytes>::default());
    *head.method_mut() = request.method().clone();
    *head.headers_mut() = request.headers().clone();
    match ServeFile::new(path).try_call(head).await {
        Ok(mut response) => {
            let headers = response.headers_mut();
            // A deploy must be seen at once; asking again costs no more than a 304.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            with_charset(headers);
            response.map(UnsyncBoxBody::new)
        }
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot read a file");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
        }
    }
}

fn with_charset(headers: &mut http::HeaderMap) {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(text) = text.filter(|text| text.starts_with("text/") && !text.contains(';')) else {
        return;
    };
    if let Ok(value) = HeaderValue::try_from(format!("{text}; charset=utf-8")) {
        headers.insert(CONTENT_TYPE, value);
    }
}

async fn not_found<B>(root: &Path, request: &Request<B>) -> Response<Body> {
    let page = inside(root, &root.join("404.html")).filter(|page| page.is_file());
    let Some(page) = page else { return plain(StatusCode::NOT_FOUND, "not found\n") };
    let mut whole = Request::new(());
    *whole.method_mut() = request.method().clone();
    let mut response = file(&page, &whole).await;
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

fn to_folder(path: &str, query: Option<&str>) -> Response<Body> {
    // `//host` would lead to another host.
    let path = path.trim_start_matches('/');
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = plain(StatusCode::PERMANENT_REDIRECT, "");
    match HeaderValue::try_from(format!("/{path}/{query}")) {
        Ok(place) => {
            response.headers_mut().insert(LOCATION, place);
            response
        }
        Err(_) => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::from(text).map_err(|never: Infallible| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> tempfile::TempDir {
        let site = tempfile::tempdir().unwrap();
        let at = |name: &str| site.path().join(name);
        fs::create_dir_all(at("docs")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        fs::create_dir_all(at(".well-known")).unwrap();
        for (name, text) in [
            ("index.html", "<h1>home</h1>"),
            ("docs/index.html", "docs"),
            ("a b.css", "body{}"),
            (".env", "SECRET=1"),
            (".git/config", "secret"),
            (".well-known/security.txt", "mail"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", at("passwd")).unwrap();
        std::os::unix::fs::symlink("/etc", at("etc")).unwrap();
        std::os::unix::fs::symlink(".env", at("env.txt")).unwrap();
        std::os::unix::fs::symlink("index.html", at("start.html")).unwrap();
        site
    }

    async fn get(site: &tempfile::TempDir, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let root = fs::canonicalize(site.path()).unwrap();
        answer(&root, request.body(()).unwrap()).await
    }

    async fn text(response: Response<Body>) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn files_and_the_index_of_folders_are_served_with_their_type() {
        let site = site();
        for (path, kind, expected) in [
            ("/", "text/html; charset=utf-8", "<h1>home</h1>"),
            ("/docs/?x=1", "text/html; charset=utf-8", "docs"),
            ("/a%20b.css", "text/css; charset=utf-8", "body{}"),
            ("/start.html", "text/html; charset=utf-8", "<h1>home</h1>"),
            ("/.well-known/security.txt", "text/plain; charset=utf-8", "mail"),
        ] {
            let response = get(&site, path, &[]).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()[CONTENT_TYPE], kind, "{path}");
            assert_eq!(text(response).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_hidden_or_outside_is_not_there() {
        let site = site();
        for path in [
            "/.env",
            "/.git/config",
            "/%2eenv",
            "/../etc/passwd",
            "/..%2f..%2fetc/passwd",
            "/%2e%2e/etc/passwd",
            "/docs/../../etc/passwd",
            "/passwd",
            "/etc/passwd",
            "/etc/",
            "/env.txt",
            "/none",
            "/index.html/",
            "/%00",
            "/%ff",
            "/..%5c..%5cetc",
        ] {
            let response = get(&site, path, &[]).await;
            assert_eq!(response.status(), 404, "{path}");
            assert_eq!(text(response).await, "not found\n");
        }
    }

    #[tokio::test]
    async fn a_page_of_the_site_says_that_something_is_not_there() {
        let site = site();
        fs::write(site.path().join("404.html"), "lost").unwrap();
        let response = get(&site, "/none", &[("range", "bytes=0-1"), ("if-none-match", "*")]).await;
        assert_eq!(response.status(), 404);
        assert_eq!(text(response).await, "lost");
    }

    #[tokio::test]
    async fn a_folder_without_its_slash_is_sent_to_it_on_the_same_host() {
        let site = site();
        for (path, place) in [("/docs?a=b", "/docs/?a=b"), ("//docs", "/docs/")] {
            let response = get(&site, path, &[]).await;
            assert_eq!(response.status(), 308, "{path}");
            assert_eq!(response.headers()[LOCATION], place);
        }
    }

    #[tokio::test]
    async fn what_did_not_change_is_not_sent_again() {
        let site = site();
        let first = get(&site, "/", &[]).await;
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let date = first.headers()["last-modified"].to_str().unwrap().to_owned();
        for header in [("if-none-match", tag.as_str()), ("if-modified-since", date.as_str())] {
            let response = get(&site, "/", &[header]).await;
            assert_eq!(response.status(), 304, "{header:?}");
            assert_eq!(text(response).await, "");
        }
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_sent() {
        let response = get(&site(), "/", &[("range", "bytes=4-7")]).await;
        assert_eq!(response.status(), 206);
        assert_eq!(response.headers()["content-range"], "bytes 4-7/13");
        assert_eq!(text(response).await, "home");
    }

    #[tokio::test]
    async fn only_reading_is_allowed() {
        let site = site();
        let root = fs::canonicalize(site.path()).unwrap();
        let response = answer(&root, Request::post("/").body(()).unwrap()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        let response = answer(&root, Request::head("/").body(()).unwrap()).await;
        assert_eq!(response.headers()["content-length"], "13");
        assert_eq!(text(response).await, "");
    }

    #[tokio::test]
    async fn it_answers_over_a_connection() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let site = site();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(site.path().to_owned(), listener));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n<h1>home</h1>"), "{answer}");
        serving.abort();
    }
}
