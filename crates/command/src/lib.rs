//! What the commands `rowhouse` and `rowhouse-aws` have in common: the commands on rows, the one
//! place that prints, and whose a failure is.

pub mod argument;
pub mod client;
mod dotenv;
pub mod failure;
pub mod finding;
mod layout;
mod outlet;
pub mod output;
pub mod program;
pub mod rows;
pub mod telemetry;
