//! Ports for instances: outside of the range that the kernel gives to anybody, and not one that was just used.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::Range;

/// How many ports there are for instances, at most.
const MOST: u16 = 10_000;

/// Gives out ports, in rotation.
#[derive(Debug)]
pub struct Ports {
    range: Range<u16>,
    next: u16,
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
        Ports { next: range.start + offset, range }
    }

    /// A port that is not reserved, and that nobody listens on now.
    pub fn choose(&mut self, reserved: &BTreeSet<u16>) -> Option<u16> {
        for _ in 0..self.range.len() {
            let port = self.next;
            self.next = if port + 1 >= self.range.end { self.range.start } else { port + 1 };
            if !reserved.contains(&port) && is_free(port) {
                return Some(port);
            }
        }
        None
    }
}

fn is_free(port: u16) -> bool {
    let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    if TcpListener::bind(any4).is_err() {
        return false;
    }
    // A machine without IPv6 refuses for another reason than that somebody listens.
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
        Ok(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_neither_ephemeral_nor_reserved_nor_taken() {
        let mut ports = Ports::outside(32_768, 60_999);
        let first = ports.choose(&BTreeSet::new()).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 1));
        let reserved = BTreeSet::from([first + 2]);
        let next = ports.choose(&reserved).unwrap();
        assert!((20_000..30_000).contains(&first), "{first}");
        assert!(next > first + 2 || taken.is_err(), "{first} {next}");
    }

    #[test]
    fn a_kernel_that_gives_out_the_low_ports_leaves_the_high_ones() {
        let mut ports = Ports::outside(1_024, 50_000);
        assert!(ports.choose(&BTreeSet::new()).unwrap() > 50_000);
    }
}
