//! A platform of the release build, on a folder of its own, for the benchmarks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bench::process::Process;
use crate::tools::{root, run};

/// A running platform; it and its instances end with it.
pub struct House {
    folder: tempfile::TempDir,
    program: PathBuf,
    up: Process,
    pub port: u16,
    pub repository: PathBuf,
    /// The commit of the app of all rows.
    pub commit: String,
}

impl House {
    /// Builds the program, makes a repository with a tiny app, and starts the platform.
    pub fn start() -> anyhow::Result<House> {
        House::start_with(&[])
    }

    /// As [`House::start`], with more arguments of `rowhouse up`.
    pub fn start_with(arguments: &[&str]) -> anyhow::Result<House> {
        run("cargo", &["build", "--release", "--quiet", "-p", "rowhouse"])?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
        let program = target.join("release/rowhouse");
        let folder = tempfile::tempdir()?;
        let (repository, commit) = repository(folder.path())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let up = Process::start(
            Command::new(&program)
                .args(["up", "--listen", &format!("127.0.0.1:{port}"), "--data"])
                .arg(folder.path().join("data"))
                .args(arguments),
        )?;
        let house = House { folder, program, up, port, repository, commit };
        house.wait("the proxy", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(house)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.up.pid()
    }

    /// The table, as any program may open it.
    pub fn table(&self) -> anyhow::Result<rusqlite::Connection> {
        let table = rusqlite::Connection::open(self.data().join("rowhouse.db"))?;
        table.busy_timeout(Duration::from_secs(10))?;
        Ok(table)
    }

    /// Waits for a condition, looking every millisecond.
    pub fn wait(&self, what: &str, condition: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !condition() {
            if Instant::now() > deadline {
                bail!("waited too long for {what}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Whether this revision of the app is deployed, by its row.
    pub fn is_deployed(&self, name: &str, revision: &str) -> bool {
        let look = || -> anyhow::Result<bool> {
            let is_so = "select status = 'deployed' and revision = ?2 from apps where name = ?1";
            let table = self.table()?;
            Ok(table.query_row(is_so, [name, revision], |row| row.get(0))?)
        };
        look().unwrap_or(false)
    }

    /// Commits the same app once more.
    pub fn next_commit(&self) -> anyhow::Result<String> {
        git(&self.repository, &["commit", "--quiet", "--allow-empty", "--message=again"])?;
        git(&self.repository, &["rev-parse", "HEAD"])
    }

    /// Whether the app answers 200 through the proxy now.
    pub fn answers(&self, name: &str) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                stream,
                "GET / HTTP/1.1\r\nHost: {name}.localhost\r\nConnection: close\r\n\r\n"
            )?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            Ok(&head[9..] == b"200")
        };
        ask().unwrap_or(false)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = Command::new(&self.program).arg("down").arg("--data").arg(self.data()).output();
    }
}

/// A static site: its server is the platform's own, so what is measured is the platform.
fn repository(folder: &Path) -> anyhow::Result<(PathBuf, String)> {
    let repository = folder.join("app");
    std::fs::create_dir(&repository)?;
    std::fs::write(repository.join("index.html"), "hello\n")?;
    git(&repository, &["init", "--quiet", "--initial-branch=main"])?;
    git(&repository, &["add", "."])?;
    git(&repository, &["commit", "--quiet", "--message=hello"])?;
    let commit = git(&repository, &["rev-parse", "HEAD"])?;
    Ok((repository, commit))
}

fn git(repository: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"])
        .args(arguments)
        .current_dir(repository)
        .output()
        .context("git is needed")?;
    if !output.status.success() {
        bail!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
