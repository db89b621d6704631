//! The AWS platform: rows in DynamoDB, each app a CloudFormation stack, the reactor a Lambda
//! function.
//!
//! It translates and performs; what to do is decided in `rowhouse-core`.

pub mod certificate;
pub mod client;
mod collision;
pub mod config;
mod doorbell;
mod edit;
mod event;
mod history;
mod identity;
mod item;
mod manifests;
mod memory;
mod message;
mod metric;
#[cfg(test)]
mod model;
mod orphans;
mod outbound;
pub mod package;
mod platform;
mod priority;
mod reactor;
mod refusal;
mod repository;
mod sdk;
mod stack;
mod status;
mod table;
pub mod telemetry;
mod template;
mod token;

pub use doorbell::{Doorbell, Ring};
pub use event::Event;
pub use identity::Identity;
pub use manifests::Manifests;
pub use memory::{Marker, Memory};
pub use orphans::Orphans;
pub use platform::CloudFormationPlatform;
pub use priority::MOST_APPS;
pub use reactor::Reactor;
pub use refusal::Failure;
pub use repository::Repositories;
pub use stack::{Described, MANAGED_BY};
pub use status::{Life, StackStatus};
pub use table::DynamoTable;
pub use template::Template;
