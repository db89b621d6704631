//! The table of rows in SQLite. The file is the API: whoever may write it may change apps.

mod column;
pub(crate) mod database;
pub mod feed;
mod file;
mod history;
pub mod mark;
mod nameless;
pub mod reader;
pub mod replacement;
mod rows;
mod schema;
pub(crate) mod sequence;
mod sqlite_table;
mod table_file;

pub use sqlite_table::SqliteTable;
pub use table_file::{Removed, TableFile};
