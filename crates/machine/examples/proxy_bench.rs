//! A proxy with one thread in front of given backends, to be measured:
//! `proxy_bench LISTEN APP BACKEND...`.

use std::error::Error;
use std::net::SocketAddr;
use std::thread;

use rowhouse_machine::proxy::{Limits, Proxy, Routes, Upstream};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: proxy_bench LISTEN APP BACKEND...";
    let listen: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let app = arguments.next().ok_or(usage)?;
    let mut upstreams = Vec::new();
    for (number, backend) in arguments.enumerate() {
        upstreams.push(Upstream::new(format!("{app}-{number}"), backend.parse()?));
    }
    let routes = Routes::new("localhost");
    routes.set(&app, upstreams);
    let _proxy = Proxy::start(Proxy::bind(listen)?, routes, Limits::default(), 1)?;
    loop {
        thread::park();
    }
}
