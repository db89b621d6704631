//! The machine platform: one folder, one SQLite table, processes behind a built-in proxy.
//!
//! From below to above: `sandbox` keeps processes apart, `limits` are what they may take, `process`
//! runs what it is told, `git` and `build` lead from a commit to something that can be started,
//! `instance` is one process of an app, `stack` what an app is here and what is done to it. `table`
//! is what people write and read, `proxy` is in front. A room imports those below it, and none
//! above.

pub mod build;
pub mod config;
pub mod damage;
mod digest;
pub mod folder;
pub mod git;
pub mod instance;
pub mod limits;
mod machine;
mod ownership;
pub mod pause;
pub mod process;
pub mod proxy;
mod reactor;
mod replaced;
mod room;
pub mod sandbox;
pub mod site;
pub mod stack;
pub mod succession;
pub mod supply;
pub mod table;
pub mod taken;
pub mod up;
pub mod users;
pub mod waiter;
pub mod whole;
