//! What systemd is told of a platform, where it asks: `sd_notify(3)`.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::output;

const SOCKET: &str = "NOTIFY_SOCKET";

/// Whether anybody asks.
pub(crate) fn is_asked() -> bool {
    std::env::var_os(SOCKET).is_some()
}

/// This process serves.
pub(crate) fn ready() {
    tell("READY=1");
}

/// The service's main process is this one from now on.
pub(crate) fn main_process(pid: u32) {
    tell(&format!("MAINPID={pid}"));
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
