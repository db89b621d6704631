//! Which conventions there are, in their order.

use crate::build::convention::{Language, deno, go, node, output, php, python, ruby, rust};

/// Every language, in the order in which they are looked for.
pub const LANGUAGES: [Language; 7] = [
    python::LANGUAGE,
    node::LANGUAGE,
    deno::LANGUAGE,
    go::LANGUAGE,
    ruby::LANGUAGE,
    php::LANGUAGE,
    rust::LANGUAGE,
];

/// Where a build's site is looked for, in this order.
pub const SITE_FOLDERS: [&str; 5] = output::FOLDERS;
