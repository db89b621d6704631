//! Routes: from the host name of a request to the instances of an app.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::proxy::upstream::{Claim, Upstream};

/// The longest DNS label.
const LABEL: usize = 63;

/// Which instances serve which app.  Shared by all threads of a proxy: reads take no lock, an app's
/// instances are replaced as a whole.
#[derive(Debug)]
pub struct Routes {
    domain: String,
    /// Behind a load balancer: the app that every request is for.
    only: Option<Label>,
    apps: ArcSwap<HashMap<String, Arc<Route>>>,
    bell: watch::Sender<()>,
}

#[derive(Debug)]
struct Route {
    upstreams: Vec<Upstream>,
    /// What is said while there are none.
    vacancy: Vacancy,
    turn: AtomicUsize,
}

/// Why nobody takes the requests of an app that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vacancy {
    /// Its instances are not ready now.
    Unready,
    /// No instance is wanted.
    ScaledToZero,
    /// It has never come up.
    NeverUp,
}

/// What a look-up gave.
#[derive(Debug)]
pub(super) enum Found {
    /// An instance, counted.
    Claimed(Claim),
    /// The app is known, but nobody can take a request.
    Nobody(Vacancy),
    /// No such app.
    Unknown,
}

impl Routes {
    /// No apps yet.  `domain` is what follows the app's name in a host name, such as `localhost`.
    pub fn new(domain: &str) -> Arc<Routes> {
        Routes::make(domain, None)
    }

    /// For one app, behind a load balancer: requests are the app's whatever host they name, as
    /// those do that a balancer checks health with, and what the balancer says of the client is
    /// believed.
    pub fn behind_balancer(domain: &str, app: &str) -> Arc<Routes> {
        Routes::make(domain, Label::new(app.as_bytes()))
    }

    fn make(domain: &str, only: Option<Label>) -> Arc<Routes> {
        Arc::new(Routes {
            domain: domain.trim_matches('.').to_ascii_lowercase(),
            only,
            apps: ArcSwap::default(),
            bell: watch::Sender::new(()),
        })
    }

    /// From now on these instances, and no others, get the requests of `app`.  None: the app is
    /// known, and answers 503.
    ///
    /// Instances that are no longer listed are not drained by this.
    pub fn set(&self, app: &str, upstreams: Vec<Upstream>) {
        self.replace(app, upstreams, Vacancy::Unready);
    }

    /// From now on nobody gets the requests of `app`, which answers 503 and says why.
    pub fn vacate(&self, app: &str, why: Vacancy) {
        self.replace(app, Vec::new(), why);
    }

    fn replace(&self, app: &str, upstreams: Vec<Upstream>, vacancy: Vacancy) {
        for upstream in &upstreams {
            upstream.hang_bell(&self.bell);
        }
        let route = Arc::new(Route { upstreams, vacancy, turn: AtomicUsize::new(0) });
        self.apps.rcu(|apps| {
            let mut apps = HashMap::clone(apps);
            apps.insert(app.to_ascii_lowercase(), Arc::clone(&route));
            apps
        });
    }

    /// From now on there is no such app: its host answers 404.
    pub fn remove(&self, app: &str) {
        let app = app.to_ascii_lowercase();
        self.apps.rcu(|apps| {
            let mut apps = HashMap::clone(apps);
            apps.remove(&app);
            apps
        });
    }

    /// The instances that get the requests of `app`, or why none does; `None`: no such app.
    #[cfg(test)]
    pub(crate) fn shown(&self, app: &str) -> Option<Result<Vec<String>, Vacancy>> {
        let apps = self.apps.load();
        let route = apps.get(app)?;
        let ids: Vec<String> = route.upstreams.iter().map(|one| one.id().to_owned()).collect();
        Some(if ids.is_empty() { Err(route.vacancy) } else { Ok(ids) })
    }

    /// Rings when an instance was closed or cut.
    pub(super) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Whether clients are a load balancer, which says of each request whose it is.
    pub(super) fn are_behind_balancer(&self) -> bool {
        self.only.is_some()
    }

    /// The app that `host` names, if it is one label under the domain; whether there is such an app
    /// is another question.
    pub(super) fn app_of(&self, host: &[u8]) -> Option<Label> {
        if self.only.is_some() {
            return self.only;
        }
        let host = without_port(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        let dot = host.len().checked_sub(self.domain.len() + 1)?;
        let (label, rest) = host.split_at(dot);
        let ours = rest[0] == b'.' && rest[1..].eq_ignore_ascii_case(self.domain.as_bytes());
        if ours { Label::new(label) } else { None }
    }

    /// Counts a request at the instance of `app` that has the fewest; those in `tried` only if
    /// there is no other.
    pub(super) fn claim(&self, app: &Label, tried: &[Upstream]) -> Found {
        // An instance may close between the look at the table and the claim.  Whoever closes it has
        // put its successors into the table before, so that looking again is enough.
        for _ in 0..3 {
            let apps = self.apps.load();
            let Some(route) = apps.get(app.as_str()) else { return Found::Unknown };
            if route.upstreams.is_empty() {
                return Found::Nobody(route.vacancy);
            }
            let claim = route.claim(|upstream| !tried.iter().any(|other| other.is(upstream)));
            if let Some(claim) = claim.or_else(|| route.claim(|_| true)) {
                return Found::Claimed(claim);
            }
        }
        Found::Nobody(Vacancy::Unready)
    }
}

impl Route {
    fn claim(&self, wanted: impl Fn(&Upstream) -> bool) -> Option<Claim> {
        let (before, after) = match self.upstreams.len() {
            0 | 1 => (&self.upstreams[..], &[][..]),
            count => self.upstreams.split_at(self.turn.fetch_add(1, Ordering::Relaxed) % count),
        };
        loop {
            let upstream = after
                .iter()
                .chain(before)
                .filter(|upstream| !upstream.is_closed() && wanted(upstream))
                .min_by_key(|upstream| upstream.in_flight())?;
            if let Some(claim) = upstream.claim() {
                return Some(claim);
            }
        }
    }
}

/// One label of a host name, in lower case, kept without allocating.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    bytes: [u8; LABEL],
    length: u8,
}

