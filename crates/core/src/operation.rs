//! One step on a stack, and the plan that it carries.

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::stack::Deployment;

/// What is to be made of an app, complete: whoever performs it has nothing left to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub app: App,
    pub deployment: Deployment,
}

/// One step on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Create(Box<Plan>),
    Update(Box<Plan>),
    /// Ends what is in progress and goes back to what ran before.
    Cancel,
    /// `retain`: leave behind what could not be deleted before.
    Delete {
        retain: bool,
    },
    /// Continues a rollback that failed.
    ContinueRollback,
}

impl Operation {
    /// The operation's word in tokens and events.
    pub fn word(&self) -> &'static str {
        match self {
            Operation::Create(_) => "create",
            Operation::Update(_) => "update",
            Operation::Cancel => "cancel",
            Operation::Delete { .. } => "delete",
            Operation::ContinueRollback => "continue",
        }
    }
}
