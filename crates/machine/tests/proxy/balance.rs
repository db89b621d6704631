//! Which instance gets a request, and what is answered when there is none.

use std::collections::HashMap;

use crate::fixture::{App, House};

#[tokio::test]
async fn requests_are_spread_over_the_instances() {
    let (a, b, c) = (App::named("a").await, App::named("b").await, App::named("c").await);
    let house = House::of(&[&a, &b, &c]);
    let mut client = house.connect().await;
    let mut counts = HashMap::new();
    for _ in 0..30 {
        *counts.entry(client.get("/").await.body).or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<u32>>(), [10, 10, 10], "{counts:?}");
}

#[tokio::test]
async fn a_busy_instance_gets_no_more_than_an_idle_one() {
    let busy = App::new(|mut peer| async move {
        while peer.head().await.is_some() {
            // Answers nothing.
        }
    })
    .await;
    let idle = App::named("idle").await;
    let house = House::of(&[&busy, &idle]);
    let mut stuck = Vec::new();
    while busy.upstream.in_flight() == 0 {
        let mut client = house.connect().await;
        client.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").await;
        crate::fixture::until(|| busy.count() + idle.count() > stuck.len()).await;
        stuck.push(client);
    }
    let mut client = house.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.body, "idle");
    }
}

#[tokio::test]
async fn connections_to_instances_are_kept() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((app.count(), app.connections()), (20, 1));
}

#[tokio::test]
async fn an_unknown_host_is_answered_with_a_page_that_names_it() {
    let house = House::new();
    let answer =
        house.ask("GET / HTTP/1.1\r\nHost: r&d.localhost\r\nAccept: text/html\r\n\r\n").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    assert!(answer.body.contains("r&amp;d.localhost"), "{}", answer.body);
    assert!(!answer.body.contains("r&d.localhost"), "{}", answer.body);
    for host in ["Host: nobody.localhost", "Host: localhost", "Host: ", "X-No: host"] {
        let answer = house.ask(&format!("GET / HTTP/1.0\r\n{host}\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{host}");
    }
}

#[tokio::test]
async fn an_app_without_instances_asks_to_come_back() {
    let house = House::of(&[]);
    let mut client = house.connect().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "1"));
    let app = App::named("a").await;
    house.routes.set("shop", vec![app.upstream.clone()]);
    assert_eq!(client.get("/").await.body, "a");
    house.routes.remove("shop");
    assert_eq!(client.get("/").await.status, 404);
}

#[tokio::test]
async fn the_host_may_have_a_port_capitals_and_a_last_dot() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    for host in ["shop.localhost:8080", "SHOP.LocalHost", "shop.localhost.", "shop.localhost.:80"] {
        let answer = house.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.body, "a", "{host}");
        let seen = app.requests().pop().unwrap();
        assert!(seen.contains(&format!("\r\nhost: {}\r\n", host.to_lowercase())), "{seen}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_not_shared() {
    let house = House::new();
    let address = house.proxy.address();
    let error = rowhouse_machine::proxy::Proxy::bind(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