impl Label {
    fn new(label: &[u8]) -> Option<Self> {
        let valid = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if label.is_empty() || label.len() > LABEL || !label.iter().all(valid) {
            return None;
        }
        let mut bytes = [0; LABEL];
        for (to, from) in bytes.iter_mut().zip(label) {
            *to = from.to_ascii_lowercase();
        }
        Some(Label { bytes, length: u8::try_from(label.len()).ok()? })
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, app: Option<&str>) {
        let routes = Routes::new("apps.Example.com");
        let found = routes.app_of(host.as_bytes());
        assert_eq!(found.as_ref().map(Label::as_str), app, "{host}");
    }

    #[test]
    fn a_host_is_an_app_if_it_is_one_label_under_the_domain() {
        check("shop.apps.example.com", Some("shop"));
        check("SHOP.Apps.Example.COM", Some("shop"));
        check("shop.apps.example.com.", Some("shop"));
        check("shop.apps.example.com:8080", Some("shop"));
        check("shop.apps.example.com.:8080", Some("shop"));
        check("shop.apps.example.com:", Some("shop"));
    }

    #[test]
    fn anything_else_is_no_app() {
        for host in [
            "",
            ":80",
            ".",
            "apps.example.com",
            ".apps.example.com",
            "a.b.apps.example.com",
            "shopapps.example.com",
            "shop.apps.example.org",
            "shop.apps.example.com:http",
            "127.0.0.1:8080",
            "[::1]:8080",
            "sh\u{f6}p.apps.example.com",
        ] {
            check(host, None);
        }
        check(&format!("{}.apps.example.com", "a".repeat(64)), None);
    }

    #[test]
    fn behind_a_balancer_every_host_is_the_one_app() {
        let routes = Routes::behind_balancer("apps.example.com", "shop");
        for host in ["shop.apps.example.com", "blog.apps.example.com", "10.0.0.7:8443", ""] {
            assert_eq!(routes.app_of(host.as_bytes()).unwrap().as_str(), "shop", "{host}");
        }
    }

    fn three() -> (Arc<Routes>, Label) {
        let routes = Routes::new("localhost");
        let upstream = |n| Upstream::new(format!("shop-{n}"), ([127, 0, 0, 1], n).into());
        routes.set("shop", (1..=3).map(upstream).collect());
        (routes, Label::new(b"shop").unwrap())
    }

    fn id(found: &Found) -> String {
        match found {
            Found::Claimed(claim) => claim.upstream().id().to_owned(),
            Found::Nobody(_) | Found::Unknown => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_instance_with_the_fewest_requests_is_next() {
        let (routes, app) = three();
        let claims: Vec<Found> = (0..6).map(|_| routes.claim(&app, &[])).collect();
        let mut ids: Vec<String> = claims.iter().map(id).collect();
        ids.sort();
        assert_eq!(ids, ["shop-1", "shop-1", "shop-2", "shop-2", "shop-3", "shop-3"]);
    }

    #[test]
    fn ties_are_broken_in_rotation() {
        let (routes, app) = three();
        let mut ids: Vec<String> = (0..3).map(|_| id(&routes.claim(&app, &[]))).collect();
        ids.sort();
        assert_eq!(ids, ["shop-1", "shop-2", "shop-3"]);
    }

    #[test]
    fn one_that_was_tried_is_the_last_choice() {
        let (routes, app) = three();
        let mut tried = Vec::new();
        for _ in 0..3 {
            let Found::Claimed(claim) = routes.claim(&app, &tried) else { panic!("nobody") };
            assert!(!tried.iter().any(|other| other.is(claim.upstream())));
            tried.push(claim.upstream().clone());
        }
        assert!(matches!(routes.claim(&app, &tried), Found::Claimed(_)));
    }

    #[test]
    fn no_app_and_no_instance_are_told_apart() {
        let (routes, app) = three();
        routes.set("shop", Vec::new());
        assert!(matches!(routes.claim(&app, &[]), Found::Nobody(Vacancy::Unready)));
        routes.remove("shop");
        assert!(matches!(routes.claim(&app, &[]), Found::Unknown));
    }
}
