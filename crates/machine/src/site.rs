//! The built-in static server, for apps that are only files. Names, TLS and many clients at once
//! are left to the proxy before it.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE,
};
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_http::compression::Compression;
use tower_http::services::ServeFile;
use tower_service::Service as _;

type Body = UnsyncBoxBody<Bytes, io::Error>;
/// Whoever keeps a line for each request.
type Access = Arc<dyn Fn(&str) + Send + Sync>;

/// A client that does not send its request's head for this long is sent away.
const HEAD_LIMIT: Duration = Duration::from_mins(1);
/// How long the listener rests when the system cannot take another connection.
const PAUSE: Duration = Duration::from_millis(50);
/// A body of up to so many bytes is written together with its head.
const SMALL: u64 = 64 << 10;
/// From how many bytes on compression saves more than it costs.
const WORTH_COMPRESSING: u64 = 1 << 10;

/// What a site answers where there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// That nothing is found.
    NotFound,
    /// The page of all paths, since its paths are read in the browser: `index.html`.
    Index,
}

/// A folder that is served.
#[derive(Clone, Debug)]
struct Site {
    root: PathBuf,
    otherwise: Otherwise,
}

/// Serves the files of `folder` until it is dropped: `index.html` for folders, `about.html` for
/// `/about`, `200.html` or `404.html` for what is not there; nothing whose name begins with `.`
/// (except `.well-known`), nothing outside. `access` is told a line for each request.
///
/// # Errors
/// Only if `folder` is not there.
pub async fn serve(
    folder: PathBuf,
    otherwise: Otherwise,
    listener: TcpListener,
    access: impl Fn(&str) + Send + Sync + 'static,
) -> io::Result<()> {
    let site = Site { root: fs::canonicalize(&folder)?, otherwise };
    let access: Access = Arc::new(access);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Without it the end of an answer waits until the client acknowledges what came before.
        if stream.set_nodelay(true).is_ok() {
            connections.spawn(converse(stream, client.ip(), site.clone(), Arc::clone(&access)));
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    site: Site,
    access: Access,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (site, access) = (&site, &access);
        async move {
            let asked = Asked::of(&request, client);
            let response = answer(site, request).await;
            access(&asked.line(&response, Timestamp::now()));
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    // A client that goes away is its own affair.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// What the access log tells of a request.
struct Asked {
    client: String,
    method: Method,
    target: Uri,
    version: Version,
}

impl Asked {
    fn of<B>(request: &Request<B>, client: IpAddr) -> Asked {
        // The last one is what the proxy has seen itself.
        let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
        let forwarded = forwarded.and_then(|chain| chain.to_str().ok()?.rsplit(',').next());
        let forwarded = forwarded.and_then(|last| last.trim().parse::<IpAddr>().ok());
        Asked {
            client: forwarded.unwrap_or(client).to_string(),
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
        }
    }

    /// In the common log format, which every tool reads.
    fn line(&self, response: &Response<Body>, now: Timestamp) -> String {
        let Asked { client, method, target, version } = self;
        let time = now.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let target = target.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        let status = response.status().as_u16();
        let length = match response.body().size_hint().exact() {
            Some(length) if *method != Method::HEAD => length.to_string(),
            Some(_) | None => "-".to_owned(),
        };
        format!("{client} - - [{time}] \"{method} {target} {version:?}\" {status} {length}")
    }
}

async fn answer<B>(site: &Site, request: Request<B>) -> Response<Body> {
    let root = &site.root;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    let is_file = |path: &PathBuf| path.is_file();
    if let Some(found) = find(root, path) {
        if found.is_file() && !path.ends_with('/') {
            return file(root, &found, &request).await;
        }
        let index = inside(root, &found.join("index.html")).filter(is_file);
        if let Some(index) = index.filter(|_| found.is_dir()) {
            if !path.ends_with('/') {
                return to_folder(path, request.uri().query());
            }
            return file(root, &index, &request).await;
        }
    }
    if !path.ends_with('/')
        && let Some(page) = find(root, &format!("{path}.html")).filter(is_file)
    {
        return file(root, &page, &request).await;
    }
    not_found(site, &request).await
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

async fn file<B>(root: &Path, path: &Path, request: &Request<B>) -> Response<Body> {
    let mut serve = ServeFile::new(path).ignore_multi_range_requests(true);
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        inside(root, Path::new(&name)).is_some_and(|file| file.is_file())
    };
    if beside(".br") {
        serve = serve.precompressed_br();
    }
    if beside(".gz") {
        serve = serve.precompressed_gzip();
    }
    let mut headers = request.headers().clone();
    if let Some(known) = headers.remove(IF_RANGE)
        && !is_current(&serve, &known, &headers).await
    {
        // A part of another state would be put to the one that the client has.
        headers.remove(RANGE);
    }
    let head = bare(request.method().clone(), headers);
    let is_encoded = serve.clone().try_call(bare(Method::HEAD, head.headers().clone())).await;
    let is_encoded =
        is_encoded.is_ok_and(|response| response.headers().contains_key(CONTENT_ENCODING));
    let Ok(response) = Compression::new(serve).compress_when(is_worth_it).call(head).await;
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::warn!(path = %path.display(), "cannot read a file");
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n");
    }
    let mut response = response.map(|body| UnsyncBoxBody::new(body.map_err(io::Error::other)));
    let headers = response.headers_mut();
    // A deploy must be seen at once; asking again costs no more than a 304.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    with_charset(headers);
    if headers.contains_key(CONTENT_ENCODING) && !is_encoded {
        weaken(headers);
    }
    let is_small = fs::metadata(path).is_ok_and(|data| data.len() <= SMALL);
    if is_small { together(response, request.method()).await } else { response }
}

/// A request for a file, without a body.
fn bare(method: Method, headers: HeaderMap) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    request
}

/// Whether the state that a client has a part of is the file's, by its tag or its date.
async fn is_current(serve: &ServeFile, known: &HeaderValue, headers: &HeaderMap) -> bool {
    let mut headers = headers.clone();
    headers.remove(RANGE);
    let now = serve.clone().try_call(bare(Method::HEAD, headers)).await;
    now.is_ok_and(|now| {
        [ETAG, LAST_MODIFIED].iter().any(|name| now.headers().get(name) == Some(known))
    })
}

/// Text that is not too short. Pictures, films and archives are compressed already.
fn is_worth_it(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let is_text = kind.starts_with("text/")
        || ["json", "xml", "javascript", "wasm"].iter().any(|ending| {
            kind.strip_suffix(ending).is_some_and(|before| before.ends_with(['/', '+', '-']))
        });
    status == StatusCode::OK && is_text && length.is_some_and(|length| length >= WORTH_COMPRESSING)
}

/// The same content in other bytes: its tag says so.
fn weaken(headers: &mut HeaderMap) {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    if let Some(tag) = tag.filter(|tag| !tag.starts_with("W/"))
        && let Ok(tag) = HeaderValue::try_from(format!("W/{tag}"))
    {
        headers.insert(ETAG, tag);
    }
}

/// An answer whose body is at hand, so that it goes out in one piece.
async fn together(response: Response<Body>, method: &Method) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            if method == Method::GET && parts.headers.contains_key(CONTENT_ENCODING) {
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            let body = Full::new(body).map_err(|never: Infallible| match never {});
            Response::from_parts(parts, UnsyncBoxBody::new(body))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read a file");
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

/// What a site says where there is nothing: `200.html` is the page of all paths of an app that runs
/// in the browser, though not the answer to a script or a picture that is missing.
async fn not_found<B>(site: &Site, request: &Request<B>) -> Response<Body> {
    let root = &site.root;
    let page = |name| inside(root, &root.join(name)).filter(|page| page.is_file());
    let wants_page = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .any(|kinds| kinds.to_str().is_ok_and(|kinds| kinds.contains("text/html")));
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let of_all_paths = match site.otherwise {
        Otherwise::Index => page("200.html").or_else(|| page("index.html")),
        Otherwise::NotFound => page("200.html"),
    };
    if let Some(page) = of_all_paths.filter(|_| wants_page || !name.contains('.')) {
        return file(root, &page, request).await;
    }
    let Some(page) = page("404.html") else { return plain(StatusCode::NOT_FOUND, "not found\n") };
    // Neither a part of it, nor "as before".
    let mut whole = Request::new(());
    *whole.method_mut() = request.method().clone();
    let mut response = file(root, &page, &whole).await;
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

    fn plain_site(root: &Path) -> Site {
        Site { root: root.to_owned(), otherwise: Otherwise::NotFound }
    }

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
        answer(&plain_site(&root), request.body(()).unwrap()).await
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
        let response = answer(&plain_site(&root), Request::post("/").body(()).unwrap()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        let response = answer(&plain_site(&root), Request::head("/").body(()).unwrap()).await;
        assert_eq!(response.headers()["content-length"], "13");
        assert_eq!(text(response).await, "");
    }

    #[tokio::test]
    async fn it_answers_over_a_connection() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let site = site();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving =
            tokio::spawn(serve(site.path().to_owned(), Otherwise::NotFound, listener, |_| {}));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n<h1>home</h1>"), "{answer}");
        serving.abort();
    }

    #[tokio::test]
    async fn two_parts_are_answered_by_the_whole() {
        let response = get(&site(), "/", &[("range", "bytes=0-1,4-7")]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "<h1>home</h1>");
        let response = get(&site(), "/", &[("range", "bytes=99-")]).await;
        assert_eq!(response.status(), 416);
    }

    #[tokio::test]
    async fn a_part_is_sent_only_of_the_state_that_the_client_has() {
        let site = site();
        let first = get(&site, "/", &[]).await;
        let known = |name| first.headers()[name].to_str().unwrap().to_owned();
        for (known, status) in
            [(known("etag"), 206), (known("last-modified"), 206), ("\"another\"".to_owned(), 200)]
        {
            let headers = [("range", "bytes=4-7"), ("if-range", known.as_str())];
            assert_eq!(get(&site, "/", &headers).await.status(), status, "{known}");
        }
    }

    #[tokio::test]
    async fn a_page_is_found_without_its_ending() {
        let site = site();
        fs::write(site.path().join("about.html"), "us").unwrap();
        fs::write(site.path().join("docs.html"), "not this").unwrap();
        for (path, status, expected) in [
            ("/about", 200, "us"),
            ("/about.html", 200, "us"),
            ("/about/", 404, "not found\n"),
            ("/docs/", 200, "docs"),
            ("/docs", 308, ""),
        ] {
            let response = get(&site, path, &[]).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(text(response).await, expected, "{path}");
        }
        // A folder of files beside a page of its name, as some generators make it.
        fs::remove_file(site.path().join("docs/index.html")).unwrap();
        assert_eq!(text(get(&site, "/docs", &[]).await).await, "not this");
    }

    #[tokio::test]
    async fn one_page_answers_every_path_of_an_app_in_the_browser() {
        let site = site();
        fs::write(site.path().join("200.html"), "app").unwrap();
        fs::write(site.path().join("404.html"), "lost").unwrap();
        for (path, accepted, status) in [
            ("/users/7", "*/*", 200),
            ("/users/john.doe", "text/html,*/*;q=0.8", 200),
            ("/assets/gone.js", "*/*", 404),
        ] {
            let response = get(&site, path, &[("accept", accepted)]).await;
            assert_eq!(response.status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn what_was_compressed_before_is_sent_to_who_takes_it() {
        let site = site();
        let at = |name: &str| site.path().join(name);
        for (name, text) in [("app.js", "plain"), ("app.js.br", "brotli"), ("app.js.gz", "gzip")] {
            fs::write(at(name), text).unwrap();
        }
        for (accepted, encoding, expected) in [
            ("gzip, br", Some("br"), "brotli"),
            ("gzip", Some("gzip"), "gzip"),
            ("identity", None, "plain"),
        ] {
            let response = get(&site, "/app.js", &[("accept-encoding", accepted)]).await;
            let found = response.headers().get("content-encoding");
            assert_eq!(found.map(|found| found.to_str().unwrap()), encoding);
            assert_eq!(response.headers()["vary"], "accept-encoding");
            assert!(response.headers()["content-type"].to_str().unwrap().contains("javascript"));
            assert_eq!(text(response).await, expected);
        }
        // Nothing from outside, by this door neither.
        fs::remove_file(at("app.js.gz")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("app.js.gz")).unwrap();
        let response = get(&site, "/app.js", &[("accept-encoding", "gzip")]).await;
        assert_eq!(text(response).await, "plain");
    }

    #[tokio::test]
    async fn text_is_compressed_where_it_pays() {
        use std::io::Read as _;
        let site = site();
        let long = "a line of text\n".repeat(1_000);
        for name in ["long.css", "long.svg", "long.json", "long.png", "long.woff2"] {
            fs::write(site.path().join(name), &long).unwrap();
        }
        for (path, is_compressed) in [
            ("/long.css", true),
            ("/long.svg", true),
            ("/long.json", true),
            ("/long.png", false),
            ("/long.woff2", false),
            ("/a%20b.css", false),
        ] {
            let response = get(&site, path, &[("accept-encoding", "gzip")]).await;
            assert_eq!(
                response.headers().contains_key("content-encoding"),
                is_compressed,
                "{path}"
            );
        }
        let plain = get(&site, "/long.css", &[]).await;
        assert_eq!(plain.headers()["content-length"], long.len().to_string());
        let response = get(&site, "/long.css", &[("accept-encoding", "gzip")]).await;
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(tag, format!("W/{}", plain.headers()["etag"].to_str().unwrap()));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.len() < 1_000);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, long);
        let again = [("accept-encoding", "gzip"), ("if-none-match", tag.as_str())];
        assert_eq!(get(&site, "/long.css", &again).await.status(), 304);
        let part = [("accept-encoding", "gzip"), ("range", "bytes=2-5")];
        assert_eq!(text(get(&site, "/long.css", &part).await).await, "line");
    }

    #[tokio::test]
    async fn a_request_leaves_one_line_in_the_common_log_format() {
        let site = site();
        let request =
            || Request::get("/a%20b.css?q=x\\y").header("x-forwarded-for", "10.9.9.9, 192.0.2.7");
        let root = fs::canonicalize(site.path()).unwrap();
        let response = answer(&plain_site(&root), request().body(()).unwrap()).await;
        let asked = Asked::of(&request().body(()).unwrap(), [127, 0, 0, 1].into());
        let now = "2026-11-28T02:03:04Z".parse().unwrap();
        assert_eq!(
            asked.line(&response, now),
            r#"192.0.2.7 - - [28/Nov/2026:02:03:04 +0000] "GET /a%20b.css?q=x\\y HTTP/1.1" 200 6"#
        );
    }

    /// A client's connection that keeps each write apart.
    struct Written(tokio::io::DuplexStream, Arc<std::sync::Mutex<Vec<usize>>>);

    impl AsyncRead for Written {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Written {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            self.1.lock().unwrap().push(bytes.len());
            std::pin::Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn a_small_answer_goes_out_in_one_write_and_each_is_told() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let site = site();
        let root = fs::canonicalize(site.path()).unwrap();
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let (writes, lines) = (Arc::default(), Arc::new(std::sync::Mutex::new(Vec::new())));
        let told = Arc::clone(&lines);
        let access: Access = Arc::new(move |line: &str| told.lock().unwrap().push(line.to_owned()));
        let server = Written(server, Arc::clone(&writes));
        let serving =
            tokio::spawn(converse(server, [127, 0, 0, 1].into(), plain_site(&root), access));
        for path in ["/", "/none"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            let count = client.read(&mut answer).await.unwrap();
            assert_eq!(*writes.lock().unwrap().last().unwrap(), count);
        }
        assert_eq!(writes.lock().unwrap().len(), 2);
        drop(client);
        serving.await.unwrap();
        let lines = lines.lock().unwrap();
        assert!(lines[0].ends_with("\"GET / HTTP/1.1\" 200 13"), "{lines:?}");
        assert!(lines[1].ends_with("\"GET /none HTTP/1.1\" 404 10"), "{lines:?}");
    }

    #[tokio::test]
    async fn no_answer_waits_for_a_delayed_acknowledgement() {
        use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let site = site();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving =
            tokio::spawn(serve(site.path().to_owned(), Otherwise::NotFound, listener, |_| {}));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        // The very socket that was accepted, among all that this process has.
        let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let client = stream.local_addr().unwrap();
        let accepted = fs::read_dir("/proc/self/fd").unwrap().find_map(|entry| {
            let number = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
            let socket = pidfd_getfd(&me, number, PidfdGetfdFlags::empty()).ok()?;
            let peer = rustix::net::getpeername(&socket).ok()??;
            let peer = std::net::SocketAddr::try_from(peer).ok()?;
            (peer == client).then_some(socket)
        });
        assert!(rustix::net::sockopt::tcp_nodelay(accepted.unwrap()).unwrap());
        serving.abort();
    }
}
