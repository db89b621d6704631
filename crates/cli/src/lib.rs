//! What the commands `rowhouse` and `rowhouse-aws` have in common: the one place that prints, and whose a failure is.

pub mod failure;
mod outlet;
pub mod output;
pub mod telemetry;
