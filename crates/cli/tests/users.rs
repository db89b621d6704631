//! On a platform of root's each app has a user of its own, whatever becomes of the file that says
//! which; what was made when apps ran as root goes on working.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use house::{House, Repository, wait_for};

/// Writes into each folder that is its own, and into its release, before it answers.
const PROCFILE: &str = "build: echo built > made && mkdir -p \"$HOME/.cache\" \
                        && touch \"$HOME/.cache/x\"\n\
                        release: echo released >> \"$DATA_DIR/releases\"\n\
                        web: echo start >> \"$DATA_DIR/starts\" && touch \"$HOME/x\" \"$TMPDIR/x\" \
                        && echo changed >> made && echo new > new && id -un \
                        && exec python3 web.py\n";

/// What `/proc/PID/status` says of a process.
fn status(pid: u32, field: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().split_whitespace().map(str::to_owned).collect()
}

fn user_of(pid: u32) -> u32 {
    status(pid, "Uid")[0].parse().unwrap()
}

fn repository(house: &House, name: &str) -> (Repository, String) {
    let repository = house.repository(name);
    let files = [("web.py", include_str!("apps/web.py")), ("Procfile", PROCFILE)];
    let commit = repository.commit("v1", &files);
    (repository, commit)
}

/// Deploys an app, and tells its process.
fn deploy(house: &House, name: &str) -> u32 {
    let (repository, commit) = repository(house, name);
    house.put(name, "v1", 1, &repository);
    house.deployed(name, &commit, 1);
    house.pids(name)[0]
}

/// What a user may do where it sees all that an app sees, and nothing else keeps it from anything.
fn may(user: u32, seen_by: u32, command: &[&str]) -> bool {
    let id = user.to_string();
    let mut run = Command::new("nsenter");
    run.args(["--target", &seen_by.to_string(), "--mount", "--", "setpriv"]);
    run.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).args(command);
    run.output().unwrap().status.success()
}

fn checkout(house: &House, name: &str) -> PathBuf {
    let mut builds = fs::read_dir(house.data().join("builds").join(name)).unwrap();
    builds.next().unwrap().unwrap().path().join("checkout")
}

fn owner(path: &Path) -> (u32, u32) {
    let about = fs::symlink_metadata(path).unwrap();
    (about.uid(), about.gid())
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn each_app_is_a_user_of_its_own_and_a_stranger_to_the_others() {
    let house = House::start();
    let (shop, blog) = (deploy(&house, "shop"), deploy(&house, "blog"));
    let (of_shop, of_blog) = (user_of(shop), user_of(blog));
    assert_ne!(of_shop, of_blog);
    for (pid, user) in [(shop, of_shop), (blog, of_blog)] {
        assert_ne!(user, 0);
        for field in ["Uid", "Gid"] {
            assert_eq!(status(pid, field), [(); 4].map(|()| user.to_string()));
        }
        assert_eq!(status(pid, "Groups"), Vec::<String>::new());
        for rights in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status(pid, rights)[0], 16), Ok(0), "{rights}");
        }
    }
    let release = checkout(&house, "shop");
    assert_eq!(owner(&release), (0, of_shop));
    assert_eq!(owner(&release.join("made")), (0, of_shop));
    assert_eq!(fs::read_to_string(release.join("made")).unwrap(), "built\n");
    assert!(!release.join("new").exists());
    // Without a view, rules or a filter it is the kernel's oldest rule that keeps them apart.
    let (data, web) = (house.data().join("data/shop/starts"), release.join("web.py"));
    for file in [&data, &web] {
        assert!(may(of_shop, shop, &["cat", shown(file)]), "{}", file.display());
        assert!(!may(of_blog, shop, &["cat", shown(file)]), "{}", file.display());
    }
    for (user, is_own) in [(of_shop, true), (of_blog, false)] {
        let environment = format!("/proc/{shop}/environ");
        assert_eq!(may(user, house.up_pid(), &["cat", &environment]), is_own);
        assert_eq!(may(user, house.up_pid(), &["kill", "-0", &shop.to_string()]), is_own);
        assert!(!may(user, house.up_pid(), &["kill", "-0", &house.up_pid().to_string()]));
        assert!(!may(user, house.up_pid(), &["cat", shown(&house.table())]));
    }
    let said = String::from_utf8(house.rowhouse(&["logs", "shop"]).stdout).unwrap();
    assert!(said.contains(&format!("app{of_shop}")), "{said}");
}

