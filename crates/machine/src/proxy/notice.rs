//! Notice: a warning that may repeat a thousand times a second is told once a minute, with its
//! count.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long one that was told is only counted.
const PAUSE: Duration = Duration::from_mins(1);

/// One kind of warning.
#[derive(Debug, Default)]
pub(super) struct Notice {
    told: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

impl Notice {
    /// It happened again.  How often since it was told last, this time included; `None`: it is not
    /// to be told now.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let count = self.untold.get() + 1;
        let told = self.told.get().map(|told| now.saturating_duration_since(told));
        if told.is_some_and(|ago| ago < PAUSE) {
            self.untold.set(count);
            return None;
        }
        self.untold.set(0);
        self.told.set(Some(now));
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_repeats_is_counted_and_told_once_a_minute() {
        let (notice, start) = (Notice::default(), Instant::now());
        assert_eq!(notice.count(start), Some(1));
        for second in 0..59 {
            assert_eq!(notice.count(start + Duration::from_secs(second)), None);
        }
        assert_eq!(notice.count(start + PAUSE), Some(60));
        assert_eq!(notice.count(start + PAUSE), None);
    }
}
