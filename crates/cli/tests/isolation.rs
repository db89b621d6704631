//! What an app, its build and its `release:` must not be able to do, tried by an app that does
//! nothing else, on a platform of root's and on one of an ordinary user's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use house::{House, Repository};

/// Tries from all three, and tells from `web` what came of it.
const PROCFILE: &str = "build: python3 escape.py try build.json\n\
                        release: python3 escape.py try \"$DATA_DIR/release.json\"\n\
                        web: exec python3 escape.py serve \"$DATA_DIR/web.json\"\n";

/// A user of the machine that nothing belongs to.
const ORDINARY: u32 = 4_242;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A platform with a victim and an attacker on it.
struct Scene {
    house: House,
    listeners: Vec<UnixListener>,
    shared_memory: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.listeners.clear();
        let _ = fs::remove_file(&self.shared_memory);
    }
}

type Outcome = BTreeMap<String, String>;

impl Scene {
    /// `user`: who runs the platform; `None`: who runs the test.
    fn new(arguments: &[&str], user: Option<u32>) -> Scene {
        let mut house = House::new(arguments);
        if let Some(user) = user {
            house.belongs_to(user);
        }
        house.up();
        let name = format!("rowhouse-test-{}-{}", std::process::id(), house.port);
        let shared_memory = Path::new("/dev/shm").join(&name);
        fs::write(&shared_memory, "secret").unwrap();
        let socket = house.room().join("socket");
        let abstract_socket = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = vec![
            UnixListener::bind(&socket).unwrap(),
            UnixListener::bind_addr(&abstract_socket).unwrap(),
        ];
        for path in [&socket, &shared_memory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        Scene { house, listeners, shared_memory }
    }

    fn give(&self, path: &Path) {
        if let Some(user) = self.house.user {
            for entry in walk(path) {
                chown(entry, Some(user), Some(user)).unwrap();
            }
        }
    }

    fn repository(&self, name: &str, files: &[(&str, &str)]) -> (Repository, String) {
        let repository = self.house.repository(name);
        let commit = repository.commit("v1", files);
        self.give(&repository.path);
        (repository, commit)
    }

    /// Deploys the victim and then the attacker, and tells what its build, its release and its
    /// process came to.
    fn play(&self) -> [Outcome; 3] {
        let house = &self.house;
        let web = include_str!("apps/web.py");
        let victim_files = [("web.py", web), ("Procfile", "web: exec python3 web.py\n")];
        let (victim, commit) = self.repository("victim", &victim_files);
        house.put("victim", "v1", 1, &victim);
        house.deployed("victim", &commit, 1);
        let data = house.data().join("data/victim/secret");
        let (private, outside) = (house.room().join("private"), house.room().join("outside"));
        let folder = house.room().join("folder");
        for file in [&data, &private, &outside] {
            fs::write(file, "secret").unwrap();
            self.give(file);
        }
        fs::create_dir(&folder).unwrap();
        self.give(&folder);
        let name = self.shared_memory.file_name().unwrap().to_str().unwrap();
        let pid = house.pids("victim")[0];
        let targets = serde_json::json!({
            "table": house.table(),
            "journal": house.data().join("state/journal.sqlite"),
            "data": data,
            "log": only(&house.data().join("logs/victim"), |name| !name.starts_with("build-")),
            "release": only(&house.data().join("builds/victim"), |_| true).join("checkout/web.py"),
            "description":
                only(&house.data().join("instances/victim"), |_| true).join("spec.json"),
            "private": private,
            "outside": outside,
            "folder": folder,
            "victim": pid,
            "platform": house.up_pid(),
            "port": free_port_of_instances(),
            "socket": house.room().join("socket"),
            "abstract": name,
            "shared_memory": name,
        });
        let escape = include_str!("apps/escape.py");
        let (attacker, commit) =
            self.repository("attacker", &[("escape.py", escape), ("Procfile", PROCFILE)]);
        let env = serde_json::json!({ "TARGETS": targets.to_string() }).to_string();
        let quoted = env.replace('\'', "''");
        house.sql(&format!(
            "insert into apps (name, version, scale, repo, env, build_env) values \
             ('attacker', 'v1', 1, '{}', '{quoted}', '{quoted}')",
            attacker.path.display()
        ));
        house.deployed("attacker", &commit, 1);
        let checkout = only(&house.data().join("builds/attacker"), |_| true).join("checkout");
        let own = house.data().join("data/attacker");
        [checkout.join("build.json"), own.join("release.json"), own.join("web.json")]
            .map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap())
    }
}

fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(walk(&entry.unwrap().path()));
        }
    }
    found
}

fn only(folder: &Path, wanted: impl Fn(&str) -> bool) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = names.filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()));
    found.next().unwrap()
}

/// A port that an instance could have, and nobody has.
fn free_port_of_instances() -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (20_500..20_900).find(free).unwrap()
}

fn escapes(outcome: &Outcome) -> Vec<&str> {
    let succeeded = outcome.iter().filter(|(_, how)| *how == "succeeded");
    succeeded.map(|(name, _)| name.as_str()).collect()
}

fn needs_root() {
    assert!(is_root(), "this test starts a platform as another user, for which it must be root");
}

#[test]
fn nothing_escapes_from_an_app_its_build_or_its_release_on_a_platform_of_roots() {
    needs_root();
    let scene = Scene::new(&[], None);
    for outcome in scene.play() {
        assert_eq!(escapes(&outcome), Vec::<&str>::new(), "{outcome:#?}");
        assert_eq!(outcome.len(), 26);
    }
}

#[test]
fn nothing_escapes_on_a_platform_of_an_ordinary_users() {
    needs_root();
    let scene = Scene::new(&[], Some(ORDINARY));
    for outcome in scene.play() {
        assert_eq!(escapes(&outcome), Vec::<&str>::new(), "{outcome:#?}");
    }
}

#[test]
fn each_attempt_is_one_that_succeeds_where_apps_are_trusted() {
    needs_root();
    let scene = Scene::new(&["--trust-apps"], None);
    let refused = |outcome: &Outcome| -> Vec<String> {
        let refused = outcome.iter().filter(|(_, how)| *how != "succeeded");
        refused.map(|(name, how)| format!("{name}: {how}")).collect()
    };
    let [build, release, web] = scene.play();
    assert_eq!(refused(&build), Vec::<String>::new());
    assert_eq!(refused(&release), Vec::<String>::new());
    assert_eq!(refused(&web), Vec::<String>::new());
}
