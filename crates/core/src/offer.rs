//! What is understood and not done yet: a row that asks for it is told so, in place of being called
//! deployed without it.

use crate::attribute::Attribute;
use crate::meaning::{Objection, not_offered};

/// The attributes that no platform carries out yet, each with what there is in its place. Whoever
/// makes one true takes its line away.
const NOT_OFFERED: [(Attribute, &str); 6] = [
    (Attribute::Workers, "of the process types `web` alone runs"),
    (Attribute::Cron, "a scheduler elsewhere can call the app"),
    (Attribute::Domains, "the app answers under its own name alone"),
    (Attribute::Memory, "no instance has a limit of its own"),
    (Attribute::Protocol, "the app is spoken to by `http1`"),
    (Attribute::Hook, "`Follow` deploys what is pushed to the branch"),
];

/// What an attribute means, if that is its default or there is somebody who does it. What is wrong
/// with it is said first.
pub(crate) fn offered<T: Default + PartialEq>(
    attribute: Attribute,
    meaning: Result<T, Objection>,
) -> Result<T, Objection> {
    let meaning = meaning?;
    let absent = NOT_OFFERED.iter().find(|(absent, _)| *absent == attribute);
    match absent {
        Some((_, instead)) if meaning != T::default() => Err(not_offered(attribute, instead)),
        Some(_) | None => Ok(meaning),
    }
}