/// Ends the platform with what runs, does something to the file, and tells who the app is then.
fn again(house: &mut House, damage: impl FnOnce(&Path)) -> u32 {
    house.end_up("-INT");
    damage(&house.data().join("state/users.json"));
    house.up();
    let pids = wait_for("the app to run again", || {
        let pids = house.pids("shop");
        (!pids.is_empty() && house.row("shop").healthy == 1).then_some(pids)
    });
    user_of(pids[0])
}

#[test]
fn an_app_keeps_its_user_whatever_becomes_of_the_file_that_says_who_it_is() {
    let mut house = House::start();
    let user = user_of(deploy(&house, "shop"));
    assert_eq!(again(&mut house, |file| fs::remove_file(file).unwrap()), user);
    let cut = |file: &Path| fs::write(file, &fs::read(file).unwrap()[..20]).unwrap();
    assert_eq!(again(&mut house, cut), user);
    let of_another_folder = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let text = text.replace(&format!("\"Uid\": {user}"), &format!("\"Uid\": {}", user + 7));
        fs::write(file, text.replace("shop", "blog")).unwrap();
    };
    assert_eq!(again(&mut house, of_another_folder), user);
    let a_folder = |file: &Path| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
        fs::write(file.join("x"), "").unwrap();
    };
    assert_eq!(again(&mut house, a_folder), user);
    // Removed and put again it finds its data, and nobody else was given its user meanwhile.
    house.sql("delete from apps where name = 'shop'");
    wait_for("the app to go", || house.pids("shop").is_empty().then_some(()));
    assert_ne!(user_of(deploy(&house, "news")), user);
    assert_eq!(user_of(deploy(&house, "shop")), user);
    let starts = fs::read_to_string(house.data().join("data/shop/starts")).unwrap();
    assert_eq!(starts.lines().count(), 6);
}

#[test]
fn what_ran_as_root_is_adopted_and_replaced_and_its_data_become_its_users() {
    let mut house = House::start_with(&["--trust-apps"]);
    let old = deploy(&house, "shop");
    assert_eq!(user_of(old), 0);
    let data = house.data().join("data/shop");
    let deep = data.join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("kept"), "kept").unwrap();
    let outside = house.room().join("outside");
    fs::write(&outside, "root's").unwrap();
    fs::hard_link(&outside, data.join("other-name")).unwrap();
    house.end_up("-TERM");
    assert_eq!(house.pids("shop"), [old]);
    house.arguments.clear();
    house.up();
    let new = wait_for("a process that is nobody's but the app's", || {
        let pids = house.pids("shop");
        (pids.len() == 1 && pids[0] != old && house.row("shop").healthy == 1).then(|| pids[0])
    });
    let user = user_of(new);
    assert_ne!(user, 0);
    let file = house.data().join("state/users.json");
    wait_for("its folders to be settled", || {
        fs::read_to_string(&file)
            .is_ok_and(|text| text.contains("\"IsSettled\": true"))
            .then_some(())
    });
    for path in ["", "starts", "releases", "a/b", "a/b/kept"] {
        assert_eq!(owner(&data.join(path)), (user, user), "{path}");
    }
    assert_eq!(owner(&outside), (0, 0));
    assert_eq!(fs::read_to_string(data.join("starts")).unwrap(), "start\nstart\n");
    // Trusted again, it is root again; and what it leaves is its user's when that is over.
    house.end_up("-INT");
    house.arguments = vec!["--trust-apps".to_owned()];
    house.up();
    wait_for("a process of root's", || {
        house.pids("shop").first().filter(|pid| user_of(**pid) == 0).copied()
    });
    fs::write(data.join("of-root"), "").unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains("\"IsSettled\": true"));
    house.end_up("-INT");
    house.arguments.clear();
    house.up();
    wait_for("its own user again", || {
        house.pids("shop").first().filter(|pid| user_of(**pid) == user).copied()
    });
    assert_eq!(owner(&data.join("of-root")), (user, user));
}

#[test]
fn users_that_somebody_has_are_refused_and_those_that_are_free_are_used() {
    let mut house = House::new(&["--uids", "0-10"]);
    house.spawn();
    assert_eq!(house.wait_up().code(), Some(1));
    assert!(house.log().contains("the numbers 0-10 are not free: 0 is root's"), "{}", house.log());
    house.arguments = ["--uids", "1500000000-1500000001"].map(str::to_owned).to_vec();
    house.up();
    assert_eq!(user_of(deploy(&house, "shop")), 1_500_000_000);
    assert_eq!(user_of(deploy(&house, "blog")), 1_500_000_001);
    let (repository, _) = repository(&house, "news");
    house.put("news", "v1", 1, &repository);
    let row = house.wait_row("news", |row| row.reason.contains("retrying"));
    assert!(
        row.reason.contains("each of the users 1500000000-1500000001 is an app's"),
        "{}",
        row.reason
    );
}
