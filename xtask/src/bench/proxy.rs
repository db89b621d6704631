//! `cargo xtask bench proxy`: our proxy beside nginx, haproxy and Caddy, with the same backend, one
//! proxy thread each, 32 keep-alive connections.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bench::figure::median;
use crate::bench::process::{Process, cpu_seconds};
use crate::tools::{need, root, run};

const ROUNDS: usize = 5;
const SECONDS: u64 = 4;
const BACKEND: u16 = 18600;
const OURS: u16 = 18601;
const NGINX: u16 = 18602;
const HAPROXY: u16 = 18603;
const CADDY: u16 = 18604;

#[derive(Clone, Copy, Debug)]
struct Figures {
    requests: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

/// Runs all, in turn, round after round.
pub fn run_all() -> anyhow::Result<()> {
    need(&[("nginx", "nginx-light"), ("haproxy", "haproxy"), ("caddy", "caddy"), ("wrk", "wrk")])?;
    run(
        "cargo",
        &["build", "--release", "--quiet", "-p", "rowhouse-machine", "--example", "proxy_bench"],
    )?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("large"), vec![b'x'; 1 << 20])?;
    let _backend = nginx(folder.path(), "backend", &backend_config(folder.path()))?;
    let proxies = [
        ("rowhouse", OURS, ours()?),
        ("nginx", NGINX, nginx(folder.path(), "proxy", &nginx_config(folder.path()))?),
        ("haproxy", HAPROXY, haproxy(folder.path())?),
        ("caddy", CADDY, caddy(folder.path())?),
    ];
    for (name, port, _) in &proxies {
        wait_for(*port).with_context(|| format!("{name} does not listen"))?;
    }
    for (what, path) in [("small responses (6 bytes)", "/"), ("responses of 1 MB", "/large")] {
        let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); proxies.len()];
        for _ in 0..ROUNDS {
            for (index, (_, port, process)) in proxies.iter().enumerate() {
                figures[index].push(load(*port, path, process)?);
            }
        }
        print(what, &proxies.each_ref().map(|(name, ..)| *name), &figures);
    }
    Ok(())
}

fn print(what: &str, names: &[&str], figures: &[Vec<Figures>]) {
    println!(
        "\n{what}: medians of {ROUNDS} rounds of {SECONDS} s, 32 keep-alive connections, one proxy \
         thread"
    );
    println!(
        "{:10} {:>10} {:>9} {:>9} {:>12} {:>10}",
        "", "requests/s", "p50 ms", "p99 ms", "CPU µs/req", "vs nginx"
    );
    let middle = |of: &[Figures], get: fn(&Figures) -> f64| {
        median(&mut of.iter().map(get).collect::<Vec<_>>())
    };
    let nginx = middle(&figures[1], |figures| figures.cpu);
    for (name, figures) in names.iter().zip(figures) {
        let cpu = middle(figures, |figures| figures.cpu);
        println!(
            "{name:10} {:>10.0} {:>9.2} {:>9.2} {cpu:>12.1} {:>9.2}×",
            middle(figures, |figures| figures.requests),
            middle(figures, |figures| figures.p50),
            middle(figures, |figures| figures.p99),
            cpu / nginx
        );
    }
}

fn load(port: u16, path: &str, process: &Process) -> anyhow::Result<Figures> {
    let before = cpu_seconds(process.pid());
    let output = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{SECONDS}s"), "--latency", "-H", "Host: app.localhost"])
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()?;
    let used = cpu_seconds(process.pid()) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("the load on port {port} did not go well:\n{text}");
    }
    let after = |label: &str| -> anyhow::Result<&str> {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .map(str::trim)
            .with_context(|| format!("no `{label}` in what wrk says:\n{text}"))
    };
    let total: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .context("wrk counts no requests")?
        .0
        .parse()?;
    Ok(Figures {
        requests: after("Requests/sec:")?.parse()?,
        p50: milliseconds(after("50%")?)?,
        p99: milliseconds(after("99%")?)?,
        cpu: used * 1e6 / total,
    })
}

fn milliseconds(text: &str) -> anyhow::Result<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("`{text}` is no time")
}

fn wait_for(port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            bail!("nobody listens on port {port}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn ours() -> anyhow::Result<Process> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    Process::start(
        Command::new(target.join("release/examples/proxy_bench"))
            .arg(format!("127.0.0.1:{OURS}"))
            .arg("app")
            .arg(format!("127.0.0.1:{BACKEND}")),
    )
}

fn nginx(folder: &Path, name: &str, config: &str) -> anyhow::Result<Process> {
    let path = folder.join(format!("{name}.conf"));
    std::fs::write(&path, config)?;
    Process::start(Command::new("nginx").arg("-p").arg(folder).arg("-c").arg(&path))
}

fn nginx_frame(folder: &Path, name: &str, server: &str) -> String {
    let folder = folder.display();
    // Workers of a root nginx would give up root, and could not read the temporary folder.
    let user = if is_root() { "user root;" } else { "" };
    format!(
        "{user} daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log /dev/null;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush \
         on;\n{server}\n}}\n"
    )
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn backend_config(folder: &Path) -> String {
    let server = format!(
        "server {{ listen 127.0.0.1:{BACKEND}; root {};\n location = / {{ return 200 \"hello\\n\"; \
         }} }}",
        folder.display()
    );
    nginx_frame(folder, "backend", &server)
}

fn nginx_config(folder: &Path) -> String {
    let mut server = String::new();
    let _ = write!(
        server,
        "upstream app {{ server 127.0.0.1:{BACKEND}; keepalive 64; keepalive_requests 100000000; \
         }}\n\
         server {{ listen 127.0.0.1:{NGINX}; server_name app.localhost;\n\
         location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_buffering on;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host; }} }}"
    );
    nginx_frame(folder, "proxy", &server)
}

fn haproxy(folder: &Path) -> anyhow::Result<Process> {
    let path = folder.join("haproxy.cfg");
    std::fs::write(
        &path,
        format!(
            "global\n  nbthread 1\n  maxconn 1000\n\
             defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server \
             60s\n  option forwardfor\n  http-reuse always\n\
             frontend front\n  bind 127.0.0.1:{HAPROXY}\n  http-request set-header \
             X-Forwarded-Proto http\n  http-request set-header X-Forwarded-Host \
             %[req.hdr(host)]\n  use_backend app if {{ hdr(host) -i app.localhost }}\n\
             backend app\n  server one 127.0.0.1:{BACKEND}\n"
        ),
    )?;
    Process::start(Command::new("haproxy").arg("-db").arg("-f").arg(&path))
}

fn caddy(folder: &Path) -> anyhow::Result<Process> {
    let path = folder.join("Caddyfile");
    std::fs::write(
        &path,
        format!(
            "{{\n admin off\n auto_https off\n}}\nhttp://app.localhost:{CADDY} {{\n bind \
             127.0.0.1\n reverse_proxy 127.0.0.1:{BACKEND}\n}}\n"
        ),
    )?;
    Process::start(
        Command::new("caddy")
            .arg("run")
            .arg("--config")
            .arg(&path)
            .env("GOMAXPROCS", "1")
            .env("HOME", folder),
    )
}
