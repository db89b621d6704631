//! Instances that come and go, and the end of the proxy itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rowhouse_machine::proxy::Upstream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::fixture::{App, House, ok, until, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";

/// Sends a chunk for each permit, and ends after `chunks`.
async fn streaming(chunks: usize) -> (App, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let app = App::new({
        let permits = Arc::clone(&permits);
        move |mut peer| {
            let permits = Arc::clone(&permits);
            async move {
                while peer.head().await.is_some() {
                    peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                    for _ in 0..chunks {
                        permits.acquire().await.unwrap().forget();
                        peer.write("5\r\nchunk\r\n").await;
                    }
                    peer.write("0\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    (app, permits)
}

#[tokio::test]
async fn draining_waits_for_an_answer_that_is_being_streamed() {
    let (app, permits) = streaming(20).await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write(GET).await;
    assert_eq!(client.answer_head().await.unwrap().status, 200);
    house.routes.set("shop", Vec::new());
    let upstream = app.upstream.clone();
    let draining = tokio::spawn(async move { upstream.drain(Duration::from_mins(1)).await });
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..20 {
        pace.tick().await;
        assert!(!draining.is_finished());
        permits.add_permits(1);
        assert_eq!(client.until("chunk\r\n").await.unwrap(), "5\r\nchunk\r\n");
    }
    assert_eq!(within(draining).await.unwrap(), 0);
    assert_eq!(client.exactly(5).await.unwrap(), "0\r\n\r\n");
    // The client's connection goes on.
    assert_eq!(client.get("/").await.status, 503);
}

#[tokio::test]
async fn draining_cuts_what_is_left_at_the_limit() {
    let (app, _permits) = streaming(1).await;
    let other = App::named("other").await;
    let house = House::of(&[&app]);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = house.connect().await;
        client.write(GET).await;
        assert_eq!(client.answer_head().await.unwrap().status, 200);
        clients.push(client);
    }
    house.routes.set("shop", vec![other.upstream.clone()]);
    let mut bystander = house.connect().await;
    assert_eq!(bystander.get("/").await.body, "other");
    assert_eq!(within(app.upstream.drain(Duration::from_millis(50))).await, 4);
    assert_eq!(app.upstream.in_flight(), 0);
    for mut client in clients {
        assert_eq!(client.rest().await, "");
    }
    assert_eq!(bystander.get("/").await.body, "other");
}

#[tokio::test]
async fn a_drained_instance_keeps_no_idle_connection() {
    let closed = Arc::new(AtomicUsize::new(0));
    let app = App::new({
        let closed = Arc::clone(&closed);
        move |mut peer| {
            let closed = Arc::clone(&closed);
            async move {
                while peer.head().await.is_some() {
                    peer.write(&ok("a")).await;
                }
                closed.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let house = House::of(&[&app]);
    assert_eq!(house.get("/").await.status, 200);
    house.routes.set("shop", Vec::new());
    assert_eq!(app.upstream.drain(Duration::from_mins(1)).await, 0);
    until(|| closed.load(Ordering::SeqCst) == 1).await;
}

/// Asks as fast as it is answered, until told to stop.  Returns how often.
async fn load(house: Arc<House>, stop: Arc<AtomicBool>, post: bool) -> usize {
    let mut client = house.connect().await;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        if post {
            let head = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 3\r\n\r\n";
            client.write(&format!("{head}abc")).await;
        } else {
            client.write(GET).await;
        }
        let answer = client.answer().await.expect("a connection was cut");
        assert_eq!((answer.status, answer.body.as_str()), (200, "a"));
        count += 1;
    }
    count
}

#[tokio::test]
async fn no_request_is_lost_while_instances_are_swapped() {
    let mut app = App::named("a").await;
    let house = Arc::new(House::of(&[&app]));
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..32 {
        clients.spawn(load(Arc::clone(&house), Arc::clone(&stop), number % 2 == 0));
    }
    let mut served = 0;
    for _ in 0..50 {
        let next = App::named("a").await;
        house.routes.set("shop", vec![next.upstream.clone()]);
        assert_eq!(within(app.upstream.drain(Duration::from_mins(1))).await, 0);
        served += app.count();
        // The old instance ends here, with all its connections.
        app = next;
        until(|| app.count() > 40).await;
    }
    stop.store(true, Ordering::Relaxed);
    let counts = within(clients.join_all()).await;
    served += app.count();
    assert_eq!(counts.iter().sum::<usize>(), served);
    assert!(served >= 50 * 40);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_instance() {
    let gone = Arc::new(Notify::new());
    let app = App::new({
        let gone = Arc::clone(&gone);
        move |mut peer| {
            let gone = Arc::clone(&gone);
            async move {
                peer.head().await;
                // Never answers; sees when nobody waits any more.
                assert_eq!(peer.rest().await, "");
                gone.notify_one();
            }
        }
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write(GET).await;
    until(|| app.count() == 1).await;
    assert_eq!(app.upstream.in_flight(), 1);
    drop(client);
    within(gone.notified()).await;
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn stopping_lets_answers_end_and_closes_idle_connections() {
    let (app, permits) = streaming(1).await;
    let house = House::of(&[&app]);
    let address = house.proxy.address();
    let mut idle = house.connect().await;
    let mut client = house.connect().await;
    for peer in [&mut idle, &mut client] {
        peer.write(GET).await;
        assert_eq!(peer.answer_head().await.unwrap().status, 200);
    }
    permits.add_permits(1);
    assert_eq!(idle.until("0\r\n\r\n").await.unwrap(), "5\r\nchunk\r\n0\r\n\r\n");
    let stopping = tokio::spawn(house.proxy.stop(Duration::from_mins(1)));
    assert_eq!(idle.rest().await, "");
    assert!(!stopping.is_finished());
    permits.add_permits(1);
    assert_eq!(client.rest().await, "5\r\nchunk\r\n0\r\n\r\n");
    within(stopping).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_client_that_was_accepted_is_answered_though_the_proxy_stops() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let mut silent = house.connect().await;
    let mut begun = house.connect().await;
    begun.write("GET / HTTP/1.1\r\nHost: shop").await;
    let mut again = house.connect().await;
    assert_eq!(again.get("/").await.status, 200);
    again.write("GET / HTTP/1.1\r\nHost: shop").await;
    // The queue is first in, first out: as soon as the last one is answered, all were accepted.
    assert_eq!(house.get("/").await.status, 200);
    let stopping = tokio::spawn(house.proxy.stop(Duration::from_mins(1)));
    assert_eq!(silent.get("/").await.body, "a");
    for mut client in [begun, again] {
        client.write(".localhost\r\n\r\n").await;
        assert_eq!(client.answer().await.unwrap().body, "a");
        assert_eq!(client.rest().await, "");
    }
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_keep_a_stopping_proxy() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let mut silent = house.connect().await;
    assert_eq!(house.get("/").await.status, 200);
    within(house.proxy.stop(Duration::from_mins(1))).await;
    assert_eq!(silent.rest().await, "");
}

#[tokio::test]
async fn stopping_cuts_at_the_limit() {
    let (app, _permits) = streaming(1).await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write(GET).await;
    assert_eq!(client.answer_head().await.unwrap().status, 200);
    within(house.proxy.stop(Duration::from_millis(50))).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(app.upstream.in_flight(), 0);
}

#[tokio::test]
async fn draining_an_instance_without_requests_ends_at_once() {
    let upstream = Upstream::new("idle".to_owned(), crate::fixture::unused().await);
    assert_eq!(within(upstream.drain(Duration::from_hours(1))).await, 0);
}
