//! Requests whose instance fails: sent again when that is safe, and never otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::fixture::{App, House, ok, until};

const POST: &str = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\n\r\nhello";

/// Reads a request and closes without an answer.
async fn dying() -> App {
    App::new(|mut peer| async move {
        if let Some(head) = peer.head().await {
            peer.body(&head).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_refused_connection_leads_to_another_instance() {
    let app = App::named("a").await;
    let house = House::new();
    house.routes.set("shop", vec![App::gone().await, app.upstream.clone()]);
    for _ in 0..10 {
        assert_eq!(house.get("/").await.body, "a");
        assert_eq!(house.ask(POST).await.body, "a");
    }
    assert_eq!(app.count(), 20);
}

#[tokio::test]
async fn a_get_whose_instance_dies_is_answered_by_another() {
    let (dying, app) = (dying().await, App::named("a").await);
    let house = House::of(&[&dying, &app]);
    for _ in 0..10 {
        assert_eq!(house.get("/").await.body, "a");
    }
    assert!(dying.count() > 0);
    assert_eq!(dying.upstream.in_flight(), 0);
}

#[tokio::test]
async fn a_get_is_tried_three_times_and_then_fails() {
    let dying = dying().await;
    let house = House::of(&[&dying]);
    assert_eq!(house.get("/").await.status, 502);
    assert_eq!(dying.count(), 3);
    house.routes.set("shop", vec![App::gone().await]);
    assert_eq!(house.get("/").await.status, 502);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let (dying, other) = (dying().await, App::named("a").await);
    let house = House::of(&[&dying]);
    assert_eq!(house.ask(POST).await.status, 502);
    assert_eq!(dying.count(), 1);
    house.routes.set("shop", vec![dying.upstream.clone(), other.upstream.clone()]);
    let mut failed = 0;
    for _ in 0..10 {
        failed += usize::from(house.ask(POST).await.status == 502);
    }
    assert_eq!(dying.count(), 1 + failed);
    assert_eq!(other.count(), 10 - failed);
    // A body makes any method unsafe to repeat.
    house.routes.set("shop", vec![dying.upstream.clone()]);
    let before = dying.count();
    assert_eq!(house.ask(&POST.replace("POST", "PUT")).await.status, 502);
    assert_eq!(dying.count(), before + 1);
}

#[tokio::test]
async fn a_post_does_not_use_a_connection_that_was_idle() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    assert_eq!(client.get("/").await.status, 200);
    let start = tokio::time::Instant::now();
    until(|| start.elapsed().as_millis() > 300).await;
    client.write(POST).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(app.connections(), 2);
    // One that was used just now is good enough.
    client.write(POST).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    assert_eq!(app.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_app_closed_while_idle_costs_nothing() {
    let close = Arc::new(Notify::new());
    let closed = Arc::new(AtomicUsize::new(0));
    let app = App::new({
        let (close, closed) = (Arc::clone(&close), Arc::clone(&closed));
        move |mut peer| {
            let (close, closed) = (Arc::clone(&close), Arc::clone(&closed));
            async move {
                let head = peer.head().await.unwrap();
                peer.body(&head).await;
                peer.write(&ok("a")).await;
                close.notified().await;
                drop(peer);
                closed.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    for round in 0..20 {
        if round % 2 == 0 {
            assert_eq!(client.get("/").await.status, 200);
        } else {
            client.write(POST).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
        }
        close.notify_one();
        until(|| closed.load(Ordering::SeqCst) > round).await;
    }
    assert_eq!(app.count(), 20);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let app = App::new(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").await;
    assert_eq!(client.answer_head().await.unwrap().headers["content-length"], "100");
    assert_eq!(client.rest().await, "only this");
    assert_eq!(app.count(), 1);
    until(|| app.upstream.in_flight() == 0).await;
}
