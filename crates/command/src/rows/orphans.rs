//! The apps that run on without a row, for people.

use rowhouse_core::AppName;

use crate::client::{Location, WithoutRow};
use crate::finding::{Finding, State};

/// Names each that nobody removed, and how that ends.
pub fn tell(orphans: &[AppName], location: &Location, tell: impl Fn(&str)) {
    for name in orphans {
        let rm = location.command(&format!("rm {name}"));
        tell(&format!(
            "`{name}` has no row, and nobody removed one: it runs on; a row of its name adopts \
             it, and `{rm}` deletes it"
        ));
    }
}

/// Names each whose row was removed, and how that ends.
pub(crate) fn tell_removed(removed: &[AppName], location: &Location, tell: impl Fn(&str)) {
    for name in removed {
        let rm = location.command(&format!("rm {name}"));
        tell(&format!(
            "the row of `{name}` was removed, and it still runs: a sweep deletes it within a \
             quarter of an hour, where it is not one of many, and `{rm}` now"
        ));
    }
}

/// What a doctor says of them.
pub fn finding(without: &WithoutRow, location: &Location) -> Finding {
    let WithoutRow { orphans, removed } = without;
    let names = |names: &[AppName], between: &str| {
        let names: Vec<&str> = names.iter().map(AppName::as_str).collect();
        names.join(between)
    };
    let rm = |all: &[AppName]| location.command(&format!("rm {}", names(all, " ")));
    let of_orphans =
        || format!("they run on without a row, which nobody removed: {}", names(orphans, ", "));
    let of_removed =
        || format!("they run on though their rows were removed: {}", names(removed, ", "));
    let put = "put their rows again, or restore the table;";
    let (said, cure) = match (orphans.is_empty(), removed.is_empty()) {
        (true, true) => {
            return Finding::fine("orphans", "every app that runs has a row, or was removed");
        }
        (false, true) => (of_orphans(), format!("{put} `{}` deletes them", rm(orphans))),
        (true, false) => {
            let cure = format!(
                "each sweep, every quarter of an hour, deletes some; `{}` all of them now",
                rm(removed)
            );
            (of_removed(), cure)
        }
        (false, false) => {
            let said = format!("{}; {}", of_orphans(), of_removed());
            let both: Vec<AppName> = orphans.iter().chain(removed).cloned().collect();
            (said, format!("{put} sweeps delete what was removed; `{}` deletes all", rm(&both)))
        }
    };
    Finding::bad("orphans", State::Warning, said, cure)
}
