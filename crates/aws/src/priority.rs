//! Priorities of listener rules: one for each app on the shared listener, and no two alike.

use std::collections::BTreeSet;

use rowhouse_core::AppName;
use sha2::{Digest as _, Sha256};

/// The highest,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateRule.html>.
const HIGHEST: u32 = 50_000;
/// How many target groups one load balancer takes, which cannot be raised,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>.
pub const MOST_APPS: usize = 100;

/// The lowest free one at or after a digest of the name, beginning again at 1 after the highest: so
/// apps that come up at the same time rarely choose the same. `None`: all are used.
pub(crate) fn choose(name: &AppName, used: &BTreeSet<u32>) -> Option<u32> {
    let digest = Sha256::digest(name.as_str().as_bytes());
    let number = digest.iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let first = number % HIGHEST + 1;
    (first..=HIGHEST).chain(1..first).find(|priority| !used.contains(priority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AppName {
        AppName::parse(text).unwrap()
    }

    #[test]
    fn two_apps_begin_at_different_places_and_the_next_free_one_is_taken() {
        let none = BTreeSet::new();
        let shop = choose(&name("shop"), &none).unwrap();
        assert_ne!(Some(shop), choose(&name("shop-2"), &none));
        assert_eq!(choose(&name("shop"), &BTreeSet::from([shop])), Some(shop % HIGHEST + 1));
        assert_eq!(choose(&name("shop"), &(1..=HIGHEST).collect()), None);
        let all_but_one: BTreeSet<u32> = (1..=HIGHEST).filter(|priority| *priority != 7).collect();
        assert_eq!(choose(&name("shop"), &all_but_one), Some(7));
    }
}
