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

/// A head of so many bytes, without its end.
fn large(size: usize) -> String {
    let line = format!("X: {}\r\n", "x".repeat(995));
    let head = GET.trim_end();
    format!("{head}\r\n{}", line.repeat((size - head.len()) / line.len()))
}

#[tokio::test]
async fn a_connection_goes_on_after_a_large_head_and_after_a_rest() {
    let app = App::named("a").await;
    let kept = Duration::from_millis(1);
    for limits in [Limits::default(), Limits { kept, ..Limits::default() }] {
        let house = house(&app, limits);
        let mut client = house.connect().await;
        let request = format!("{}\r\n", large(40_000));
        for pipelined in [1, 1, 3, 1] {
            // The next one may have begun when the last one ends.
            client.write(&request.repeat(pipelined)).await;
            client.write("GET / HT").await;
            for _ in 0..pipelined {
                assert_eq!(client.answer().await.unwrap().body, "a");
            }
            client.write(GET.trim_start_matches("GET / HT")).await;
            assert_eq!(client.answer().await.unwrap().body, "a");
        }
        // Some of these come while the connection rests, and some later.
        for _ in 0..300 {
            assert_eq!(client.get("/").await.status, 200);
            tokio::task::yield_now().await;
        }
        client.write(&format!("{}Connection: close\r\n\r\n", large(40_000))).await;
        assert_eq!(client.answer().await.unwrap().body, "a");
        assert_eq!(client.rest().await, "");
    }
}

/// What the kernel has for the proxy that the proxy has not read.
fn unread(house: &House) -> usize {
    let port = format!(":{:04X}", house.proxy.address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queue = |line: &str| -> Option<usize> {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, queues) = (words.next()?, words.next()?, words.nth(1)?);
        let (_, received) = queues.split_once(':').filter(|_| local.ends_with(&port))?;
        usize::from_str_radix(received, 16).ok()
    };
    // The listener's own queue is of connections.
    table.lines().skip(1).filter(|line| line.contains(" 01 ")).filter_map(queue).sum()
}

#[tokio::test]
async fn large_heads_are_bounded_in_sum_and_all_others_are_served() {
    let app = App::named("a").await;
    let head = Duration::from_mins(5);
    // One large head at a time.  Were who waits looked at with the times, each would take a second.
    let house = house(&app, Limits { heads: 0, head, ..Limits::default() });
    let (count, size) = (200, 40_000);
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = house.connect().await;
        client.write(&large(size)).await;
        clients.push(client);
    }
    let waiting = (count - 1) * (size - 1_200);
    for _ in 0..10 {
        until(|| unread(&house) >= waiting).await;
        assert_eq!(house.get("/").await.status, 200);
    }
    // Each that ends makes room for another one.
    for client in &mut clients {
        client.write("\r\n").await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.unwrap().body, "a");
    }
    assert_eq!(unread(&house), 0);
}

#[tokio::test]
async fn a_large_head_that_finds_no_room_in_time_is_answered_503() {
    let (app, turn) = slow().await;
    let house = house(&app, Limits { heads: 0, head: SHORT, ..Limits::default() });
    let (mut first, mut second) = (house.connect().await, house.connect().await);
    // Whoever is served keeps its room until the answer.
    first.write(&format!("{}\r\n", large(40_000))).await;
    until(|| app.count() == 1).await;
    second.write(&large(40_000)).await;
    let refused = second.answer().await.unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("Try again"), "{}", refused.body);
    turn.add_permits(1);
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn what_cannot_become_a_head_is_told_so_at_once() {
    let app = App::named("a").await;
    let house = house(&app, Limits { head: Duration::from_mins(5), ..Limits::default() });
    for text in ["\u{16}\u{3}\u{1}", "SSH-2.0-OpenSSH\r\n", "GET / HTTP/1.1\r\nno colon\r\n"] {
        let mut client = house.connect().await;
        client.write(text).await;
        assert_eq!(client.answer().await.unwrap().status, 400, "{text:?}");
    }
    // Half a head, and nothing more to come.
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: sho").await;
    client.stream.shutdown().await.unwrap();
    client.rest().await;
    // A head that comes letter by letter.
    let mut client = house.connect().await;
    for letter in GET.chars() {
        client.write(&letter.to_string()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.unwrap().body, "a");
}
