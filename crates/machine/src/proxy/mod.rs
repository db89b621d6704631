use std::{io, net::SocketAddr, sync::Arc, time::Duration};
#[derive(Debug, Clone)]
pub struct Upstream;
impl Upstream {
    pub fn new(_: String, _: SocketAddr) -> Upstream {
        todo!()
    }
    pub async fn drain(&self, _: Duration) -> usize {
        todo!()
    }
}
#[derive(Debug)]
pub struct Routes;
impl Routes {
    pub fn new(_: &str) -> Arc<Routes> {
        todo!()
    }
    pub fn set(&self, _: &str, _: Vec<Upstream>) {}
    pub fn remove(&self, _: &str) {}
}
#[derive(Default)]
pub struct Limits;
#[derive(Debug)]
pub struct Proxy;
impl Proxy {
    pub fn bind(_: SocketAddr) -> io::Result<std::net::TcpListener> {
        todo!()
    }
    pub fn start(
        _: std::net::TcpListener,
        _: Arc<Routes>,
        _: Limits,
        _: usize,
    ) -> io::Result<Proxy> {
        todo!()
    }
    pub fn address(&self) -> SocketAddr {
        todo!()
    }
    pub async fn stop(self, _: Duration) {}
}
