//! Where an object lies, as S3 is told of it.

use std::fmt;

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Address, String> {
        text.strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'))
            .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
            .map(|(bucket, key)| Address { bucket: bucket.to_owned(), key: key.to_owned() })
            .ok_or_else(|| "an address is `s3://BUCKET/KEY`".to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_a_key() {
        let address = Address::parse("s3://keys/backend/shop-1.json").unwrap();
        assert_eq!(
            (address.bucket.as_str(), address.key.as_str()),
            ("keys", "backend/shop-1.json")
        );
        assert_eq!(address.to_string(), "s3://keys/backend/shop-1.json");
        for bad in ["", "keys/a", "s3://keys", "s3:///a", "s3://keys/"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
