//! Upgrade: after a `101 Switching Protocols`, bytes are passed both ways until the app has ended.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::select;

use crate::proxy::client::ClientStream;
use crate::proxy::link::Link;

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

    /// Passes bytes until the app has ended, or one side has failed.
    pub(super) async fn run(mut self) {
        let Ok(upgraded) = self.client.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<ClientStream>>() else { return };
        let mut client = parts.io.into_inner().into_socket();
        // Such a connection may be silent for hours: only the kernel can tell that the client is
        // gone.
        let asked = set_socket_keepalive(&client, true)
            .and_then(|()| set_tcp_keepidle(&client, KEEP_ALIVE));
        if let Err(error) = asked {
            tracing::debug!(%error, "no keep-alive for an upgraded connection");
        }
        let joined = async {
            self.app.write_all(&parts.read_buf).await?;
            client.write_all(&self.early).await?;
            join(&mut client, &mut self.app).await
        };
        if let Err(error) = joined.await {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    }
}

/// Ends when the app has ended.  A client may end its side before.
async fn join(client: &mut TcpStream, app: &mut TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_app, mut to_app) = app.split();
    let up = async {
        copy(&mut from_client, &mut to_app).await?;
        to_app.shutdown().await?;
        // What the app still sends decides.
        std::future::pending::<io::Result<()>>().await
    };
    let down = async {
        copy(&mut from_app, &mut to_client).await?;
        to_client.shutdown().await
    };
    select! {
        result = up => result,
        result = down => result,
    }
}
