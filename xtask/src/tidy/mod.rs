//! `cargo xtask tidy`: what keeps the house in order, as numbers for each crate and as rules that
//! fail.

mod circle;
mod import;
mod measure;
mod mention;
mod module;
mod package;
mod rule;
mod syntax;
mod table;
#[cfg(test)]
mod tests;

use anyhow::bail;

use crate::tidy::package::{Inventory, Package};
use crate::tidy::rule::{EXCEPTIONS, exception, findings};
use crate::tools::root;

/// Prints the numbers of each crate and its circles, and fails with a sentence for each thing that
/// is out of order.
pub fn run() -> anyhow::Result<()> {
    let inventories = inventories()?;
    println!("{}", table::table(&inventories));
    for inventory in &inventories {
        for circle in &inventory.circles {
            let exception = exception(&EXCEPTIONS, circle);
            let reason = exception.map_or(String::new(), |exception| {
                format!(", which is allowed: {}", exception.reason)
            });
            println!("{}: a circle of {} files{reason}", inventory.name, circle.files.len());
            println!("{circle}");
        }
    }
    judge(&inventories)
}

/// The rules alone, for `cargo xtask check`.
pub fn check() -> anyhow::Result<()> {
    println!("$ cargo xtask tidy");
    judge(&inventories()?)
}

fn inventories() -> anyhow::Result<Vec<Inventory>> {
    Package::of_workspace(&root())?.iter().map(|package| package.inventory(&root())).collect()
}

fn judge(inventories: &[Inventory]) -> anyhow::Result<()> {
    let findings = findings(inventories, &EXCEPTIONS);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("one thing is not tidy"),
        count => bail!("{count} things are not tidy"),
    }
}
