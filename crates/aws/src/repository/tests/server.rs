//! `git http-backend` behind TLS, and around it what servers do that mean no good.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rowhouse_core::Commit;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "hunter2";

/// A server with one repository, `site.git`, at several paths. It ends with the test's process.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The certificate of the authority, as PEM.
    pub(crate) authority: String,
    pub(crate) folder: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    head: String,
    body: Vec<u8>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let folder = TempDir::new().unwrap();
        fill(folder.path());
        let (authority, config) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (root, seen) = (folder.path().to_owned(), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (root, seen, config) = (root.clone(), Arc::clone(&seen), Arc::clone(&config));
                // A client that goes away in the middle is its own business.
                std::thread::spawn(move || serve(stream?, config, &root, port, &seen));
            }
        });
        Server { port, authority, folder, requests }
    }

    pub(crate) fn address(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// The commit that git itself finds for a revision.
    pub(crate) fn commit(&self, revision: &str) -> Commit {
        Commit::parse(git(&self.folder.path().join("site.git"), &["rev-parse", revision]).trim())
            .unwrap()
    }

    /// The heads of the requests so far, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fill(folder: &Path) {
    git(folder, &["init", "--quiet", "--initial-branch=main", "work"]);
    let work = folder.join("work");
    let commit = |name: &str| git(&work, &["commit", "--quiet", "--allow-empty", "-m", name]);
    commit("first");
    git(&work, &["tag", "light"]);
    git(&work, &["tag", "both"]);
    commit("second");
    git(&work, &["tag", "-a", "-m", "release", "annotated"]);
    git(&work, &["branch", "both"]);
    commit("third");
    git(&work, &["branch", "feature/größe"]);
    commit("fourth");
    git(folder, &["clone", "--quiet", "--bare", "work", "site.git"]);
}

fn certificates() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
    (authority.pem(), Arc::new(config))
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    root: &Path,
    port: u16,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let request = read(&mut stream)?;
    seen.lock().unwrap().push(request.head.clone());
    let answer = answer(&request, root, port);
    let stream = stream.get_mut();
    stream.write_all(&answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut words = lines.first().map(String::as_str).unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        head: lines.join("\n").to_ascii_lowercase(),
        body: Vec::new(),
    };
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body)?;
    // Heads keep their case only where it counts, in the credentials.
    let credentials = BASE64_STANDARD.encode(format!("me:{PASSWORD}"));
    if lines.iter().any(|line| line.ends_with(&format!("Basic {credentials}"))) {
        request.head.push_str("\nopened: yes");
    }
    Ok(request)
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

fn answer(request: &Request, root: &Path, port: u16) -> Vec<u8> {
    let path = request.path.as_str();
    let below = |prefix: &str| path.strip_prefix(prefix);
    let redirect = |to: String| {
        let head = format!("302 Found\r\nlocation: {to}?{}", request.query);
        whole(&head, b"")
    };
    if let Some(path) = below("/moved") {
        let path = if path.starts_with("/nowhere") { "/sign-in" } else { path };
        return redirect(path.to_owned());
    }
    if let Some(path) = below("/elsewhere") {
        return redirect(format!("https://127.0.0.1:{port}{path}"));
    }
    if let Some(path) = below("/plain") {
        return redirect(format!("http://localhost:{port}{path}"));
    }
    if below("/circle").is_some() {
        return redirect(path.to_owned());
    }
    if let Some(path) = below("/private") {
        return match request.header("opened") {
            Some(_) => backend(request, path, root, request.header("git-protocol")),
            None => whole("401 Unauthorized\r\nwww-authenticate: Basic", b""),
        };
    }
    if let Some(path) = below("/old") {
        return backend(request, path, root, None);
    }
    if below("/huge").is_some() {
        return whole("200 OK", &vec![b'0'; 9 * 1024 * 1024]);
    }
    if below("/page").is_some() {
        return whole("200 OK", b"<!doctype html><title>Sign in</title>");
    }
    if below("/sign-in").is_some() {
        return whole("200 OK", b"000eversion 2\n0000");
    }
    if below("/broken").is_some() {
        return whole("500 Internal Server Error", b"");
    }
    backend(request, path, root, request.header("git-protocol"))
}

fn backend(request: &Request, path: &str, root: &Path, protocol: Option<&str>) -> Vec<u8> {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", protocol.unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let (head, body) = (std::str::from_utf8(&output[..end]).unwrap(), &output[end + 4..]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    whole(&format!("{status}\r\n{head}"), body)
}

fn whole(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}
