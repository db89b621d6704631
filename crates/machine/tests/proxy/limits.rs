//! Clients and apps that are slow, and requests that are too large.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_machine::proxy::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use crate::fixture::{App, House, Peer, ok, until, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";

fn house(app: &App, limits: Limits) -> House {
    let house = House::with(limits);
    house.routes.set("shop", vec![app.upstream.clone()]);
    house
}

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut() {
    let app = App::named("a").await;
    let house = house(&app, Limits { head: SHORT, ..Limits::default() });
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.1\r\n").await;
    // A byte now and then does not help.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let writing = async {
        loop {
            pace.tick().await;
            if client.stream.write_all(b"X").await.is_err() {
                break;
            }
        }
    };
    within(writing).await;
    let mut silent = house.connect().await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_slow_head_after_a_request_is_cut_and_a_fast_client_is_not() {
    let app = App::named("a").await;
    let house = house(&app, Limits { head: SHORT, ..Limits::default() });
    let mut client = house.connect().await;
    let start = tokio::time::Instant::now();
    while start.elapsed() < SHORT * 3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    client.write("GET / HT").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let app = App::named("a").await;
    let house = house(&app, Limits { idle: SHORT, ..Limits::default() });
    let mut client = house.connect().await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_upload_that_stalls_is_cut() {
    let app = App::named("a").await;
    let house = house(&app, Limits { stalled: SHORT, ..Limits::default() });
    let mut client = house.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(client.rest().await, "");
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let app = App::new(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 200 OK\r\n\r\n").await;
        let block = vec![b'x'; 1 << 20];
        while peer.stream.write_all(&block).await.is_ok() {}
    })
    .await;
    let house = house(&app, Limits { stalled: SHORT, ..Limits::default() });
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").await;
    until(|| app.upstream.in_flight() == 1).await;
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn an_app_that_is_silent_is_given_up() {
    let app = App::new(|mut peer| async move {
        while peer.head().await.is_some() {
            // Answers nothing.
        }
    })
    .await;
    let house = house(&app, Limits { silent: SHORT, ..Limits::default() });
    assert_eq!(house.get("/").await.status, 504);
    assert_eq!(app.upstream.in_flight(), 0);
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn an_oversized_head_is_answered_431() {
    let app = App::named("a").await;
    let house = house(&app, Limits { head_size: 8192, ..Limits::default() });
    let mut client = house.connect().await;
    let large = "x".repeat(9000);
    client.write(&format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\nX: {large}\r\n\r\n")).await;
    assert_eq!(client.answer_head().await.unwrap().status, 431);
    assert_eq!(app.count(), 0);
}

/// Answers a request as soon as the test says so.
async fn slow() -> (App, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let app = App::new(move |mut peer| {
        let gate = Arc::clone(&opened);
        async move {
            while peer.head().await.is_some() {
                gate.acquire().await.unwrap().forget();
                peer.write(&ok("a")).await;
            }
        }
    })
    .await;
    (app, gate)
}

#[tokio::test]
async fn clients_above_the_limit_wait_while_all_others_are_served() {
    let (app, gate) = slow().await;
    let limits = Limits { connections: 2, connections_per_client: Some(9), ..Limits::default() };
    let house = house(&app, limits);
    let mut clients = Vec::new();
    for count in 1..=2 {
        let mut client = house.connect().await;
        client.write(GET).await;
        until(|| app.count() == count).await;
        clients.push(client);
    }
    let mut third = house.connect().await;
    third.write(GET).await;
    gate.add_permits(1);
    until(|| app.count() == 3).await;
    gate.add_permits(2);
    for client in &mut clients {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    assert_eq!(third.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn whoever_rested_longest_gives_way_to_the_newest() {
    let app = App::named("a").await;
    let limits = Limits { connections: 3, connections_per_client: Some(3), ..Limits::default() };
    let house = house(&app, limits);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = house.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        clients.push(client);
    }
    // The first one is used again, so the second has rested longest.
    assert_eq!(clients[0].get("/").await.status, 200);
    let mut newest = house.connect().await;
    assert_eq!(newest.get("/").await.status, 200);
    assert_eq!(clients[1].rest().await, "");
    for client in [&mut clients[0], &mut newest] {
        assert_eq!(client.get("/").await.status, 200);
    }
    // Nobody waits, however many come.
    for _ in 0..50 {
        clients.push(house.connect().await);
        assert_eq!(clients.last_mut().unwrap().get("/").await.status, 200);
    }
}

#[tokio::test]
async fn an_address_with_too_many_busy_connections_gets_no_more() {
    let (app, gate) = slow().await;
    let house = house(&app, Limits { connections_per_client: Some(1), ..Limits::default() });
    let mut first = house.connect().await;
    first.write(GET).await;
    until(|| app.count() == 1).await;
    let mut second = house.connect().await;
    second.write(GET).await;
    assert_eq!(second.rest().await, "");
    // Another address is another client.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Peer::new(socket.connect(house.proxy.address()).await.unwrap());
    other.write(GET).await;
    gate.add_permits(2);
    assert_eq!(other.answer().await.unwrap().status, 200);
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(app.count(), 2);
}
