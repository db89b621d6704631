//! The token of an operation: what it aims at and on what it began, in the 128 characters that
//! CloudFormation copies to every event of the operation.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html>,
//! `ClientRequestToken`.

use rowhouse_core::{Base, Commit, Target};

/// The operation that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// `create` or `update`: what was aimed at.
    Rollout {
        target: Target,
        commit: Commit,
        /// A `create`.
        is_creation: bool,
    },
    Cancel,
    /// Another operation of ours, or somebody else's.
    Other,
}

/// For a rollout. Equal for two reactors that saw the same stack, new after every operation.
pub(crate) fn rollout(word: &str, target: &Target, commit: &Commit, base: &Base) -> String {
    format!("{word}-{target}-{commit}-{base}")
}

/// For whatever aims at nothing new.
pub(crate) fn step(word: &str, base: &Base) -> String {
    format!("{word}-{base}")
}

/// Reads a token of an event.
pub(crate) fn parse(text: &str) -> Token {
    if text.starts_with("cancel-") {
        return Token::Cancel;
    }
    let rollout = || {
        let (word, rest) = text.split_once('-')?;
        // A digest has one dash: `v1-` and hex digits.
        let parts: Vec<&str> = rest.splitn(4, '-').collect();
        let [format, digits, commit, _base] = parts.as_slice() else { return None };
        let target = Target::stored(format!("{format}-{digits}"));
        let commit = Commit::parse(commit)?;
        let is_creation = word == "create";
        (is_creation || word == "update").then_some(Token::Rollout { target, commit, is_creation })
    };
    rollout().unwrap_or(Token::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_and_is_read_back() {
        let target = Target::stored("v1-0123456789abcdef0123456789abcdef");
        let commit = Commit::parse(&"a".repeat(40)).unwrap();
        let base = Base::of("arn", "now");
        for word in ["create", "update"] {
            let token = rollout(word, &target, &commit, &base);
            assert!(token.len() <= 128, "{token}");
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            let (target, commit, is_creation) = (target.clone(), commit.clone(), word == "create");
            assert_eq!(parse(&token), Token::Rollout { target, commit, is_creation });
        }
        assert_eq!(parse(&step("cancel", &base)), Token::Cancel);
        assert_eq!(parse(&step("delete", &base)), Token::Other);
    }

    #[test]
    fn somebody_elses_token_says_nothing() {
        for text in ["", "-", "Console-UpdateStack-1b", "update-v1-x-y-z", "update", "create-v1-"] {
            assert_eq!(parse(text), Token::Other, "{text}");
        }
    }
}
