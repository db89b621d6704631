//! Mirrors, against real repositories made by the real git.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rowhouse_core::{Commit, Repository, Version};
use rowhouse_machine::git::error::GitError;
use rowhouse_machine::git::mirror::{Mirrors, Resolved};
use rowhouse_machine::supply::Supply;
use tempfile::TempDir;

struct Origin {
    room: TempDir,
}

impl Origin {
    fn empty() -> Origin {
        let origin = Origin { room: tempfile::tempdir().unwrap() };
        fs::create_dir(origin.folder()).unwrap();
        origin.git(&["init", "--quiet", "--initial-branch=main"]);
        origin
    }

    fn new() -> Origin {
        let origin = Origin::empty();
        origin.commit("file", "one");
        origin
    }

    fn folder(&self) -> PathBuf {
        self.room.path().join("origin")
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.folder(), args)
    }

    fn commit(&self, name: &str, text: &str) -> Commit {
        fs::write(self.folder().join(name), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", text]);
        self.head("HEAD")
    }

    fn head(&self, name: &str) -> Commit {
        Commit::parse(&self.git(&["rev-parse", &format!("{name}^{{commit}}")])).unwrap()
    }

    fn repository(&self) -> Repository {
        Repository::parse(self.folder().to_str().unwrap()).unwrap()
    }

    fn mirrors(&self) -> Mirrors {
        Mirrors::new(self.room.path().join("mirrors"))
    }

    /// The one mirror that there is.
    fn mirror(&self) -> PathBuf {
        let mut mirrors = fs::read_dir(self.room.path().join("mirrors")).unwrap();
        mirrors.next().unwrap().unwrap().path()
    }

    fn target(&self) -> PathBuf {
        self.room.path().join("target")
    }

    async fn resolve(&self, version: &str) -> Resolved {
        self.mirrors().resolve(&self.repository(), &Version::parse(version).unwrap()).await.unwrap()
    }

    async fn no_such(&self, version: &str) -> String {
        match self.resolve(version).await {
            Resolved::NoSuchVersion { reason } => reason,
            Resolved::Commit(commit) => panic!("`{version}` is {commit}"),
        }
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
        .args(["-c", "protocol.file.allow=always", "-c", "commit.gpgSign=false"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn refused(result: Result<(), GitError>) -> String {
    match result.unwrap_err() {
        GitError::Refused { reason } => reason,
        error @ (GitError::Denied { .. }
        | GitError::Unreachable { .. }
        | GitError::DiskFull { .. }
        | GitError::Io { .. }) => {
            panic!("not refused: {error:?}")
        }
    }
}

#[tokio::test]
async fn a_branch_goes_before_a_tag() {
    let origin = Origin::new();
    let first = origin.head("HEAD");
    origin.git(&["tag", "both"]);
    origin.git(&["tag", "only-tag"]);
    let second = origin.commit("file", "two");
    origin.git(&["branch", "both"]);
    assert_eq!(origin.resolve("both").await, Resolved::Commit(second));
    assert_eq!(origin.resolve("only-tag").await, Resolved::Commit(first));
}

#[tokio::test]
async fn a_commit_that_lies_in_the_supply_needs_no_way_to_its_repository() {
    let (origin, library) = (Origin::new(), Origin::new());
    let address = library.folder().display().to_string();
    origin.git(&["submodule", "add", "--quiet", &address, "library"]);
    let commit = origin.commit("file", "with a library");
    origin.commit("file", "later");
    let folder = origin.room.path().join("supply");
    fs::create_dir(&folder).unwrap();
    let supply = Supply::new(&folder);
    let links = origin.mirrors().bundle(&origin.repository(), &commit, &supply).await.unwrap();
    assert_eq!(links, [(library.repository(), library.head("HEAD"))]);
    for (repository, commit) in &links {
        let below = origin.mirrors().bundle(repository, commit, &supply).await.unwrap();
        assert_eq!(below, []);
    }
    for one in [&origin, &library] {
        fs::rename(one.folder(), one.room.path().join("away")).unwrap();
    }
    let elsewhere = Mirrors::new(origin.room.path().join("elsewhere"));
    let unsupplied = elsewhere.check_out(&origin.repository(), &commit, &origin.target()).await;
    assert!(matches!(unsupplied, Err(GitError::Denied { .. })), "{unsupplied:?}");
    let elsewhere = elsewhere.with_supply(Some(supply));
    elsewhere.check_out(&origin.repository(), &commit, &origin.target()).await.unwrap();
    let text = fs::read_to_string(origin.target().join("file")).unwrap();
    assert_eq!(text, "with a library");
    assert!(fs::read_dir(origin.target().join("library")).unwrap().count() > 0);
}

#[tokio::test]
async fn an_annotated_tag_is_the_commit_that_it_names() {
    let origin = Origin::new();
    origin.git(&["tag", "--annotate", "v1", "--message", "v1"]);
    assert_ne!(origin.git(&["rev-parse", "v1"]), origin.head("HEAD").as_str());
    assert_eq!(origin.resolve("v1").await, Resolved::Commit(origin.head("HEAD")));
}

#[tokio::test]
async fn only_the_whole_name_counts() {
    let origin = Origin::new();
    origin.git(&["branch", "feature/main2"]);
    for version in ["main2", "mai", "heads/main", "refs/heads/main", "origin/main"] {
        origin.no_such(version).await;
    }
    assert!(matches!(origin.resolve("feature/main2").await, Resolved::Commit(_)));
}

#[tokio::test]
async fn forty_hex_digits_are_a_commit_and_nobody_is_asked() {
    let mirrors = Mirrors::new(PathBuf::from("/nonexistent"));
    let repository = Repository::parse("/nonexistent/repository").unwrap();
    let text = "0123456789abcdef0123456789ABCDEF01234567";
    let found = mirrors.resolve(&repository, &Version::parse(text).unwrap()).await.unwrap();
    assert_eq!(found, Resolved::Commit(Commit::parse(text).unwrap()));
}

#[tokio::test]
async fn an_unknown_version_names_the_branches_that_there_are() {
    let origin = Origin::new();
    origin.git(&["branch", "dev"]);
    let reason = origin.no_such("prod").await;
    assert!(reason.contains("no branch or tag `prod`"), "{reason}");
    assert!(reason.contains("its branches are `main`, `dev`"), "{reason}");
    assert!(!reason.contains("40 digits"), "{reason}");
    // It looks like a commit, of which somebody has seen the first digits.
    assert!(origin.no_such("ed55359").await.contains("all of its 40 digits"));
    assert!(reason.contains(origin.repository().as_str()), "{reason}");
}

#[tokio::test]
async fn an_empty_repository_has_no_version() {
    let origin = Origin::empty();
    assert!(origin.no_such("main").await.contains("it has no branches"));
    let error = origin.mirrors().default_branch(&origin.repository()).await.unwrap_err();
    assert!(matches!(error, GitError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn the_default_branch_is_the_repository_s_own() {
    let origin = Origin::new();
    origin.git(&["checkout", "--quiet", "-b", "trunk"]);
    assert_eq!(origin.mirrors().default_branch(&origin.repository()).await.unwrap(), "trunk");
}

#[tokio::test]
async fn a_version_that_a_shell_would_run_is_a_name_like_others_and_nothing_runs() {
    let origin = Origin::new();
    let reason = origin.no_such("$(id>trace);`id>trace`").await;
    assert!(reason.contains("no branch or tag `$(id>trace)"), "{reason}");
    let commit = origin.head("HEAD");
    origin.git(&["branch", "feature/a,b;$(id)"]);
    assert_eq!(origin.resolve("feature/a,b;$(id)").await, Resolved::Commit(commit));
    let long = "b".repeat(220);
    origin.git(&["branch", &long]);
    assert!(matches!(origin.resolve(&long).await, Resolved::Commit(_)));
}

/// Every name of a few pieces that matter to git.
fn names() -> Vec<String> {
    let pieces = [
        "a",
        "/",
        ".",
        "-",
        "@",
        "{",
        "..",
        "~",
        "^",
        ":",
        "?",
        "*",
        "[",
        "]",
        "\\",
        " ",
        ",",
        "HEAD",
        ".lock",
        "lock",
        "é",
        "\u{7f}",
        "\u{1}",
        "\u{85}",
        "#",
        "=",
        "}",
        "'",
        "refs/heads/x",
    ];
    let mut names = vec![String::new()];
    for first in pieces {
        names.push(first.to_owned());
        for second in pieces {
            names.push(format!("{first}{second}"));
            names.push(format!("a{first}{second}a"));
        }
    }
    names
}

#[test]
fn a_version_is_what_git_itself_takes_for_the_name_of_a_branch() {
    let room = tempfile::tempdir().unwrap();
    for name in names() {
        let mut git = Command::new("git");
        git.current_dir(&room).args(["check-ref-format", "--branch", &name]);
        let output = git.output().unwrap();
        // `@` alone is short for `HEAD` wherever git reads a revision, so no row means a branch by
        // it.
        let taken =
            output.status.success() && output.stdout.trim_ascii() == name.as_bytes() && name != "@";
        assert_eq!(Version::parse(&name).is_ok(), taken, "{name:?}");
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_or_cannot_be_read_is_told_with_git_s_own_words() {
    let origin = Origin::new();
    let no_repository = origin.room.path().join("folder");
    fs::create_dir(&no_repository).unwrap();
    let broken = Origin::new();
    fs::write(broken.folder().join(".git/HEAD"), "rubbish").unwrap();
    for (folder, words) in [
        (origin.room.path().join("nowhere"), "does not appear to be a git repository"),
        (no_repository, "does not appear to be a git repository"),
        (broken.folder(), "does not appear to be a git repository"),
    ] {
        for address in [folder.display().to_string(), format!("file://{}", folder.display())] {
            let repository = Repository::parse(&address).unwrap();
            let main = Version::parse("main").unwrap();
            let error = origin.mirrors().resolve(&repository, &main).await.unwrap_err();
            assert!(matches!(error, GitError::Denied { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(words) && said.contains(&address), "{said}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_silent_and_told_without_its_password() {
    let origin = Origin::new();
    let repository = Repository::parse("https://user:hunter2@127.0.0.1:1/a").unwrap();
    let main = Version::parse("main").unwrap();
    let error = origin.mirrors().resolve(&repository, &main).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("https://user:***@127.0.0.1:1/a"), "{message}");
    assert!(!message.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{message}");
}

#[tokio::test]
async fn a_checkout_is_the_files_without_git_and_the_mirror_stands_beside() {
    let origin = Origin::new();
    fs::create_dir(origin.folder().join("sub")).unwrap();
    fs::write(origin.folder().join("sub/run.sh"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("../outside", origin.folder().join("link")).unwrap();
    origin.git(&["add", "--all"]);
    origin.git(&["update-index", "--chmod=+x", "sub/run.sh"]);
    origin.git(&["commit", "--quiet", "--message", "more"]);
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    mirrors.check_out(&repository, &origin.head("HEAD"), &origin.target()).await.unwrap();
    let mut names: Vec<String> = fs::read_dir(origin.target())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["file", "link", "sub"]);
    assert_eq!(fs::read_link(origin.target().join("link")).unwrap(), Path::new("../outside"));
    let mode = fs::metadata(origin.target().join("sub/run.sh")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o111, 0o111);
    let beside = fs::read_dir(origin.room.path()).unwrap().count();
    assert_eq!(beside, 3, "only the origin, the mirrors and the target");
}

#[tokio::test]
async fn what_is_in_the_mirror_needs_no_network() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let first = origin.head("HEAD");
    let second = origin.commit("file", "two");
    mirrors.check_out(&repository, &second, &origin.target()).await.unwrap();
    fs::rename(origin.folder(), origin.room.path().join("away")).unwrap();
    for (commit, text) in [(&first, "one"), (&second, "two")] {
        let target = origin.room.path().join(text);
        mirrors.check_out(&repository, commit, &target).await.unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), text);
    }
    let unknown = Commit::parse(&"12".repeat(20)).unwrap();
    let error = mirrors.check_out(&repository, &unknown, &origin.target()).await.unwrap_err();
    assert!(matches!(error, GitError::Denied { .. }), "{error:?}");
}

/// Spoils every object of a repository that holds this text.
fn spoil(repository: &Path, commit: &Commit, file: &str) {
    let id = git(repository, &["rev-parse", &format!("{commit}:{file}")]);
    let pack = repository.join("objects/pack");
    let loose = repository.join("objects").join(&id[..2]).join(&id[2..]);
    let mut files = vec![loose];
    files.extend(fs::read_dir(pack).unwrap().map(|entry| entry.unwrap().path()));
    for path in files
        .iter()
        .filter(|path| path.is_file() && path.extension().is_none_or(|end| end == "pack"))
    {
        let mut bytes = fs::read(path).unwrap();
        for byte in bytes.iter_mut().skip(12) {
            *byte ^= 0x55;
        }
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew_and_keeps_what_it_still_has() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let text = "x".repeat(4000);
    let commit = origin.commit("file", &text);
    mirrors.check_out(&repository, &commit, &origin.target()).await.unwrap();
    spoil(&origin.mirror(), &commit, "file");
    let again = origin.room.path().join("again");
    mirrors.check_out(&repository, &commit, &again).await.unwrap();
    assert_eq!(fs::read_to_string(again.join("file")).unwrap(), text);
    // Not even git knows it for a repository any more.
    fs::write(origin.mirror().join("HEAD"), "rubbish").unwrap();
    let next = origin.commit("file", "two");
    let target = origin.room.path().join("next");
    mirrors.check_out(&repository, &next, &target).await.unwrap();
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "two");
    assert_eq!(fs::read_dir(origin.room.path().join("mirrors")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_damaged_mirror_stays_as_it_is_while_its_repository_is_away() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let commit = origin.commit("file", &"x".repeat(4000));
    mirrors.check_out(&repository, &commit, &origin.target()).await.unwrap();
    spoil(&origin.mirror(), &commit, "file");
    fs::rename(origin.folder(), origin.room.path().join("away")).unwrap();
    let again = origin.room.path().join("again");
    assert!(mirrors.check_out(&repository, &commit, &again).await.is_err());
    assert_eq!(fs::read_dir(origin.room.path().join("mirrors")).unwrap().count(), 1);
    assert_eq!(git(&origin.mirror(), &["rev-parse", "refs/heads/main"]), commit.as_str());
    fs::rename(origin.room.path().join("away"), origin.folder()).unwrap();
    mirrors.check_out(&repository, &commit, &again).await.unwrap();
}

#[tokio::test]
async fn a_commit_with_a_path_that_git_refuses_is_told_in_its_words_and_costs_no_mirror() {
    let origin = Origin::new();
    let blob = origin.git(&["rev-parse", "HEAD:file"]);
    let tree = |name: &str, kind: &str, id: &str| {
        let mut git = Command::new("git")
            .current_dir(origin.folder())
            .args(["mktree"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let entry = format!("{kind} {id}\t{name}\n");
        std::io::Write::write_all(&mut git.stdin.take().unwrap(), entry.as_bytes()).unwrap();
        String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let inner = tree("config", "100644 blob", &blob);
    let outer = tree(".git", "040000 tree", &inner);
    let commit = origin.git(&["commit-tree", &outer, "-m", "evil"]);
    origin.git(&["update-ref", "refs/heads/evil", &commit]);
    let commit = Commit::parse(&commit).unwrap();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let reason = refused(mirrors.check_out(&repository, &commit, &origin.target()).await);
    assert!(reason.contains("invalid path '.git/config'"), "{reason}");
    assert!(!origin.target().exists());
    mirrors.check_out(&repository, &origin.head("main"), &origin.target()).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_was_pushed_away_is_still_checked_out() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let lost = origin.commit("file", "lost");
    mirrors.check_out(&repository, &lost, &origin.target()).await.unwrap();
    origin.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    origin.git(&["reflog", "expire", "--expire=now", "--all"]);
    origin.git(&["gc", "--quiet", "--prune=now"]);
    let next = origin.commit("file", "next");
    mirrors.check_out(&repository, &next, &origin.room.path().join("next")).await.unwrap();
    make_old(&origin.mirror(), Duration::from_hours(1));
    mirrors.tidy(&[repository.clone()].into(), |_, commit| *commit == lost).await.unwrap();
    let again = origin.room.path().join("again");
    mirrors.check_out(&repository, &lost, &again).await.unwrap();
    assert_eq!(fs::read_to_string(again.join("file")).unwrap(), "lost");
}

/// Makes a mirror look as if it was used last so long ago.
fn make_old(mirror: &Path, age: Duration) {
    let used = fs::File::open(mirror.join("rowhouse-used")).unwrap();
    used.set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test]
async fn commits_that_nobody_needs_are_let_go_once_a_day_and_fetched_when_they_are_needed_again() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let check_out = async |commit: &Commit, name: &str| {
        let target = origin.room.path().join(name);
        mirrors.check_out(&repository, commit, &target).await.unwrap();
    };
    let first = origin.commit("file", "first");
    check_out(&first, "first").await;
    origin.git(&["commit", "--quiet", "--amend", "--message", "forced"]);
    let second = origin.head("HEAD");
    check_out(&second, "second").await;
    let mirror = origin.mirror();
    let pins = || git(&mirror, &["for-each-ref", "--format=%(refname:lstrip=2)", "refs/rowhouse"]);
    let tidy = async || {
        let named = [repository.clone()].into();
        mirrors.tidy(&named, |_, commit| *commit == second).await.unwrap();
    };
    let both = pins();
    tidy().await;
    assert_eq!(pins(), both, "a checkout may be under way");
    make_old(&mirror, Duration::from_hours(1));
    tidy().await;
    assert_eq!(pins(), second.as_str());
    let packs = || fs::read_dir(mirror.join("objects/pack")).unwrap().count();
    assert!(packs() > 0, "what was fetched is packed");
    // What the repository still has can be had again, and what is needed stays without it.
    origin.git(&["branch", "old", first.as_str()]);
    check_out(&first, "again").await;
    make_old(&mirror, Duration::from_mins(20));
    tidy().await;
    assert!(pins().contains(first.as_str()), "it was tidied today");
    fs::rename(origin.folder(), origin.room.path().join("away")).unwrap();
    check_out(&second, "second-again").await;
}

#[tokio::test]
async fn a_mirror_of_no_apps_repository_is_removed_when_it_was_not_used_for_long() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let commit = origin.head("HEAD");
    let check_out = async |name: &str| {
        let target = origin.room.path().join(name);
        mirrors.check_out(&repository, &commit, &target).await.unwrap();
    };
    check_out("one").await;
    let mirror = origin.mirror();
    let day = Duration::from_hours(24);
    make_old(&mirror, 29 * day);
    mirrors.tidy(&[].into(), |_, _| false).await.unwrap();
    assert!(mirror.exists());
    make_old(&mirror, 31 * day);
    mirrors.tidy(&[repository.clone()].into(), |_, _| false).await.unwrap();
    assert!(mirror.exists());
    mirrors.tidy(&[].into(), |_, _| false).await.unwrap();
    assert!(!mirror.exists());
    check_out("two").await;
}

#[tokio::test]
async fn a_commit_that_no_branch_leads_to_is_fetched_by_itself() {
    let origin = Origin::new();
    let lost = origin.commit("file", "lost");
    origin.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    mirrors.check_out(&repository, &lost, &origin.target()).await.unwrap();
    assert_eq!(fs::read_to_string(origin.target().join("file")).unwrap(), "lost");
}

#[tokio::test]
async fn a_commit_that_is_nowhere_is_refused() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let unknown = Commit::parse(&"ab".repeat(20)).unwrap();
    let reason = refused(mirrors.check_out(&repository, &unknown, &origin.target()).await);
    assert!(reason.contains(unknown.short()), "{reason}");
    assert!(!origin.target().exists());
}

#[tokio::test]
async fn what_is_not_a_commit_is_refused() {
    let origin = Origin::new();
    origin.git(&["tag", "--annotate", "v1", "--message", "v1"]);
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    for (name, kind) in [("v1", "a tag"), ("HEAD^{tree}", "a tree"), ("HEAD:file", "a blob")] {
        let id = Commit::parse(&origin.git(&["rev-parse", name])).unwrap();
        let reason = refused(mirrors.check_out(&repository, &id, &origin.target()).await);
        assert!(reason.contains(kind), "{name}: {reason}");
    }
}

#[tokio::test]
async fn two_at_once_from_one_mirror_do_not_meet() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    let (first, second) = (origin.head("HEAD"), origin.commit("file", "two"));
    let rooms = ["a", "b", "c"].map(|name| origin.room.path().join(name));
    let (a, b, c) = tokio::join!(
        mirrors.check_out(&repository, &first, &rooms[0]),
        mirrors.check_out(&repository, &second, &rooms[1]),
        mirrors.check_out(&repository, &first, &rooms[2]),
    );
    for result in [a, b, c] {
        result.unwrap();
    }
    let texts = rooms.map(|room| fs::read_to_string(room.join("file")).unwrap());
    assert_eq!(texts, ["one", "two", "one"]);
}

#[tokio::test]
async fn submodules_are_checked_out_also_in_submodules() {
    let (origin, library, deep) = (Origin::new(), Origin::new(), Origin::new());
    let at = |origin: &Origin| origin.folder().to_str().unwrap().to_owned();
    library.git(&["submodule", "--quiet", "add", &at(&deep), "deep"]);
    library.commit("library.index", "mine");
    origin.git(&["submodule", "--quiet", "add", &at(&library), "vendor/library"]);
    let commit = origin.commit("file", "two");
    origin.mirrors().check_out(&origin.repository(), &commit, &origin.target()).await.unwrap();
    let inner = origin.target().join("vendor/library");
    assert_eq!(fs::read_to_string(inner.join("library.index")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(inner.join("deep/file")).unwrap(), "one");
    assert!(!inner.join(".git").exists() && !inner.join("deep/.git").exists());
}

#[tokio::test]
async fn a_submodule_that_runs_a_helper_is_refused_and_nothing_runs() {
    let origin = Origin::new();
    let trace = origin.room.path().join("trace");
    let text = format!(
        "[submodule \"x\"]\n\tpath = x\n\turl = \"ext::sh -c touch% {}\"\n",
        trace.display()
    );
    fs::write(origin.folder().join(".gitmodules"), text).unwrap();
    let link = format!("160000,{},x", origin.head("HEAD"));
    origin.git(&["add", ".gitmodules"]);
    origin.git(&["update-index", "--add", "--cacheinfo", &link]);
    origin.git(&["commit", "--quiet", "--message", "evil"]);
    let commit = origin.head("HEAD");
    let result = origin.mirrors().check_out(&origin.repository(), &commit, &origin.target()).await;
    assert!(refused(result).contains("ext::"));
    assert!(!trace.exists() && !origin.target().exists());
}

#[tokio::test]
async fn hooks_and_filters_of_a_repository_do_not_run() {
    let origin = Origin::new();
    let trace = origin.room.path().join("trace");
    let hook = origin.folder().join(".git/hooks/post-checkout");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", trace.display())).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(hook, executable).unwrap();
    let commit = origin.commit(".gitattributes", "* filter=evil\n");
    origin.git(&["config", "filter.evil.smudge", &format!("touch {}", trace.display())]);
    origin.mirrors().check_out(&origin.repository(), &commit, &origin.target()).await.unwrap();
    assert!(!trace.exists());
    assert_eq!(fs::read_to_string(origin.target().join("file")).unwrap(), "one");
}

#[tokio::test]
async fn a_half_made_checkout_of_an_earlier_life_is_replaced() {
    let origin = Origin::new();
    let left = origin.room.path().join(".target.new");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("rubbish"), "").unwrap();
    let commit = origin.head("HEAD");
    origin.mirrors().check_out(&origin.repository(), &commit, &origin.target()).await.unwrap();
    assert!(!origin.target().join("rubbish").exists() && !left.exists());
}

#[tokio::test]
async fn what_a_killed_git_left_in_a_mirror_does_not_stop_the_next() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    mirrors.check_out(&repository, &origin.head("HEAD"), &origin.target()).await.unwrap();
    let mirror = fs::read_dir(origin.room.path().join("mirrors")).unwrap().next().unwrap();
    let mirror = mirror.unwrap().path();
    let half = mirror.join("objects/pack/tmp_pack_x");
    fs::write(&half, "half").unwrap();
    for name in ["packed-refs.lock", "refs/heads/main.lock"] {
        let lock = fs::File::create(mirror.join(name)).unwrap();
        lock.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let next = origin.commit("file", "two");
    mirrors.check_out(&repository, &next, &origin.room.path().join("next")).await.unwrap();
    assert!(!half.exists());
    assert_eq!(git(&mirror, &["rev-parse", "refs/heads/main"]), next.as_str());
}

#[tokio::test]
async fn a_branch_that_became_a_folder_of_branches_is_fetched() {
    let origin = Origin::new();
    let (mirrors, repository) = (origin.mirrors(), origin.repository());
    origin.git(&["branch", "release"]);
    mirrors.check_out(&repository, &origin.head("HEAD"), &origin.target()).await.unwrap();
    origin.git(&["branch", "--delete", "release"]);
    origin.git(&["checkout", "--quiet", "-b", "release/1"]);
    let commit = origin.commit("file", "two");
    mirrors.check_out(&repository, &commit, &origin.room.path().join("next")).await.unwrap();
}
