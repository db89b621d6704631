//! How an app is spoken to.

use serde::{Deserialize, Serialize};

/// How an app is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, known beforehand. RFC 9113, 3.3.
    H2c,
}

impl HttpProtocol {
    /// The word for it in a row.
    pub fn as_str(self) -> &'static str {
        match self {
            HttpProtocol::Http1 => "http1",
            HttpProtocol::H2c => "h2c",
        }
    }

    /// Reads the word; any other text is none.
    pub fn parse(text: &str) -> Option<HttpProtocol> {
        [HttpProtocol::Http1, HttpProtocol::H2c]
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
    }

    /// Whether it is what a row without `Protocol` has.
    pub fn is_default(&self) -> bool {
        *self == HttpProtocol::default()
    }
}
