//! Upgrade: after a `101 Switching Protocols`, bytes are passed both ways until one side has enough.

use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use super::link::Link;
use super::meter::ClientStream;

/// When the kernel begins to ask whether a silent client is still there.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// The two connections to be joined.
pub(super) struct Splice {
    client: OnUpgrade,
    app: TcpStream,
    /// What the app has sent already.
    early: Bytes,
}

impl Splice {
    /// `None`: the link did not end in an upgrade.
    pub(super) fn new(client: OnUpgrade, link: Link) -> Option<Splice> {
        let (app, early) = link.into_stream()?;
        Some(Splice { client, app, early })
    }

    /// Passes bytes until both sides have ended, or one has failed.
    pub(super) async fn run(mut self) {
        let Ok(upgraded) = self.client.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<ClientStream>>() else { return };
        let mut client = parts.io.into_inner();
        // Such a connection may be silent for hours: only the kernel can tell that the client is gone.
        let asked = set_socket_keepalive(client.socket(), true)
            .and_then(|()| set_tcp_keepidle(client.socket(), KEEP_ALIVE));
        if let Err(error) = asked {
            tracing::debug!(%error, "no keep-alive for an upgraded connection");
        }
        let started = async {
            self.app.write_all(&parts.read_buf).await?;
            client.write_all(&self.early).await?;
            copy_bidirectional(&mut client, &mut self.app).await
        };
        if let Err(error) = started.await {
            tracing::debug!(%error, "an upgraded connection ended");
        }
    }
}
