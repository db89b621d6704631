//! Crowd: who is connected, over all threads, and who gives way when there are too many.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::proxy::budget::Budget;
use crate::proxy::meter::Meter;

/// By how many there may be more than the limit, while some that were told to go still finish.
const SLACK: usize = 32;

/// The connections of all clients.
#[derive(Debug)]
pub(super) struct Crowd {
    limit: usize,
    limit_of_client: usize,
    heads: Arc<Budget>,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clients: HashMap<IpAddr, Client>,
    count: usize,
    next: u64,
    resting: Vec<Resting>,
}

/// One address, and what came from it.
#[derive(Debug, Default)]
struct Client {
    connections: HashMap<u64, Arc<Meter>>,
    resting: Vec<Resting>,
}

/// A connection that was between two requests when it was last looked at.  The lists of them have
/// the longest at the end.
#[derive(Clone, Copy, Debug)]
struct Resting {
    since: u64,
    client: IpAddr,
    key: u64,
}

impl Crowd {
    /// At most `limit` connections, and at most `limit_of_client` from one address; `heads` is for
    /// the heads of all of them.
    pub(super) fn new(limit: usize, limit_of_client: usize, heads: Arc<Budget>) -> Arc<Crowd> {
        let (start, state) = (Instant::now(), Mutex::default());
        Arc::new(Crowd { limit, limit_of_client, heads, start, state })
    }

    /// For a connection that begins now.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Meter::new(self.now(), self.heads.share())
    }

    /// Nanoseconds since the beginning: the clock by which connections rest.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether one more may come: there is a place, or somebody who gives way.
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.state.lock();
        let count = state.count;
        count < self.limit || (count < self.limit + SLACK && state.longest_resting().is_some())
    }

    /// Lets a connection in.  Where there are too many, the one that has rested longest gives way.
    ///
    /// `None`: its address has as many as it may, and none of them rests.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, meter: &Arc<Meter>) -> Option<Place> {
        let client = prefix(client);
        let mut state = self.state.lock();
        let of_client = state.clients.get(&client).map_or(0, |client| client.connections.len());
        if of_client >= self.limit_of_client {
            state.clients.get_mut(&client)?.longest_resting(client)?.give_way();
        } else if state.count >= self.limit
            && let Some(meter) = state.longest_resting()
        {
            meter.give_way();
        }
        let key = state.next;
        state.next += 1;
        state.count += 1;
        let connections = &mut state.clients.entry(client).or_default().connections;
        connections.insert(key, Arc::clone(meter));
        Some(Place { crowd: Arc::clone(self), client, key })
    }
}

impl State {
    fn longest_resting(&mut self) -> Option<&Arc<Meter>> {
        let State { clients, resting, .. } = self;
        let clients = &*clients;
        let meter = |one: &Resting| clients.get(&one.client)?.connections.get(&one.key);
        longest(resting, meter, || clients.iter().flat_map(|(client, one)| one.resting(*client)))
    }
}

impl Client {
    fn longest_resting(&mut self, client: IpAddr) -> Option<&Arc<Meter>> {
        let Client { connections, resting } = self;
        let connections = &*connections;
        longest(resting, |one| connections.get(&one.key), || list(connections, client))
    }

    fn resting(&self, client: IpAddr) -> impl Iterator<Item = Resting> {
        list(&self.connections, client)
    }
}

fn list(connections: &HashMap<u64, Arc<Meter>>, client: IpAddr) -> impl Iterator<Item = Resting> {
    connections.iter().filter_map(move |(&key, meter)| {
        meter.rests_since().map(|since| Resting { since, client, key })
    })
}

/// Who has rested longest.  The list is made anew when it is used up: whoever came to rest since
/// then has rested for less than everybody in it.
fn longest<'a, I: Iterator<Item = Resting>>(
    resting: &mut Vec<Resting>,
    meter: impl Fn(&Resting) -> Option<&'a Arc<Meter>>,
    all: impl FnOnce() -> I,
) -> Option<&'a Arc<Meter>> {
    let next = |resting: &mut Vec<Resting>| {
        while let Some(one) = resting.last() {
            let rests = |meter: &&Arc<Meter>| meter.rests_since() == Some(one.since);
            match meter(one).filter(rests) {
                // It stays in the list until it goes, or has a request.
                Some(meter) => return Some(meter),
                None => resting.pop(),
            };
        }
        None
    };
    if let Some(meter) = next(resting) {
        return Some(meter);
    }
    resting.extend(all());
    resting.sort_unstable_by_key(|one| std::cmp::Reverse(one.since));
    next(resting)
}

/// Who counts as one client: of IPv6, a network has as many addresses as it likes.
fn prefix(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// A connection's place in the crowd, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    client: IpAddr,
    key: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.crowd.state.lock();
        state.count -= 1;
        if let Some(client) = state.clients.get_mut(&self.client) {
            client.connections.remove(&self.key);
            if client.connections.is_empty() {
                state.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::meter::Activity;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn heads() -> Arc<Budget> {
        Budget::new(1 << 20, 1 << 16)
    }

    fn silent() -> Arc<Meter> {
        Meter::new(0, heads().share())
    }

    fn resting(since: u64) -> Arc<Meter> {
        let meter = silent();
        meter.rest(since);
        meter
    }

    #[test]
    fn the_longest_resting_gives_way_whoever_it_is() {
        let crowd = Crowd::new(3, 3, heads());
        let meters = [resting(3), resting(1), resting(2)];
        let _places: Vec<Place> =
            [A, B, A].into_iter().zip(&meters).filter_map(|(ip, m)| crowd.enter(ip, m)).collect();
        let newest = resting(4);
        let _place = crowd.enter(A, &newest).unwrap();
        let leaving = || meters.each_ref().map(|meter| meter.gives_way());
        assert_eq!(leaving(), [false, true, false]);
        // One that has a request since the list was made is not in it any more.
        meters[2].enter(Activity::Busy);
        let _last = crowd.enter(B, &resting(5)).unwrap();
        assert_eq!(leaving(), [true, true, false]);
    }

    #[test]
    fn a_client_with_too_many_loses_its_own_and_is_refused_if_none_rests() {
        let crowd = Crowd::new(10, 2, heads());
        let (other, first, second) = (resting(1), resting(2), resting(3));
        let _places = [
            crowd.enter(B, &other).unwrap(),
            crowd.enter(A, &first).unwrap(),
            crowd.enter(A, &second).unwrap(),
        ];
        let _third = crowd.enter(A, &resting(4)).unwrap();
        assert!(first.gives_way() && !second.gives_way() && !other.gives_way());
        let crowd = Crowd::new(10, 1, heads());
        let busy = silent();
        busy.enter(Activity::Busy);
        let place = crowd.enter(A, &busy).unwrap();
        assert!(crowd.enter(A, &resting(1)).is_none());
        drop(place);
        assert!(crowd.enter(A, &resting(1)).is_some());
    }

    #[test]
    fn there_is_no_room_where_everybody_is_busy() {
        let crowd = Crowd::new(1, 1, heads());
        assert!(crowd.has_room());
        let meter = silent();
        let _place = crowd.enter(A, &meter).unwrap();
        assert!(crowd.has_room(), "it has said nothing yet");
        meter.enter(Activity::Busy);
        assert!(!crowd.has_room());
        meter.rest(1);
        assert!(crowd.has_room());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), A);
    }
}
