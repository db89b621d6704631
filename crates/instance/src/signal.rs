//! How a rollout ended on this instance, as CloudFormation is told, once.

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Success,
    Failure,
}

impl Signal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Signal::Success => "SUCCESS",
            Signal::Failure => "FAILURE",
        }
    }
}
