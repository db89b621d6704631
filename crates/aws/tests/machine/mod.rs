//! A machine for a test, as it is before its first boot: namespaces of its own over this machine's
//! programs, with the very cloud-init that Debian has. It stands for Amazon Linux, whose package
//! manager and systemd are stood in for.

use std::fs;
use std::io::copy;
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::emulator;

/// Where Debian's packages of cloud-init lie unpacked.
const CLOUD_INIT: &str = "ROWHOUSE_CLOUD_INIT";
/// The one repository of apps that machines know.
pub(crate) const GIT_HOST: &str = "git.example.com";
const PATIENCE: Duration = Duration::from_mins(1);

/// What cloud-init does at first boot, of all that it can do; where the user data come from.
const CLOUD_CONFIG: &str = "
datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: [write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
";
/// In place of dnf: what is asked for must be here already. The agent of `CloudWatch` is not, and
/// the first attempt fails.
const DNF: &str = "#!/bin/sh
echo \"dnf $*\" >> /var/log/dnf.log
[ \"$(wc -l < /var/log/dnf.log)\" -gt 1 ] || exit 137
case \" $* \" in
  *' amazon-cloudwatch-agent '*) exit 1 ;;
  *' git '*) exec git --version ;;
esac
";

/// In place of what would change the memory of this machine, or fill its disk.
const SWAP: &str = "#!/bin/sh
echo \"$(basename \"$0\") $*\" >> /var/log/swap.log
";

/// The machine. All of it ends with the process that holds its namespaces.
pub(crate) struct Machine {
    room: tempfile::TempDir,
    holder: Child,
    /// The first process in it, by this machine's number.
    first: u32,
    /// What was started for it, and ends with it.
    helpers: Vec<Child>,
}

