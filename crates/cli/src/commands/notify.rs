//! What systemd is told of a platform, where it asks: `sd_notify(3)`.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tokio::process::Command;

use crate::output;

const SOCKET: &str = "NOTIFY_SOCKET";

/// Lets a process tell systemd nothing. The process that systemd has started stays its main one.
pub(crate) fn keep_from(command: &mut Command) {
    command.env_remove(SOCKET);
}

/// This process serves.
pub(crate) fn ready() {
    tell("READY=1");
}

fn tell(text: &str) {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let send = || -> io::Result<usize> {
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)
    };
    if let Err(error) = send() {
        output::warning(&format!("cannot tell `{SOCKET}` {text}: {error}"));
    }
}
