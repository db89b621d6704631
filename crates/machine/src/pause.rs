//! Pauses between tries: each longer than the one before, up to a longest, so that what does not
//! answer is asked less and less often, and is asked soon after something has changed.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

/// The pauses of one who tries again and again.
#[derive(Clone, Debug)]
pub struct Pause {
    first: Duration,
    longest: Duration,
    /// What each pause is of the one before, as a fraction.
    growth: (u32, u32),
    starts_at_once: bool,
    /// By how many sixteenths of its quarter each pause is longer, for those who wait for the same
    /// thing.
    spread: u32,
    next: Duration,
}

impl Pause {
    /// Pauses from `first` on, each twice as long as the one before, to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Pause {
        Pause { first, longest, growth: (2, 1), starts_at_once: false, spread: 0, next: first }
    }

    /// Each pause is longer than the one before by a quarter of it: what is waited for is noticed
    /// late by that at most.
    #[must_use]
    pub const fn growing_by_a_quarter(self) -> Pause {
        Pause { growth: (5, 4), ..self }
    }

    /// The first pause is none.
    #[must_use]
    pub const fn starting_at_once(self) -> Pause {
        Pause { starts_at_once: true, next: Duration::ZERO, ..self }
    }

    /// Pauses that are up to a quarter longer, by `name`: of many who wait for the same thing not
    /// all come back at once. The same name always has the same pauses.
    #[must_use]
    pub fn spread_by(self, name: &impl Hash) -> Pause {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Pause { spread: u32::try_from(hasher.finish() % 17).unwrap_or(0), ..self }
    }

    /// The pause that is due now.
    pub fn current(&self) -> Duration {
        self.next + self.next * self.spread / 64
    }

    /// Makes the next pause longer than the one that is due now.
    pub fn grow(&mut self) {
        let (of, by) = self.growth;
        self.next = (self.next * of / by).min(self.longest).max(self.first);
    }

    /// The pause that is due now; the one after it is longer.
    pub fn due(&mut self) -> Duration {
        let due = self.current();
        self.grow();
        due
    }

    /// Begins from the first pause again.
    pub fn reset(&mut self) {
        self.next = if self.starts_at_once { Duration::ZERO } else { self.first };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pause: &mut Pause, count: usize) -> Vec<u64> {
        (0..count).map(|_| pause.due().as_secs()).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn each_pause_is_twice_as_long_as_the_one_before_up_to_the_longest() {
        let mut pause = Pause::new(SECOND, MINUTE);
        assert_eq!(seconds(&mut pause, 8), [1, 2, 4, 8, 16, 32, 60, 60]);
        pause.reset();
        assert_eq!(seconds(&mut pause, 2), [1, 2]);
    }

    #[test]
    fn a_pause_that_starts_at_once_is_none_at_first_and_after_a_reset() {
        let mut pause = Pause::new(SECOND, MINUTE).starting_at_once();
        assert_eq!(seconds(&mut pause, 4), [0, 1, 2, 4]);
        pause.reset();
        assert_eq!(seconds(&mut pause, 2), [0, 1]);
    }

    #[test]
    fn a_pause_may_grow_by_a_quarter() {
        let millisecond = Duration::from_millis(1);
        let mut pause = Pause::new(millisecond * 64, millisecond * 120).growing_by_a_quarter();
        let pauses: Vec<u128> = (0..5).map(|_| pause.due().as_millis()).collect();
        assert_eq!(pauses, [64, 80, 100, 120, 120]);
    }

    #[test]
    fn names_that_wait_for_the_same_thing_come_back_at_different_times_but_not_late() {
        let pauses: std::collections::BTreeSet<Duration> =
            (0..100).map(|name| Pause::new(MINUTE, MINUTE).spread_by(&name).due()).collect();
        assert!(pauses.len() > 10, "{pauses:?}");
        assert!(pauses.iter().all(|pause| (MINUTE..=MINUTE * 5 / 4).contains(pause)));
    }
}
