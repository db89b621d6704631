//! Where messages begin and end, and whom they are for: what is said twice, and what is no HTTP.

use crate::fixture::{App, House, ok};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n";

/// Gives each request the same answer.
async fn answering(answer: String) -> App {
    App::new(move |mut peer| {
        let answer = answer.clone();
        async move {
            while let Some(head) = peer.head().await {
                peer.body(&head).await;
                peer.write(&answer).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn chunks_overrule_the_length_beside_them_in_an_answer() {
    for length in [3, 5, 50] {
        let (length, chunked) =
            (format!("Content-Length: {length}\r\n"), "Transfer-Encoding: chunked\r\n".to_owned());
        for framing in [[&*length, &*chunked].concat(), [&*chunked, &*length].concat()] {
            let app = answering(format!(
                "HTTP/1.1 200 OK\r\n{framing}\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            ))
            .await;
            let house = House::of(&[&app]);
            let mut client = house.connect().await;
            for _ in 0..2 {
                let answer = client.get("/").await;
                assert_eq!(answer.body, "hello", "{framing}");
                assert!(!answer.headers.contains_key("content-length"), "{framing}");
            }
            let old = house.ask("GET / HTTP/1.0\r\nHost: shop.localhost\r\n\r\n").await;
            assert_eq!(old.body, "hello", "{framing}");
            assert!(!old.headers.contains_key("content-length"), "{framing}");
        }
    }
}

#[tokio::test]
async fn equal_lengths_of_an_answer_become_one_and_different_ones_are_no_http() {
    for lengths in ["Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 5"] {
        let app = answering(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nhello")).await;
        let house = House::of(&[&app]);
        let mut client = house.connect().await;
        client.write(GET).await;
        let head = client.until("\r\n\r\n").await.unwrap().to_lowercase();
        assert_eq!(head.matches("content-length").count(), 1, "{head}");
        assert!(head.contains("content-length: 5\r\n"), "{head}");
        assert_eq!(client.exactly(5).await.unwrap(), "hello");
        // Without a body, too.
        client.write(&GET.replace("GET", "HEAD")).await;
        assert!(client.until("\r\n\r\n").await.unwrap().contains("content-length: 5\r\n"));
    }
    for lengths in ["Content-Length: 5, 6", "Content-Length: 5\r\nContent-Length: 6"] {
        let app = answering(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nhello!")).await;
        let house = House::of(&[&app]);
        let answer = house.get("/").await;
        assert_eq!(answer.status, 502, "{lengths}");
        assert!(answer.body.contains("sent an answer that is no HTTP"), "{answer:?}");
    }
}

/// So many short headers, each in a line of its own.
fn headers(name: &str, count: usize) -> String {
    (0..count).map(|number| format!("{name}: c{number}=1\r\n")).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn headers_are_bounded_by_their_size_alone() {
    for count in [99, 100, 101, 1_000, 2_500] {
        let cookies = headers("Set-Cookie", count);
        let app =
            answering(format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 2\r\n\r\nok")).await;
        let house = House::of(&[&app]);
        let mut client = house.connect().await;
        let fields = headers("X-A", count);
        // On a new connection to the app, and on those that come after it.
        for method in ["GET", "HEAD", "POST", "GET"] {
            let body = if method == "POST" { "Content-Length: 5\r\n" } else { "" };
            let sent = if method == "POST" { "hello" } else { "" };
            client
                .write(&format!(
                    "{method} / HTTP/1.1\r\nHost: shop.localhost\r\n{fields}{body}\r\n{sent}"
                ))
                .await;
            let head = client.until("\r\n\r\n").await.unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{method} {count} {head}");
            assert_eq!(head.matches("set-cookie: ").count(), count);
            // In the order in which they came.
            assert!(head.contains("c7=1\r\nset-cookie: c8=1\r\n"));
            if method != "HEAD" {
                assert_eq!(client.exactly(2).await.unwrap(), "ok");
            }
            assert_eq!(app.requests().pop().unwrap().matches("\r\nx-a: c").count(), count);
        }
        assert_eq!(app.count(), 4);
        assert_eq!(app.upstream.in_flight(), 0);
    }
}

#[tokio::test]
async fn an_app_is_asked_once_however_many_headers_it_sends() {
    let answer = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", headers("Set-Cookie", count));
    let hints = format!("HTTP/1.1 103 Early Hints\r\n{}\r\n", headers("Link", 200));
    let broken = answer(200).replace("c150=1", "c\u{1}=1");
    for (answer, status) in [
        (answer(10_000), 502),
        (broken, 502),
        (answer(200).replace("\r\n\r\n", "\r\nno colon\r\n\r\n"), 502),
        ([hints, ok("a")].concat(), 200),
    ] {
        let said = answer[answer.len().saturating_sub(40)..].to_owned();
        let app = answering(answer).await;
        let house = House::of(&[&app]);
        let mut client = house.connect().await;
        client.write(GET).await;
        let mut answer = client.answer_head().await.unwrap();
        if answer.status == 103 {
            answer = client.answer_head().await.unwrap();
        }
        assert_eq!(answer.status, status, "{said}");
        if status == 502 {
            assert!(client.until("sent an answer that is no HTTP").await.is_some());
        }
        assert_eq!(app.count(), 1);
    }
}

#[tokio::test]
async fn a_body_is_not_read_as_a_head_where_its_length_is_absurd() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let smuggled = GET.replace("\r\n\r\n", &format!("\r\n{}\r\n", headers("X", 200)));
    for length in ["18446744073709551615", "18446744073709551614", "99999999999999999999"] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: {length}\r\n");
        let (first, last) = head.split_at(30);
        // In one piece, in two, and after another request.
        for pieces in [vec![&*head, "\r\n", &smuggled], vec![GET, first, last, "\r\n", &smuggled]] {
            for at_once in [true, false] {
                let mut client = house.connect().await;
                let before = app.count() + usize::from(pieces[0] == GET);
                if at_once {
                    client.write(&pieces.concat()).await;
                } else {
                    for piece in &pieces {
                        client.write(piece).await;
                        tokio::task::yield_now().await;
                    }
                }
                if pieces[0] == GET {
                    assert_eq!(client.answer().await.unwrap().status, 200);
                }
                let status = client.answer().await.unwrap().status;
                assert!(status == 431 || status == 400, "{status}");
                assert_eq!(client.rest().await, "");
                assert_eq!(app.count(), before, "{length}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_one_try_and_says_so() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    for answer in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", &large] {
        let app = answering(answer.to_owned()).await;
        let house = House::of(&[&app]);
        let answer = house.get("/").await;
        assert_eq!(answer.status, 502);
        assert!(answer.body.contains("shop sent an answer that is no HTTP"), "{answer:?}");
        assert_eq!(app.count(), 1);
    }
}

#[tokio::test]
async fn a_broken_body_is_the_clients_fault() {
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "5\r\nhelloo\r\n0\r\n\r\n", "-1\r\n\r\n"] {
        let app = App::named("a").await;
        let house = House::of(&[&app]);
        let mut client = house.connect().await;
        client
            .write(&format!(
                "POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: \
                 chunked\r\n\r\n{body}"
            ))
            .await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, 400, "{body} {answer:?}");
        assert!(!answer.body.is_empty());
        assert_eq!(client.rest().await, "");
        assert_eq!(house.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_request_that_does_not_name_one_host_is_refused() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let host = "Host: shop.localhost";
    for (target, host, status) in [
        ("GET / HTTP/1.1", "X: 1", 400),
        ("GET http://shop.localhost/ HTTP/1.1", "X: 1", 400),
        ("GET / HTTP/1.1", "Host: shop.localhost, shop.localhost", 400),
        ("GET / HTTP/1.1", "Host: shop.localhost shop.localhost", 400),
        ("GET / HTTP/1.1", "Host: shop.localhost\r\nHost: shop.localhost", 400),
        ("GET / HTTP/1.1", "Host: shop.localhost:80:80", 400),
        ("GET / HTTP/1.1", "Host: shop.localhost:x", 400),
        ("GET / HTTP/1.1", "Host: shop.localhost/a", 400),
        ("GET / HTTP/1.1", "Host: me@shop.localhost", 400),
        ("GET shop.localhost:80 HTTP/1.1", host, 400),
        ("GET shop.localhost HTTP/1.1", host, 400),
        ("GET * HTTP/1.1", host, 400),
        ("GET http://other.localhost/ HTTP/1.1", host, 400),
        ("GET http://shop.localhost:81/ HTTP/1.1", host, 400),
        ("CONNECT shop.localhost:80 HTTP/1.1", host, 405),
        ("GET / HTTP/1.0", "X: 1", 404),
        ("GET / HTTP/1.1", "Host:", 404),
        ("GET / HTTP/1.1", "Host: [::1]:8080", 404),
    ] {
        let answer = house.ask(&format!("{target}\r\n{host}\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{target} {host}");
        assert!(!answer.body.is_empty(), "{target} {host}");
    }
    assert_eq!(app.count(), 0);
    for (target, host) in [
        ("OPTIONS * HTTP/1.1", host),
        ("GET http://Shop.localhost:80/ HTTP/1.1", host),
        ("GET http://shop.localhost/ HTTP/1.0", "X: 1"),
        ("GET / HTTP/1.1", "Host: shop.localhost:"),
    ] {
        let answer = house.ask(&format!("{target}\r\n{host}\r\n\r\n")).await;
        assert_eq!(answer.status, 200, "{target} {host}");
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_in_words() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    let fields = "X: y\r\n".repeat(20_000);
    let target = "x".repeat(65_600);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\n{fields}\r\n"), 431),
        (format!("GET /{target} HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"), 414),
        ("GET / HTTP/1.1\r\nHost: shop.localhost\r\nno colon\r\n\r\n".to_owned(), 400),
        ("hello\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = house.connect().await;
        // On a connection that had a request already, and on a new one.
        assert_eq!(client.get("/").await.status, 200);
        for mut client in [client, house.connect().await] {
            client.write(&request).await;
            let answer = client.answer().await.unwrap();
            assert_eq!(answer.status, status, "{}", &request[..20]);
            assert_eq!(answer.headers["connection"], "close");
            assert!(answer.headers["content-type"].starts_with("text/plain"));
            assert!(answer.body.ends_with(".\n"), "{answer:?}");
            assert_eq!(client.rest().await, "");
        }
    }
}

#[tokio::test]
async fn what_an_app_says_ahead_of_its_answer_reaches_the_client() {
    let app = App::new(|mut peer| async move {
        while let Some(head) = peer.head().await {
            peer.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X\r\nX: 1\r\n\r\n")
                .await;
            if head.starts_with("get /slow") {
                // Not before the client has it.
                peer.until("go on").await;
            }
            let hints = "HTTP/1.1 102 Processing\r\n\r\n";
            peer.write(&[hints, hints, &ok("a")].concat()).await;
        }
    })
    .await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    for path in ["/", "/slow", "/"] {
        let chunked = "Transfer-Encoding: chunked\r\n";
        let body = if path == "/" { "" } else { chunked };
        client.write(&format!("GET {path} HTTP/1.1\r\nHost: shop.localhost\r\n{body}\r\n")).await;
        assert_eq!(client.until("\r\n\r\n").await.unwrap(), hints);
        if path == "/slow" {
            client.write("5\r\ngo on\r\n0\r\n\r\n").await;
        }
        for _ in 0..2 {
            let next = client.until("\r\n\r\n").await.unwrap();
            assert_eq!(next, "HTTP/1.1 102 Processing\r\n\r\n");
        }
        assert_eq!(client.answer().await.unwrap().body, "a");
        if path == "/slow" {
            break;
        }
    }
    let old = house.ask("GET / HTTP/1.0\r\nHost: shop.localhost\r\n\r\n").await;
    assert_eq!((old.status, old.body.as_str()), (200, "a"));
}

#[tokio::test]
async fn an_app_that_says_to_go_on_is_heard() {
    let app = answering(["HTTP/1.1 100 Continue\r\n\r\n", &ok("a")].concat()).await;
    let house = House::of(&[&app]);
    let mut client = house.connect().await;
    client.write(GET).await;
    assert_eq!(client.until("\r\n\r\n").await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.answer().await.unwrap().body, "a");
}

#[tokio::test]
async fn an_old_client_is_told_the_truth_about_its_connection() {
    let request = "GET / HTTP/1.0\r\nHost: shop.localhost\r\nConnection: keep-alive\r\n\r\n";
    for (answer, kept) in [
        (ok("hello"), true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(),
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello".into(),
            true,
        ),
    ] {
        let app = answering(answer.clone()).await;
        let house = House::of(&[&app]);
        let mut client = house.connect().await;
        client.write(request).await;
        let first = client.answer().await.unwrap();
        assert_eq!(first.body, "hello", "{answer}");
        let said = first.headers.get("connection").map_or("close", String::as_str);
        assert_eq!(said, if kept { "keep-alive" } else { "close" }, "{answer}");
        if kept {
            client.write(request).await;
            assert_eq!(client.answer().await.unwrap().body, "hello", "{answer}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_to_http_does_not_reach_the_app_beside_another_one() {
    let app = App::named("a").await;
    let house = House::of(&[&app]);
    for (asked, passed) in [
        ("Upgrade: h2c, websocket", Some("websocket")),
        ("Upgrade: websocket, H2C", Some("websocket")),
        ("Upgrade: h2c\r\nUpgrade: websocket", Some("websocket")),
        ("Upgrade: HTTP/2.0, TLS/1.0, chat", Some("chat")),
        ("Upgrade: h2c, h2c", None),
    ] {
        let connection = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n";
        house
            .ask(&format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\n{connection}{asked}\r\n\r\n"))
            .await;
        let seen = app.requests().pop().unwrap();
        let upgrade = seen.lines().find_map(|line| line.strip_prefix("upgrade: "));
        assert_eq!(upgrade, passed, "{asked}");
        assert!(!seen.contains("http2-settings") && !seen.contains("h2c"), "{seen}");
    }
}
