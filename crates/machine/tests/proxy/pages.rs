//! What the proxy says itself: in one look, and to each reader what that one can use.

use rowhouse_machine::proxy::Vacancy;

use crate::fixture::{Answer, App, House};

const HTML: &str = "Accept: text/html,*/*;q=0.8\r\n";
const VISITOR: &str = "X-Forwarded-For: 192.0.2.1\r\n";

/// Each page of the proxy's own, with its status.
async fn pages(headers: &str) -> Vec<(u16, Answer)> {
    let app = App::new(|mut peer| async move {
        peer.head().await;
    })
    .await;
    let house = House::of(&[&app]);
    house.routes.set("unready", Vec::new());
    house.routes.vacate("asleep", Vacancy::ScaledToZero);
    house.routes.vacate("new", Vacancy::NeverUp);
    let mut pages = Vec::new();
    for (host, status) in
        [("nobody", 404), ("unready", 503), ("asleep", 503), ("new", 503), ("shop", 502)]
    {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}.localhost\r\n{headers}\r\n");
        pages.push((status, house.ask(&request).await));
    }
    pages
}

#[tokio::test]
async fn all_pages_have_one_look() {
    let mut looks = Vec::new();
    for (status, page) in pages(HTML).await {
        assert_eq!(page.status, status);
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers["vary"], "accept");
        looks.push(
            page.body.split_once("<style>").unwrap().1.split_once("<h1>").unwrap().0.to_owned(),
        );
        assert!(page.body.contains("<code>rowhouse "), "{}", page.body);
    }
    looks.dedup();
    assert_eq!(looks.len(), 1);
}

#[tokio::test]
async fn who_reads_no_html_gets_text() {
    for headers in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        for (status, page) in pages(headers).await {
            assert_eq!(page.status, status);
            assert_eq!(page.headers["content-type"], "text/plain; charset=utf-8");
            assert!(!page.body.contains('<') && page.body.contains("`rowhouse "), "{}", page.body);
        }
    }
}

#[tokio::test]
async fn a_visitor_is_told_no_commands() {
    for headers in [VISITOR.to_owned(), [HTML, VISITOR].concat()] {
        for (_, page) in pages(&headers).await {
            assert!(!page.body.contains("rowhouse"), "{}", page.body);
        }
    }
}
