//! A wire between a function and AWS that counts what goes over it, by kind.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::bench::server;

/// Calls by kind.
type Calls = BTreeMap<String, usize>;

/// The wire: it passes on every request, and has counted it before.
pub struct Wire {
    address: SocketAddr,
    calls: Arc<Mutex<Calls>>,
}

impl Wire {
    /// Before the server on that port of this machine.
    pub fn before(port: u16) -> anyhow::Result<Wire> {
        let calls = Arc::new(Mutex::new(Calls::new()));
        let counted = Arc::clone(&calls);
        let address = server::start(move |request| passed_on(request, port, Arc::clone(&counted)))?;
        Ok(Wire { address, calls })
    }

    /// Where a function sends what is to be counted.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls since this was asked last.
    pub fn taken(&self) -> Calls {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Calls in one line: `3: GetItem, 2 × UpdateItem`.
pub fn line(calls: &Calls) -> String {
    let mut text = calls.values().sum::<usize>().to_string();
    for (number, (kind, count)) in calls.iter().enumerate() {
        text.push_str(if number == 0 { ": " } else { ", " });
        if *count > 1 {
            // Writing to a text cannot fail.
            let _ = write!(text, "{count} × ");
        }
        text.push_str(kind);
    }
    text
}

async fn passed_on(
    request: Request<Incoming>,
    port: u16,
    calls: Arc<Mutex<Calls>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let kind = kind(target, &head.method, &body);
    *calls.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    let answer = asked(Request::from_parts(head, Full::from(body)), port).await;
    Ok(answer.unwrap_or_else(|error| {
        let mut response = Response::new(Full::from(format!("{error:#}")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

async fn asked(request: Request<Full<Bytes>>, port: u16) -> anyhow::Result<Response<Full<Bytes>>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { connection.await.ok() });
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await.context("the answer breaks off")?.to_bytes();
    let mut response = Response::from_parts(head, Full::from(body));
    // Its length is known now.
    response.headers_mut().remove("transfer-encoding");
    Ok(response)
}

/// What a call is, as AWS's protocols name it: a header, a field of a form, or (S3) the method.
fn kind(target: Option<&str>, method: &Method, body: &[u8]) -> String {
    if let Some((_, operation)) = target.and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let form = String::from_utf8_lossy(body);
    let field = |name: &str| {
        form.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
    };
    match field("Action") {
        // Without a name it is a page of all of them.
        Some((_, "DescribeStacks")) if field("StackName").is_none() => {
            "DescribeStacks (a page)".to_owned()
        }
        Some((_, action)) => action.to_owned(),
        None => format!("{method} object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_as_the_protocols_of_aws_name_them() {
        let of = |body: &str| kind(None, &Method::POST, body.as_bytes());
        assert_eq!(kind(Some("DynamoDB_20120810.GetItem"), &Method::POST, b"{}"), "GetItem");
        assert_eq!(of("Action=DescribeStacks&StackName=x"), "DescribeStacks");
        assert_eq!(of("Action=DescribeStacks&Version=1"), "DescribeStacks (a page)");
        assert_eq!(of("Action=CreateStack&StackName=x"), "CreateStack");
        assert_eq!(kind(None, &Method::PUT, b"{}"), "PUT object");
        let calls = [("GetItem".to_owned(), 1), ("Scan".to_owned(), 2)].into();
        assert_eq!(line(&calls), "3: GetItem, 2 × Scan");
        assert_eq!(line(&Calls::new()), "0");
    }
}
