//! Ports for instances: outside of the range that the kernel gives to anybody, and not one that was
//! just used. A port is an instance's as long as its reservation is kept, and nobody else looks for
//! who keeps which.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// How many ports there are for instances, at most.
const MOST: u16 = 10_000;

/// Gives out ports, in rotation, and knows which ones are reserved. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ports(Arc<Mutex<Book>>);

#[derive(Debug)]
struct Book {
    range: Range<u16>,
    next: u16,
    /// By port, how many keep it: an instance that was adopted keeps the port that the journal
    /// says, whoever else does.
    reserved: BTreeMap<u16, usize>,
}

/// A port that nobody else is given as long as this is kept.
#[derive(Debug)]
pub struct Reservation {
    port: u16,
    ports: Ports,
}

impl Ports {
    /// Ports of this machine: those below or above the kernel's ephemeral range, `ip(7)`.
    pub fn of_this_machine() -> Ports {
        let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|text| {
                let mut bounds = text.split_whitespace().map(str::parse::<u16>);
                Some((bounds.next()?.ok()?, bounds.next()?.ok()?))
            })
            .unwrap_or((32_768, 60_999));
        Ports::outside(ephemeral.0, ephemeral.1)
    }

    fn outside(first: u16, last: u16) -> Ports {
        let below = 20_000..first.clamp(20_000, 20_000 + MOST);
        let above = last.saturating_add(1).max(10_000)..u16::MAX;
        // Where an operator gave the kernel nearly everything, bind tells what is free.
        let range = [below, above].into_iter().max_by_key(ExactSizeIterator::len);
        let range = range.filter(|range| range.len() >= 1_000).unwrap_or(20_000..30_000);
        // Two platforms on one machine should not meet at the first port of each.
        let offset = u16::try_from(std::process::id() % 1_000).unwrap_or(0);
        let next = range.start + offset;
        Ports(Arc::new(Mutex::new(Book { range, next, reserved: BTreeMap::new() })))
    }

    /// Reserves a port that nobody has reserved, and that nobody listens on now; `None`: there is
    /// none.
    pub fn choose(&self) -> Option<Reservation> {
        let port = self.0.lock().choose()?;
        Some(Reservation { port, ports: self.clone() })
    }

    /// Reserves the port that an instance has by the journal.
    pub fn keep(&self, port: u16) -> Reservation {
        *self.0.lock().reserved.entry(port).or_default() += 1;
        Reservation { port, ports: self.clone() }
    }
}

impl Book {
    fn choose(&mut self) -> Option<u16> {
        for _ in 0..self.range.len() {
            let port = self.next;
            self.next = if port + 1 >= self.range.end { self.range.start } else { port + 1 };
            if !self.reserved.contains_key(&port) && is_free(port) {
                self.reserved.insert(port, 1);
                return Some(port);
            }
        }
        None
    }
}

impl Reservation {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Entry::Occupied(mut kept) = self.ports.0.lock().reserved.entry(self.port) {
            *kept.get_mut() -= 1;
            if *kept.get() == 0 {
                kept.remove();
            }
        }
    }
}

fn is_free(port: u16) -> bool {
    // A machine without IPv6 refuses for another reason than that somebody listens.
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    is_bindable(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).is_ok()
        && is_bindable(any6) != Err(Errno::ADDRINUSE)
}

/// Binds without listening: an app of another platform that begins to listen there just now is
/// not in the way of this, nor this in its way (`SO_REUSEADDR`, `socket(7)`).
fn is_bindable(address: SocketAddr) -> rustix::io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_are_neither_ephemeral_nor_reserved_nor_taken() {
        let ports = Ports::outside(32_768, 60_999);
        let first = ports.choose().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.port() + 1));
        let kept = ports.keep(first.port() + 2);
        let next = ports.choose().unwrap();
        assert!((20_000..30_000).contains(&first.port()), "{first:?}");
        assert!(next.port() > kept.port() || taken.is_err(), "{first:?} {next:?}");
    }

    #[test]
    fn a_port_is_free_again_when_the_last_who_kept_it_is_gone() {
        let ports = Ports::outside(32_768, 60_999);
        let is_reserved = |port: u16| ports.0.lock().reserved.contains_key(&port);
        let chosen = ports.choose().unwrap();
        let port = chosen.port();
        // By a journal that names it twice.
        let kept = ports.keep(port);
        drop(chosen);
        assert!(is_reserved(port));
        drop(kept);
        assert!(!is_reserved(port));
    }

    #[test]
    fn looking_whether_a_port_is_free_is_in_nobodys_way() {
        let ports = Ports::outside(32_768, 60_999);
        let port = ports.choose().unwrap().port();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    is_free(port);
                }
            });
            let listened = (0..2_000).map(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
            let refused = listened.filter(Result::is_err).count();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(refused, 0);
        });
    }

    #[test]
    fn a_kernel_that_gives_out_the_low_ports_leaves_the_high_ones() {
        let ports = Ports::outside(1_024, 50_000);
        assert!(ports.choose().unwrap().port() > 50_000);
    }
}
