//! A platform of one's own for a test: the real program on a temporary folder, real git
//! repositories, Debian's `sqlite3` as the user. It and all that it started end with it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod connection;
pub mod load;
pub mod prober;
pub mod systemd;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_rowhouse");
const DEADLINE: Duration = Duration::from_mins(2);

/// Waits for a condition, looking often.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that is there and no zombie.
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

pub fn kill(signal: &str, pid: u32) {
    // It may be gone already.
    let _ = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Puts another file in the place of one that runs.
pub fn replace(program: &Path, content: &[u8]) {
    let other = program.with_extension("new");
    fs::write(&other, content).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&other, program).unwrap();
}

/// A git repository of an app.
pub struct Repository {
    pub path: PathBuf,
}

impl Repository {
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"])
            .args(arguments)
            .current_dir(&self.path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits these files, and tags the commit.
    pub fn commit(&self, tag: &str, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.path.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", tag]);
        self.git(&["tag", "--force", tag]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits a version of the tests' app that differs in nothing but its commit.
    pub fn web(&self, tag: &str) -> String {
        let app = include_str!("../apps/web.py");
        self.commit(
            tag,
            &[("web.py", app), ("Procfile", "web: exec python3 web.py\n"), ("tag", tag)],
        )
    }

    /// Commits a version whose Procfile is this.
    pub fn procfile(&self, tag: &str, procfile: &str) -> String {
        self.commit(tag, &[("Procfile", procfile)])
    }
}

/// A row, as `sqlite3` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub status: String,
    pub reason: String,
    pub revision: String,
    pub healthy: u32,
    pub url: String,
    pub generation: String,
}

/// A running platform.
pub struct House {
    folder: tempfile::TempDir,
    up: Option<Child>,
    pub port: u16,
    /// The program that is started.
    pub program: PathBuf,
    /// More arguments of `rowhouse up`.
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Who runs the platform, where that is not who runs the test.
    pub user: Option<u32>,
}

impl House {
    /// Starts a platform and waits until it listens.
    pub fn start() -> House {
        House::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> House {
        let mut house = House::new(arguments);
        house.up();
        house
    }

    /// A platform that is not started.
    pub fn new(arguments: &[&str]) -> House {
        House {
            folder: tempfile::tempdir().unwrap(),
            up: None,
            port: free_port(),
            program: PROGRAM.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: Vec::new(),
            user: None,
        }
    }

    /// Another user is to run the platform, who has nothing but this folder. The test must be
    /// root's.
    pub fn belongs_to(&mut self, user: u32) {
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let program = self.room().join("rowhouse");
        fs::copy(&self.program, &program).unwrap();
        for path in [self.room(), &program] {
            open(path);
            chown(path, Some(user), Some(user)).unwrap();
        }
        self.program = program;
        self.user = Some(user);
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn room(&self) -> &Path {
        self.folder.path()
    }

    /// The app's `DATA_DIR`, which is there from now on.
    pub fn data_of(&self, name: &str) -> PathBuf {
        let folder = self.data().join("data").join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// `HOME` of the app's builds, which is there from now on.
    pub fn build_home_of(&self, name: &str) -> PathBuf {
        let folder = self.data().join("build-homes").join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub fn table(&self) -> PathBuf {
        self.data().join("rowhouse.db")
    }

    /// Starts the platform again, on the same folder and port.
    pub fn up(&mut self) {
        self.spawn();
        let port = self.port;
        wait_for("the proxy to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    }

    /// Starts the platform and does not wait for anything.
    pub fn spawn(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("up.log"))
            .unwrap();
        self.spawn_into(log.try_clone().unwrap().into(), log.into());
    }

    /// Starts the platform with these streams and does not wait for anything.
    pub fn spawn_into(&mut self, stdout: Stdio, stderr: Stdio) {
        // What does not test steadiness does not wait for it.
        let is_given = self.arguments.iter().any(|argument| argument == "--steady");
        let steady: &[&str] = if is_given { &[] } else { &["--steady", "0"] };
        let mut command = Command::new(&self.program);
        if let Some(user) = self.user {
            command.uid(user).gid(user).env_clear().env("HOME", self.room());
            command.env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
        }
        let child = command
            .args(["up", "--data"])
            .arg(self.data())
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(steady)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        self.up = Some(child);
    }

    pub fn up_pid(&self) -> u32 {
        self.up.as_ref().unwrap().id()
    }

    /// The process that the folder says is the platform: that which was started, or a successor.
    pub fn platform_pid(&self) -> u32 {
        let text = fs::read_to_string(self.data().join("state/lock")).unwrap_or_default();
        let holder: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        holder["Pid"].as_u64().map_or(0, |pid| u32::try_from(pid).unwrap())
    }

    /// What the platform has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("up.log")).unwrap_or_default()
    }

    /// Sends the platform a signal and waits for its end.
    pub fn end_up(&mut self, signal: &str) {
        let mut child = self.up.take().unwrap();
        kill(signal, child.id());
        child.wait().unwrap();
    }

    /// Waits until the platform has ended by itself.
    pub fn wait_up(&mut self) -> std::process::ExitStatus {
        let mut child = self.up.take().unwrap();
        wait_for("the platform to end", || child.try_wait().unwrap())
    }

    /// Whether the platform has ended by itself; then it is no longer waited for.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.up.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            self.up = None;
        }
        ended
    }

    /// Runs a statement with Debian's own `sqlite3`.
    pub fn sql(&self, statement: &str) -> String {
        self.sqlite3(&[], statement)
    }

    fn sqlite3(&self, options: &[&str], statement: &str) -> String {
        let output = Command::new("sqlite3")
            .args(options)
            .args(["-cmd", ".timeout 10000"])
            .arg(self.table())
            .arg(statement)
            .output()
            .expect("Debian's `sqlite3` must be installed: `apt-get install sqlite3`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub fn repository(&self, name: &str) -> Repository {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        let repository = Repository { path };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Puts a row with nothing but the necessary.
    pub fn put(&self, name: &str, version: &str, scale: u32, repository: &Repository) {
        self.sql(&format!(
            "insert into apps (name, version, scale, repo) values ('{name}', '{version}', {scale}, \
             '{}')",
            repository.path.display()
        ));
    }

    pub fn set(&self, name: &str, assignment: &str) {
        self.sql(&format!("update apps set {assignment} where name = '{name}'"));
    }

    pub fn row(&self, name: &str) -> Row {
        let text = self.sqlite3(
            &["-json"],
            &format!(
                "select status, reason, revision, healthy, load_balancer, generation from apps \
             where name = '{name}'"
            ),
        );
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let of = |name: &str| rows[0][name].as_str().unwrap_or_default().to_owned();
        Row {
            status: of("status"),
            reason: of("reason"),
            revision: of("revision"),
            healthy: u32::try_from(rows[0]["healthy"].as_u64().unwrap_or(0)).unwrap(),
            url: of("load_balancer"),
            generation: of("generation"),
        }
    }

    /// Waits until the row is as it should be.
    #[track_caller]
    pub fn wait_row(&self, name: &str, wanted: impl Fn(&Row) -> bool) -> Row {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let row = self.row(name);
            if wanted(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "`{name}` is {row:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until this commit is deployed and answers with so many instances.
    #[track_caller]
    pub fn deployed(&self, name: &str, revision: &str, healthy: u32) -> Row {
        self.wait_row(name, |row| {
            row.status == "deployed" && row.revision == revision && row.healthy == healthy
        })
    }

    /// Waits until the rollout of something new has failed.
    #[track_caller]
    pub fn failed(&self, name: &str, reason: &str) -> Row {
        self.wait_row(name, |row| row.status == "deploy_failed" && row.reason.contains(reason))
    }

    /// One request on a connection of its own: the status and the body.
    pub fn get(&self, name: &str, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {name}.localhost:{}\r\nConnection: close\r\n\r\n",
            self.port
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }

    /// The body of a 200.
    pub fn page(&self, name: &str) -> Option<String> {
        self.get(name, "/").ok().filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    /// The app's own processes, by the records of their small parents.
    pub fn pids(&self, name: &str) -> Vec<u32> {
        let folder = self.data().join("instances").join(name);
        let mut pids: Vec<u32> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let record = fs::read(entry.path().join("process.json")).ok()?;
                let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
                u32::try_from(record["app"]["pid"].as_u64()?).ok()
            })
            .filter(|pid| lives(*pid))
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Every process that has anything to do with this folder, but the platform itself.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.folder.path().display().to_string();
        let up = self.up.as_ref().map(Child::id);
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|pid| Some(*pid) != up && lives(*pid))
            .filter_map(|pid| {
                let read = |name: &str| {
                    let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).replace('\0', " ")
                };
                let ours = read("environ").contains(&folder) || read("cmdline").contains(&folder);
                ours.then(|| (pid, read("cmdline")))
            })
            .collect()
    }

    /// Runs the program with these arguments on this folder.
    pub fn rowhouse(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(PROGRAM)
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl House {
    /// What a failed test is understood by: the end of the platform's log, and the first rows
    /// that are not deployed.
    #[expect(clippy::print_stderr, reason = "a test has nothing else to say it by")]
    fn tell(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let rows = Command::new("sqlite3")
            .args(["-readonly", "-cmd", ".timeout 1000"])
            .arg(self.table())
            .arg(
                "select name, status, reason from apps where status is not 'deployed' order by \
                 name limit 5; select count(*), status from apps group by status",
            )
            .output();
        let rows = rows.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        eprintln!(
            "rows that are not deployed, and how many there are:\n{}\nthe end of the platform's \
             log:\n{}",
            rows.unwrap_or_default(),
            lines[lines.len().saturating_sub(60)..].join("\n")
        );
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        if let Some(mut child) = self.up.take() {
            kill("-9", child.id());
            let _ = child.wait();
        }
        // The shims end what they care for, and the test's failure is not covered by a leftover.
        for _ in 0..200 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for (pid, line) in left {
                let gently = line.contains(" shim ");
                kill(if gently { "-TERM" } else { "-9" }, pid);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
