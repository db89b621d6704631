//! AWS's errors, sorted by what to do next: by code *and* message, since CloudFormation has one
//! code for most.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/CommonErrors.html>

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rowhouse_core::{Outcome, Unreachable};

/// What an AWS call failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Empty where there was no answer.
    pub code: String,
    pub message: String,
}

impl Failure {
    /// Of any operation's error.
    pub fn of<E, R>(error: &SdkError<E, R>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let message = match error.message() {
            Some(message) => message.to_owned(),
            None if code.is_empty() => chain(error),
            None => code.clone(),
        };
        Failure { code, message }
    }

    /// Whether the call said that there is no such stack.
    pub fn is_missing_stack(&self) -> bool {
        self.code == "ValidationError" && self.message.contains("does not exist")
    }

    /// Whether the caller may not do this.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code.as_str(),
            "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation"
        )
    }

    /// Whether AWS or the way to it is to blame: to be tried again.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.code.as_str(),
            "" | "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "RequestLimitExceeded"
                | "ProvisionedThroughputExceededException"
                | "TooManyRequestsException"
                | "SlowDown"
                | "ServiceUnavailable"
                | "ServiceUnavailableException"
                | "InternalFailure"
                | "InternalError"
                | "InternalServerError"
                | "InternalServiceError"
                | "RequestTimeout"
                | "RequestTimeoutException"
                | "RequestExpired"
                | "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "IncompleteSignature"
                | "SignatureDoesNotMatch"
                | "MissingAuthenticationToken"
                | "TransactionConflictException"
        )
    }

    /// How an operation on a stack ended that failed so.
    pub(crate) fn outcome(self, doing: &str) -> Outcome {
        if self.is_passing() {
            return Outcome::Unreachable { reason: format!("{doing}: {}", self.message) };
        }
        if self.is_busy() {
            return Outcome::Busy;
        }
        Outcome::Refused { reason: self.refusal(doing) }
    }

    /// Whether the stack is no longer as it was seen, or something else is under way.
    fn is_busy(&self) -> bool {
        let says = |text: &str| self.message.contains(text);
        match self.code.as_str() {
            "AlreadyExistsException"
            | "TokenAlreadyExistsException"
            | "OperationInProgressException"
            | "OperationStatusCheckFailedException" => true,
            "ValidationError" => {
                says("No updates are to be performed")
                    || self.is_missing_stack()
                    || says("state and can not be updated")
                    || says("state and cannot be updated")
                    || says("cannot be deleted while in status")
                    || says("cannot be called from current stack status")
            }
            _ => false,
        }
    }

    fn refusal(self, doing: &str) -> String {
        let Failure { code, message } = self;
        match code.as_str() {
            "LimitExceededException" => format!(
                "{doing}: a quota of the account is used up ({message}): delete stacks, or have it \
                 raised in Service Quotas"
            ),
            "InsufficientCapabilitiesException" => {
                format!(
                    "{doing}: the template makes IAM resources, which this platform's does not \
                     allow ({message})"
                )
            }
            _ if message.contains("TerminationProtection") => {
                format!(
                    "{doing}: {message}: somebody has protected the stack, and must take that back"
                )
            }
            "AccessDenied" | "AccessDeniedException" => {
                format!(
                    "{doing}: the reactor's role does not allow it ({message}): `rowhouse aws \
                     doctor` names the statement"
                )
            }
            _ => format!("{doing}: {message}"),
        }
    }

    /// For reads, which have no outcome but an answer.
    pub(crate) fn unreachable(self, doing: &str) -> Unreachable {
        let code = if self.code.is_empty() { String::new() } else { format!("{}: ", self.code) };
        Unreachable { reason: format!("{doing}: {code}{}", self.message) }
    }

    /// The same where the message says already what was done.
    pub(crate) fn into_unreachable(self) -> Unreachable {
        Unreachable { reason: self.message }
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: &str, message: &str) -> Outcome {
        Failure { code: code.to_owned(), message: message.to_owned() }.outcome("cannot update")
    }

    #[test]
    fn a_stack_that_is_no_longer_as_it_was_seen_is_looked_at_again() {
        for (code, message) in [
            ("AlreadyExistsException", "Stack [foo] already exists"),
            ("TokenAlreadyExistsException", "A client request token already exists"),
            ("ValidationError", "No updates are to be performed."),
            ("ValidationError", "Stack [foo] does not exist"),
            ("ValidationError", "Stack with id foo does not exist"),
            (
                "ValidationError",
                "Stack:arn:aws:x is in ROLLBACK_COMPLETE state and can not be updated.",
            ),
            ("ValidationError", "Stack [s] is in CREATE_IN_PROGRESS state and cannot be updated"),
            ("ValidationError", "Stack [arn] cannot be deleted while in status UPDATE_IN_PROGRESS"),
            ("ValidationError", "CancelUpdateStack cannot be called from current stack status"),
        ] {
            assert_eq!(outcome(code, message), Outcome::Busy, "{code} {message}");
        }
    }

    #[test]
    fn trouble_of_aws_and_of_the_way_to_it_is_not_the_rows_fault() {
        for code in ["", "Throttling", "RequestLimitExceeded", "ServiceUnavailable", "ExpiredToken"]
        {
            assert!(matches!(outcome(code, "x"), Outcome::Unreachable { .. }), "{code}");
        }
    }

    #[test]
    fn what_will_never_work_is_refused_with_what_aws_said() {
        for (code, message) in [
            ("ValidationError", "Parameters: [X] must have values"),
            ("ValidationError", "Parameter AppName failed to satisfy constraint: x"),
            (
                "ValidationError",
                "Stack [x] cannot be deleted while TerminationProtection is enabled",
            ),
            ("AccessDenied", "User: x is not authorized to perform: cloudformation:CreateStack"),
            ("LimitExceededException", "too many stacks"),
            ("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]"),
        ] {
            let Outcome::Refused { reason } = outcome(code, message) else { panic!("{code}") };
            assert!(reason.starts_with("cannot update: ") && reason.contains(message), "{reason}");
        }
    }

    #[test]
    fn only_the_words_for_it_mean_that_there_is_no_stack() {
        let says = |code: &str, message: &str| {
            Failure { code: code.to_owned(), message: message.to_owned() }.is_missing_stack()
        };
        assert!(says("ValidationError", "Stack with id foo does not exist"));
        assert!(!says("ValidationError", "1 validation error detected"));
        assert!(!says("AccessDenied", "does not exist"));
    }
}
