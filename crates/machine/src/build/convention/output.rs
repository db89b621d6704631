//! The convention of builds whose output is a site: which folder it is, and whether its paths are
//! the browser's affair. Sources: the deployment pages of Vite, Create React App, Vue CLI, Parcel,
//! Astro, Eleventy, Gatsby, Docusaurus, Next and Hugo.

use std::path::PathBuf;

use crate::build::convention::Site;
use crate::build::source::Source;

/// Where tools put the site that they make.
pub(crate) const FOLDERS: [&str; 5] = ["dist", "build", "out", "_site", "public"];

/// Tools whose output is one page, by the names of their packages.
pub(crate) const SINGLE_PAGE: [&str; 5] =
    ["vite", "react-scripts", "@vue/cli-service", "parcel", "@rsbuild/core"];

/// Tools that make a page for each path, though one of the others may work for them.
const MANY_PAGES: [&str; 7] =
    ["astro", "vitepress", "@11ty/eleventy", "gatsby", "@docusaurus/core", "next", "nuxt"];

/// The site that a build makes whose tools are these packages. A folder whose page is in the
/// repository already is not what the build makes.
pub(crate) fn site(source: &Source<'_>, has_package: impl Fn(&str) -> bool) -> Site {
    let is_made = |folder: &&str| !source.has(&format!("{folder}/index.html")).unwrap_or(true);
    Site {
        folders: FOLDERS.into_iter().filter(is_made).map(PathBuf::from).collect(),
        is_single_page: SINGLE_PAGE.into_iter().any(&has_package)
            && !MANY_PAGES.into_iter().any(&has_package),
    }
}
