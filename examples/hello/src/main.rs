//! The app of the first minute: says which app, revision and instance has answered. No
//! dependencies, so that it is built in seconds.

mod look;

use std::env::var;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn main() -> std::io::Result<()> {
    look::check().map_err(std::io::Error::other)?;
    let port = var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let host = var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let listener = TcpListener::bind(format!("{host}:{port}"))?;
    println!("listening on {host}:{port}");
    for stream in listener.incoming() {
        let (stream, port) = (stream?, port.clone());
        std::thread::spawn(move || {
            // A client that goes away is its own business.
            let _ = serve(&stream, &port);
        });
    }
    Ok(())
}

/// Answers the requests of one connection, HTTP/1.1 with keep-alive.
fn serve(stream: &TcpStream, port: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut wants_page, mut body) = (String::new(), false, 0);
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_head = line.starts_with("HEAD ");
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let header = line.to_ascii_lowercase();
            wants_page |= header.starts_with("accept:") && header.contains("text/html");
            if let Some(length) = header.strip_prefix("content-length:") {
                body = length.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut std::io::Read::take(&mut reader, body), &mut std::io::sink())?;
        let (kind, text) =
            if wants_page { ("text/html", page(port)) } else { ("text/plain", plain(port)) };
        let content = if is_head { "" } else { &text };
        write!(
            &mut &*stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n\r\n{content}",
            text.len()
        )?;
    }
}

fn of(name: &str) -> String {
    var(name).unwrap_or_else(|_| "unknown".to_owned())
}

fn plain(port: &str) -> String {
    let revision = of("APP_REVISION");
    let short = revision.get(..7).unwrap_or(&revision);
    format!(
        "{} {} ({short}), instance {} on port {port}\n",
        of("APP_NAME"),
        of("APP_VERSION"),
        std::process::id()
    )
}

fn page(port: &str) -> String {
    let escape =
        |text: String| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let revision = of("APP_REVISION");
    include_str!("page.html")
        .replace("{colour}", look::COLOUR)
        .replace("{greeting}", look::GREETING)
        .replace("{name}", &escape(of("APP_NAME")))
        .replace("{version}", &escape(of("APP_VERSION")))
        .replace("{revision}", &escape(revision.get(..7).unwrap_or(&revision).to_owned()))
        .replace("{instance}", &std::process::id().to_string())
        .replace("{port}", &escape(port.to_owned()))
}
