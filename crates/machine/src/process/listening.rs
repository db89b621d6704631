//! Where processes listen, and who listens on a port, as the kernel's tables of sockets and the
//! descriptors of the processes tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::process::descendants;

/// Who listens on a port of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Nobody,
    /// A process of the given tree.
    Ours,
    /// Somebody; a process of the tree may not be looked into, as one with capabilities of its own.
    Hidden,
    /// Somebody else.
    Other,
}

/// Finds who takes connections to `127.0.0.1:port`: the tree below `ancestor`, or another.
pub fn listener(port: u16, ancestor: i32) -> Listener {
    let sockets: BTreeSet<u64> = tcp_sockets()
        .filter(|(_, address)| takes_from_loopback(*address, port))
        .map(|(inode, _)| inode)
        .collect();
    if sockets.is_empty() {
        return Listener::Nobody;
    }
    let held = held_below(ancestor);
    if held.inodes.iter().any(|inode| sockets.contains(inode)) {
        Listener::Ours
    } else if held.is_whole {
        Listener::Other
    } else {
        Listener::Hidden
    }
}

/// A place at which a process takes connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Tcp(SocketAddr),
    /// By its path, or a name that begins with `@` and is no file.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(formatter, "{address}"),
            Place::Unix(path) => write!(formatter, "the Unix socket {}", path.display()),
        }
    }
}

/// Where a tree of processes listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub found: BTreeSet<Place>,
    /// Whether every process of the tree could be looked into.
    pub is_whole: bool,
}

/// Finds where the tree below `ancestor` listens.
pub fn places(ancestor: i32) -> Places {
    let held = held_below(ancestor);
    let tcp = tcp_sockets().map(|(inode, address)| (inode, Place::Tcp(address)));
    let known: BTreeMap<u64, Place> = tcp.chain(unix_sockets()).collect();
    let found = held.inodes.iter().filter_map(|inode| known.get(inode).cloned()).collect();
    Places { found, is_whole: held.is_whole }
}

/// Whether who listens there is who takes connections to this port of `127.0.0.1`.
fn takes_from_loopback(address: SocketAddr, port: u16) -> bool {
    let takes = match address.ip() {
        IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST || ip.is_unspecified(),
        // Unless it is told otherwise, a socket of all addresses takes those of IPv4, too.
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped();
            ip.is_unspecified()
                || mapped.is_some_and(|ip| ip == Ipv4Addr::LOCALHOST || ip.is_unspecified())
        }
    };
    takes && address.port() == port
}

/// The sockets that a tree of processes holds.
struct Held {
    inodes: BTreeSet<u64>,
    /// Whether every process of it could be looked into.
    is_whole: bool,
}

fn held_below(ancestor: i32) -> Held {
    let mut held = Held { inodes: BTreeSet::new(), is_whole: true };
    for pid in descendants(ancestor) {
        match sockets_of(pid) {
            Ok(sockets) => held.inodes.extend(sockets),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => held.is_whole = false,
            // One that has ended meanwhile listens nowhere.
            Err(_) => {}
        }
    }
    held
}

/// Every TCP socket that listens, by its inode, as `proc_net_tcp` has them.
fn tcp_sockets() -> impl Iterator<Item = (u64, SocketAddr)> {
    const LISTEN: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let lines = tables.into_iter().flat_map(lines);
    lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        (*state == LISTEN).then_some(())?;
        Some((inode.parse().ok()?, socket_address(local)?))
    })
}

/// Every Unix socket that listens and has a name, by its inode, as `proc_net_unix` has them.
fn unix_sockets() -> impl Iterator<Item = (u64, Place)> {
    /// `__SO_ACCEPTCON`.
    const ACCEPTS: u32 = 1 << 16;
    lines("/proc/net/unix").into_iter().filter_map(|line| {
        // The path is the rest of the line, spaces and all.
        let mut rest = line.as_str();
        let mut fields = [""; 7];
        for field in &mut fields {
            let trimmed = rest.trim_start();
            let end = trimmed.find(' ')?;
            (*field, rest) = trimmed.split_at(end);
        }
        let flags = u32::from_str_radix(fields[3], 16).ok()?;
        (flags & ACCEPTS != 0).then_some(())?;
        Some((fields[6].parse().ok()?, Place::Unix(rest.strip_prefix(' ')?.into())))
    })
}

/// The lines of a table, without its head.
fn lines(table: &str) -> Vec<String> {
    // A path may be any bytes.
    let bytes = fs::read(table).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().skip(1).map(str::to_owned).collect()
}

/// An address as the kernel writes it: each 32 bits of it in the machine's own order, as 8 digits.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..ip.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn sockets_of(pid: i32) -> io::Result<Vec<u64>> {
    let mut sockets = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = match fs::read_link(descriptor?.path()) {
            // Closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            target => target?,
        };
        let inode: Option<u64> = target
            .to_str()
            .and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        sockets.extend(inode);
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_from_a_strangers() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let child_pid = i32::try_from(child.id()).unwrap();
        let me = rustix::process::getpid().as_raw_pid();
        assert!(descendants(me).contains(&child_pid));
        // It listens in this process, which is no descendant of itself.
        assert_eq!(listener(port, child_pid), Listener::Other);
        drop(socket);
        assert_eq!(listener(port, child_pid), Listener::Nobody);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn who_listens_elsewhere_takes_no_connection_to_the_port_of_loopback() {
        let takes = |address: &str| takes_from_loopback(address.parse().unwrap(), 80);
        for at in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(takes(at), "{at}");
        }
        for at in ["127.0.0.1:81", "127.0.0.2:80", "10.0.0.1:80", "[::1]:80", "[::]:81"] {
            assert!(!takes(at), "{at}");
        }
    }

    #[test]
    fn listening_sockets_are_found_where_they_are() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a b.sock");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let four = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let six = std::net::TcpListener::bind("[::1]:0").unwrap();
        let tcp: Vec<SocketAddr> = tcp_sockets().map(|(_, address)| address).collect();
        for listening in [&four, &six] {
            assert!(tcp.contains(&listening.local_addr().unwrap()), "{tcp:?}");
        }
        assert!(unix_sockets().any(|(_, place)| place == Place::Unix(path.clone())));
        drop(unix);
        assert!(!unix_sockets().any(|(_, place)| place == Place::Unix(path.clone())));
    }
}
