//! The apps that run on though no row wants them, for people.

use rowhouse_core::AppName;

use crate::client::Location;

/// Names each, and how that ends.
pub fn tell(orphans: &[AppName], location: &Location, tell: impl Fn(&str)) {
    for name in orphans {
        let rm = location.command(&format!("rm {name}"));
        tell(&format!(
            "`{name}` has no row, and nobody removed one: it runs on; a row of its name adopts \
             it, and `{rm}` deletes it"
        ));
    }
}
