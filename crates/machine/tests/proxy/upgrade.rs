//! Connections that are handed over to another protocol.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::fixture::{App, House, Peer, until, within};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: shop.localhost\r\nConnection: keep-alive, \
    Upgrade\r\n\
                       Upgrade: echo\r\n\r\n";

/// Agrees to any upgrade, says hello, and echoes.
async fn echo() -> App {
    App::new(|mut peer| async move {
        peer.head().await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n";
        peer.write(&format!("{head}X-App: 1\r\n\r\nhello")).await;
        let (mut read, mut write) = peer.stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

async fn upgraded(house: &House) -> Peer {
    let mut client = house.connect().await;
    client.write(UPGRADE).await;
    let answer = client.answer_head().await.unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.headers["connection"], "upgrade");
    assert_eq!(answer.headers["upgrade"], "echo");
    assert_eq!(answer.headers["x-app"], "1");
    assert_eq!(client.exactly(5).await.unwrap(), "hello");
    client
}

#[tokio::test]
async fn bytes_are_passed_both_ways_after_an_upgrade() {
    let app = echo().await;
    let house = House::of(&[&app]);
    let mut client = upgraded(&house).await;
    for text in ["one", "two", "three"] {
        client.write(text).await;
        assert_eq!(client.exactly(text.len()).await.unwrap(), text);
    }
    assert_eq!(app.upstream.in_flight(), 1);
    drop(client);
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn an_upgraded_connection_holds_its_instance_until_it_ends() {
    let app = echo().await;
    let house = House::of(&[&app]);
    let mut client = upgraded(&house).await;
    let upstream = app.upstream.clone();
    let draining = tokio::spawn(async move { upstream.drain(Duration::from_mins(1)).await });
    client.write("still here").await;
    assert_eq!(client.exactly(10).await.unwrap(), "still here");
    assert!(!draining.is_finished());
    drop(client);
    assert_eq!(within(draining).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upgraded_connection_is_cut_when_its_time_is_over() {
    let app = echo().await;
    let house = House::of(&[&app]);
    let mut client = upgraded(&house).await;
    assert_eq!(within(app.upstream.drain(Duration::from_millis(50))).await, 1);
    assert_eq!(app.upstream.in_flight(), 0);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_app_may_decline_an_upgrade() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    for _ in 0..3 {
        client.write(UPGRADE).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "a"));
    }
    assert!(app.requests()[0].contains("\r\nupgrade: echo\r\n"));
    assert_eq!(app.upstream.in_flight(), 0);
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_an_error() {
    let app = echo().await;
    let house = House::of(&[&app]);
    assert_eq!(house.get("/").await.status, 502);
    assert_eq!(app.upstream.in_flight(), 0);
}

#[tokio::test]
async fn web_sockets_work() {
    let app = App::new(|peer| async move {
        let mut socket = accept_async(peer.stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    })
    .await;
    let house = House::of(&[&app]);
    let stream = TcpStream::connect(house.proxy.address()).await.unwrap();
    let (mut socket, _) = within(client_async("ws://shop.localhost/", stream)).await.unwrap();
    let long = "x".repeat(1_000_000);
    for text in ["hello", &long] {
        socket.send(Message::text(text)).await.unwrap();
        let echoed = within(socket.next()).await.unwrap().unwrap();
        assert_eq!(echoed.to_text().unwrap(), text);
    }
    socket.close(None).await.unwrap();
    while within(socket.next()).await.is_some() {}
    until(|| app.upstream.in_flight() == 0).await;
}
