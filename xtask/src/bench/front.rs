//! TLS before the emulator, so that a function's start pays for certificates and handshakes as on
//! AWS: nginx, with a certificate that stands behind the machine's own roots in one file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bench::account::{Account, free_port, printed};
use crate::bench::process::Process;
use crate::tools::need;

/// Where Linux systems have the roots that they trust: Amazon Linux, Debian.
const ROOTS: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// A running front.
pub struct Front {
    _nginx: Process,
    port: u16,
    roots: PathBuf,
}

impl Front {
    pub fn before(account: &Account) -> anyhow::Result<Front> {
        need(&[("nginx", "nginx"), ("openssl", "openssl")])?;
        let folder = account.folder();
        let key = folder.join("front.key");
        let certificate = folder.join("front.crt");
        printed(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"])
                .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
                // Whoever is asked must not be an authority, too: webpki insists on it.
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate),
        )?;
        let mut roots: String =
            ROOTS.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        roots.push_str(&std::fs::read_to_string(&certificate)?);
        let bundle = folder.join("roots.crt");
        std::fs::write(&bundle, roots)?;
        let port = free_port()?;
        let config = folder.join("front.conf");
        std::fs::write(&config, configuration(folder, account.port(), port))?;
        let nginx =
            Process::start(Command::new("nginx").arg("-p").arg(folder).arg("-c").arg(&config))?;
        let front = Front { _nginx: nginx, port, roots: bundle };
        account.wait("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(front)
    }

    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Gives a program the roots, by the names that the SDKs of Rust and Python know.
    pub fn trusted(&self, command: &mut Command) {
        command.env("SSL_CERT_FILE", &self.roots).env("AWS_CA_BUNDLE", &self.roots);
        command.env_remove("SSL_CERT_DIR").env_remove("REQUESTS_CA_BUNDLE");
    }
}

fn configuration(folder: &Path, behind: u16, port: u16) -> String {
    let folder = folder.display();
    let (keep, timeout) = (1000, Duration::from_secs(60).as_secs());
    format!(
        "daemon off; worker_processes 1; pid {folder}/front.pid; error_log /dev/null;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/temporary; proxy_temp_path \
         {folder}/temporary;\n\
         server {{ listen 127.0.0.1:{port} ssl; keepalive_requests {keep}; keepalive_timeout \
         {timeout};\n\
         ssl_certificate {folder}/front.crt; ssl_certificate_key {folder}/front.key;\n\
         location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; \
         proxy_set_header Host $http_host;\n\
         client_max_body_size 50m; }} }} }}\n"
    )
}
