//! What is in hand of a stack now, beside what the journal knows: its instances, which of them may
//! receive requests, and what its readers are told. It is one value under one lock, and the proxy's
//! route is replaced while that is held, so that no route is ever followed by one of an earlier
//! scene.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use rowhouse_core::{Target, counted};
use tokio::time::Instant as Moment;

use crate::instance::{Instance, InstanceId, State};
use crate::pause::Pause;
use crate::proxy::{Routes, Upstream, Vacancy};
use crate::stack::Condition;

/// What is in hand of a stack.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub(crate) instances: BTreeMap<InstanceId, Arc<Instance>>,
    /// Whether the proxy knows the app; of another one it says that there is none.
    pub(crate) is_known: bool,
    /// The instances that may receive requests when they are healthy.
    pub(crate) traffic: BTreeSet<InstanceId>,
    /// How many instances the plan that serves asks for. `None`: nothing has ever come up.
    pub(crate) scale: Option<u32>,
    /// What a reader of `deployed` should know beside the instances.
    pub(crate) note: Option<String>,
    /// The operation that failed last for our own reasons.
    pub(crate) put_off: Option<PutOff>,
}

/// An operation that failed for our own reasons, put off for a while.
#[derive(Clone, Debug)]
pub(crate) struct PutOff {
    pub(crate) target: Target,
    pub(crate) until: Moment,
    pub(crate) reason: String,
    /// How long it is put off the next time.
    pub(crate) pause: Pause,
}

impl Scene {
    /// Its route goes, and nothing is left to be told of. What still runs stays in hand until it
    /// has ended.
    pub(crate) fn clear(&mut self) {
        let instances = std::mem::take(&mut self.instances);
        *self = Scene { instances, put_off: self.put_off.take(), ..Scene::default() };
    }

    /// How the instances do that a plan asks `wanted` of.
    pub(crate) fn condition(&self, url: String, wanted: u32) -> Condition {
        let healthy = self.in_traffic().filter(|instance| instance.is_healthy()).count();
        let healthy = u32::try_from(healthy).unwrap_or(u32::MAX);
        let ailing = self.in_traffic().find_map(|instance| match instance.state() {
            State::Unhealthy(why) | State::Down(why) => Some(why),
            State::Starting => Some(format!("{} is starting", instance.id())),
            State::Healthy => None,
        });
        let short = (healthy < wanted).then(|| {
            let why = ailing.map(|why| format!(": {why}")).unwrap_or_default();
            let answer = if wanted == 1 { "answers" } else { "answer" };
            format!("{healthy} of {} {answer}{why}", counted(wanted, "instance"))
        });
        let texts: Vec<String> = [short, self.note.clone()].into_iter().flatten().collect();
        let trouble = (!texts.is_empty()).then(|| texts.join("; "));
        Condition { url: Some(url), healthy, trouble, has_admitted: false }
    }

    fn in_traffic(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.traffic.iter().filter_map(|id| self.instances.get(id))
    }

    fn publish(&self, app: &str, routes: &Routes) {
        if !self.is_known {
            return routes.remove(app);
        }
        let upstreams: Vec<Upstream> = self
            .in_traffic()
            .filter(|instance| instance.is_healthy())
            .map(|instance| instance.upstream())
            .collect();
        match self.scale {
            _ if !upstreams.is_empty() => routes.set(app, upstreams),
            None => routes.vacate(app, Vacancy::NeverUp),
            Some(0) => routes.vacate(app, Vacancy::ScaledToZero),
            Some(_) => routes.vacate(app, Vacancy::Unready),
        }
    }
}

/// A scene as the proxy shows it.
#[derive(Debug)]
pub(crate) struct Published {
    app: String,
    routes: Arc<Routes>,
    scene: Mutex<Scene>,
}

impl Published {
    /// Nothing yet, of an app that the proxy need not know.
    pub(crate) fn new(app: String, routes: Arc<Routes>) -> Published {
        Published { app, routes, scene: Mutex::default() }
    }

    /// Looks at the scene, or changes what no route depends on. No instance may be changed
    /// meanwhile: it would tell, and wait for this look to end.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Scene) -> T) -> T {
        look(&mut self.scene.lock())
    }

    /// Changes the scene, and tells the proxy where requests may go now; nobody else does either in
    /// between.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Scene) -> T) -> T {
        let mut scene = self.scene.lock();
        let answer = change(&mut scene);
        scene.publish(&self.app, &self.routes);
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Weak;

    use super::*;
    use crate::instance::{Place, StateListener};
    use crate::process::port::Ports;

    #[derive(Debug)]
    struct Nobody;

    impl StateListener for Nobody {
        fn state_changed(&self, _: &Instance) {}
    }

    fn instance(name: &str, state: State) -> (InstanceId, Arc<Instance>) {
        let place =
            Place { folder: PathBuf::new(), log: PathBuf::new(), host: "shop.localhost".into() };
        let port = Ports::of_this_machine().keep(1);
        let id = InstanceId(name.to_owned());
        let instance = Instance::new(id.clone(), place, port, Weak::<Nobody>::new());
        instance.set(state);
        (id, Arc::new(instance))
    }

    fn published() -> (Arc<Routes>, Published) {
        let routes = Routes::new("localhost");
        let published = Published::new("shop".to_owned(), Arc::clone(&routes));
        (routes, published)
    }

    fn ids(names: &[&str]) -> BTreeSet<InstanceId> {
        names.iter().map(|name| InstanceId((*name).to_owned())).collect()
    }

    #[test]
    fn the_route_is_always_that_of_the_scene() {
        let (routes, published) = published();
        assert_eq!(routes.shown("shop"), None);
        published.change(|scene| scene.is_known = true);
        assert_eq!(routes.shown("shop"), Some(Err(Vacancy::NeverUp)));
        published.change(|scene| {
            scene.instances.extend([
                instance("one", State::Healthy),
                instance("two", State::Starting),
                instance("three", State::Healthy),
            ]);
            (scene.traffic, scene.scale) = (ids(&["one", "two"]), Some(2));
        });
        assert_eq!(routes.shown("shop"), Some(Ok(vec!["one".to_owned()])));
        published.change(|scene| scene.traffic = ids(&["two"]));
        assert_eq!(routes.shown("shop"), Some(Err(Vacancy::Unready)));
        published.change(|scene| scene.scale = Some(0));
        assert_eq!(routes.shown("shop"), Some(Err(Vacancy::ScaledToZero)));
        published.change(|scene| scene.traffic = ids(&["one"]));
        published.change(Scene::clear);
        assert_eq!(routes.shown("shop"), None);
        assert_eq!(published.look(|scene| scene.instances.len()), 3);
    }

    #[test]
    fn a_late_watcher_puts_no_earlier_route_back() {
        let (routes, published) = published();
        published.change(|scene| {
            scene.is_known = true;
            scene.instances.extend([instance("old", State::Healthy)]);
            scene.instances.extend([instance("new", State::Healthy)]);
        });
        for _ in 0..200 {
            published.change(|scene| scene.traffic = ids(&["old"]));
            std::thread::scope(|threads| {
                // What a watcher does when the state of its instance has changed.
                threads.spawn(|| published.change(|_| ()));
                published.change(|scene| scene.traffic = ids(&["new"]));
                // From here on the old instance may be drained.
                let shown = routes.shown("shop");
                assert_eq!(shown, Some(Ok(vec!["new".to_owned()])));
            });
            assert_eq!(routes.shown("shop"), Some(Ok(vec!["new".to_owned()])));
        }
    }
}
