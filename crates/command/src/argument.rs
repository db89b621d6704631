//! Values of options as people type them.

use std::net::SocketAddr;
use std::time::Duration;

/// A time such as `90s`, `15m` or `2h`; a number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let allowed = || format!("`{text}` is no time: write `90s`, `15m` or `2h`");
    let number: u64 = digits.parse().map_err(|_| allowed())?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(allowed()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(allowed)
}

/// An address with a port; of names, `localhost` alone is sure to mean this machine.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_| {
        "write an address and a port, such as `127.0.0.1:8080`, `[::1]:8080`, or `0.0.0.0:80` for \
         every address"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_that_people_write() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        for bad in ["", "m", "-1s", "1d", "1.5h", "99999999999999999999s", "9999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_port() {
        assert_eq!(address("localhost:8080"), address("127.0.0.1:8080"));
        assert!(address("[::1]:80").is_ok());
        for bad in
            ["", "127.0.0.1", "8080", ":8080", "localhost", "localhost:http", "example.com:80"]
        {
            assert!(address(bad).unwrap_err().contains("`127.0.0.1:8080`"), "{bad}");
        }
    }
}
