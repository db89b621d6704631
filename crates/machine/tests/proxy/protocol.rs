//! HTTP: what is passed on as it is, what is changed, and what is refused.

use tokio::io::AsyncWriteExt;

use crate::fixture::{App, House, ok, until, within};

/// Answers with the head, or the body, that it got.
async fn mirror() -> App {
    App::new(|mut peer| async move {
        while let Some(head) = peer.head().await {
            let body = peer.body(&head).await.unwrap();
            peer.write(&ok(if body.is_empty() { &head } else { &body })).await;
        }
    })
    .await
}

#[tokio::test]
async fn an_app_learns_who_asked_and_how() {
    let app = mirror().await;
    let house = House::of(&[&app]);
    let seen = house
        .ask(
            "GET /a?b=%20c HTTP/1.1\r\nHost: Shop.localhost:8080\r\nX-Forwarded-For: 10.0.0.1\r\n\
              X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.example\r\n\r\n",
        )
        .await
        .body;
    assert!(seen.starts_with("get /a?b=%20c http/1.1\r\n"), "{seen}");
    for line in [
        "host: shop.localhost:8080",
        "x-forwarded-for: 10.0.0.1, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.localhost:8080",
    ] {
        assert_eq!(seen.lines().filter(|seen| *seen == line).count(), 1, "{line} in {seen}");
    }
    assert!(!seen.contains("evil") && !seen.contains("gopher"));
}

#[tokio::test]
async fn what_is_about_one_connection_is_not_passed_on() {
    let app = App::new(|mut peer| async move {
        while peer.head().await.is_some() {
            peer.write(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Back, keep-alive\r\n\
                 X-Back: 1\r\nX-End: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\n\r\nok",
            )
            .await;
        }
    })
    .await;
    let house = House::of(&[&app]);
    let answer = house
        .ask(
            "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: keep-alive, X-Hop\r\nX-Hop: \
            1\r\n\
              Keep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nX-End: 1\r\n\r\n",
        )
        .await;
    let seen = app.requests().pop().unwrap();
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert!(!seen.contains(&format!("\r\n{name}: ")), "{name} in {seen}");
    }
    assert!(seen.contains("\r\nx-end: 1\r\n"));
    for name in ["connection", "x-back", "keep-alive", "upgrade"] {
        assert!(!answer.headers.contains_key(name), "{name} in {answer:?}");
    }
    assert_eq!((answer.headers["x-end"].as_str(), answer.body.as_str()), ("1", "ok"));
}

#[tokio::test]
async fn an_absolute_target_is_made_a_path() {
    let app = mirror().await;
    let house = House::of(&[&app]);
    let request = "GET http://shop.localhost:81/a?b HTTP/1.1\r\nHost: shop.localhost:81\r\n\r\n";
    let seen = house.ask(request).await.body;
    assert!(seen.starts_with("get /a?b http/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nhost: shop.localhost:81\r\n"), "{seen}");
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let host = "Host: shop.localhost\r\n";
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("CONNECT shop.localhost:80 HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, gzip\r\n\r\n"), 400),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            501,
        ),
        (format!("GET / HTTP/1.1\r\n{host}X : 1\r\n\r\n"), 400),
    ] {
        assert_eq!(house.ask(&request).await.status, status, "{request}");
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_reach_the_app_and_ends_the_connection() {
    let (length, chunked) = ("Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n");
    for framing in [[length, chunked].concat(), [chunked, length].concat()] {
        let app = mirror().await;
        let house = House::of(&[&app]);
        let mut client = house.connect().await;
        // RFC 9112, 6.1: whoever took the length would find another request in the body, or after
        // it.
        client
            .write(&format!(
                "POST / HTTP/1.1\r\nHost: shop.localhost\r\n{framing}\r\n5\r\nhello\r\n0\r\n\r\n\
                 GET /smuggled HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"
            ))
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "{framing}");
        assert_eq!(client.rest().await, "", "{framing}");
        let seen = app.requests();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(!seen[0].contains("content-length"), "{seen:?}");
        assert!(seen[0].contains("\r\ntransfer-encoding: chunked\r\n"), "{seen:?}");
    }
}

