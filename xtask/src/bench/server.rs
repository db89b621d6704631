//! An HTTP server on a port of its own and a thread of its own, for as long as the benchmark runs.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// Serves on the loopback; says where.
pub fn start<Answering>(
    answer: impl Fn(Request<Incoming>) -> Answering + Clone + Send + 'static,
) -> anyhow::Result<SocketAddr>
where
    Answering: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
                // A client that leaves half-way has ended, which is what is told of it.
                tokio::spawn(async move { serve.await.ok() });
            }
            #[expect(unreachable_code, reason = "what the block comes to, if it ever did")]
            std::io::Result::Ok(())
        })
    });
    Ok(address)
}
