//! Whether public DNS leads to a hosted zone: the name servers that its parent names, asked of this
//! machine's own resolver. RFC 1035, as far as that needs it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

const PATIENCE: Duration = Duration::from_secs(3);
const TRIES: usize = 2;
/// The record that names name servers, and the only class in use.
const NS: u16 = 2;
const IN: u16 = 1;

/// The name servers of a zone, as the resolver of this machine knows them.
pub(crate) async fn name_servers(zone: &str) -> io::Result<Vec<String>> {
    let resolver = resolver();
    let question = question(zone);
    for _ in 0..TRIES {
        let local = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(resolver).await?;
        socket.send(&question).await?;
        let mut answer = vec![0; 4096];
        if let Ok(length) = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await {
            answer.truncate(length?);
            let broken = || io::Error::new(io::ErrorKind::InvalidData, "its answer makes no sense");
            return servers(&answer).ok_or_else(broken);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("the resolver {resolver} does not answer")))
}

/// The first resolver of this machine.
fn resolver() -> SocketAddr {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut named =
        text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    SocketAddr::new(named.next().unwrap_or(IpAddr::from([127, 0, 0, 1])), 53)
}

fn question(zone: &str) -> Vec<u8> {
    // An id, recursion desired, one question.
    let mut bytes = vec![0x52, 0x48, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in zone.split('.') {
        // A label has 63 letters at the most; the zone is one that Route 53 has taken.
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.as_bytes().iter().take(63));
    }
    bytes.push(0);
    bytes.extend(NS.to_be_bytes());
    bytes.extend(IN.to_be_bytes());
    bytes
}

/// The name servers in an answer; none where the name is not known.
fn servers(answer: &[u8]) -> Option<Vec<String>> {
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let questions = u16::from_be_bytes([*answer.get(4)?, *answer.get(5)?]);
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at)?.1 + 4;
    }
    let mut servers = Vec::new();
    for _ in 0..count {
        at = name(answer, at)?.1;
        let head = answer.get(at..at + 10)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
        if kind == NS {
            servers.push(name(answer, at + 10)?.0);
        }
        at += 10 + length;
    }
    Some(servers)
}

/// The name at that place, and where what follows begins.
fn name(answer: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels: Vec<String> = Vec::new();
    let mut end = None;
    // No name has more labels; one that points at itself ends here.
    for _ in 0..128 {
        let length = usize::from(*answer.get(at)?);
        if length == 0 {
            return Some((labels.join(".").to_lowercase(), end.unwrap_or(at + 1)));
        }
        if length & 0xc0 == 0xc0 {
            end = end.or(Some(at + 2));
            at = (length & 0x3f) << 8 | usize::from(*answer.get(at + 1)?);
            continue;
        }
        let label = answer.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += 1 + length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_an_answer_and_nothing_else_is() {
        let mut answer = question("example.com");
        answer[2] = 0x81;
        answer[7] = 2;
        // Each answer's name points at the question's; the second server's shares its end with the
        // first's.
        let head = [0xc0, 12, 0, 2, 0, 1, 0, 0, 0, 60, 0];
        let first = answer.len() + 12;
        answer.extend(head);
        answer.push(9);
        answer.extend(b"\x02ns\x03Aws\x01x\x00"[..].iter().take(9));
        answer.push(0);
        let length_at = first - 1;
        answer[length_at] = 10;
        answer.extend(head);
        answer.push(6);
        answer.extend(b"\x03ns2");
        answer.extend([0xc0, u8::try_from(first + 3).unwrap()]);
        assert_eq!(servers(&answer).unwrap(), ["ns.aws.x", "ns2.aws.x"]);
        assert_eq!(servers(&question("example.com")), Some(Vec::new()));
        for length in 0..answer.len() {
            let _ = servers(&answer[..length]);
        }
        // A name that points at itself has no end.
        let mut circle = question("example.com");
        circle[7] = 1;
        let at = u8::try_from(circle.len()).unwrap();
        circle.extend([0xc0, at, 0, 0]);
        assert_eq!(servers(&circle), None);
    }
}