#[tokio::test]
async fn old_clients_are_served() {
    let app = App::new(|mut peer| async move {
        while peer.head().await.is_some() {
            peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
                .await;
        }
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.0\r\nHost: shop.localhost\r\n\r\n").await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.version.as_str(), answer.body.as_str()), ("HTTP/1.0", "ok"));
    assert!(!answer.headers.contains_key("transfer-encoding"));
    assert!(app.requests()[0].starts_with("get / http/1.1\r\n"));
    let named = App::named("a").await;
    house.routes.set("shop", vec![named.upstream.clone()]);
    let mut client = house.connect().await;
    for _ in 0..3 {
        client
            .write("GET / HTTP/1.0\r\nHost: shop.localhost\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!(
            (answer.headers["connection"].as_str(), answer.body.as_str()),
            ("keep-alive", "a")
        );
    }
}

#[tokio::test]
async fn old_apps_are_served() {
    let app = App::new(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!((answer.version.as_str(), answer.body.as_str()), ("HTTP/1.1", "until the end"));
    }
    assert_eq!(app.connections(), 3);
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_connections() {
    let app = App::new(|mut peer| async move {
        while let Some(head) = peer.head().await {
            peer.write(if head.starts_with("head") {
                "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
            } else {
                "HTTP/1.1 204 No Content\r\n\r\n"
            })
            .await;
        }
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    for _ in 0..3 {
        client.write("HEAD / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").await;
        let answer = client.answer_head().await.unwrap();
        assert_eq!((answer.status, answer.headers["content-length"].as_str()), (200, "1000"));
        client.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").await;
        assert_eq!(client.answer_head().await.unwrap().status, 204);
    }
    assert_eq!((app.count(), app.connections()), (6, 1));
    assert_eq!(app.upstream.in_flight(), 0);
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_is_told_to_go_on() {
    let app = mirror().await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\n";
    client.write(&format!("{head}Expect: 100-continue\r\n\r\n")).await;
    assert_eq!(client.until("\r\n\r\n").await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("hello").await;
    assert_eq!(client.answer().await.unwrap().body, "hello");
    // Nobody is told to send what nobody wants.
    house.routes.remove("shop");
    client.write(&format!("{head}Expect: 100-continue\r\n\r\n")).await;
    assert_eq!(client.answer_head().await.unwrap().status, 404);
}

#[tokio::test]
async fn trailers_reach_a_client_that_wants_them() {
    let app = App::new(|mut peer| async move {
        while peer.head().await.is_some() {
            peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
                .await;
            peer.write("2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n").await;
        }
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\nTE: trailers\r\n\r\n").await;
    let answer = client.until("42\r\n\r\n").await.unwrap();
    assert!(answer.ends_with("2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_turn() {
    let app = mirror().await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    let requests: Vec<String> = (0..20)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"))
        .collect();
    client.write(&requests.concat()).await;
    for number in 0..20 {
        let answer = client.answer().await.unwrap();
        assert!(answer.body.starts_with(&format!("get /{number} ")), "{}", answer.body);
    }
}

/// The most memory that this process has used so far, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 1600;

#[tokio::test]
async fn a_large_upload_is_passed_on_as_it_comes() {
    let app = App::new(|mut peer| async move {
        peer.head().await;
        for _ in 0..BLOCKS {
            peer.exactly(BLOCK).await.unwrap();
        }
        peer.write(&ok("all")).await;
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    let before = peak();
    let length = BLOCK * BLOCKS;
    client
        .write(&format!(
            "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    let block = vec![b'x'; BLOCK];
    for _ in 0..BLOCKS {
        within(client.stream.write_all(&block)).await.unwrap();
    }
    assert_eq!(client.answer().await.unwrap().body, "all");
    assert!(peak() - before < 40_000, "{} kB", peak() - before);
}

#[tokio::test]
async fn a_large_answer_is_passed_on_as_it_comes() {
    let app = App::new(|mut peer| async move {
        peer.head().await;
        let length = BLOCK * BLOCKS;
        peer.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
        let block = vec![b'x'; BLOCK];
        for _ in 0..BLOCKS {
            peer.stream.write_all(&block).await.unwrap();
        }
        peer.rest().await;
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").await;
    assert_eq!(client.answer_head().await.unwrap().status, 200);
    for _ in 0..BLOCKS {
        assert_eq!(client.exactly(BLOCK).await.unwrap().len(), BLOCK);
    }
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let app = App::new(|mut peer| async move {
        let head = peer.head().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let (mut left, block) = (length.parse::<usize>().unwrap(), "y".repeat(BLOCK));
        left -= peer.forget();
        // Writes as much as it reads, without waiting for the client to read.
        while left > 0 {
            let count = left.min(BLOCK);
            let (mut read, mut write) = peer.stream.split();
            let mut buffer = vec![0; count];
            let chunk = format!("{count:x}\r\n{}\r\n", &block[..count]);
            let reading = tokio::io::AsyncReadExt::read_exact(&mut read, &mut buffer);
            let (read, written) = tokio::join!(reading, write.write_all(chunk.as_bytes()));
            written.unwrap();
            left -= read.unwrap();
        }
        peer.write("0\r\n\r\n").await;
        peer.rest().await;
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    let length = BLOCK * 200;
    client
        .write(&format!(
            "POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    let block = vec![b'x'; BLOCK];
    let (mut read, mut write) = client.stream.split();
    let writing = async {
        for _ in 0..200 {
            write.write_all(&block).await.unwrap();
        }
    };
    let reading = async {
        let (mut buffer, mut answered, mut tail) = (vec![0; BLOCK], 0, Vec::new());
        while !tail.ends_with(b"0\r\n\r\n") {
            let count = tokio::io::AsyncReadExt::read(&mut read, &mut buffer).await.unwrap();
            assert!(count > 0, "the answer broke off");
            answered += count;
            tail.extend_from_slice(&buffer[..count]);
            tail.drain(..tail.len().saturating_sub(8));
        }
        answered
    };
    let ((), answered) = within(async { tokio::join!(writing, reading) }).await;
    assert!(answered > length - BLOCK, "{answered}");
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let app = App::new(|mut peer| async move {
        peer.head().await;
        peer.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
            .await;
        peer.stream.shutdown().await.unwrap();
        peer.rest().await;
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client
        .write("POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 16000000\r\n\r\n")
        .await;
    // It sends everything before it looks for an answer.
    let block = vec![b'x'; BLOCK];
    for _ in 0..16_000_000 / BLOCK {
        within(client.stream.write_all(&block)).await.unwrap();
    }
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (413, "no!"));
    until(|| app.upstream.in_flight() == 0).await;
}

#[tokio::test]
async fn no_socket_waits_for_a_delayed_acknowledgement() {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let app = mirror().await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    // Kept open on both sides.
    client.get("/").await;
    let (front, back) = (house.proxy.address(), app.upstream.address());
    // All sockets of this process, which is the proxy's, too.
    let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let (mut accepted, mut opened) = (0, 0);
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let number = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let Ok(socket) = pidfd_getfd(&me, number, PidfdGetfdFlags::empty()) else { continue };
        let address = |name: rustix::io::Result<rustix::net::SocketAddrAny>| {
            std::net::SocketAddr::try_from(name.ok()?).ok()
        };
        let Ok(Some(peer)) = rustix::net::getpeername(&socket) else { continue };
        let (own, peer) = (address(rustix::net::getsockname(&socket)), address(Ok(peer)));
        if own != Some(front) && peer != Some(back) {
            continue;
        }
        accepted += usize::from(own == Some(front));
        opened += usize::from(peer == Some(back));
        assert!(rustix::net::sockopt::tcp_nodelay(&socket).unwrap(), "{own:?} to {peer:?}");
    }
    assert_eq!((accepted, opened), (1, 1));
}
