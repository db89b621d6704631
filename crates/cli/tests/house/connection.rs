//! Connections to the proxy that stay open.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::house::House;

/// A connection to the proxy.
pub fn connect(house: &House) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", house.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    BufReader::new(stream)
}

/// The head of an answer, in lower case.
pub fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    head.to_ascii_lowercase()
}

/// A WebSocket to the app `shop`.
pub struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    pub fn open(house: &House) -> WebSocket {
        let mut stream = connect(house);
        write!(
            stream.get_mut(),
            "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .unwrap();
        assert!(head(&mut stream).starts_with("http/1.1 101"));
        WebSocket(stream)
    }

    pub fn echoes(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend(text.bytes());
        self.0.get_mut().write_all(&frame).unwrap();
        let mut answer = vec![0; 2 + text.len()];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[2..], text.as_bytes());
    }
}
