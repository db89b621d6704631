//! The AWS platform: rows in DynamoDB, each app a CloudFormation stack, the reactor a Lambda function.
//!
//! It translates and performs; what to do is decided in `rowhouse-core`.

pub mod certificate;
pub mod client;
mod event;
mod history;
mod item;
mod message;
mod outbound;
mod refusal;
mod repository;
mod stack;
mod status;
mod table;
mod token;

pub use event::Event;
pub use repository::Repositories;
pub use stack::{Described, MANAGED_BY};
pub use status::StackStatus;
pub use table::DynamoTable;
