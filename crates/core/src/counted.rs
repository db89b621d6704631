//! Numbers of things, as a sentence has them.

use std::fmt;

/// A number of things in words: `1 row`, `2 rows`. The noun must be one that takes an `s`.
pub fn counted<Count: fmt::Display + Copy + PartialEq + From<u8>>(
    count: Count,
    noun: &str,
) -> String {
    let ending = if count == Count::from(1) { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_told_as_one() {
        let told = [0_usize, 1, 2].map(|count| counted(count, "row"));
        assert_eq!(told, ["0 rows", "1 row", "2 rows"]);
    }
}
