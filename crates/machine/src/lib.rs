//! The machine platform: one folder, one SQLite table, processes behind a built-in proxy.

pub mod build;
mod command;
mod convention;
mod digest;
pub mod environment;
pub mod feed;
pub mod folder;
pub mod git;
pub mod health;
pub mod journal;
pub mod log;
pub mod mirror;
pub mod operation;
pub mod platform;
pub mod port;
pub mod process;
pub mod procfile;
pub mod proxy;
pub mod recipe;
pub mod repository;
mod room;
pub mod shim;
pub mod site;
pub mod stack;
pub mod supervised;
pub mod table;
pub mod toolchain;
