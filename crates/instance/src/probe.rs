//! The probe: the app as the load balancer sees it, by TLS, on the port that the balancer uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificate::Certificate;

/// As long as the balancer waits.
const LIMIT: Duration = Duration::from_secs(4);

/// Asks for `/`.
pub(crate) struct Probe {
    tls: Arc<ClientConfig>,
    host: String,
    name: ServerName<'static>,
    address: SocketAddr,
}

impl Probe {
    pub(crate) fn new(certificate: &Certificate, host: &str, port: u16) -> Result<Probe, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        Ok(Probe {
            tls: certificate.client()?,
            host: host.to_owned(),
            name,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        })
    }

    /// Asks once. Any answer from 200 to 499 will do, as for the balancer: not every app has a page
    /// at `/`.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let answered = timeout(LIMIT, self.status()).await;
        match answered.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))?? {
            200..=499 => Ok(()),
            status => Err(format!("GET / answered {status}, and a load balancer takes 200 to 499")),
        }
    }

    async fn status(&self) -> Result<u16, String> {
        let broken = |error: hyper::Error| format!("GET /: {error}");
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(self.name.clone(), stream).await;
        let stream = stream.map_err(|error| format!("the TLS handshake failed: {error}"))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::get("/")
            .header("host", &self.host)
            .header("user-agent", "rowhouse-health-check")
            .header("connection", "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer =
            async move { sender.send_request(request).await.map(|answer| answer.status()) };
        let (status, _) = tokio::join!(answer, connection);
        Ok(status.map_err(broken)?.as_u16())
    }
}