impl Machine {
    /// A machine that reaches the emulator, and nothing else.
    pub(crate) fn start(emulator: u16) -> Machine {
        let Some(layer) = std::env::var_os(CLOUD_INIT) else {
            panic!(
                "this test needs cloud-init, unpacked in the folder {CLOUD_INIT}: `cargo xtask \
                 test` does that"
            )
        };
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("namespaces.sh"), include_str!("namespaces.sh")).unwrap();
        fs::write(room.path().join("metadata.py"), include_str!("metadata.py")).unwrap();
        let log = fs::File::create(room.path().join("namespaces.log")).unwrap();
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
                "sh",
            ])
            .arg(room.path().join("namespaces.sh"))
            .arg(room.path())
            .arg(layer)
            .args(seen())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !room.path().join("ready").exists() {
            let ended = holder.try_wait().unwrap();
            if ended.is_some() || began.elapsed() > PATIENCE {
                let said = fs::read_to_string(room.path().join("namespaces.log")).unwrap();
                panic!(
                    "this test boots a machine in namespaces of its own, for which it must be root \
                     with \
                     CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: `--privileged`): {said}"
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
        let first = child_of(holder.id()).expect("the namespaces have a first process");
        let mut machine = Machine { room, holder, first, helpers: Vec::new() };
        machine.lead_to(emulator);
        machine.install(emulator);
        machine
    }

    /// A file of the machine.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}/root{path}", self.first, self.room.path().display()))
    }

    /// A program of the machine, with nothing of this one's environment.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = self.beside("chroot");
        command.arg(self.room.path().join("root")).arg(name);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root").env("LANG", "C.UTF-8");
        command
    }

    /// A program of this machine in the network of that one.
    pub(crate) fn beside(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.first.to_string(),
            "--mount",
            "--net",
            "--pid",
            "--",
            name,
        ]);
        command.stdin(Stdio::null());
        command
    }

    /// Gives the machine its user data, and lets cloud-init do what it does at first boot.
    pub(crate) fn boot(&self, user_data: &str) {
        // Of a machine that was made by cloud-init itself.
        for before in ["/var/lib/cloud", "/etc/cloud/cloud.cfg.d"] {
            let _ = fs::remove_dir_all(self.file(before));
        }
        let seed = self.file("/var/lib/cloud/seed/nocloud");
        fs::create_dir_all(&seed).unwrap();
        fs::write(seed.join("user-data"), user_data).unwrap();
        fs::write(seed.join("meta-data"), "instance-id: i-0123\n").unwrap();
        fs::write(self.file("/etc/cloud/cloud.cfg"), CLOUD_CONFIG).unwrap();
        let mut schema = self.program("cloud-init");
        schema.args(["schema", "--config-file", "/var/lib/cloud/seed/nocloud/user-data"]);
        said(&schema.output().unwrap());
        for stage in [
            &["init", "--local"][..],
            &["init"],
            &["modules", "--mode", "config"],
            &["modules", "--mode", "final"],
        ] {
            let stage = self.program("cloud-init").args(stage).output().unwrap();
            assert!(stage.status.success(), "{stage:?}\n{}", self.log());
        }
    }

    /// A page of the app as a load balancer asks for it.
    pub(crate) fn page(&self, host: &str) -> String {
        let mut curl = self.beside("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "20"]);
        curl.args(["--header", &format!("Host: {host}"), "https://10.0.0.7:8443/"]);
        said(&curl.output().unwrap())
    }

    /// The public key that TLS answers with, in base64 without armour.
    pub(crate) fn served_key(&self, host: &str) -> String {
        let mut client = self.beside("openssl");
        client.args(["s_client", "-connect", "10.0.0.7:8443", "-servername", host]);
        let certificate = self.room.path().join("served.pem");
        fs::write(&certificate, client.output().unwrap().stdout).unwrap();
        let mut key = Command::new("openssl");
        key.args(["x509", "-noout", "-pubkey", "-in"]).arg(certificate);
        let pem = said(&key.output().unwrap());
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }

    /// What systemd itself says of the units that the machine has been given.
    pub(crate) fn check_units(&self) {
        let mut verify = self.program("systemd-analyze");
        verify.args(["verify", "--man=no"]);
        for unit in ["up", "instance", "failed"] {
            verify.arg(format!("/etc/systemd/system/rowhouse-{unit}.service"));
        }
        let output = verify.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("rowhouse"), "{said}");
    }

    /// What was written on the machine, for when something is wrong.
    pub(crate) fn log(&self) -> String {
        let folder = fs::read_dir(self.file("/var/log/rowhouse")).into_iter().flatten().flatten();
        let cloud = ["cloud-init.log", "cloud-init-output.log", "dnf.log"];
        let cloud = cloud.map(|name| self.file(&format!("/var/log/{name}")));
        let logs = cloud.into_iter().chain(folder.map(|entry| entry.path()));
        logs.fold(String::new(), |all, path| {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let from = text.char_indices().rev().nth(6_000).map_or(0, |(index, _)| index);
            all + &format!("{}:\n{}\n", path.display(), &text[from..])
        })
    }

    /// Serves the repositories of a folder at `GIT_HOST`, by https, to the machine.
    pub(crate) fn serve_git(&mut self, folder: &Path) {
        let (key, certificate) =
            (self.room.path().join("git.key"), self.room.path().join("git.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]);
        openssl.arg(format!("/CN={GIT_HOST}"));
        openssl.args(["-addext", &format!("subjectAltName=DNS:{GIT_HOST}"), "-keyout"]);
        said(&openssl.arg(&key).arg("-out").arg(&certificate).output().unwrap());
        fs::copy(&certificate, self.file("/etc/ssl/git.pem")).unwrap();
        let mut trust = self.program("git");
        trust.args(["config", "--system", "http.sslCAInfo", "/etc/ssl/git.pem"]);
        said(&trust.output().unwrap());
        fs::write(self.file("/etc/hosts"), format!("127.0.0.1 localhost {GIT_HOST}\n")).unwrap();
        let server = include_str!("../../../cli/tests/apps/git_server.py");
        let mut python = self.beside("python3");
        python.args(["-c", server, "443"]).args([&certificate, &key, folder]).arg("");
        let python = python.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.helpers.push(python);
    }

    /// Makes the emulator's port one of the machine's network.
    fn lead_to(&mut self, emulator: u16) {
        let socket = self.room.path().join("emulator");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", emulator)) else { continue };
                relay(client, server);
            }
        });
        let mut relay = self.beside("python3");
        relay.args(["-c", include_str!("relay.py"), &emulator.to_string()]).arg(socket);
        self.helpers.push(relay.stdout(Stdio::null()).spawn().unwrap());
    }

    /// What Amazon Linux has: dnf, systemd, and the AWS CLI, which finds its rights where instances
    /// do.
    fn install(&self, emulator: u16) {
        let aws = format!(
            "#!/bin/sh\nAWS_ENDPOINT_URL=http://127.0.0.1:{emulator} AWS_CONFIG_FILE=/dev/null \
             AWS_SHARED_CREDENTIALS_FILE=/dev/null exec {} \"$@\"\n",
            emulator::program("aws").display()
        );
        for (name, text) in [
            ("aws", aws.as_str()),
            ("dnf", DNF),
            ("systemctl", include_str!("systemctl.py")),
            ("fallocate", SWAP),
            ("mkswap", SWAP),
            ("swapon", SWAP),
        ] {
            let file = self.file(&format!("/usr/local/bin/{name}"));
            fs::write(&file, text).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
        // The first process ends with it, and all others with that one.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for helper in &mut self.helpers {
            let _ = helper.wait();
        }
    }
}

/// The folders that a machine must see although they may lie on file systems of their own: the
/// programs of this checkout, and the Python that those of the emulators run on.
fn seen() -> Vec<PathBuf> {
    let prefix = Command::new(emulator::program("python3"))
        .args(["-c", "import sys; print(sys.base_prefix)"])
        .output()
        .unwrap();
    let prefix = PathBuf::from(said(&prefix).trim());
    let emulators = emulator::program("aws").parent().unwrap().parent().unwrap().to_owned();
    let mut seen = vec![emulators];
    seen.extend((!prefix.starts_with("/usr")).then_some(prefix));
    seen
}

fn relay(client: UnixStream, server: TcpStream) {
    let (mut from_client, mut from_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut client, mut server) = (client, server);
    thread::spawn(move || {
        let _ = copy(&mut from_client, &mut server);
        let _ = server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = copy(&mut from_server, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
}

fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    })
}

/// What a program printed that ended well.
#[track_caller]
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
